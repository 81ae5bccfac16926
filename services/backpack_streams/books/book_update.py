"""What a reader of books is told: something happened to one book."""

import time
from collections.abc import Iterator

from backpack_streams.books.market_book import MarketBook, Outcome, Status
from backpack_streams.books.market_view import MarketView
from backpack_streams.books.order_book import OrderBook

__all__ = ["BookUpdate"]


class BookUpdate:
    """One event that changed one book or what is known of it: an update, a seed, or something that could not be read.

    What it says is of now. Without conflation that is the moment right after the event, until the next one is taken.
    """

    __slots__ = ("_market", "outcome")

    def __init__(self, market: MarketBook, outcome: Outcome) -> None:
        self._market = market
        self.outcome = outcome

    def __repr__(self) -> str:
        return f"BookUpdate({self._market.view!r}, {self.outcome})"

    def __iter__(self) -> Iterator[MarketView | Outcome]:
        """For `market, outcome = update`."""
        return iter((self._market.view, self.outcome))

    @property
    def market(self) -> MarketView:
        """What is known of the market, now; the same object for all of its updates."""
        return self._market.view

    @property
    def symbol(self) -> str:
        """The market."""
        return self._market.symbol

    @property
    def status(self) -> Status:
        """What the book may be used for, now."""
        return self._market.status

    @property
    def reason(self) -> str:
        """Why the book is not `LIVE`; empty if it is."""
        return self._market.reason

    @property
    def since(self) -> int | None:
        """Engine time (µs) the book was at when it took its status; None if that is unknown."""
        return self._market.since

    @property
    def engine_time(self) -> int | None:
        """Engine time (µs) of the book's last update, or of its seed."""
        return self._market.engine_time

    @property
    def age_seconds(self) -> float | None:
        """How long ago, by the exchange's clock and ours, the last update was made; None where that is not known.

        A quiet market is old without being wrong: `status` tells the one from the other.
        """
        made = self._market.engine_time
        return None if made is None else time.time() - made / 1_000_000

    @property
    def book(self) -> OrderBook:
        """The book as it stands; look at `status` before using it. Copy it to keep it."""
        return self._market.book

    @property
    def last_update_id(self) -> int | None:
        """The last update id that the book includes."""
        return self._market.last_update_id

    @property
    def as_of(self) -> int | None:
        """Up to when the book is known to hold all that the exchange sent, µs by its producer's clock; None before that is known."""
        return self._market.as_of
