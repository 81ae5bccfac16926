"""What a reader of books is told: something happened to one book."""

from typing import NamedTuple

from backpack_streams.books.market_book import MarketBook, Outcome, Status
from backpack_streams.books.order_book import OrderBook

__all__ = ["BookUpdate"]


class BookUpdate(NamedTuple):
    """One event that changed one book or what is known of it: an update, a seed, or something that could not be read."""

    market: MarketBook
    outcome: Outcome

    @property
    def symbol(self) -> str:
        """The market."""
        return self.market.symbol

    @property
    def status(self) -> Status:
        """What the book may be used for, now."""
        return self.market.status

    @property
    def book(self) -> OrderBook:
        """The book as it stands; look at `status` before using it. Copy it to keep it."""
        return self.market.book

    @property
    def last_update_id(self) -> int | None:
        """The last update id that the book includes."""
        return self.market.last_update_id

    @property
    def as_of(self) -> int | None:
        """Up to when the book is known to hold all that the exchange sent, µs by its producer's clock; None before that is known."""
        return self.market.as_of
