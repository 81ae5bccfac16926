"""Converts Avro records to Kafka values and back, in both framings. Readers accept either.

- Avro single-object encoding (Avro specification): `C3 01`, the schema's CRC-64-AVRO fingerprint (8 bytes,
  little-endian), the record.
- Confluent wire format: `00`, the registry's schema id (4 bytes, big-endian), the record.

`decode` returns decimals as Avro bytes and times as integer microseconds, for the hot path; `read` returns `Decimal`
values.
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
    """The value is framed, but its schema is unknown: a newer version wrote it, or another program did."""


class SchemaRegistry(Protocol):
    """What the codec needs from a schema registry. Lookups are answered from memory, which the `fetch` methods fill beforehand."""

    def schema_id(self, subject: str, schema: Schema) -> int:
        """Return the registry's id of `schema` under `subject` (`<topic>-value`).

        Raises:
            CodecError: the id was not fetched.
        """

    def schema_text(self, schema_id: int) -> str | None:
        """Return the schema's JSON text, None if the id is unknown."""

    def why_unknown(self, schema_id: int) -> str:
        """Return the reason why an id is unknown, for messages."""

    async def fetch_ids(self, wanted: Mapping[str, Schema]) -> None:
        """Fetch the id of each schema, by subject.

        Raises:
            CodecError: the registry does not hold a schema, or refuses it.
        """

    async def fetch_texts(self, schema_ids: Iterable[int]) -> None:
        """Fetch schemas by id. Ids that cannot be fetched stay unknown."""


@dataclass(frozen=True, slots=True)
class _Reader:
    name: str
    header_bytes: int
    decode: Callable[[bytes], dict[str, Any]]
    decimals: "_Plan"
    is_own: bool
    """Whether the writer's schema is identical to this version's."""


