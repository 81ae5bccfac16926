"""Encodes records to Avro bytes, with prices and quantities as the exchange's text.

If a C compiler was available at installation, `_quick_rows.c` encodes records without arrays and nested records, in a
fraction of the engine's time. The schema's engine encodes everything else (other schemas, numbers with an exponent,
records that do not fit), with the same result.
"""

import importlib
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import TYPE_CHECKING, Any

from backpack_streams.bus.avro import Row, engine
from backpack_streams.bus.decimals import DecimalBytes

__all__ = ["RowEncoder", "compiled", "row_encoder"]

compiled: ModuleType | None
"""The module compiled from `_quick_rows.c`, None if there was no compiler. Results are the same without it, only slower."""
try:
    compiled = importlib.import_module("backpack_streams.bus._quick_rows")
except ImportError:
    compiled = None
if TYPE_CHECKING:
    from backpack_streams.bus import _quick_rows as _typed  # typed by its stub
else:
    _typed = compiled

_KINDS = {"string": b"s", "int": b"i", "long": b"l", "boolean": b"b"}
RowEncoder = Callable[[Row], bytes]


def row_encoder(document: Mapping[str, Any], header: bytes = b"") -> RowEncoder:
    """Return a function that encodes records.

    Times are microseconds since the Unix epoch. Decimals are Avro bytes; decimals at the top level may also be text.

    Args:
        document: the schema as parsed JSON.
        header: bytes to put before each record.

    Raises:
        CodecError: not a valid Avro schema. The returned function raises it for records that do not fit, and
            `DecimalDoesNotFit` for numbers.
    """
    by_engine = _by_engine(document, header)
    program = None if compiled is None else _program(document)
    if compiled is None or program is None:
        return by_engine
    names, kinds = program
    encode_usual = _typed.encode

    def encode(row: Row) -> bytes:
        value = encode_usual(header, names, kinds, row)
        return by_engine(row) if value is None else value

    return encode


def _by_engine(document: Mapping[str, Any], header: bytes) -> RowEncoder:
    encode_row = engine(document).encode
    tables: dict[int, DecimalBytes] = {}
    numbers = []
    for field in document["fields"]:
        decimal = _decimal(_without_null(field["type"])[0])
        if decimal is not None:
            numbers.append((field["name"], tables.setdefault(decimal, DecimalBytes(decimal))))

    def encode(row: Row) -> bytes:
        texts = {name: table[row[name]] for name, table in numbers if type(row.get(name)) is str}
        return header + encode_row({**row, **texts} if texts else row)

    return encode


def _program(document: Mapping[str, Any]) -> tuple[tuple[str, ...], bytes] | None:
    """Return the names and kinds of all fields for `_quick_rows.c`; None if it cannot encode this schema."""
    names, kinds = [], b""
    for field in document["fields"]:
        kind, nullable = _without_null(field["type"])
        scale = _decimal(kind)
        base = kind["type"] if isinstance(kind, Mapping) else kind
        letter = b"d" if scale is not None else _KINDS.get(base) if isinstance(base, str) else None
        if letter is None:
            return None
        names.append(field["name"])
        kinds += letter + bytes((nullable, scale or 0))
    return tuple(names), kinds


def _without_null(kind: Any) -> tuple[Any, bool]:
    """Return the type in `["null", type]` and True; any other type unchanged and False."""
    if isinstance(kind, list) and len(kind) == 2 and kind[0] == "null":
        return kind[1], True
    return kind, False


def _decimal(kind: Any) -> int | None:
    """Return the scale of a decimal type, None for any other type."""
    is_decimal = isinstance(kind, Mapping) and kind.get("type") == "bytes" and kind.get("logicalType") == "decimal"
    return int(kind.get("scale", 0)) if is_decimal else None
