"""Parses single fields of a REST answer: as tolerant as the wire requires, and exact for money.

The wire sends numbers as strings and strings as numbers, omits optional fields or sends null, and adds fields at any time. No price,
quantity or rate is ever converted to a binary float.
"""

import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any, Final, TypeVar

import msgspec

Value = TypeVar("Value")

_LONGEST_DECIMAL_CHARACTERS = 128
"""A security limit: `1e999999` written without an exponent is a megabyte. Schemas hold 38 digits."""
_INT64_BOUND = 2**63

_PLAIN_DECIMAL = re.compile(r"-?[0-9]+(?:\.[0-9]+)?")
_ANY_DECIMAL = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,4})?")
_ISO_TIME = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})[T ]([0-9]{2}):([0-9]{2})(?::([0-9]{2})(?:\.([0-9]{1,9}))?)?"
    r"(?:(Z)|([+-])([0-9]{2}):([0-9]{2}))?"
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ONE_MICROSECOND = timedelta(microseconds=1)

# The hook gets the digits of a JSON number with a point or an exponent before a float is made of them.
_decoder: Final = msgspec.json.Decoder(Any, float_hook=str)


class FieldError(ValueError):
    """A value is missing or does not fit its field; the text says which and why."""


def decode_exact(raw: bytes | msgspec.Raw) -> Any:
    """Decode JSON with every number exact: integers as int, all other numbers as the str of their digits.

    Raises:
        FieldError: the bytes are not JSON.
    """
    try:
        return _decoder.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise FieldError(f"not JSON: {error}") from error
    except RecursionError as error:
        raise FieldError("not usable JSON: nested too deeply") from error


def decimal_text(value: object) -> str:
    """Return a decimal as text without exponent: a plain string exactly as sent, anything else by its digits.

    Raises:
        FieldError: not a finite decimal number, or more than 128 characters long.
    """
    if isinstance(value, str):
        return _decimal_text_of_text(value)
    if isinstance(value, int) and not isinstance(value, bool) and value.bit_length() < 3 * _LONGEST_DECIMAL_CHARACTERS:
        return str(value)
    raise FieldError(f"not a decimal number: {_shown(value)}")


def integer(value: object) -> int:
    """Return a 64-bit integer, sent as a number or as text (`"123"`, also `123.0` and `1e3`).

    Raises:
        FieldError: not a whole number, or outside the signed 64-bit range.
    """
    if isinstance(value, str):
        whole, point, fraction = _decimal_text_of_text(value).partition(".")
        if point and fraction.strip("0"):
            raise FieldError(f"not a whole number: {_shown(value)}")
        value = int(whole)
    if not isinstance(value, int) or isinstance(value, bool):
        raise FieldError(f"not a whole number: {_shown(value)}")
    if not -_INT64_BOUND <= value < _INT64_BOUND:
        raise FieldError(f"outside the 64-bit range: {_shown(value)}")
    return value


def boolean(value: object) -> bool:
    """Return a boolean, sent as such or as the text `true` or `false`.

    Raises:
        FieldError: anything else.
    """
    if isinstance(value, bool):
        return value
    if value in ("true", "false"):
        return value == "true"
    raise FieldError(f"not true or false: {_shown(value)}")


def text(value: object) -> str:
    """Return a text; an identifier may arrive as a number.

    Raises:
        FieldError: a list, an object or a boolean.
    """
    if isinstance(value, str):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return decimal_text(value)
    raise FieldError(f"not a text: {_shown(value)}")


def time_us(value: object) -> int:
    """Microseconds since the Unix epoch of an ISO 8601 text; without a zone it is UTC, as the exchange writes it.

    Accepts `T` or a blank between date and time, with or without seconds and fraction. The arithmetic is integer throughout; digits beyond
    the microsecond are cut.

    Raises:
        FieldError: not such a text, or no existing moment.
    """
    match = _ISO_TIME.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise FieldError(f"not an ISO 8601 time: {_shown(value)}")
    year, month, day, hour, minute, second, fraction, _, sign, zone_hours, zone_minutes = match.groups()
    try:
        moment = datetime(int(year), int(month), int(day), int(hour), int(minute), int(second or 0), tzinfo=UTC)
    except ValueError as error:
        raise FieldError(f"no such moment: {_shown(value)}") from error
    microseconds = (moment - _EPOCH) // _ONE_MICROSECOND + int((fraction or "").ljust(6, "0")[:6])
    if sign is None:
        return microseconds
    zone_us = (int(zone_hours) * 60 + int(zone_minutes)) * 60_000_000
    return microseconds - zone_us if sign == "+" else microseconds + zone_us


