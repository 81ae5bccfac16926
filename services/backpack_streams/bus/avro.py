"""Encodes and decodes single Avro records. Decimals stay bytes and times stay integers.

cavro is used if it is installed: it is two to three times as fast, but has no wheels for some Python versions and
processors. fastavro is the fallback, and always does schema resolution (reading a record that another version of the
schema wrote).
"""

import io
import json
from collections.abc import Mapping
from typing import Any, Protocol

import fastavro
from fastavro.schema import SchemaParseException, UnknownType

from backpack_streams.errors import CodecError

__all__ = ["CavroEngine", "Engine", "FastavroEngine", "Row", "engine", "without_logical_types"]

try:
    import cavro
except ImportError:  # no wheel for this Python or processor: the same results, slower
    cavro = None

Row = Mapping[str, Any]
_UNREADABLE = (
    EOFError,
    ValueError,
    TypeError,
    IndexError,
    KeyError,
    OverflowError,
    MemoryError,
    fastavro.read.SchemaResolutionError,
)


class Engine(Protocol):
    """Encodes and decodes records of one schema."""

    def encode(self, row: Row) -> bytes:
        """Return the record's bytes.

        Raises:
            CodecError: the record does not fit the schema.
        """

    def decode(self, body: bytes) -> dict[str, Any]:
        """Return the record.

        Raises:
            CodecError: the bytes are not a record of the schema.
        """


def engine(document: Mapping[str, Any], writer: Mapping[str, Any] | None = None) -> Engine:
    """Return an engine for records of a schema.

    Args:
        document: the schema to write and to read with, as parsed JSON.
        writer: the schema that the records were written with, None if it is `document`.

    Raises:
        CodecError: not a valid Avro schema.
    """
    if cavro is not None and writer is None:
        return CavroEngine(document)
    return FastavroEngine(document, writer)


class FastavroEngine:
    """The portable engine. Raises as `Engine` does."""

    def __init__(self, document: Mapping[str, Any], writer: Mapping[str, Any] | None = None) -> None:
        try:
            self._schema = fastavro.parse_schema(without_logical_types(document), {})
            self._writer = self._schema if writer is None else fastavro.parse_schema(without_logical_types(writer), {})
        except (SchemaParseException, UnknownType, KeyError, TypeError) as error:
            raise CodecError(f"not an Avro schema: {error}") from error
        self._name = document["name"]
        self._resolves = writer is not None

    def encode(self, row: Row) -> bytes:
        """Return the record's bytes."""
        out = io.BytesIO()
        try:
            fastavro.schemaless_writer(out, self._schema, row, strict=True)
        except (ValueError, TypeError, KeyError, OverflowError, AttributeError) as error:
            raise CodecError(f"the record does not fit {self._name}: {error}") from error
        return out.getvalue()

    def decode(self, body: bytes) -> dict[str, Any]:
        """Return the record, resolved into the reader's schema."""
        try:
            record = fastavro.schemaless_reader(
                io.BytesIO(body), self._writer, self._schema if self._resolves else None
            )
        except _UNREADABLE as error:
            raise CodecError(f"the bytes are not a {self._name}: {error or type(error).__name__}") from error
        if not isinstance(record, dict):
            raise CodecError(f"the bytes are not a {self._name}")
        return record


class CavroEngine:
    """The fast engine. Raises as `Engine` does."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        options = cavro.DEFAULT_OPTIONS.replace(record_decodes_to_dict=True, record_allow_extra_fields=False)
        try:
            self._name = document["name"]
            schema = cavro.Schema(json.dumps(without_logical_types(document)), options)
        except (cavro.CavroException, KeyError, ValueError, TypeError) as error:
            raise CodecError(f"not an Avro schema: {error}") from error
        self._encode = schema.binary_encode
        self._decode = schema.binary_decode

    def encode(self, row: Row) -> bytes:
        """Return the record's bytes."""
        try:
            body: bytes = self._encode(row)
        except (cavro.CavroException, TypeError, ValueError, OverflowError) as error:
            raise CodecError(f"the record does not fit {self._name}: {error}") from error
        return body

    def decode(self, body: bytes) -> dict[str, Any]:
        """Return the record."""
        try:
            record: dict[str, Any] = self._decode(body)
        except (cavro.CavroException, EOFError, ValueError, OverflowError, MemoryError) as error:
            raise CodecError(f"the bytes are not a {self._name}: {error or type(error).__name__}") from error
        return record


def without_logical_types(node: Any) -> Any:
    """Return the schema without logical types, so that decimals and times stay as Avro stores them. Converting is the
    caller's choice, because it costs time.
    """
    if isinstance(node, Mapping):
        skipped = ("logicalType", "precision", "scale")
        return {key: without_logical_types(value) for key, value in node.items() if key not in skipped}
    if isinstance(node, list):
        return [without_logical_types(item) for item in node]
    return node
