"""What a follower of books has to be told so that its own copy equals ours while ours is live, and is empty while it is not."""

from backpack_streams.books.changes import Changes
from backpack_streams.books.market_book import MarketBook, Status

__all__ = ["LiveChanges"]

_NOTHING = Changes(True, [], [])


class LiveChanges:
    """Asked after every event, or after some of them: what it gives is the difference since it was last asked.

    It is the one that takes a book's changes: use one of these for a stream.
    """

    def __init__(self) -> None:
        self._is_live: dict[str, bool] = {}

    def take(self, market: MarketBook) -> Changes | None:
        """Return what to do; None for nothing. A book that left `LIVE` is a reset without levels."""
        was_live, is_live = self._is_live.get(market.symbol), market.status is Status.LIVE
        self._is_live[market.symbol] = is_live
        if not is_live:
            return _NOTHING if was_live else None
        if not was_live:
            market.book.watch_changes()
        changes = market.book.take_changes()
        return changes if changes.is_reset or changes.bid_units or changes.ask_units else None
