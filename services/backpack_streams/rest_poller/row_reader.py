"""Rows of REST answers as records, by what the schemas say of the wire: the only place that knows both.

A field of a schema is read from the wire's field of the same name in the wire's spelling (`step_size` from `stepSize`), or from what
its attribute `wire` says: a name, a path such as `filters.price.tickSize`, or several of them, of which the first that is there counts.
The attribute `wire_unit` is the unit of a time that comes as a number: `millis` or `micros`.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from backpack_streams.exchange.rest_fields import FieldError, Row

FILLED_IN = frozenset(
    {"source", "event_time", "engine_time", "received_time", "cache_age_seconds", "raw", "is_settled"}
)
"""Fields that are not read from the row unless the schema says where they are in it."""
NO_VALUE = ("N/A", "")
"""What the exchange writes where a number would be and there is none."""

_MICROS = {"millis": 1000, "micros": 1}
_INT_BOUND = 2**31

_Read = Callable[[Row, str, bool], Any]
"""Reads a field of a row; the truth value says whether it may be absent."""


class RowReader:
    """Reads rows as records of one schema, decimals as text. `given` are fields that the asker knows and the row does not say."""

    def __init__(self, document: Mapping[str, Any], given: Sequence[str] = ()) -> None:
        named: dict[str, Any] = {}
        self._known = [_wire_spelling(name) for name in given]
        self._fields = [
            _Field(field, named)
            for field in document["fields"]
            if field["name"] not in given and ("wire" in field or field["name"] not in FILLED_IN)
        ]

    def __call__(self, row: Row) -> dict[str, Any]:
        """The record's fields.

        Raises:
            FieldError: a field is missing, or is not what the record holds.
        """
        row.leave(*self._known)
        return {field.name: field.read(row) for field in self._fields}


class _Field:
    """One field of a record and where it is on the wire."""

    def __init__(self, field: Mapping[str, Any], named: dict[str, Any]) -> None:
        self.name: str = field["name"]
        wire = field.get("wire", _wire_spelling(self.name))
        self._paths = [path.split(".") for path in ([wire] if isinstance(wire, str) else wire)]
        kinds = field["type"] if isinstance(field["type"], list) else [field["type"]]
        self._is_optional = "null" in kinds
        [kind] = [kind for kind in kinds if kind != "null"]
        self._read = _read_of(kind, _MICROS[field.get("wire_unit", "millis")], named)

    def read(self, row: Row) -> Any:
        found, name = row, ""
        for path in self._paths:
            found, name = row, path[-1]
            for part in path[:-1]:
                found = found.part(part)
            if found.has(name):
                break
        return self._read(found, name, self._is_optional)


def _wire_spelling(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(word.capitalize() for word in others)


def _read_of(kind: Any, micros: int, named: dict[str, Any]) -> _Read:
    if isinstance(kind, str):
        return _PLAIN[kind] if kind in _PLAIN else _record_read(named[kind.rpartition(".")[2]])
    if kind.get("logicalType") == "decimal":
        return _decimal
    if kind.get("logicalType") == "timestamp-micros":
        return lambda row, name, is_optional: (
            row.optional_moment_us(name, micros) if is_optional else row.moment_us(name, micros)
        )
    if kind["type"] == "record":
        named[kind["name"]] = kind
        return _record_read(kind)
    if kind["type"] == "array" and isinstance(kind["items"], Mapping):
        named[kind["items"]["name"]] = kind["items"]
        read_item = RowReader(kind["items"])
        return lambda row, name, _: [read_item(item) for item in row.parts(name)]
    raise ValueError(f"no row is read as {kind}")


def _record_read(document: Mapping[str, Any]) -> _Read:
    read_part = RowReader(document)
    return lambda row, name, is_optional: None if is_optional and not row.has(name) else read_part(row.part(name))


def _decimal(row: Row, name: str, is_optional: bool) -> str | None:
    return row.optional_decimal(name, absent=NO_VALUE) if is_optional else row.decimal(name)


def _text(row: Row, name: str, is_optional: bool) -> str | None:
    return row.optional_text(name) if is_optional else row.text(name)


def _boolean(row: Row, name: str, is_optional: bool) -> bool | None:
    return row.optional_boolean(name) if is_optional else row.boolean(name)


def _long(row: Row, name: str, is_optional: bool) -> int | None:
    return row.optional_integer(name) if is_optional else row.integer(name)


def _int(row: Row, name: str, is_optional: bool) -> int | None:
    value = _long(row, name, is_optional)
    if value is not None and not -_INT_BOUND <= value < _INT_BOUND:
        raise FieldError(f"field `{name}`: outside the 32-bit range: {value}")
    return value


_PLAIN: Mapping[str, _Read] = {"string": _text, "boolean": _boolean, "long": _long, "int": _int}
