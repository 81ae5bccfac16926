"""The changes that keep a follower's copy equal to a book while the book is live, and empty while it is not."""

from backpack_streams.books.changes import ChangeFollower, Changes
from backpack_streams.books.market_book import Status
from backpack_streams.books.market_view import MarketView

__all__ = ["LiveChanges"]

_NOTHING = Changes(True, [], [])


class LiveChanges:
    """Returns the difference since the last call; call it after every event, or after some of them.

    Use one per stream; others may follow the same books.
    """

    def __init__(self) -> None:
        self._followers: dict[str, ChangeFollower] = {}

    def take(self, market: MarketView) -> Changes | None:
        """Return the changes to apply; None if there are none. A book that left `LIVE` gives a reset without levels."""
        if market.status is not Status.LIVE:
            return None if self._followers.pop(market.symbol, None) is None else _NOTHING
        follower = self._followers.get(market.symbol)
        if follower is None:
            follower = self._followers[market.symbol] = market.book.follow_changes()
        changes = follower.take()
        return changes if changes.is_reset or changes.bid_units or changes.ask_units else None
