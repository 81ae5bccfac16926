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
    """One price and the total quantity that rests there.

    Attributes:
        price: in the quote asset.
        quantity: in the base asset.
    """

    price: Decimal
    quantity: Decimal


class Coverage(NamedTuple):
    """How far each side is known. Beyond that price a book knows only the levels that have changed since the snapshot.

    Attributes:
        bids: deepest known price of the bids (quote asset) if the snapshot truncated them; None for the whole side.
        asks: the same for the asks.
    """

    bids: Decimal | None
    asks: Decimal | None


class KnownLevels(NamedTuple):
    """Number of levels per side that are known without a gap, counted from the best level."""

    bids: int
    asks: int


class Fill(NamedTuple):
    """The cost of taking a quantity from one side.

    Attributes:
        quantity: the quantity taken (base asset), exact.
        cost: what it costs (quote asset), exact.
        average_price: `cost` / `quantity`, rounded to 38 significant digits because the quotient may not terminate.
        worst_price: the price of the deepest level taken.
    """

    quantity: Decimal
    cost: Decimal
    average_price: Decimal
    worst_price: Decimal


def level_of_units(price: int, quantity: int) -> Level:
    """Return a level as exact `Decimal`s.

    Args:
        price: in units of 10**-18 of the quote asset.
        quantity: in units of 10**-18 of the base asset.
    """
    return Level(exact_decimal(price), exact_decimal(quantity))
