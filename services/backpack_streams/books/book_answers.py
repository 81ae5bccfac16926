"""The types of a book's answers: side, level, coverage, cost of a quantity."""

from decimal import Decimal
from enum import Enum
from typing import NamedTuple

from backpack_streams.books.units import exact_decimal

__all__ = ["Coverage", "Fill", "KnownLevels", "Level", "Side", "level_of_units"]


class Side(Enum):
    """A side of the book, named after its resting orders, not after the direction of the taker."""

    BID = "bid"
    ASK = "ask"


class Level(NamedTuple):
    """One price (quote asset) and the total quantity (base asset) that rests there."""

    price: Decimal
    quantity: Decimal


class Coverage(NamedTuple):
    """How far each side is known: None for the whole side, otherwise the deepest price of the truncated snapshot.

    Beyond that price a book knows only the levels that have changed since the snapshot.
    """

    bids: Decimal | None
    asks: Decimal | None


class KnownLevels(NamedTuple):
    """Number of levels per side that are known without a gap, counted from the best level."""

    bids: int
    asks: int


class Fill(NamedTuple):
    """The cost of taking a quantity from one side.

    `quantity` (base asset) and `cost` (quote asset) are exact. `average_price` is their quotient, rounded to 38 significant digits because
    it may not terminate. `worst_price` is the price of the deepest level taken.
    """

    quantity: Decimal
    cost: Decimal
    average_price: Decimal
    worst_price: Decimal


def level_of_units(price: int, quantity: int) -> Level:
    """Return a level from price and quantity in units of 10**-18."""
    return Level(exact_decimal(price), exact_decimal(quantity))
