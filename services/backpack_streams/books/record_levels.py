"""Levels between books and records: a list of `price` and `quantity`, whatever decimals the reader of the record gives."""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from backpack_streams.books.units import to_units
from backpack_streams.errors import BookError

__all__ = ["levels_of_record", "record_levels"]


def record_levels(levels: Iterable[tuple[Decimal, Decimal]]) -> list[dict[str, Decimal]]:
    """Return levels as a record of `Decimal`s holds them."""
    return [{"price": price, "quantity": quantity} for price, quantity in levels]


def levels_of_record(record: Mapping[str, Any], side: str) -> list[tuple[int, int]]:
    """Return one side of a record in units of 10**-18; its numbers may be `Decimal`s, text, or Avro's bytes at scale 18.

    Raises:
        BookError: the record has no such side, a level no price or quantity, or a number cannot be read.

    """
    try:
        return [(_units(level["price"]), _units(level["quantity"])) for level in record[side]]
    except (KeyError, TypeError) as error:
        raise BookError(f"the record's {side} are no levels of a book: {error!r}") from error


def _units(number: Decimal | int | str | bytes) -> int:
    return int.from_bytes(number, "big", signed=True) if isinstance(number, bytes) else to_units(number)
