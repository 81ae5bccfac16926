"""`backpack-streams schemas register|check|list`: our schemas in the schema registry, one subject a topic."""

import asyncio

from backpack_streams.bus.governance import (
    CREATED,
    NEW_VERSION,
    UNCHANGED,
    Outcome,
    check,
    register,
    subjects,
)
from backpack_streams.bus.registry_client import (
    FULL_TRANSITIVE,
    IncompatibleSchemaError,
    Registry,
    RegistryClient,
)
from backpack_streams.bus.schemas import Schema, own_schemas
from backpack_streams.cli.settings import SchemasSettings
from backpack_streams.errors import UsageError
from backpack_streams.runtime.kafka import registry_connection


async def run(settings: SchemasSettings, action: str) -> int:
    """Registers what is missing, says what would be registered, or how the registry stands.

    Raises:
        UsageError: no registry is set. RegistryError: it does not answer, or refuses.
        IncompatibleSchemaError: a subject forbids our schema; every such subject is named.
    """
    connection = registry_connection(settings)
    if connection is None:
        raise UsageError("no schema registry is set: add --schema-registry-url, or set SCHEMA_REGISTRY_URL")
    registry = RegistryClient(connection)
    wanted = {subject: own_schemas()[record] for subject, record in subjects(settings.topic_prefix).items()}
    await asyncio.to_thread({"register": _register, "check": _check, "list": _list}[action], registry, wanted)
    return 0


def _register(registry: Registry, wanted: dict[str, Schema]) -> None:
    """What one subject refuses does not keep the others from having theirs."""
    done, refused = [], []
    for subject, schema in wanted.items():
        try:
            outcome = register(registry, subject, schema)
        except IncompatibleSchemaError as error:
            refused.append(str(error))
            continue
        done.append(outcome)
        print(_line(outcome, _registered(outcome)))
    _end(done, refused)


def _check(registry: Registry, wanted: dict[str, Schema]) -> None:
    done, refused = [], []
    for subject, schema in wanted.items():
        try:
            outcome = check(registry, subject, schema)
        except IncompatibleSchemaError as error:
            refused.append(str(error))
            continue
        done.append(outcome)
        print(_line(outcome, _would_be(outcome)))
    _end(done, refused)


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


def _end(done: list[Outcome], refused: list[str]) -> None:
    counts = {action: sum(each.action == action for each in done) for action in (CREATED, NEW_VERSION, UNCHANGED)}
    print(f"{len(done)} subjects: " + ", ".join(f"{count} {action}" for action, count in counts.items()), flush=True)
    if refused:
        raise IncompatibleSchemaError(f"{len(refused)} refused: {' | '.join(refused)}")