class Codec:
    """Writes records of this version's schemas; reads those and every other version it has learned.

    Args:
        registry: the source of schema ids and schemas, None for Avro single-object encoding.
        schemas: the schemas by record name, None for those of this version and all released ones.
    """

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
        """The source of schema ids and schemas, None if records are framed without a registry."""
        return self._registry

    async def prepare(self, records: Mapping[str, str]) -> None:
        """Fetch from the registry what writing needs. Waits while the registry is unavailable.

        Args:
            records: the record name of each topic, by full topic name.

        Raises:
            CodecError: no such record, or the registry lacks or refuses its schema.
        """
        if self._registry is not None:
            await self._registry.fetch_ids({f"{topic}-value": self.schema(record) for topic, record in records.items()})

    async def meet(self, values: Iterable[bytes | None]) -> None:
        """Fetch from the registry what reading these Kafka values needs. A schema that cannot be fetched is reported when
        the value is decoded.
        """
        if self._registry is None:
            return
        headers = {value[:CONFLUENT_HEADER_BYTES] for value in values if value and value[:1] == CONFLUENT_MARKER}
        new = [each for each in headers - self._readers.keys() if len(each) == CONFLUENT_HEADER_BYTES]
        if new:
            await self._registry.fetch_texts([int.from_bytes(header[1:], "big") for header in new])

    def encoder(self, record: str, topic: str) -> Encoder:
        """Return a function from a record to a Kafka value.

        The record's times are microseconds since the Unix epoch. Decimals are Avro bytes; decimals at the top level may
        also be text. With a registry, call `prepare` for the topic before encoding the first record.

        Args:
            record: the record name.
            topic: the full topic name.

        Raises:
            CodecError: no such record. The returned function raises it for records that do not fit.
        """
        schema = self.schema(record)
        registry = self._registry
        if registry is not None:
            return _confluent_encoder(
                row_encoder(schema.document), lambda: registry.schema_id(f"{topic}-value", schema)
            )
        return row_encoder(schema.document, SINGLE_OBJECT_MARKER + schema.fingerprint)

    def learn(self, text: str) -> None:
        """Make records written with another schema readable, resolved into this version's record of the same name if there
        is one.

        Args:
            text: the writer's schema as JSON.

        Raises:
            CodecError: not an Avro record schema.
        """
        writer = parse_schema(text)
        self._readers[SINGLE_OBJECT_MARKER + writer.fingerprint] = self._reader(writer, SINGLE_OBJECT_HEADER_BYTES)

    def decode(self, data: bytes) -> tuple[str, dict[str, Any]]:
        """Return the record name and the record. Decimals are Avro bytes, times are microseconds since the Unix epoch.

        Raises:
            UnknownSchemaError: the value is framed, but its schema is unknown.
            CodecError: the bytes are not a record of the schema that they name.
        """
        reader = self._readers.get(data[:SINGLE_OBJECT_HEADER_BYTES]) or self._find(data)
        return reader.name, reader.decode(data[reader.header_bytes :])

    def read(self, data: bytes) -> tuple[str, dict[str, Any]]:
        """Return the record name and the record. Decimals are `Decimal`, times are microseconds since the Unix epoch.

        Raises:
            UnknownSchemaError: the value is framed, but its schema is unknown.
            CodecError: the bytes are not a record of the schema that they name.
        """
        reader = self._readers.get(data[:SINGLE_OBJECT_HEADER_BYTES]) or self._find(data)
        values = reader.decode(data[reader.header_bytes :])
        return reader.name, _convert(values, reader.decimals, decimal_from_bytes)

    def own_body(self, data: bytes, record: str) -> int:
        """Return the index of the record's first byte in a Kafka value; 0 unless this version's schema of `record` wrote
        the value.
        """
        reader = self._readers.get(data[:SINGLE_OBJECT_HEADER_BYTES]) or self._readers.get(
            data[:CONFLUENT_HEADER_BYTES]
        )
        return reader.header_bytes if reader is not None and reader.is_own and reader.name == record else 0

    def rows(self, record: str) -> Callable[[Row], Row]:
        """Return a function that converts `Decimal`, int and text decimals at any depth to Avro bytes, as `encoder` takes
        them.

        Raises:
            CodecError: no such record. The returned function raises it for binary floats and for numbers that do not
                fit.
        """
        plan = _plan(self.schema(record).document)

        def to_bytes(value: Any, scale: int) -> bytes:
            if isinstance(value, float):
                raise CodecError(f"{value!r} is a binary float: pass a Decimal, an int or text")
            return value if isinstance(value, bytes) else bytes_from_unscaled(unscaled_from_text(str(value), scale))

        return lambda row: _convert(dict(row), plan, to_bytes)

    def schema(self, record: str) -> Schema:
        """Return this version's schema of a record.

        Raises:
            CodecError: there is no record of this name.
        """
        try:
            return self._schemas[record]
        except KeyError:
            raise CodecError(f"there is no record {record}; the records are {', '.join(self._schemas)}") from None

    def _find(self, data: bytes) -> _Reader:
        """Return the reader of a value. Readers for the Confluent framing are built on first use."""
        if data[:1] == CONFLUENT_MARKER and len(data) >= CONFLUENT_HEADER_BYTES:
            header = data[:CONFLUENT_HEADER_BYTES]
            reader = self._readers.get(header)
            if reader is None:
                schema_id = int.from_bytes(header[1:], "big")
                if self._registry is None:
                    raise UnknownSchemaError(
                        f"schema id {schema_id} comes from a schema registry, and none is configured: set the writer's registry "
                        "with --schema-registry-url or SCHEMA_REGISTRY_URL"
                    )
                text = self._registry.schema_text(schema_id)
                if text is None:
                    raise UnknownSchemaError(
                        f"schema id {schema_id} is unknown: {self._registry.why_unknown(schema_id)}"
                    )
                reader = self._readers[header] = self._reader(parse_schema(text), CONFLUENT_HEADER_BYTES)
            return reader
        if data[:2] == SINGLE_OBJECT_MARKER and len(data) >= SINGLE_OBJECT_HEADER_BYTES:
            fingerprint = data[2:SINGLE_OBJECT_HEADER_BYTES][::-1].hex()
            raise UnknownSchemaError(
                f"schema fingerprint {fingerprint} is unknown: another version wrote the record; upgrade the reader"
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
"""The position of a record's decimals: a scale, a plan by field name, the plan of an array's items, or None."""


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
