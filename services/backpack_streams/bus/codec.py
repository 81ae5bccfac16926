"""Avro records to Kafka values and back, in both framings: Avro single-object encoding and the Confluent wire format.

Single-object encoding (Avro specification): `C3 01`, the schema's CRC-64-AVRO fingerprint (8 bytes, little-endian), the record.
Confluent wire format: `00`, the registry's schema id (4 bytes, big-endian), the record. Readers take either.

Two ways to read: `decode` leaves decimals Avro bytes and times integers of microseconds, as the hot path wants them; `read` gives
`Decimal` values to everybody else.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from backpack_streams.bus.avro import Row, engine
from backpack_streams.bus.decimals import bytes_from_unscaled, decimal_from_bytes, unscaled_from_text
from backpack_streams.bus.schemas import Schema, own_schemas, parse_schema
from backpack_streams.errors import CodecError

SINGLE_OBJECT_MARKER = b"\xc3\x01"
SINGLE_OBJECT_HEADER_BYTES = 10
CONFLUENT_MARKER = b"\x00"
CONFLUENT_HEADER_BYTES = 5

Encoder = Callable[[Row], bytes]


class UnknownSchemaError(CodecError):
    """The bytes are framed, but their schema is not known here: a newer writer, or no record of ours."""


class SchemaRegistry(Protocol):
    """What the codec asks of a schema registry. Answers come from its cache; what it does not have it raises `CodecError` for."""

    def schema_id(self, subject: str, schema: Schema) -> int:
        """The registry's id of `schema` under `subject` (`<topic>-value`)."""

    def schema_text(self, schema_id: int) -> str | None:
        """The JSON text behind an id, or None while it is not known."""


@dataclass(frozen=True, slots=True)
class _Reader:
    name: str
    header_bytes: int
    decode: Callable[[bytes], dict[str, Any]]
    decimals: "_Plan"