class Row:
    """One JSON object of an answer, parsed field by field; it tracks the fields that were never requested.

    Every reader raises `FieldError` naming the field. A reader of an optional field returns None if the field is absent or null; for an
    optional number also if it is empty text.
    """

    __slots__ = ("_asked", "_parts", "_values")

    def __init__(self, values: object) -> None:
        if not isinstance(values, dict):
            raise FieldError(f"not an object: {_shown(values)}")
        self._values: dict[str, Any] = values
        self._asked: set[str] = set()
        self._parts: dict[str, list[Row]] = {}

    def unknown(self) -> frozenset[str]:
        """Names of fields that were sent and never requested; those inside `part` and `parts` have a dotted prefix."""
        within = (f"{name}.{inner}" for name, rows in self._parts.items() for row in rows for inner in row.unknown())
        return frozenset([*(self._values.keys() - self._asked), *within])

    def leave(self, *names: str) -> None:
        """Count these fields as known although they are not read."""
        self._asked.update(names)

    def text(self, name: str) -> str:
        """Text of a required field."""
        return _named(name, text, self._required(name))

    def optional_text(self, name: str) -> str | None:
        """Text of an optional field."""
        value = self._optional(name)
        return None if value is None else _named(name, text, value)

    def decimal(self, name: str) -> str:
        """Exact decimal text of a required field."""
        return _named(name, decimal_text, self._required(name))

    def optional_decimal(self, name: str, *, absent: Sequence[str] = ()) -> str | None:
        """Exact decimal text of an optional field; empty text and the texts in `absent` mean that there is no value."""
        value = self._optional_number(name)
        return None if value is None or value in absent else _named(name, decimal_text, value)

    def integer(self, name: str) -> int:
        """Integer of a required field."""
        return _named(name, integer, self._required(name))

    def optional_integer(self, name: str) -> int | None:
        """Integer of an optional field."""
        value = self._optional_number(name)
        return None if value is None else _named(name, integer, value)

    def boolean(self, name: str) -> bool:
        """Boolean of a required field."""
        return _named(name, boolean, self._required(name))

    def optional_boolean(self, name: str) -> bool | None:
        """Boolean of an optional field."""
        value = self._optional(name)
        return None if value is None else _named(name, boolean, value)

    def time_us(self, name: str) -> int:
        """Microseconds since the Unix epoch of a required ISO 8601 field."""
        return _named(name, time_us, self._required(name))

    def optional_time_us(self, name: str) -> int | None:
        """Microseconds since the Unix epoch of an optional ISO 8601 field."""
        value = self._optional(name)
        return None if value is None else _named(name, time_us, value)

    def nested(self, name: str) -> "Row":
        """The object in a field; an empty one if the field is absent or null."""
        value = self._optional(name)
        return Row({}) if value is None else _named(name, Row, value)

    def part(self, name: str) -> "Row":
        """As `nested`, but the same object each time, and its fields that are never requested count as unknown."""
        if name not in self._parts:
            self._parts[name] = [self.nested(name)]
        return self._parts[name][0]

    def parts(self, name: str) -> "list[Row]":
        """The objects of the array in a field, each as from `part`; none if the field is absent or null."""
        if name not in self._parts:
            self._parts[name] = [_named(name, Row, item) for item in self.items(name)]
        return self._parts[name]

    def has(self, name: str) -> bool:
        """Whether a field is present and not null; from then on it counts as known."""
        return self._optional(name) is not None

    def moment_us(self, name: str, micros: int) -> int:
        """Microseconds since the Unix epoch of a required time: ISO 8601 text, or a number in units of `micros` microseconds."""
        value = self._required(name)
        if isinstance(value, str) and not _ANY_DECIMAL.fullmatch(value):
            return _named(name, time_us, value)
        moment = _named(name, integer, value) * micros
        if not -_INT64_BOUND <= moment < _INT64_BOUND:
            raise FieldError(f"field `{name}`: outside the 64-bit range: {_shown(value)}")
        return moment

    def optional_moment_us(self, name: str, micros: int) -> int | None:
        """As `moment_us`, for an optional field."""
        return None if self._optional_number(name) is None else self.moment_us(name, micros)

    def items(self, name: str) -> list[Any]:
        """The array in a field; an empty one if the field is absent or null."""
        value = self._optional(name)
        return [] if value is None else _named(name, _list, value)

    def levels(self, name: str) -> tuple[tuple[str, str], ...]:
        """Price and quantity of each book level in a required field, in the order sent."""
        return _named(name, _levels, self._required(name))

    def _optional(self, name: str) -> Any:
        self._asked.add(name)
        return self._values.get(name)

    def _optional_number(self, name: str) -> Any:
        value = self._optional(name)
        return None if value == "" else value

    def _required(self, name: str) -> Any:
        value = self._optional(name)
        if value is None:
            raise FieldError(f"field `{name}` is {'null' if name in self._values else 'missing'}")
        return value


def _named(name: str, read: Callable[[object], Value], value: object) -> Value:
    try:
        return read(value)
    except FieldError as error:
        raise FieldError(f"field `{name}`: {error}") from error


def _list(value: object) -> list[Any]:
    if isinstance(value, list):
        return value
    raise FieldError(f"not an array: {_shown(value)}")


def _levels(value: object) -> tuple[tuple[str, str], ...]:
    levels = []
    for level in _list(value):
        if not isinstance(level, list) or len(level) < 2:
            raise FieldError(f"not a price and a quantity: {_shown(level)}")
        levels.append((decimal_text(level[0]), decimal_text(level[1])))
    return tuple(levels)


def _decimal_text_of_text(value: str) -> str:
    if len(value) <= _LONGEST_DECIMAL_CHARACTERS:
        if _PLAIN_DECIMAL.fullmatch(value):
            return value
        if _ANY_DECIMAL.fullmatch(value):
            return _without_exponent(value)
    raise FieldError(f"not a decimal number of at most {_LONGEST_DECIMAL_CHARACTERS} characters: {_shown(value)}")


def _without_exponent(value: str) -> str:
    try:
        number = Decimal(value)
    except InvalidOperation as error:
        raise FieldError(f"not a decimal number: {_shown(value)}") from error
    exponent = number.as_tuple().exponent
    digits_before, digits_behind = max(number.adjusted(), 0) + 1, max(-int(exponent), 0)
    if digits_before + digits_behind > _LONGEST_DECIMAL_CHARACTERS:
        raise FieldError(f"a decimal number of more than {_LONGEST_DECIMAL_CHARACTERS} digits: {_shown(value)}")
    return format(number, "f")


def _shown(value: object) -> str:
    if isinstance(value, str):
        return repr(value[:60])
    is_short_number = isinstance(value, int) and value.bit_length() < 200
    return str(value) if value is None or is_short_number else type(value).__name__
