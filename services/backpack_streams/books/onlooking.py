"""Interface for an observer of books, which is called right after an event has reached a book. Sans I/O."""

from collections.abc import Mapping
from typing import Any, Protocol

from backpack_streams.books.market_book import MarketBook, Outcome
from backpack_streams.bus.depth_reader import DepthNumbers, Levels

__all__ = ["Onlooker", "WatchedBook"]


class Onlooker(Protocol):
    """Observer that an `Intake` calls for every event that reaches a book; for updates with the update, which `BookUpdate` lacks."""

    def on_update(self, market: MarketBook, update: DepthNumbers, outcome: Outcome) -> None:
        """Take an update and its outcome, duplicates included.

        Args:
            market: the book, which has taken the update.
            update: first id, last id, engine time (µs), bids and asks.
            outcome: its effect on the book.
        """

    def on_snapshot(self, market: MarketBook, snapshot: Mapping[str, Any], outcome: Outcome, is_new: bool) -> None:
        """Take a BookSnapshot record and its outcome, before waiting updates follow.

        Args:
            market: the book, which has taken the snapshot.
            snapshot: the decoded record.
            outcome: its effect on the book.
            is_new: whether it was written after this reader joined.
        """

    def on_outcome(self, market: MarketBook, outcome: Outcome) -> None:
        """Take the outcome of any other event: a gap, lost or unreadable records, the market list, watermarks, the end of catching up."""

    def on_dropped(self, market: MarketBook) -> None:
        """Take note that the partition of this book was closed: another reader owns it from now on."""


class WatchedBook:
    """Wraps a book for `EarlyUpdates`, and reports its updates to an observer."""

    __slots__ = ("_market", "_onlooker")

    def __init__(self, market: MarketBook, onlooker: Onlooker) -> None:
        self._market = market
        self._onlooker = onlooker

    @property
    def symbol(self) -> str:
        """The market's symbol."""
        return self._market.symbol

    def is_early(self, first_id: int) -> bool:
        """Return whether an update that begins with this id leaves a gap in a sequence that is intact so far."""
        return self._market.is_early(first_id)

    def on_update(self, first_id: int, last_id: int, engine_time: int | None, bids: Levels, asks: Levels) -> Outcome:
        """Apply one update, and report it."""
        outcome = self._market.on_update(first_id, last_id, engine_time, bids, asks)
        self._onlooker.on_update(self._market, (first_id, last_id, engine_time, bids, asks), outcome)
        return outcome
