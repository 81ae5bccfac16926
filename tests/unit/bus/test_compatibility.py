"""Which changes of a schema break readers, by the Avro specification, and that none has since the released versions."""

import io
import json
import re
from copy import deepcopy
from typing import Any

import fastavro
import pytest
from fastavro.read import SchemaResolutionError

from backpack_streams.bus.compatibility import both_ways, reading_problems
from backpack_streams.bus.schemas import own_schemas, released_schemas

RELEASED = [(version, record) for version, schemas in released_schemas().items() for record in schemas]


# ---- released schemas


def test_released_schemas_are_available_for_comparison() -> None:
    assert RELEASED


@pytest.mark.parametrize(("version", "record"), RELEASED)
def test_a_released_schema_and_the_current_one_read_each_other(version: str, record: str) -> None:
    """Fails for a change that is not FULL_TRANSITIVE. On a release: copy schemas/*.avsc to schemas/released/VERSION/."""
    released = released_schemas()[version][record]
    assert record in own_schemas(), f"{record} was released in {version}: records of it are in people's Kafka"
    assert both_ways(own_schemas()[record].document, released.document) == []


# ---- the comparison itself


def record(*fields: dict[str, Any]) -> dict[str, Any]:
    return {"type": "record", "name": "R", "fields": list(fields)}


def field(name: str, kind: Any, **more: Any) -> dict[str, Any]:
    return {"name": name, "type": kind, **more}


def decimal(scale: int) -> dict[str, Any]:
    return {"type": "bytes", "logicalType": "decimal", "precision": 38, "scale": scale}


ENUM = {"type": "enum", "name": "E", "symbols": ["A", "B"]}
LEVEL = {"type": "record", "name": "Level", "fields": [field("price", decimal(18))]}
A = field("a", "long")

READABLE = [
    (record(A), record(A)),
    (record(A), record(A, field("b", "string"))),
    (record(A, field("b", ["null", "string"], default=None)), record(A)),
    (record(field("a", "double")), record(field("a", "int"))),
    (record(field("a", ["null", "long"])), record(A)),
    (record(field("a", "long")), record(field("a", ["int", "long"]))),
    (record(field("a", ENUM)), record(field("a", ENUM | {"symbols": ["B"]}))),
    (record(field("a", {"type": "array", "items": LEVEL})), record(field("a", {"type": "array", "items": LEVEL}))),
    (record(field("a", LEVEL), field("b", "Level")), record(field("a", LEVEL), field("b", "Level"))),
    (record(field("a", {"type": "map", "values": "long"})), record(field("a", {"type": "map", "values": "int"}))),
]
UNREADABLE = [
    (record(A, field("b", "string")), record(A), "field b is not written"),
    (record(A), record(field("a", "string")), "a is string, but the reader expects long"),
    (record(field("a", "int")), record(A), "a is long, but the reader expects int"),
    (record(A), record(field("a", ["null", "long"])), "a is null"),
    (record(field("a", ["null", "int"])), record(A), "a is long, which the reader's union does not accept"),
    (record(field("a", ENUM | {"symbols": ["A"]})), record(field("a", ENUM)), "a may be B"),
    (record(A) | {"name": "Q"}, record(A), "the record is called R"),
    (
        record(field("a", {"type": "fixed", "name": "F", "size": 2})),
        record(field("a", {"type": "fixed", "name": "F", "size": 4})),
        "a is 4 bytes",
    ),
    (
        record(field("a", {"type": "array", "items": "int"})),
        record(field("a", {"type": "array", "items": "long"})),
        r"a\[\]",
    ),
]
LOGICAL = [
    (decimal(18), decimal(30), "decimal 38 30, but the reader expects bytes decimal 38 18"),
    ({"type": "long", "logicalType": "timestamp-micros"}, "long", "expects long timestamp-micros"),
    (
        {"type": "long", "logicalType": "timestamp-micros"},
        {"type": "long", "logicalType": "timestamp-millis"},
        "micros",
    ),
]


@pytest.mark.parametrize(("reader", "writer"), READABLE)
def test_a_readable_change_has_no_problems(reader: Any, writer: Any) -> None:
    assert reading_problems(reader, writer) == []


@pytest.mark.parametrize(("reader", "writer", "said"), UNREADABLE)
def test_an_unreadable_change_is_reported_with_its_place(reader: Any, writer: Any, said: str) -> None:
    [problem] = reading_problems(reader, writer)
    assert re.search(said, problem)


@pytest.mark.parametrize(("reader", "writer", "said"), LOGICAL)
def test_a_changed_meaning_of_the_same_bytes_is_a_problem(reader: Any, writer: Any, said: str) -> None:
    [problem] = reading_problems(record(field("a", reader)), record(field("a", writer)))
    assert said in problem


@pytest.mark.parametrize(
    ("reader", "writer", "value"),
    [
        (record(A, field("b", "string")), record(A), {"a": 1}),
        (record(A), record(field("a", "string")), {"a": "x"}),
        (record(field("a", ["null", "int"])), record(A), {"a": 1}),
        (record(A), record(field("a", ["null", "long"])), {"a": None}),
    ],
)
def test_fastavro_agrees_that_it_cannot_be_read(reader: Any, writer: Any, value: dict[str, Any]) -> None:
    out = io.BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(deepcopy(writer), {}), value)
    with pytest.raises(SchemaResolutionError):
        fastavro.schemaless_reader(
            io.BytesIO(out.getvalue()),
            fastavro.parse_schema(deepcopy(writer), {}),
            fastavro.parse_schema(deepcopy(reader), {}),
        )
    assert reading_problems(reader, writer)


def test_both_ways_names_the_direction() -> None:
    old, new = record(A), record(A, field("b", "string"))
    assert both_ways(new, old) == ["field b is not written and has no default (new reader, old record)"]
    assert both_ways(old, new) == ["field b is not written and has no default (old reader, new record)"]


def test_a_recursive_schema_is_compared() -> None:
    tree = record(A, field("inner", ["null", "R"], default=None))
    assert reading_problems(tree, tree) == []


@pytest.mark.parametrize("name", sorted(own_schemas()))
def test_dropping_any_field_without_a_default_is_noticed(name: str) -> None:
    document = json.loads(own_schemas()[name].text)
    for each in document["fields"]:
        rest = document | {"fields": [other for other in document["fields"] if other is not each]}
        if '"fields"' in json.dumps(each["type"]):
            continue  # the remaining fields may name a type that this field defines
        assert bool(both_ways(rest, document)) == ("default" not in each)
