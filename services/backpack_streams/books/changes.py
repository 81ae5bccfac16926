"""Tracks which levels of a book changed since the last query, for followers only."""

from collections.abc import Callable
from decimal import Decimal
from typing import NamedTuple

from backpack_streams.books.book_side import BookSide
from backpack_streams.books.units import exact_decimal

__all__ = ["ChangeFollower", "ChangeNotes", "Changes", "LevelChange"]

NOTED_AT_MOST = 20_000
"""Prices noted per side; a follower that lets more accumulate gets the whole book, which is about as much to read."""

UnitChange = tuple[int, int, int]


class LevelChange(NamedTuple):
    """One price with its current and its previous total quantity; zero means no level.

    Attributes:
        price: in the quote asset.
        quantity: the current quantity, in the base asset.
        before: the quantity at the last query, in the base asset.
    """

    price: Decimal
    quantity: Decimal
    before: Decimal


class Changes(NamedTuple):
    """The changes of a book, best price first.

    Attributes:
        is_reset: discard every known level first; the changes are then all current levels, each from zero.
        bid_units: changes of bids as (price, quantity, previous quantity) in units of 10**-18.
        ask_units: changes of asks, likewise.
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
    """Keeps the quantity that each changed level had at the last query."""

    __slots__ = ("__weakref__", "_asks", "_bids", "_is_reset")

    def __init__(self) -> None:
        self._bids: dict[int, int] = {}
        self._asks: dict[int, int] = {}
        self._is_reset = True

    def reset(self) -> None:
        """Take note that all levels were replaced."""
        self._is_reset = True
        self._bids.clear()
        self._asks.clear()

    def note(
        self, bids: BookSide, bid_levels: list[tuple[int, int]], asks: BookSide, ask_levels: list[tuple[int, int]]
    ) -> None:
        """Note the current quantities of levels before an update sets them.

        Args:
            bids: the side that the update is about to change.
            bid_levels: the levels of the update, as (price, quantity) in units of 10**-18.
            asks: the other side.
            ask_levels: its levels.
        """
        if self._is_reset:
            return  # the next query returns all levels anyway
        for before, side, levels in ((self._bids, bids, bid_levels), (self._asks, asks, ask_levels)):
            for price, _ in levels:
                if price not in before:
                    before[price] = side.quantity_at(price) or 0
            if len(before) > NOTED_AT_MOST:
                self.reset()
                return

    def take(self, bids: BookSide, asks: BookSide) -> Changes:
        """Return the changes since the last query, and start over. The first result `is_reset` and holds all levels.

        Args:
            bids: the current bids of the book.
            asks: the current asks of the book.
        """
        if self._is_reset:
            self._is_reset = False
            whole = [[(price, quantity, 0) for price, quantity in side.best_levels(None)] for side in (bids, asks)]
            return Changes(True, *whole)
        changes = Changes(False, _difference(bids, self._bids), _difference(asks, self._asks))
        self._bids.clear()
        self._asks.clear()
        return changes


class ChangeFollower:
    """A follower of a book's changes, returned by `OrderBook.follow_changes`; followers are independent of each other."""

    __slots__ = ("_notes", "_sides")

    def __init__(self, notes: ChangeNotes, sides: Callable[[], tuple[BookSide, BookSide]]) -> None:
        """Combine notes and the book that they are about.

        Args:
            notes: the notes that the book keeps for this follower only.
            sides: returns the current bids and asks of the book, since a snapshot replaces both.
        """
        self._notes = notes
        self._sides = sides

    def take(self) -> Changes:
        """Return the changes since the last call, over any number of updates and snapshots.

        The first result, and the first after a snapshot, `is_reset`: it holds all levels.
        """
        return self._notes.take(*self._sides())


def _difference(side: BookSide, before: dict[int, int]) -> list[UnitChange]:
    found = [(price, side.quantity_at(price) or 0, quantity) for price, quantity in before.items()]
    found.sort(reverse=side.is_bid)
    return [change for change in found if change[1] != change[2]]
