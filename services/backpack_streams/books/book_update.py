"""The event that a reader of books receives: one book has changed."""

import time
from collections.abc import Iterator

from backpack_streams.books.market_book import MarketBook, Outcome, Status
from backpack_streams.books.market_view import MarketView
from backpack_streams.books.order_book import OrderBook

__all__ = ["BookUpdate"]


class BookUpdate:
    """One event that changed a book or its status: an update, a snapshot, or a record that could not be read.

    The properties give the current state. Without conflation this is the state right after the event, until you take the next one.
    """

    __slots__ = ("_market", "outcome")

    def __init__(self, market: MarketBook, outcome: Outcome) -> None:
        """Refer to the book of a market. Nothing is copied.

        Args:
            market: the book that the event changed.
            outcome: the effect of the event on it.
        """
        self._market = market
        self.outcome = outcome

    def __repr__(self) -> str:
        return f"BookUpdate({self._market.view!r}, {self.outcome})"

    def __iter__(self) -> Iterator[MarketView | Outcome]:
        """Support `market, outcome = update`."""
        return iter((self._market.view, self.outcome))

    @property
    def market(self) -> MarketView:
        """The market's current state; the same object for all of its updates."""
        return self._market.view

    @property
    def symbol(self) -> str:
        """The market's symbol."""
        return self._market.symbol

    @property
    def status(self) -> Status:
        """The current status of the book, which says whether you may use it."""
        return self._market.status

    @property
    def reason(self) -> str:
        """Why the book is not `LIVE`; empty if it is."""
        return self._market.reason

    @property
    def since(self) -> int | None:
        """Start of the status (µs): by the market list for a closure or a reopening, otherwise by engine time; None if unknown."""
        return self._market.since

    @property
    def engine_time(self) -> int | None:
        """Engine time (µs) of the book's last update, or of its snapshot if no update has followed; None if unknown."""
        return self._market.engine_time

    @property
    def age_seconds(self) -> float | None:
        """Seconds since the exchange made the last update, by its clock and ours; None if unknown.

        The book of a quiet market is old but not wrong; `status` tells the difference.
        """
        made = self._market.engine_time
        return None if made is None else time.time() - made / 1_000_000

    @property
    def book(self) -> OrderBook:
        """The live book object; check `status` before you use it, and copy it to keep it."""
        return self._market.book

    @property
    def last_update_id(self) -> int | None:
        """Id of the last update that the book includes; None before the first snapshot."""
        return self._market.last_update_id

    @property
    def as_of(self) -> int | None:
        """Time up to which the book is known to hold everything that the exchange sent, µs by its producer's clock; None if unknown."""
        return self._market.as_of
