"""What a book answers with: a side, a level, how far it knows, what a quantity costs."""

from decimal import Decimal
from enum import Enum
from typing import NamedTuple

from backpack_streams.books.units import exact_decimal

__all__ = ["Coverage", "Fill", "KnownLevels", "Level", "Side", "level_of_units"]


class Side(Enum):
    """A side of the book: the resting orders that are meant, not the direction of whoever takes them."""

    BID = "bid"
    ASK = "ask"


class Level(NamedTuple):
    """One price and the whole quantity that rests there."""

    price: Decimal
    quantity: Decimal


class Coverage(NamedTuple):
    """How far each side is known: None for the whole side, else the deepest price of the truncated snapshot.

    Beyond that price only the levels that changed since the snapshot are known.
    """

    bids: Decimal | None
    asks: Decimal | None


class KnownLevels(NamedTuple):
    """How many levels of each side are known from the touch on without one missing between them."""

    bids: int
    asks: int


class Fill(NamedTuple):
    """What taking a quantity from one side costs.

    `quantity` and `cost` (quote asset) are exact; `average_price` is their quotient to 38 significant digits,
    since it need not terminate; `worst_price` is the price of the deepest level touched.
    """

    quantity: Decimal
    cost: Decimal
    average_price: Decimal
    worst_price: Decimal


def level_of_units(price: int, quantity: int) -> Level:
    """Return a level given in units of 10**-18."""
    return Level(exact_decimal(price), exact_decimal(quantity))
