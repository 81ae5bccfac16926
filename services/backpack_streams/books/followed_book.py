"""The shared book of a reader, which users must not change: a simulated order on it would corrupt the book for all of them."""

from typing import Any, NoReturn

from backpack_streams.books.book_levels import TextLevels, UnitLevels
from backpack_streams.books.book_state import BookState
from backpack_streams.books.order_book import OrderBook
from backpack_streams.books.snapshot import Snapshot
from backpack_streams.errors import BookError

__all__ = ["FollowedBook"]


class FollowedBook(OrderBook):
    """An `OrderBook` that only its `MarketBook` may change; its copies are plain books that users may change."""

    __slots__ = ()

    follow_snapshot = BookState.load
    follow_update = BookState.apply

    def load(
        self, bids: UnitLevels, asks: UnitLevels, bids_complete: bool = True, asks_complete: bool = True
    ) -> NoReturn:
        """Refuse: only `follow_snapshot`, which the reader calls, may replace the levels.

        Raises:
            BookError: always; copy the book to change it.
        """
        raise _refusal()

    def apply(self, bids: UnitLevels, asks: UnitLevels) -> NoReturn:
        """Refuse: only `follow_update`, which the reader calls, may change the levels.

        Raises:
            BookError: always; copy the book to change it.
        """
        raise _refusal()

    def apply_text(self, bids: TextLevels, asks: TextLevels) -> NoReturn:
        """Refuse, like `apply`.

        Raises:
            BookError: always; copy the book to change it.
        """
        raise _refusal()

    def is_widened_by(self, snapshot: Snapshot) -> bool:
        """Return whether a snapshot at the book's own update id knows more of a truncated side.

        Args:
            snapshot: one that contradicts itself is no evidence against an intact sequence, so it knows no more.
        """
        wider = OrderBook()
        try:
            wider.load(*snapshot.sides)
        except BookError:
            return False
        return wider.covers_more_than(self)

    def copy(self) -> OrderBook:  # type: ignore[override]  # a plain book, which users may change
        """Return an independent plain book with the same levels and coverage, without followers."""
        book = OrderBook()
        book._bids, book._asks = self._bids.copy(), self._asks.copy()
        return book

    def __reduce_ex__(self, protocol: object) -> tuple[Any, ...]:
        return OrderBook, (), self.__getstate__()


def _refusal() -> BookError:
    return BookError(
        "this book follows the exchange and is shared by all who read it; change a copy of it: book.copy()"
    )
