"""What a follower of books has to be told so that its own copy equals ours while ours is live, and is empty while it is not."""

from backpack_streams.books.changes import ChangeFollower, Changes
from backpack_streams.books.market_book import Status
from backpack_streams.books.market_view import MarketView

__all__ = ["LiveChanges"]

_NOTHING = Changes(True, [], [])


class LiveChanges:
    """Asked after every event, or after some of them: what it gives is the difference since it was last asked.

    Use one of these for a stream; others may follow the same books.
    """

    def __init__(self) -> None:
        self._followers: dict[str, ChangeFollower] = {}

    def take(self, market: MarketView) -> Changes | None:
        """Return what to do; None for nothing. A book that left `LIVE` is a reset without levels."""
        if market.status is not Status.LIVE:
            return None if self._followers.pop(market.symbol, None) is None else _NOTHING
        follower = self._followers.get(market.symbol)
        if follower is None:
            follower = self._followers[market.symbol] = market.book.follow_changes()
        changes = follower.take()
        return changes if changes.is_reset or changes.bid_units or changes.ask_units else None
