"""Rows that fit a schema, drawn by Hypothesis; decimals as `Decimal`, times as microseconds, as `Codec.read` returns them."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Context, Decimal
from typing import Any

from hypothesis import strategies as st

Strategy = st.SearchStrategy[Any]
EXACT = Context(prec=60)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
YEAR_2100_MICROS = 4_102_444_800_000_000

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
LONGS = st.integers(-(2**63), 2**63 - 1)
PRIMITIVES: dict[str, Strategy] = {
    "string": texts,
    "boolean": st.booleans(),
    "bytes": st.binary(max_size=12),
    "int": st.integers(-(2**31), 2**31 - 1),
    "long": LONGS,
    "null": st.none(),
}


def decimals(precision: int, scale: int) -> Strategy:
    """Every decimal that the logical type can hold, small ones and extremes often."""
    limit = 10**precision - 1
    unscaled = st.one_of(st.integers(-(10**12), 10**12), st.integers(-limit, limit), st.sampled_from([limit, -limit]))
    return unscaled.map(lambda number: Decimal(number).scaleb(-scale, EXACT))


def rows(schema: Any, named: dict[str, Strategy] | None = None) -> Strategy:
    """Values of `schema`, the parsed JSON of an Avro schema."""
    named = {} if named is None else named
    if isinstance(schema, str):
        return PRIMITIVES[schema] if schema in PRIMITIVES else named[schema.rpartition(".")[2]]
    if isinstance(schema, list):
        return st.one_of(*(rows(branch, named) for branch in schema))
    kind, logical = schema["type"], schema.get("logicalType")
    if logical == "decimal":
        return decimals(schema["precision"], schema["scale"])
    if logical == "timestamp-micros":
        return st.integers(0, YEAR_2100_MICROS)
    if kind == "array":
        return st.lists(rows(schema["items"], named), max_size=3)
    if kind == "record":
        fields = {field["name"]: rows(field["type"], named) for field in schema["fields"]}
        named[schema["name"]] = st.fixed_dictionaries(fields)
        return named[schema["name"]]
    return rows(kind, named)


def plain_types(value: Any) -> Any:
    """The result of an Avro library that knows logical types, in our terms: times as microseconds."""
    if isinstance(value, datetime):
        return (value - EPOCH) // timedelta(microseconds=1)
    if isinstance(value, Mapping):
        return {name: plain_types(item) for name, item in value.items()}
    if isinstance(value, list):
        return [plain_types(item) for item in value]
    return value


def every(schema: Any, visit: Callable[[Any], None]) -> None:
    """Calls `visit` for each record and each field of a schema, at any depth."""
    if isinstance(schema, list):
        for branch in schema:
            every(branch, visit)
    elif isinstance(schema, Mapping):
        if schema["type"] == "record":
            visit(schema)
            for field in schema["fields"]:
                visit(field)
                every(field["type"], visit)
        else:
            every(schema["items"] if schema["type"] == "array" else schema["type"], visit)
