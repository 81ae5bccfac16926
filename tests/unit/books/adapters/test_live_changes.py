"""Each follower of a live book gets all its changes, however many others follow the same book."""

from backpack_streams.books.adapters.live_changes import LiveChanges
from backpack_streams.books.market_book import MarketBook


def test_several_followers_share_a_live_book() -> None:
    market = MarketBook("SOL_USDC")
    first, second = LiveChanges(), LiveChanges()
    assert first.take(market.view) is None
    market.on_snapshot(5, 1, [(100, 1)], [(101, 1)])
    market.book.watch_changes()
    for follower in (first, second):
        told = follower.take(market.view)
        assert told is not None
        assert (told.is_reset, told.bid_units) == (True, [(100, 1, 0)])
    market.on_update(6, 6, 2, [(99, 2)], [])
    for follower in (first, second):
        told = follower.take(market.view)
        assert told is not None
        assert (told.is_reset, told.bid_units) == (False, [(99, 2, 0)])
        assert follower.take(market.view) is None
    assert market.book.take_changes().is_reset  # the user's own follower
    market.hold("the reader has gone")
    for follower in (first, second):
        told = follower.take(market.view)
        assert told is not None
        assert (told.is_reset, told.bid_units) == (True, [])
        assert follower.take(market.view) is None
    market.release()
    told = first.take(market.view)
    assert told is not None
    assert (told.is_reset, len(told.bid_units)) == (True, 2)
