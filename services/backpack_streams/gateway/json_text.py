"""JSON with every digit: a `Decimal` becomes a JSON number, or a string, in plain notation and never passes through a float.

Zeros at the end of a fraction carry no value and are left out, as in every other output of this project.
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from functools import lru_cache
from typing import Any, Final, Literal, NamedTuple

import msgspec

from backpack_streams.books.units import plain

__all__ = ["Decimals", "Levels", "encode", "encode_pairs", "fields"]

Decimals = Literal["number", "string"]
"""How decimals are written. RFC 8259 puts no limit on the digits of a number, but most readers round it to a binary float."""

_encoder: Final = msgspec.json.Encoder()
_text = lru_cache(maxsize=1 << 16)(plain)
"""Cached, because most prices and many sizes recur from one state of a book to the next."""


class Levels(NamedTuple):
    """One side of a book, best first: (price, quantity) in units of 10**-18. It is written as `[{"price":…,"size":…},…]`."""

    units: Sequence[tuple[int, int]]


def encode(value: Any, decimals: Decimals = "number") -> bytes:
    """Return a value as JSON.

    Args:
        value: str, int, bool, None, `Decimal`, `Levels`, mappings with text as keys, and sequences of these.
        decimals: whether decimals become numbers or strings.

    Raises:
        TypeError: there is anything else, such as a float, or a decimal that is not finite.
    """
    return _encoder.encode(_prepared(value, decimals == "string"))


def fields(row: Mapping[str, Any], decimals: Decimals = "number") -> bytes:
    """Return the fields of `row` without the braces around them, so that two rows can be joined by a comma."""
    return encode(row, decimals)[1:-1]


def encode_pairs(levels: Sequence[tuple[int, int]], decimals: Decimals = "number") -> bytes:
    """Return levels as `[[price,size],…]`.

    Args:
        levels: price and size in units of 10**-18.
        decimals: whether they become numbers or strings.
    """
    if decimals == "string":
        text = ",".join([f'["{_text(price)}","{_text(size)}"]' for price, size in levels])
    else:
        text = ",".join([f"[{_text(price)},{_text(size)}]" for price, size in levels])
    return f"[{text}]".encode()


def _prepared(value: Any, as_text: bool) -> Any:
    """Return a value that msgspec encodes as required: decimals become raw JSON, or text."""
    kind = type(value)
    if kind is str or kind is int or kind is bool or value is None:
        return value
    if kind is Decimal:
        return _plain_text(value) if as_text else msgspec.Raw(_plain_text(value).encode())
    if kind is Levels:
        return _raw_levels(value.units, as_text)
    if isinstance(value, Mapping):
        return {name: _prepared(each, as_text) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_prepared(each, as_text) for each in value]
    if isinstance(value, str | int):  # enumerations and other kinds of text
        return value
    raise TypeError(f"a {kind.__name__} has no exact form in JSON")


def _plain_text(number: Decimal) -> str:
    text = f"{number:f}"
    if not text[-1].isdigit():
        raise TypeError(f"{text} is no number of JSON")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def _raw_levels(levels: Sequence[tuple[int, int]], as_text: bool) -> msgspec.Raw:
    if as_text:
        text = ",".join([f'{{"price":"{_text(price)}","size":"{_text(size)}"}}' for price, size in levels])
    else:
        text = ",".join([f'{{"price":{_text(price)},"size":{_text(size)}}}' for price, size in levels])
    return msgspec.Raw(f"[{text}]".encode())
