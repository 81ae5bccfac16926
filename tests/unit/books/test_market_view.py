"""What users see of a market says what its book says, and gives no way to change it."""

import pytest

from backpack_streams.books.book_update import BookUpdate
from backpack_streams.books.market_book import MarketBook, Outcome, Status
from backpack_streams.books.market_view import MarketView, MarketViews

CHANGING = {name for name in vars(MarketBook) if name.startswith("on_")} | {"hold", "release", "standing"}


def live() -> MarketBook:
    market = MarketBook("SOL_USDC")
    assert market.on_snapshot(5, 7_000_000, [(100, 1)], [(101, 1)]) is Outcome.RESYNCED
    return market


def test_a_view_says_what_the_book_says() -> None:
    market = live()
    view = MarketView(market)
    market.on_update(6, 6, 8_000_000, [(99, 2)], [])
    for name in (
        "symbol",
        "status",
        "reason",
        "since",
        "as_of",
        "last_update_id",
        "engine_time",
        "breaks",
        "duplicates",
    ):
        assert getattr(view, name) == getattr(market, name), name
    assert view.book is market.book
    market.hold("the reader has gone")
    assert (view.status, view.reason) == (Status.SYNCING, "the reader has gone")
    assert repr(view).startswith("<MarketView SOL_USDC SYNCING at 6: <OrderBook 2 bids")


def test_a_view_gives_no_way_to_change_the_book() -> None:
    view = MarketView(live())
    assert len(CHANGING) > 5
    assert [name for name in CHANGING if hasattr(view, name)] == []
    for name in ("status", "reason", "since", "book", "last_update_id", "anything"):
        with pytest.raises(AttributeError):
            setattr(view, name, None)


def test_an_update_gives_the_view_and_no_way_to_change_the_book() -> None:
    market = live()
    update = BookUpdate(market, Outcome.RESYNCED)
    assert update.market is market.view
    assert tuple(update) == (market.view, Outcome.RESYNCED)
    assert (update.symbol, update.status, update.last_update_id, update.as_of) == ("SOL_USDC", Status.LIVE, 5, None)
    assert [name for name in CHANGING if hasattr(update, name)] == []
    assert "MarketView SOL_USDC" in repr(update)


def test_there_is_one_view_per_market() -> None:
    markets = {"SOL_USDC": live()}
    views = MarketViews(markets)
    assert views["SOL_USDC"] is views["SOL_USDC"] is markets["SOL_USDC"].view
    markets["BTC_USDC"] = MarketBook("BTC_USDC")
    assert (len(views), list(views), "BTC_USDC" in views, "X" in views) == (2, ["SOL_USDC", "BTC_USDC"], True, False)
    assert views.get("X") is None
    with pytest.raises(KeyError):
        views["X"]
    before = views["SOL_USDC"]
    markets["SOL_USDC"] = MarketBook("SOL_USDC")  # replaced, as for another moment
    assert views["SOL_USDC"] is not before
    assert views["SOL_USDC"].status is Status.SYNCING
    with pytest.raises(TypeError):
        views["BTC_USDC"] = before
