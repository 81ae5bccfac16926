"""Rows of a schema to Avro bytes, with prices and quantities as the text that the exchange sent.

A record without arrays and records in it is written by `_quick_rows.c`, where the project was installed with a C compiler at hand:
straight from the row, in a fraction of the time that the schema's engine takes. What that does not take (another shape of record,
a number with an exponent, a row that does not fit) and everything elsewhere is the engine's, with the same result.
"""

import importlib
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import TYPE_CHECKING, Any

from backpack_streams.bus.avro import Row, engine
from backpack_streams.bus.decimals import DecimalBytes

__all__ = ["RowEncoder", "compiled", "row_encoder"]

compiled: ModuleType | None
"""What was made of `_quick_rows.c`; None where there was no compiler: the same results, slower."""
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
    """What writes rows as records of `document`, `header` before each.

    Times are integers of microseconds. Decimals are Avro bytes; those that are fields of the record itself may be text as well.

    Raises:
        CodecError: the schema is none. The function raises it for rows that do not fit, `DecimalDoesNotFit` for their numbers.
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
    """Names and kinds of all fields, as `_quick_rows.c` wants them; None for a record that it does not know how to write."""
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
    """The type behind `["null", type]`, and whether it was such a one; any other union as it stands."""
    if isinstance(kind, list) and len(kind) == 2 and kind[0] == "null":
        return kind[1], True
    return kind, False


def _decimal(kind: Any) -> int | None:
    """The scale of a decimal, None for another type."""
    is_decimal = isinstance(kind, Mapping) and kind.get("type") == "bytes" and kind.get("logicalType") == "decimal"
    return int(kind.get("scale", 0)) if is_decimal else None
