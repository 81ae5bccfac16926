"""Checks the schema registry: the network path, the login, and the schemas under their subjects."""

import asyncio
import ssl
from collections.abc import Callable
from urllib.parse import urlsplit

from backpack_streams.bus.governance import CREATED, NEW_VERSION, Survey, check, own_subjects, survey
from backpack_streams.bus.registry_client import FULL_TRANSITIVE, RegistryClient, RegistryConnection
from backpack_streams.commands.doctor.findings import Finding, Part, Verdict, fail, few, ok, row_text, skipped, warn
from backpack_streams.commands.doctor.network import Target
from backpack_streams.commands.doctor.reach import in_thread, reach
from backpack_streams.commands.doctor.settings import DoctorSettings
from backpack_streams.errors import CodecError, UsageError
from backpack_streams.runtime.kafka import registry_connection

SUBJECTS = "subjects"
_PORT_OF_SCHEME = {"http": 80, "https": 443}
_REGISTER = "run `backpack-streams schemas register`, or start the services with --register-schemas"


async def examine_registry(settings: DoctorSettings, tell: Callable[[Finding], None]) -> None:
    """Check the path to each of its addresses, then the same as `schemas check`.

    Args:
        settings: the registry and its login.
        tell: takes each finding.

    Raises:
        UsageError: a TLS file is unusable.
    """
    connection = registry_connection(settings)
    if connection is None:
        tell(skipped("no registry is set: records carry Avro fingerprints").of(Part.REGISTRY, SUBJECTS))
        return
    ways = await asyncio.gather(*(reach(_target(url, connection)) for url in connection.url.split(",")))
    for finding in dict.fromkeys(finding for way in ways for finding in way.findings):
        tell(finding)
    if not any(way.is_open for way in ways):
        tell(skipped("the registry is unreachable").of(Part.REGISTRY, SUBJECTS))
        return
    wanted = own_subjects(settings.topic_prefix)
    try:
        found = await in_thread(lambda: survey(RegistryClient(connection), wanted, check))
    except (CodecError, UsageError) as error:
        tell(judge_failure(error).of(Part.REGISTRY, SUBJECTS))
        return
    tell(judge_subjects(found).of(Part.REGISTRY, SUBJECTS))


def judge_failure(error: Exception) -> Verdict:
    """Judge an error that prevented the check.

    Args:
        error: its text ends with the advice, after the last `: `.
    """
    found, _, todo = row_text(error, 500).rpartition(": ")
    return fail(found or row_text(error, 500), todo if found else "check the schema_registry settings")


def judge_subjects(found: Survey) -> Verdict:
    """Judge whether services of this version would find their schemas.

    Args:
        found: what a check of all subjects found; nothing was registered.
    """
    missing = [each.subject for each in found.outcomes if each.action in (CREATED, NEW_VERSION)]
    if found.refused:
        return fail(
            f"{len(found.refused)} forbid this version's schema: {row_text(found.refused[0])}",
            "`backpack-streams schemas check` lists them; run the version that wrote their schemas",
        )
    if missing:
        return fail(
            f"{len(missing)} of {len(found.outcomes)} do not contain this version's schema: {few(missing)}", _REGISTER
        )
    lax = [each.subject for each in found.outcomes if each.compatibility_before != FULL_TRANSITIVE]
    if lax:
        return warn(
            f"{len(lax)} are not set to {FULL_TRANSITIVE}: {few(lax)}", "`backpack-streams schemas register` sets them"
        )
    return ok(f"{len(found.outcomes)} contain this version's schemas")


def _target(url: str, connection: RegistryConnection) -> Target:
    parts = urlsplit(url)
    return Target(
        Part.REGISTRY,
        parts.hostname or "",
        parts.port or _PORT_OF_SCHEME[parts.scheme],
        _context(connection) if parts.scheme == "https" else None,
        "--schema-registry-url",
        ca_advice="set the CA certificates of the registry with --schema-registry-ca-file",
        plain_advice="use http:// in --schema-registry-url, or the TLS port",
        certificate_advice="set a client certificate with --schema-registry-cert-file and --schema-registry-key-file",
    )


def _context(connection: RegistryConnection) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=connection.ca_file)
        if connection.cert_file is not None:
            context.load_cert_chain(connection.cert_file, connection.key_file, connection.current_key_password())
    except OSError as error:  # ssl's errors are OSErrors
        raise UsageError(f"the TLS files of the schema registry are unusable ({error})") from error
    return context
