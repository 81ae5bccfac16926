"""How a schema comes under its subject: compatibility FULL_TRANSITIVE first, then the schema, and never one that breaks a reader."""

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
    """What was done, or would be, with one subject. Nothing was written yet where `version` and `schema_id` are 0."""

    subject: str
    record: str
    action: str
    version: int
    schema_id: int
    compatibility_before: str | None
    """The one that held: the subject's own or that of all; of `register`, None where the subject had none and has now."""


def subject_of(topic: str) -> str:
    """The subject of a topic's values (Confluent's TopicNameStrategy)."""
    return f"{topic}-value"


def subjects(prefix: str) -> dict[str, str]:
    """The record of each subject of ours."""
    return {subject_of(topic.full_name(prefix)): topic.record for topic in TOPICS}


def register(registry: Registry, subject: str, schema: Schema) -> Outcome:
    """Sets the subject's compatibility, then makes `schema` a version of it unless it is one. Blocks.

    An account that may register and not set the compatibility goes on where it is right already.

    Raises:
        IncompatibleSchemaError: it would break readers; nothing is registered.
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
    """What `register` would do; writes nothing. Blocks.

    Both the registry's rules and FULL_TRANSITIVE by our own judge: the subject may be set to something laxer.

    Raises:
        IncompatibleSchemaError: `schema` would break readers.
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
        who = "the registry" if refused else "FULL_TRANSITIVE"
        raise IncompatibleSchemaError(
            _with_reasons(f"subject {subject}: {who} forbids this {schema.name}", schema, earlier)
        )
    return Outcome(subject, schema.name, NEW_VERSION, 0, 0, before)


class Survey(NamedTuple):
    """What stands under all subjects: `outcomes` of those that take our schema, and why the others forbid it."""

    outcomes: list[Outcome]
    refused: list[IncompatibleSchemaError]


def survey(registry: Registry, wanted: Mapping[str, Schema], do: Callable[[Registry, str, Schema], Outcome]) -> Survey:
    """Does `check` or `register` for each subject; what one refuses does not keep the others from having theirs. Blocks.

    Raises:
        RegistryError: the registry does not answer, or refuses for another reason than compatibility.
    """
    found = Survey([], [])
    for subject, schema in wanted.items():
        try:
            found.outcomes.append(do(registry, subject, schema))
        except IncompatibleSchemaError as error:
            found.refused.append(error)
    return found


def own_subjects(prefix: str) -> dict[str, Schema]:
    """This version's schema of each subject of ours."""
    return {subject: own_schemas()[record] for subject, record in subjects(prefix).items()}


def _set_full_transitive(registry: Registry, subject: str, before: str | None) -> str | None:
    """Sets it, or sees that it holds though we may not; returns what held before."""
    try:
        registry.set_compatibility(subject, FULL_TRANSITIVE)
    except RegistryForbidsError as error:
        level = _effective(registry, subject)
        if level == FULL_TRANSITIVE:
            return level
        raise RegistryForbidsError(
            f"{error} (Confluent calls it WriteCompatibility), or have {FULL_TRANSITIVE} set on {subject} or on all subjects: "
            f"it is {level or 'not known'} now"
        ) from error
    return before


def _effective(registry: Registry, subject: str) -> str | None:
    """The compatibility that holds for a subject; None where we may not know."""
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
    return f"{what}; {reasons}. Fields may only be added and removed with a default, and types stay"