class Codec:
    """Writes records of the schemas this version has; reads those and any other version it was taught."""

    def __init__(self, registry: SchemaRegistry | None = None, schemas: Mapping[str, Schema] | None = None) -> None:
        self._schemas = dict(own_schemas() if schemas is None else schemas)
        self._registry = registry
        self._readers: dict[bytes, _Reader] = {}
        for schema in self._schemas.values():
            self.learn(schema.text)

    def encoder(self, record: str, topic: str) -> Encoder:
        """A function from a row to a Kafka value of `topic`. Decimals in rows are Avro bytes, times are microseconds.

        Raises:
            CodecError: no such record, or the registry refuses it. The function raises it for rows that do not fit.
        """
        schema = self._schema(record)
        if self._registry is None:
            header = SINGLE_OBJECT_MARKER + schema.fingerprint
        else:
            header = CONFLUENT_MARKER + self._registry.schema_id(f"{topic}-value", schema).to_bytes(4, "big")
        encode = engine(schema.document).encode
        return lambda row: header + encode(row)

    def learn(self, text: str) -> None:
        """Make records written with this schema readable: as it stands, or resolved into our own record of that name."""
        writer = parse_schema(text)
        self._readers[SINGLE_OBJECT_MARKER + writer.fingerprint] = self._reader(writer, SINGLE_OBJECT_HEADER_BYTES)

    def decode(self, data: bytes) -> tuple[str, dict[str, Any]]:
        """The record's name and the record, decimals as Avro bytes, times as integers of microseconds.

        Raises:
            UnknownSchemaError: framed, but by a schema that is not known here.
            CodecError: the bytes are no record of the schema they name.
        """
        reader = self._readers.get(data[:SINGLE_OBJECT_HEADER_BYTES]) or self._find(data)
        return reader.name, reader.decode(data[reader.header_bytes :])

    def read(self, data: bytes) -> tuple[str, dict[str, Any]]:
        """The record's name and the record, decimals as `Decimal`, times as integers of microseconds.

        Raises: as `decode` does.
        """
        reader = self._readers.get(data[:SINGLE_OBJECT_HEADER_BYTES]) or self._find(data)
        values = reader.decode(data[reader.header_bytes :])
        return reader.name, _convert(values, reader.decimals, decimal_from_bytes)

    def rows(self, record: str) -> Callable[[Row], Row]:
        """A function from a row with `Decimal`, int or text decimals to one that `encoder` takes."""
        plan = _plan(self._schema(record).document)

        def to_bytes(value: Any, scale: int) -> bytes:
            if isinstance(value, float):
                raise CodecError(f"{value!r} is a binary float: give a Decimal, an int or text")
            return value if isinstance(value, bytes) else bytes_from_unscaled(unscaled_from_text(str(value), scale))

        return lambda row: _convert(dict(row), plan, to_bytes)

    def _schema(self, record: str) -> Schema:
        try:
            return self._schemas[record]
        except KeyError:
            raise CodecError(f"there is no record {record}; there are {', '.join(self._schemas)}") from None

    def _find(self, data: bytes) -> _Reader:
        """Readers of the Confluent framing are made when first met; everything else is an error said clearly."""
        if data[:1] == CONFLUENT_MARKER and len(data) >= CONFLUENT_HEADER_BYTES:
            header = data[:CONFLUENT_HEADER_BYTES]
            reader = self._readers.get(header)
            if reader is None:
                schema_id = int.from_bytes(header[1:], "big")
                text = self._registry.schema_text(schema_id) if self._registry else None
                if text is None:
                    raise UnknownSchemaError(
                        f"schema id {schema_id} is not known: set the schema registry the writer used"
                    )
                reader = self._readers[header] = self._reader(parse_schema(text), CONFLUENT_HEADER_BYTES)
            return reader
        if data[:2] == SINGLE_OBJECT_MARKER and len(data) >= SINGLE_OBJECT_HEADER_BYTES:
            fingerprint = data[2:SINGLE_OBJECT_HEADER_BYTES][::-1].hex()
            raise UnknownSchemaError(
                f"schema fingerprint {fingerprint} is not known: written by another version; upgrade the reader"
            )
        raise CodecError(
            f"{len(data)} bytes that start {data[:4].hex(' ') or 'with nothing'} are not framed as an Avro record"
        )

    def _reader(self, writer: Schema, header_bytes: int) -> _Reader:
        own = self._schemas.get(writer.name)
        if own is None or own.fingerprint == writer.fingerprint:
            target = own or writer
            decode = engine(target.document).decode
        else:
            target = own
            decode = engine(own.document, writer.document).decode
        return _Reader(writer.name, header_bytes, decode, _plan(target.document))


_Plan = int | dict[str, "_Plan"] | list["_Plan"] | None
"""Where the decimals of a record are: a scale, fields by name, items of an array, or nowhere."""


def _plan(schema: Any, named: dict[str, "_Plan"] | None = None) -> "_Plan":
    named = {} if named is None else named
    if isinstance(schema, str):
        return named.get(schema)
    if isinstance(schema, list):
        return next((plan for plan in (_plan(branch, named) for branch in schema) if plan is not None), None)
    if schema.get("logicalType") == "decimal":
        return int(schema.get("scale", 0))
    if schema["type"] == "array":
        items = _plan(schema["items"], named)
        return None if items is None else [items]
    if schema["type"] == "record":
        fields = {field["name"]: _plan(field["type"], named) for field in schema["fields"]}
        plan: dict[str, _Plan] = {name: inner for name, inner in fields.items() if inner is not None}
        named[schema["name"]] = plan or None
        return plan or None
    return _plan(schema["type"], named) if isinstance(schema["type"], (dict, list)) else None


def _convert(value: Any, plan: "_Plan", change: Callable[[Any, int], Any]) -> Any:
    if plan is None or value is None:
        return value
    if isinstance(plan, int):
        return change(value, plan)
    if isinstance(plan, list):
        return [_convert(item, plan[0], change) for item in value]
    return {name: _convert(item, plan.get(name), change) for name, item in value.items()}


__all__ = ["Codec", "Encoder", "Row", "SchemaRegistry", "UnknownSchemaError"]
