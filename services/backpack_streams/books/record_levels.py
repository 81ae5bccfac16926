"""Converts levels between books and records: lists of `price` and `quantity`, in any decimal type that a reader of records uses."""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from backpack_streams.books.units import to_units
from backpack_streams.errors import BookError

__all__ = ["levels_of_record", "record_levels"]


def record_levels(levels: Iterable[tuple[Decimal, Decimal]]) -> list[dict[str, Decimal]]:
    """Return levels as the `price` and `quantity` fields of a record, as `Decimal`s."""
    return [{"price": price, "quantity": quantity} for price, quantity in levels]


def levels_of_record(record: Mapping[str, Any], side: str) -> list[tuple[int, int]]:
    """Return one side of a record as (price, quantity) in units of 10**-18; it may hold `Decimal`s, text, or Avro's bytes at scale 18.

    Raises:
        BookError: the record lacks this side, a level lacks its price or quantity, or a number cannot be decoded.

    """
    try:
        return [(_units(level["price"]), _units(level["quantity"])) for level in record[side]]
    except (KeyError, TypeError) as error:
        raise BookError(f"the record's {side} are no levels of a book: {error!r}") from error


def _units(number: Decimal | int | str | bytes) -> int:
    return int.from_bytes(number, "big", signed=True) if isinstance(number, bytes) else to_units(number)
