"""Reads single values of the wire exactly, and gives each way of reading a type that messages and rows declare.

The wire sends numbers as strings and strings as numbers. Here each number is the text of its digits (see `parse_keeping_digits`). No price,
quantity or rate is ever converted to a binary float, and no id passes through one.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from typing import Annotated, Any

from msgspec import Meta

from backpack_streams.exchange.wire_errors import UnreadableMessageError, shown
from backpack_streams.exchange.wire_times import micros_from_iso

_MOST_CHARACTERS = 128
"""A security limit: `1e999999` written without an exponent is a megabyte. Schemas hold 38 digits."""
_is_plain_decimal = re.compile(r"-?[0-9]+(?:\.[0-9]+)?").fullmatch
_is_decimal = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,4})?").fullmatch


@dataclass(frozen=True, slots=True)
class ReadBy:
    """In an `Annotated` type: the function that reads its values, if any, and the texts that say that there is no value."""

    read: Callable[[Any], Any] | None = None
    absent: tuple[str, ...] = ("",)


def plain_decimal(value: object) -> str:
    """Return a decimal as text without exponent, otherwise exactly as sent.

    Raises:
        UnreadableMessageError: not a finite decimal number, or more than 128 characters long.
    """
    if isinstance(value, str) and len(value) <= _MOST_CHARACTERS:
        if _is_plain_decimal(value):
            return value
        if _is_decimal(value):
            number = Decimal(value)
            exponent = number.as_tuple().exponent
            if max(number.adjusted(), 0) + 1 + max(-int(exponent), 0) <= _MOST_CHARACTERS:
                return format(number, "f")
    raise UnreadableMessageError(f"not a decimal number of at most {_MOST_CHARACTERS} characters: {shown(value)}")


def whole_number(value: object, bits: int = 64) -> int:
    """Return a signed integer of so many bits; `123.0` and `1e3` are whole numbers too.

    Raises:
        UnreadableMessageError: not a whole number, or outside that range.
    """
    whole, _, fraction = plain_decimal(value).partition(".")
    if fraction.strip("0"):
        raise UnreadableMessageError(f"not a whole number: {shown(value)}")
    return _within(bits, int(whole))


def iso_time(value: object) -> int:
    """Microseconds since the Unix epoch of an ISO 8601 text with a date and a time.

    Raises:
        UnreadableMessageError: it is no such text.
    """
    if isinstance(value, str) and len(value) > len("2025-07-19"):
        return micros_from_iso(value)
    raise UnreadableMessageError(f"not an ISO 8601 time: {shown(value)}")


def moment(value: object, micros: int) -> int:
    """Microseconds since the Unix epoch of a time: ISO 8601 text, or a number in units of `micros` microseconds.

    Raises:
        UnreadableMessageError: it is neither, or outside the 64-bit range.
    """
    is_number = isinstance(value, str) and _is_decimal(value)
    return _within(64, whole_number(value) * micros) if is_number else iso_time(value)


def _within(bits: int, number: int) -> int:
    if (number if number >= 0 else ~number).bit_length() >= bits:
        raise UnreadableMessageError(f"outside the {bits}-bit range: {number}")
    return number


Number = Annotated[str, Meta(min_length=1), ReadBy()]
"""A number with decimals, as text, exactly as sent. Empty text is no number."""
Exact = Annotated[str, ReadBy(plain_decimal, absent=("", "N/A"))]
"""A number with decimals, as text without exponent. `N/A` is the exchange's placeholder for a missing one."""
Int = Annotated[int, ReadBy(partial(whole_number, bits=32))]
IsoTime = Annotated[int, ReadBy(iso_time)]
"""Microseconds since the Unix epoch, sent as ISO 8601 text."""
Millis = Annotated[int, ReadBy(partial(moment, micros=1000))]
"""Microseconds since the Unix epoch, sent as ISO 8601 text or as a number of milliseconds."""
Micros = Annotated[int, ReadBy(partial(moment, micros=1))]
"""Microseconds since the Unix epoch, sent as ISO 8601 text or as a number of microseconds."""
