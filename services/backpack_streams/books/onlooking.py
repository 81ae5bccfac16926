"""Who looks on while books are kept: told of everything that reached a book, right after it did. Sans I/O."""

from collections.abc import Mapping
from typing import Any, Protocol

from backpack_streams.books.market_book import MarketBook, Outcome
from backpack_streams.bus.depth_reader import DepthNumbers, Levels

__all__ = ["Onlooker", "WatchedBook"]


class Onlooker(Protocol):
    """An `Intake` calls it for everything that reaches a book: for updates with the update itself, which no `BookUpdate` carries."""

    def on_update(self, market: MarketBook, update: DepthNumbers, outcome: Outcome) -> None:
        """An update and what it did, duplicates included."""

    def on_seed(self, market: MarketBook, seed: Mapping[str, Any], outcome: Outcome, is_new: bool) -> None:
        """A BookSnapshot record and what it did, before updates that waited for it follow. `is_new`: written after this reader came."""

    def on_outcome(self, market: MarketBook, outcome: Outcome) -> None:
        """What anything else did: a gap, lost or unreadable records, the market list, watermarks, the end of the catching up."""

    def on_dropped(self, market: MarketBook) -> None:
        """The partition of this book was closed: it is somebody else's from now on."""


class WatchedBook:
    """A book as `EarlyUpdates` knows it, with somebody who looks on."""

    __slots__ = ("_market", "_onlooker")

    def __init__(self, market: MarketBook, onlooker: Onlooker) -> None:
        self._market = market
        self._onlooker = onlooker

    @property
    def symbol(self) -> str:
        """The market."""
        return self._market.symbol

    def is_early(self, first_id: int) -> bool:
        """Whether an update that begins with this id leaves a gap in a chain that is whole so far."""
        return self._market.is_early(first_id)

    def on_update(self, first_id: int, last_id: int, engine_time: int | None, bids: Levels, asks: Levels) -> Outcome:
        """Take one update, and tell of it."""
        outcome = self._market.on_update(first_id, last_id, engine_time, bids, asks)
        self._onlooker.on_update(self._market, (first_id, last_id, engine_time, bids, asks), outcome)
        return outcome
