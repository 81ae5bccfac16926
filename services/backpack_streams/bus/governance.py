"""Registers schemas: sets the subject's compatibility to FULL_TRANSITIVE first, and never registers a schema that breaks a reader."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from backpack_streams.bus.compatibility import both_ways
from backpack_streams.bus.registry_client import (
    FULL_TRANSITIVE,
    IncompatibleSchemaError,
    NotRegisteredError,
    Registry,
    RegistryForbidsError,
    Version,
)
from backpack_streams.bus.schemas import Schema, own_schemas, parse_schema
from backpack_streams.bus.topics import TOPICS

__all__ = ["Outcome", "Survey", "check", "own_subjects", "register", "subject_of", "subjects", "survey"]

CREATED, NEW_VERSION, UNCHANGED = "created", "new version", "unchanged"


class Outcome(NamedTuple):
    """What was done, or would be done, with one subject.

    Attributes:
        subject: the subject.
        record: the record name of the schema.
        action: `created`, `new version` or `unchanged`.
        version: the number of the version that holds the schema, 0 if it is not registered yet.
        schema_id: the registry's id of the schema, 0 if it is not registered yet.
        compatibility_before: see below.
    """

    subject: str
    record: str
    action: str
    version: int
    schema_id: int
    compatibility_before: str | None
    """The compatibility in force before, the subject's own or the registry's default. From `register`, None if the subject had none of
    its own.
    """


def subject_of(topic: str) -> str:
    """Return the subject of a topic's values (Confluent's TopicNameStrategy). `topic` is the full topic name."""
    return f"{topic}-value"


def subjects(prefix: str) -> dict[str, str]:
    """Return the record name of each of this project's subjects."""
    return {subject_of(topic.full_name(prefix)): topic.record for topic in TOPICS}


def register(registry: Registry, subject: str, schema: Schema) -> Outcome:
    """Set the subject's compatibility, then register `schema` unless it is a version already. Blocks.

    An account that may register but not set the compatibility continues if the compatibility is FULL_TRANSITIVE
    already.

    Args:
        registry: the registry.
        subject: the subject, `<topic>-value`.
        schema: the schema to register.

    Raises:
        IncompatibleSchemaError: the schema would break readers; nothing is registered.
        RegistryForbidsError: the account lacks a right, which the message names; nothing is registered.
        RegistryError: the registry does not answer, or refuses.
    """
    before = registry.compatibility(subject)
    if before != FULL_TRANSITIVE:
        before = _set_full_transitive(registry, subject, before)
    held = _held(registry, subject, schema)
    if held is not None:
        return Outcome(subject, schema.name, UNCHANGED, held.number, held.schema_id, before)
    earlier = registry.versions(subject)
    try:
        registry.register(subject, schema.canonical_text)
    except IncompatibleSchemaError as error:
        raise IncompatibleSchemaError(_with_reasons(str(error), schema, earlier)) from error
    new = registry.lookup(subject, schema.canonical_text)
    return Outcome(subject, schema.name, NEW_VERSION if earlier else CREATED, new.number, new.schema_id, before)


def check(registry: Registry, subject: str, schema: Schema) -> Outcome:
    """Return what `register` would do, without writing. Blocks.

    Applies both the registry's rules and FULL_TRANSITIVE by `compatibility.py`, because the subject may be set to
    something weaker.

    Raises:
        IncompatibleSchemaError: the schema would break readers.
        RegistryError: the registry does not answer, or refuses.
    """
    before = _effective(registry, subject)
    held = _held(registry, subject, schema)
    if held is not None:
        return Outcome(subject, schema.name, UNCHANGED, held.number, held.schema_id, before)
    earlier = registry.versions(subject)
    if not earlier:
        return Outcome(subject, schema.name, CREATED, 0, 0, before)
    refused = not registry.is_compatible(subject, schema.canonical_text)
    if refused or _reasons(schema, earlier):
        rule = "the registry" if refused else "FULL_TRANSITIVE"
        raise IncompatibleSchemaError(
            _with_reasons(f"subject {subject}: {rule} forbids this {schema.name}", schema, earlier)
        )
    return Outcome(subject, schema.name, NEW_VERSION, 0, 0, before)


class Survey(NamedTuple):
    """The state of all subjects.

    Attributes:
        outcomes: of the subjects that accept this version's schema.
        refused: the reasons why the other subjects refuse it.
    """

    outcomes: list[Outcome]
    refused: list[IncompatibleSchemaError]


def survey(registry: Registry, wanted: Mapping[str, Schema], do: Callable[[Registry, str, Schema], Outcome]) -> Survey:
    """Run `check` or `register` on each subject; a refusal by one does not skip the others. Blocks.

    Args:
        registry: the registry.
        wanted: the schema by subject.
        do: `check` or `register`.

    Raises:
        RegistryError: the registry does not answer, or refuses for a reason other than compatibility.
    """
    found = Survey([], [])
    for subject, schema in wanted.items():
        try:
            found.outcomes.append(do(registry, subject, schema))
        except IncompatibleSchemaError as error:
            found.refused.append(error)
    return found


def own_subjects(prefix: str) -> dict[str, Schema]:
    """Return this version's schema of each of this project's subjects."""
    return {subject: own_schemas()[record] for subject, record in subjects(prefix).items()}


def _set_full_transitive(registry: Registry, subject: str, before: str | None) -> str | None:
    """Set FULL_TRANSITIVE, or confirm that it is in force although the account may not set it. Returns the level before."""
    try:
        registry.set_compatibility(subject, FULL_TRANSITIVE)
    except RegistryForbidsError as error:
        level = _effective(registry, subject)
        if level == FULL_TRANSITIVE:
            return level
        raise RegistryForbidsError(
            f"{error} (Confluent calls it WriteCompatibility), or have {FULL_TRANSITIVE} set on {subject} or on all subjects: "
            f"it is {level or 'unknown'} now"
        ) from error
    return before


def _effective(registry: Registry, subject: str) -> str | None:
    """Return the compatibility in force for a subject; None if the account may not read it."""
    try:
        return registry.compatibility(subject) or registry.default_compatibility()
    except RegistryForbidsError:
        return None


def _held(registry: Registry, subject: str, schema: Schema) -> Version | None:
    try:
        return registry.lookup(subject, schema.canonical_text)
    except NotRegisteredError:
        return None


def _reasons(schema: Schema, earlier: list[Version]) -> list[str]:
    return [
        f"version {version.number}: {problem}"
        for version in earlier
        for problem in both_ways(schema.document, parse_schema(version.text).document)
    ]


def _with_reasons(what: str, schema: Schema, earlier: list[Version]) -> str:
    reasons = "; ".join(_reasons(schema, earlier)) or "the registry does not say why"
    return f"{what}; {reasons}. Only fields with a default may be added or removed, and types may not change"
