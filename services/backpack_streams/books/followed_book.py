"""The book that a reader keeps and everybody may ask: whoever tried orders of their own on it would make it wrong for all."""

from typing import Any, NoReturn

from backpack_streams.books.book_levels import TextLevels, UnitLevels
from backpack_streams.books.book_state import BookState
from backpack_streams.books.order_book import OrderBook
from backpack_streams.errors import BookError

__all__ = ["FollowedBook"]


class FollowedBook(OrderBook):
    """An `OrderBook` that only its `MarketBook` changes; its copies are plain ones, free for anything."""

    __slots__ = ()

    follow_snapshot = BookState.seed
    follow_update = BookState.apply

    def seed(
        self, bids: UnitLevels, asks: UnitLevels, bids_complete: bool = True, asks_complete: bool = True
    ) -> NoReturn:
        """Refuse, with a `BookError`."""
        raise _refusal()

    def apply(self, bids: UnitLevels, asks: UnitLevels) -> NoReturn:
        """Refuse, with a `BookError`."""
        raise _refusal()

    def apply_text(self, bids: TextLevels, asks: TextLevels) -> NoReturn:
        """Refuse, with a `BookError`."""
        raise _refusal()

    def copy(self) -> OrderBook:  # type: ignore[override]  # a book that may be changed
        """Return an independent book with the same levels and coverage. It notes no changes."""
        book = OrderBook()
        book._bids, book._asks = self._bids.copy(), self._asks.copy()
        return book

    def __reduce_ex__(self, protocol: object) -> tuple[Any, ...]:
        return OrderBook, (), self.__getstate__()


def _refusal() -> BookError:
    return BookError(
        "this book follows the exchange and is shared by all who read it; change a copy of it: book.copy()"
    )
