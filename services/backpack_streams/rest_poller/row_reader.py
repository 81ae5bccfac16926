"""Decodes rows of REST answers as records, by the `wire` attributes of the schemas. The only module that knows both sides.

By default, a field is read from the wire field with the same name in camel case (`step_size` from `stepSize`). Its
attribute `wire` may override that with a name, a path such as `filters.price.tickSize`, or a list of them, of which the
first that is present counts. The attribute `wire_unit` is the unit of a numeric time: `millis` or `micros`.
"""

from collections.abc import Mapping, Sequence
from types import GenericAlias
from typing import Any, get_origin

import msgspec

from backpack_streams.exchange.wire_decoding import LenientDecoder
from backpack_streams.exchange.wire_values import Exact, Int, Micros, Millis

FILLED_IN = frozenset(
    {"source", "event_time", "engine_time", "received_time", "cache_age_seconds", "raw", "is_settled"}
)
"""Fields that are read from the row only if they have the attribute `wire`."""

_PLAIN: Mapping[str, Any] = {"string": str, "boolean": bool, "long": int, "int": Int}
_TIMES: Mapping[str, Any] = {"millis": Millis, "micros": Micros}


class RowReader:
    """Decodes rows as records of one schema, with decimals as text."""

    def __init__(self, document: Mapping[str, Any], given: Sequence[str] = ()) -> None:
        """Prepare.

        Args:
            document: the schema as parsed JSON.
            given: record fields that the request determines and the row lacks.

        Raises:
            ValueError: the schema has a type that rows cannot provide.
        """
        self._decode = LenientDecoder(_type_of_record(document, given, {}), [_wire_spelling(name) for name in given])

    def __call__(self, raw: bytes) -> tuple[dict[str, Any], list[str]]:
        """Return the record's fields, and the names of the row's unknown fields.

        Raises:
            UnreadableMessageError: a field is missing or has the wrong type.
        """
        row, unknown = self._decode(raw)
        return _plain(row), unknown


def _type_of_record(document: Mapping[str, Any], given: Sequence[str], named: dict[str, Any]) -> type[msgspec.Struct]:
    fields = [
        each
        for each in document["fields"]
        if each["name"] not in given and ("wire" in each or each["name"] not in FILLED_IN)
    ]
    named[document["name"]] = kind = msgspec.defstruct(
        document["name"], [_member(each, named) for each in fields], kw_only=True
    )
    return kind


def _member(field: Mapping[str, Any], named: dict[str, Any]) -> tuple[str, Any, Any]:
    wire = field.get("wire", _wire_spelling(field["name"]))
    place = wire if isinstance(wire, str) else "|".join(wire)
    kinds = field["type"] if isinstance(field["type"], list) else [field["type"]]
    [kind] = [_type_of(kind, field.get("wire_unit", "millis"), named) for kind in kinds if kind != "null"]
    if "null" in kinds:
        return field["name"], kind | None, msgspec.field(name=place, default=None)
    if get_origin(kind) is list:
        return field["name"], kind, msgspec.field(name=place, default_factory=list)
    return field["name"], kind, msgspec.field(name=place)


def _type_of(kind: Any, unit: str, named: dict[str, Any]) -> Any:
    if isinstance(kind, str):
        return _PLAIN[kind] if kind in _PLAIN else named[kind.rpartition(".")[2]]
    if kind.get("logicalType") == "decimal":
        return Exact
    if kind.get("logicalType") == "timestamp-micros":
        return _TIMES[unit]
    if kind["type"] == "record":
        return _type_of_record(kind, (), named)
    if kind["type"] == "array" and isinstance(kind["items"], Mapping):
        return GenericAlias(list, _type_of(kind["items"], unit, named))
    raise ValueError(f"rows cannot be read as {kind}")


def _wire_spelling(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(word.capitalize() for word in others)


def _plain(value: Any) -> Any:
    if isinstance(value, msgspec.Struct):
        return {name: _plain(getattr(value, name)) for name in value.__struct_fields__}
    return [_plain(item) for item in value] if isinstance(value, list) else value
