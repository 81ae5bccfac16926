"""The levels of both sides of a book, and what changes them: applies snapshots and updates, gives changes and copies."""

from typing import Any, Self
from weakref import ref

from backpack_streams.books.book_levels import TextLevels, UnitLevels, checked_levels, units_of_text
from backpack_streams.books.book_side import BookSide
from backpack_streams.books.changes import ChangeFollower, ChangeNotes, Changes
from backpack_streams.books.units import plain
from backpack_streams.errors import BookError

__all__ = ["BookState"]

_SideState = tuple[list[tuple[int, int]], int | None]


class BookState:
    """Two sides that change together; base class of `OrderBook`, which adds the queries."""

    __slots__ = ("_asks", "_bids", "_followers", "_own_notes")

    def __init__(self) -> None:
        self._bids = BookSide(is_bid=True)
        self._asks = BookSide(is_bid=False)
        self._followers: tuple[ref[ChangeNotes], ...] = ()
        self._own_notes: ChangeNotes | None = None

    def __getstate__(self) -> tuple[_SideState, _SideState]:
        """Return the state for a copy in another process, which may store levels differently."""
        bids, asks = self._bids, self._asks
        return (bids.best_levels(None), bids.edge), (asks.best_levels(None), asks.edge)

    def __setstate__(self, state: tuple[_SideState, _SideState]) -> None:
        BookState.__init__(self)
        bids, asks = state
        self._bids, self._asks = self._bids.restored(*bids), self._asks.restored(*asks)

    def __copy__(self) -> Self:
        return self.copy()

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self.copy()

    def __len__(self) -> int:
        """Return the number of levels of both sides."""
        return len(self._bids) + len(self._asks)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, BookState):
            return NotImplemented
        return self._bids == other._bids and self._asks == other._asks

    __hash__ = None  # type: ignore[assignment]  # mutable, like a list; `object` declares a method

    def load(
        self,
        bids: UnitLevels,
        asks: UnitLevels,
        bids_complete: bool = True,
        asks_complete: bool = True,
    ) -> None:
        """Replace all levels by a snapshot.

        Args:
            bids: (price, quantity) in units of 10**-18, in any order; a quantity of zero means no level.
            asks: the same for the asks.
            bids_complete: False if the snapshot's limit truncated the bids: the deepest level becomes the edge of their
                coverage.
            asks_complete: the same for the asks.

        Raises:
            BookError: the snapshot is crossed, repeats a price, has a negative quantity, or a truncated side has no
                level. The book is unchanged.
        """
        new_bids = self._bids.loaded(bids, bids_complete)
        new_asks = self._asks.loaded(asks, asks_complete)
        bid, ask = new_bids.best, new_asks.best
        if bid is not None and ask is not None and bid >= ask:
            raise BookError(f"crossed: best bid {plain(bid)}, best ask {plain(ask)}")
        self._bids, self._asks = new_bids, new_asks
        for notes in self._noted():
            notes.reset()

    def apply(self, bids: UnitLevels, asks: UnitLevels) -> bool:
        """Apply one update. Quantities are absolute; zero deletes a level, and an unknown level may be deleted.

        Args:
            bids: (price, quantity) in units of 10**-18, in any order.
            asks: the same for the asks.

        Returns:
            True if the best levels are still reliable: not crossed, no truncated side exhausted.

        Raises:
            BookError: a quantity is negative, or a number is no integer or has more than 38 digits; the update may be
                partly applied.
        """
        if not self._followers:
            is_sound = self._bids.update(self._asks, bids, asks, False)
            if is_sound is not None:
                return is_sound
        return self._apply_with_care(bids, asks)

    def apply_text(self, bids: TextLevels, asks: TextLevels) -> bool:
        """Apply one update like `apply`, with levels as the exchange writes them: `[("86700.0", "0.00123"), ...]`.

        Args:
            bids: pairs of price and quantity as text, with at most 18 decimal places.
            asks: the same for the asks.

        Returns:
            True if the best levels are still reliable, as for `apply`.

        Raises:
            BookError: as for `apply`; or a text is no decimal number of at most 18 decimal places.
        """
        if not self._followers:
            is_sound = self._bids.update(self._asks, bids, asks, True)
            if is_sound is not None:
                return is_sound
        return self._apply_with_care(units_of_text(bids, "bid"), units_of_text(asks, "ask"))

    def _apply_with_care(self, bids: UnitLevels, asks: UnitLevels) -> bool:
        """Apply an unusual update, or any update while changes are noted."""
        new_bids, new_asks = checked_levels(bids, "bid"), checked_levels(asks, "ask")
        for notes in self._noted():
            notes.note(self._bids, new_bids, self._asks, new_asks)
        is_sound = self._bids.update(self._asks, new_bids, new_asks, False)
        if is_sound is None:
            raise BookError("an update of checked levels was not applied")  # cannot happen: both versions accept these
        return is_sound

    def _noted(self) -> list[ChangeNotes]:
        """Return the notes that a follower still holds; forgets the others."""
        if not self._followers:
            return []
        alive = [(each, notes) for each in self._followers if (notes := each()) is not None]
        if len(alive) < len(self._followers):
            self._followers = tuple(each for each, _ in alive)
        return [notes for _, notes in alive]

    def follow_changes(self) -> ChangeFollower:
        """Note from now on which levels change, for the holder of the returned object; a book may have any number of followers.

        Dropping the object ends the noting. Without followers, noting costs nothing.
        """
        notes = ChangeNotes()
        self._followers = (*self._followers, ref(notes))
        return ChangeFollower(notes, lambda: (self._bids, self._asks))

    def watch_changes(self) -> None:
        """Note from now on which levels change, for `take_changes`; calling it again starts over.

        Each book has one such follower. Programs of several parts should use `follow_changes`.
        """
        self._own_notes = notes = ChangeNotes()
        self._followers = (*self._followers, ref(notes))

    def take_changes(self) -> Changes:
        """Return the changes since the last call, over any number of updates and snapshots.

        The first result after `watch_changes`, and the first after a snapshot, `is_reset`: it holds all levels.

        Raises:
            BookError: `watch_changes` was not called.

        """
        if self._own_notes is None:
            raise BookError("this book notes no changes; call watch_changes() first")
        return self._own_notes.take(self._bids, self._asks)

    def copy(self) -> Self:
        """Return an independent book with the same levels and coverage, without followers."""
        book = type(self)()
        book._bids, book._asks = self._bids.copy(), self._asks.copy()
        return book
