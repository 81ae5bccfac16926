"""Every schema evolves, and old and new readers read each other's records: with both engines, in both framings."""

import json
from collections.abc import Callable
from copy import deepcopy
from decimal import Decimal
from typing import Any

import pytest

from backpack_streams.bus.codec import Codec
from backpack_streams.bus.compatibility import both_ways
from backpack_streams.bus.schemas import Schema, own_schemas, parse_schema, released_schemas
from unit.bus.forced_engines import ENGINES, FRAMINGS, MemoryRegistry, forced

RECORDS = sorted(own_schemas())
Fields = list[dict[str, Any]]
PLAIN = {"string": "text", "boolean": True, "bytes": b"raw", "int": -7, "long": 2**60, "null": None}


def optional_added(fields: Fields) -> Fields:
    return [*fields, {"name": "added", "type": ["null", "string"], "default": None}]


def list_added_in_front(fields: Fields) -> Fields:
    return [{"name": "added", "type": {"type": "array", "items": "long"}, "default": []}, *fields]


def number_with_a_default_added(fields: Fields) -> Fields:
    return [*fields[:2], {"name": "added", "type": "long", "default": -1}, *fields[2:]]


def optional_removed(fields: Fields) -> Fields:
    """Removes the last field that has a default and whose type no other field names."""
    last = max(
        (
            place
            for place, field in enumerate(fields)
            if "default" in field and '"name"' not in json.dumps(field["type"])
        ),
        default=None,
    )
    return [field for place, field in enumerate(fields) if place != last]


def order_changed(fields: Fields) -> Fields:
    return [*fields[1:2], *fields[:1], *fields[2:]]


EVOLUTIONS = (optional_added, list_added_in_front, number_with_a_default_added, optional_removed, order_changed)


def evolved(record: str, change: Callable[[Fields], Fields]) -> Schema:
    document = deepcopy(own_schemas()[record].document)
    document["fields"] = change(document["fields"])
    return parse_schema(json.dumps(document))


def codec_of(schema: Schema, other: Schema, registry: MemoryRegistry | None) -> Codec:
    """A codec that writes `schema` and knows the other from the registry or because it has learned it."""
    codec = Codec(registry, {schema.name: schema})
    if registry is None:
        codec.learn(other.text)
    return codec


def full_row(node: Any, named: dict[str, Any] | None = None) -> Any:
    """A value with every optional part present."""
    named = {} if named is None else named
    if isinstance(node, list):
        return full_row(next(branch for branch in node if branch != "null"), named)
    if isinstance(node, str):
        return PLAIN[node] if node in PLAIN else full_row(named[node], named)
    if node.get("logicalType") == "decimal":
        return Decimal("-86700.125")
    if node["type"] == "array":
        return [full_row(node["items"], named)] * 2
    if node["type"] == "record":
        named[node["name"]] = node
        return {field["name"]: full_row(field["type"], named) for field in node["fields"]}
    return full_row(node["type"], named)


def seen_by(schema: Schema, row: dict[str, Any]) -> dict[str, Any]:
    """A row as a reader with this schema gets it: fields that were not written have their default."""
    return {field["name"]: row.get(field["name"], field.get("default")) for field in schema.document["fields"]}


@pytest.mark.parametrize("framing", FRAMINGS)
@pytest.mark.parametrize("engine_name", ENGINES)
@pytest.mark.parametrize("record", RECORDS)
def test_old_and_new_readers_read_each_others_records(record: str, engine_name: str, framing: str) -> None:
    before = own_schemas()[record]
    for change in EVOLUTIONS:
        after = evolved(record, change)
        registry = MemoryRegistry() if framing == "confluent" else None
        with forced(engine_name):
            old, new = codec_of(before, after, registry), codec_of(after, before, registry)
            for writer, reader, written, wanted in ((new, old, after, before), (old, new, before, after)):
                row = full_row(written.document)
                value = writer.encoder(record, "t")(writer.rows(record)(row))
                assert reader.read(value) == (record, seen_by(wanted, row))


@pytest.mark.parametrize("record", RECORDS)
@pytest.mark.parametrize("change", EVOLUTIONS)
def test_none_of_these_changes_breaks_full_transitive(record: str, change: Callable[[Fields], Fields]) -> None:
    assert both_ways(evolved(record, change).document, own_schemas()[record].document) == []


@pytest.mark.parametrize("engine_name", ENGINES)
@pytest.mark.parametrize("version", sorted(released_schemas()))
def test_records_of_every_release_are_read_without_learning_its_schema(version: str, engine_name: str) -> None:
    with forced(engine_name):
        today = Codec()
        for record, schema in released_schemas()[version].items():
            row = full_row(schema.document)
            then = Codec(schemas={record: schema})
            value = then.encoder(record, "t")(then.rows(record)(row))
            assert today.read(value) == (record, seen_by(own_schemas()[record], row))
