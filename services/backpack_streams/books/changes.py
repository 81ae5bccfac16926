"""Which levels of a book changed since somebody last asked: noted only where somebody does."""

from collections.abc import Callable
from decimal import Decimal
from typing import NamedTuple

from backpack_streams.books.book_side import BookSide
from backpack_streams.books.units import exact_decimal

__all__ = ["ChangeFollower", "ChangeNotes", "Changes", "LevelChange"]

NOTED_AT_MOST = 20_000
"""Prices a side; whoever lets more gather gets the whole book, which is about as much to read."""

UnitChange = tuple[int, int, int]


class LevelChange(NamedTuple):
    """One price with the whole quantity that rests there now and the one that did before; zero is no level."""

    price: Decimal
    quantity: Decimal
    before: Decimal


class Changes(NamedTuple):
    """What changed in a book, best price first; each change is (price, quantity, quantity before) in units of 10**-18.

    `is_reset`: forget every level known before; the changes are then all levels there are, each from zero.
    """

    is_reset: bool
    bid_units: list[UnitChange]
    ask_units: list[UnitChange]

    @property
    def bids(self) -> list[LevelChange]:
        """The changes of bids as `Decimal`s."""
        return [LevelChange(*map(exact_decimal, change)) for change in self.bid_units]

    @property
    def asks(self) -> list[LevelChange]:
        """The changes of asks as `Decimal`s."""
        return [LevelChange(*map(exact_decimal, change)) for change in self.ask_units]


class ChangeNotes:
    """Keeps the quantity that each changed level had when somebody last asked."""

    __slots__ = ("__weakref__", "_asks", "_bids", "_is_reset")

    def __init__(self) -> None:
        self._bids: dict[int, int] = {}
        self._asks: dict[int, int] = {}
        self._is_reset = True

    def reset(self) -> None:
        """Everything was replaced."""
        self._is_reset = True
        self._bids.clear()
        self._asks.clear()

    def note(
        self, bids: BookSide, bid_levels: list[tuple[int, int]], asks: BookSide, ask_levels: list[tuple[int, int]]
    ) -> None:
        """Take note of levels about to be set."""
        if self._is_reset:
            return  # all will be told
        for before, side, levels in ((self._bids, bids, bid_levels), (self._asks, asks, ask_levels)):
            for price, _ in levels:
                if price not in before:
                    before[price] = side.quantity_at(price) or 0
            if len(before) > NOTED_AT_MOST:
                self.reset()
                return

    def take(self, bids: BookSide, asks: BookSide) -> Changes:
        """Return the difference between then and now, and begin anew."""
        if self._is_reset:
            self._is_reset = False
            whole = [[(price, quantity, 0) for price, quantity in side.best_levels(None)] for side in (bids, asks)]
            return Changes(True, *whole)
        changes = Changes(False, _difference(bids, self._bids), _difference(asks, self._asks))
        self._bids.clear()
        self._asks.clear()
        return changes


class ChangeFollower:
    """One who follows the changes of a book, as `OrderBook.follow_changes` gives it; others that follow it take nothing away."""

    __slots__ = ("_notes", "_sides")

    def __init__(self, notes: ChangeNotes, sides: Callable[[], tuple[BookSide, BookSide]]) -> None:
        self._notes = notes
        self._sides = sides

    def take(self) -> Changes:
        """Return what has changed since it was last asked, however many updates and snapshots that were.

        The first answer, and the one after a snapshot, `is_reset`: it holds every level there is.
        """
        return self._notes.take(*self._sides())


def _difference(side: BookSide, before: dict[int, int]) -> list[UnitChange]:
    found = [(price, side.quantity_at(price) or 0, quantity) for price, quantity in before.items()]
    found.sort(reverse=side.is_bid)
    return [change for change in found if change[1] != change[2]]
