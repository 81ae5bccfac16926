"""Converts Avro schemas of our records to Arrow schemas: decimals stay decimals, times are UTC, levels are lists of structs."""

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from backpack_streams.errors import CodecError

KAFKA_FIELDS = (
    pa.field("kafka_partition", pa.int32(), nullable=False),
    pa.field("kafka_offset", pa.int64(), nullable=False),
    pa.field("kafka_timestamp", pa.timestamp("ms", "UTC"), nullable=False),
    pa.field("kafka_key", pa.string()),
)
"""The position of a record in Kafka; these columns come first."""
SYMBOL = "symbol"

_PLAIN: Mapping[str, pa.DataType] = {
    "boolean": pa.bool_(),
    "int": pa.int32(),
    "long": pa.int64(),
    "string": pa.string(),
    "bytes": pa.binary(),
}
_LOGICAL: Mapping[str, pa.DataType] = {
    "timestamp-micros": pa.timestamp("us", "UTC"),
    "timestamp-millis": pa.timestamp("ms", "UTC"),
}


def has_symbol(document: Mapping[str, Any]) -> bool:
    """Whether a record belongs to one market, so that its files go into a folder by symbol.

    Args:
        document: the record's Avro schema as parsed JSON.
    """
    return any(field["name"] == SYMBOL for field in document["fields"])


def arrow_schema(document: Mapping[str, Any]) -> pa.Schema:
    """Return the columns of a record's files. `symbol` is not one of them: as in Hive, the folder's name holds it.

    Every column may be null: in a compacted topic, a record without a value deletes its key.

    Args:
        document: the record's Avro schema as parsed JSON.

    Raises:
        CodecError: the schema has an unsupported type.
    """
    named: dict[str, pa.DataType] = {}
    fields = [
        pa.field(field["name"], arrow_type(field["type"], named), metadata=_documentation(field))
        for field in document["fields"]
        if field["name"] != SYMBOL
    ]
    return pa.schema([*KAFKA_FIELDS, *fields])


def arrow_type(schema: Any, named: dict[str, pa.DataType]) -> pa.DataType:
    """Convert one Avro type. A decimal becomes decimal128, a union with null its other branch.

    Args:
        schema: the type as parsed JSON.
        named: the records met so far by name; records met here are added.

    Raises:
        CodecError: there is no Arrow type for it here.
    """
    if isinstance(schema, str):
        known = _PLAIN.get(schema, named.get(schema))
        if known is None:
            raise CodecError(f"Avro type {schema!r} has no place in Parquet here")
        return known
    if isinstance(schema, list):
        branches = [branch for branch in schema if branch != "null"]
        if len(branches) != 1:
            raise CodecError(f"a union of {len(branches)} types has no place in Parquet here")
        return arrow_type(branches[0], named)
    logical = schema.get("logicalType")
    if logical == "decimal":
        return pa.decimal128(schema["precision"], schema.get("scale", 0))
    if logical in _LOGICAL:
        return _LOGICAL[logical]
    if schema["type"] == "array":
        return pa.list_(arrow_type(schema["items"], named))
    if schema["type"] == "map":
        return pa.map_(pa.string(), arrow_type(schema["values"], named))
    if schema["type"] == "record":
        inner = pa.struct([pa.field(field["name"], arrow_type(field["type"], named)) for field in schema["fields"]])
        named[schema["name"]] = inner
        return inner
    return arrow_type(schema["type"], named)


def _documentation(field: Mapping[str, Any]) -> dict[str, str] | None:
    return {"description": field["doc"]} if "doc" in field else None
