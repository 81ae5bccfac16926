"""`backpack-streams schemas register|check|list`: our schemas in the schema registry, one subject per topic."""

import asyncio
from collections.abc import Callable

from backpack_streams.bus.governance import (
    CREATED,
    NEW_VERSION,
    UNCHANGED,
    Outcome,
    Survey,
    check,
    own_subjects,
    register,
    survey,
)
from backpack_streams.bus.registry_client import (
    FULL_TRANSITIVE,
    IncompatibleSchemaError,
    Registry,
    RegistryClient,
)
from backpack_streams.bus.schemas import Schema
from backpack_streams.commands.schemas.settings import SchemasSettings
from backpack_streams.errors import UsageError
from backpack_streams.runtime.kafka import registry_connection


async def run(settings: SchemasSettings, action: str) -> int:
    """Register missing schemas (`register`), show what would be registered (`check`), or show the registry's state (`list`).

    Args:
        settings: the registry, and the topic prefix of the subjects.
        action: `register`, `check` or `list`.

    Raises:
        UsageError: no registry is set.
        RegistryError: the registry does not answer, or refuses.
        IncompatibleSchemaError: a subject does not accept our schema; the message names every such subject.
    """
    connection = registry_connection(settings)
    if connection is None:
        raise UsageError("no schema registry is set: add --schema-registry-url, or set SCHEMA_REGISTRY_URL")
    registry = RegistryClient(connection)
    wanted = own_subjects(settings.topic_prefix)
    await asyncio.to_thread({"register": _register, "check": _check, "list": _list}[action], registry, wanted)
    return 0


def _register(registry: Registry, wanted: dict[str, Schema]) -> None:
    _say(survey(registry, wanted, register), _registered)


def _check(registry: Registry, wanted: dict[str, Schema]) -> None:
    _say(survey(registry, wanted, check), _would_be)


def _say(found: Survey, what: Callable[[Outcome], str]) -> None:
    for outcome in found.outcomes:
        print(_line(outcome, what(outcome)))
    _end(found)


def _list(registry: Registry, wanted: dict[str, Schema]) -> None:
    for subject, schema in wanted.items():
        level = registry.compatibility(subject) or "compatibility not set"
        versions = registry.versions(subject)
        if not versions:
            print(f"{subject:40} {schema.name:16} not registered")
        for version in versions:
            same = "ours" if version.text == schema.canonical_text else "not ours"
            print(f"{subject:40} {schema.name:16} version {version.number} id {version.schema_id} {same}  {level}")


def _line(outcome: Outcome, what: str) -> str:
    return f"{outcome.subject:40} {outcome.record:16} {what}"


def _registered(outcome: Outcome) -> str:
    now = "" if outcome.compatibility_before == FULL_TRANSITIVE else f"; compatibility set to {FULL_TRANSITIVE}"
    return f"{outcome.action}: version {outcome.version} id {outcome.schema_id}{now}"


def _would_be(outcome: Outcome) -> str:
    if outcome.action == UNCHANGED:
        text = f"registered: version {outcome.version} id {outcome.schema_id}"
    else:
        text = "to be created" if outcome.action == CREATED else "compatible, to be a new version"
    before = outcome.compatibility_before
    return text if before == FULL_TRANSITIVE else f"{text}; compatibility is {before or 'not set'}"


def _end(found: Survey) -> None:
    done = found.outcomes
    counts = {action: sum(each.action == action for each in done) for action in (CREATED, NEW_VERSION, UNCHANGED)}
    print(f"{len(done)} subjects: " + ", ".join(f"{count} {action}" for action, count in counts.items()), flush=True)
    if found.refused:
        reasons = " | ".join(str(error) for error in found.refused)
        raise IncompatibleSchemaError(f"{len(found.refused)} refused: {reasons}")
