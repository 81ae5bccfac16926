"""Avro records to Kafka values and back, in both framings: Avro single-object encoding and the Confluent wire format.

Single-object encoding (Avro specification): `C3 01`, the schema's CRC-64-AVRO fingerprint (8 bytes, little-endian), the record.
Confluent wire format: `00`, the registry's schema id (4 bytes, big-endian), the record. Readers take either.

Two ways to read: `decode` leaves decimals Avro bytes and times integers of microseconds, as the hot path wants them; `read` gives
`Decimal` values to everybody else.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from backpack_streams.bus.avro import Row, engine
from backpack_streams.bus.decimals import bytes_from_unscaled, decimal_from_bytes, unscaled_from_text
from backpack_streams.bus.quick_rows import row_encoder
from backpack_streams.bus.schemas import Schema, own_schemas, parse_schema, released_schemas
from backpack_streams.errors import CodecError

SINGLE_OBJECT_MARKER = b"\xc3\x01"
SINGLE_OBJECT_HEADER_BYTES = 10
CONFLUENT_MARKER = b"\x00"
CONFLUENT_HEADER_BYTES = 5

Encoder = Callable[[Row], bytes]


class UnknownSchemaError(CodecError):
    """The bytes are framed, but their schema is not known here: a newer writer, or no record of ours."""


class SchemaRegistry(Protocol):
    """What the codec asks of a schema registry. Questions are answered from memory, which the `fetch` methods fill beforehand."""

    def schema_id(self, subject: str, schema: Schema) -> int:
        """The registry's id of `schema` under `subject` (`<topic>-value`). Raises `CodecError` where it was not fetched."""

    def schema_text(self, schema_id: int) -> str | None:
        """The JSON text behind an id, or None while it is not known."""

    def why_unknown(self, schema_id: int) -> str:
        """Why an id is not known."""

    async def fetch_ids(self, wanted: Mapping[str, Schema]) -> None:
        """Gets the id of each schema under its subject. Raises `CodecError` where the registry does not have or take it."""

    async def fetch_texts(self, schema_ids: Iterable[int]) -> None:
        """Gets the schemas behind ids; those that could not be fetched stay unknown."""


@dataclass(frozen=True, slots=True)
class _Reader:
    name: str
    header_bytes: int
    decode: Callable[[bytes], dict[str, Any]]
    decimals: "_Plan"
    is_own: bool
    """Whether records were written with the very schema that this version has."""


class Codec:
    """Writes records of the schemas this version has; reads those and any other version it was taught."""

    def __init__(self, registry: SchemaRegistry | None = None, schemas: Mapping[str, Schema] | None = None) -> None:
        self._schemas = dict(own_schemas() if schemas is None else schemas)
        self._registry = registry
        self._readers: dict[bytes, _Reader] = {}
        released = released_schemas().values() if schemas is None else ()
        for known in (*released, self._schemas):
            for schema in known.values():
                self.learn(schema.text)

    @property
    def registry(self) -> SchemaRegistry | None:
        """Who is asked for ids and schemas; None where records are framed without one."""
        return self._registry

    async def prepare(self, records: Mapping[str, str]) -> None:
        """Gets what writing needs from the registry: `records` names the record of each topic. Waits for one that is away.

        Raises:
            CodecError: no such record, or the registry does not have or take its schema.
        """
        if self._registry is not None:
            await self._registry.fetch_ids({f"{topic}-value": self.schema(record) for topic, record in records.items()})

    async def meet(self, values: Iterable[bytes | None]) -> None:
        """Gets what reading these values needs from the registry. A schema that could not be fetched shows when they are decoded."""
        if self._registry is None:
            return
        headers = {value[:CONFLUENT_HEADER_BYTES] for value in values if value and value[:1] == CONFLUENT_MARKER}
        new = [each for each in headers - self._readers.keys() if len(each) == CONFLUENT_HEADER_BYTES]
        if new:
            await self._registry.fetch_texts([int.from_bytes(header[1:], "big") for header in new])

    def encoder(self, record: str, topic: str) -> Encoder:
        """A function from a row to a Kafka value of `topic`. Times are microseconds; decimals are Avro bytes, those that are fields of
        the record itself may be text as well.

        With a registry the topic is to be prepared before the first row.

        Raises:
            CodecError: no such record. The function raises it for rows that do not fit.
        """
        schema = self.schema(record)
        registry = self._registry
        if registry is not None:
            return _confluent_encoder(
                row_encoder(schema.document), lambda: registry.schema_id(f"{topic}-value", schema)
            )
        return row_encoder(schema.document, SINGLE_OBJECT_MARKER + schema.fingerprint)

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

    def own_body(self, data: bytes, record: str) -> int:
        """Where the body of a value begins that was written with this version's schema of `record`; 0 for any other, or unknown."""
        reader = self._readers.get(data[:SINGLE_OBJECT_HEADER_BYTES]) or self._readers.get(
            data[:CONFLUENT_HEADER_BYTES]
        )
        return reader.header_bytes if reader is not None and reader.is_own and reader.name == record else 0

    def rows(self, record: str) -> Callable[[Row], Row]:
        """A function from a row with `Decimal`, int or text decimals, at any depth, to one that `encoder` takes."""
        plan = _plan(self.schema(record).document)

        def to_bytes(value: Any, scale: int) -> bytes:
            if isinstance(value, float):
                raise CodecError(f"{value!r} is a binary float: give a Decimal, an int or text")
            return value if isinstance(value, bytes) else bytes_from_unscaled(unscaled_from_text(str(value), scale))

        return lambda row: _convert(dict(row), plan, to_bytes)

    def schema(self, record: str) -> Schema:
        """This version's schema of `record`.

        Raises:
            CodecError: there is none of that name.
        """
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
                if self._registry is None:
                    raise UnknownSchemaError(
                        f"schema id {schema_id} is that of a schema registry, and none is set: give the one the writer uses "
                        "by --schema-registry-url or SCHEMA_REGISTRY_URL"
                    )
                text = self._registry.schema_text(schema_id)
                if text is None:
                    raise UnknownSchemaError(
                        f"schema id {schema_id} is not known: {self._registry.why_unknown(schema_id)}"
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
        is_own = own is not None and own.fingerprint == writer.fingerprint
        return _Reader(writer.name, header_bytes, decode, _plan(target.document), is_own)


def _confluent_encoder(encode: Encoder, schema_id: Callable[[], int]) -> Encoder:
    header = b""

    def framed(row: Row) -> bytes:
        nonlocal header
        if not header:
            header = CONFLUENT_MARKER + schema_id().to_bytes(CONFLUENT_HEADER_BYTES - 1, "big")
        return header + encode(row)

    return framed


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
