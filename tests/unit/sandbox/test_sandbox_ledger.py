"""The ledger holds every message, sent or not, and every past book, for each listing of a market."""

import json
from decimal import Decimal
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from backpack_sandbox.ledger import Ledger
from backpack_sandbox.synthetic import SyntheticVenue

START_US = 1_790_134_357_267_289
SECOND_US = 1_000_000
SYMBOL = "SOL_USDC"


def venue(limit: int = 100_000, markets: int = 2) -> tuple[SyntheticVenue, Ledger]:
    ledger = Ledger(limit)
    return SyntheticVenue(markets, 1, START_US, 5 * SECOND_US, ledger=ledger), ledger


def streams(ledger: Ledger, symbol: str = SYMBOL, since_us: int = 0) -> dict[str, Any]:
    (listed,) = ledger.shown(symbol, since_us, None)["markets"][symbol]
    return dict(listed["streams"])


def test_unsubscribed_streams_are_recorded_too():
    markets, ledger = venue()
    assert markets.advance(2000, START_US + 1) == []
    for tick in range(1, 1300):
        markets.by_the_clock(START_US + tick * 50_000)
    said = streams(ledger, "BTC_USDC_PERP")
    assert {kind for kind, messages in said.items() if messages} == {
        *("depth", "bookTicker", "trade", "liquidation", "ticker", "markPrice", "openInterest", "kline.1m")
    }
    assert len(said["ticker"]) == len(said["markPrice"]) == 65
    made, sequence = markets.produced(), markets.sequences()
    assert sum(len(streams(ledger, symbol)["depth"]) for symbol in markets.markets) == made["depth"]
    assert sum(len(streams(ledger, symbol)["trade"]) for symbol in markets.markets) == made["trade"]
    assert said["trade"][-1].last_id == sequence["BTC_USDC_PERP"]["trades"]["last_id"]


def test_the_ledger_records_frames_as_on_the_wire():
    markets, ledger = venue()
    subscribed = [f"{each}.{SYMBOL}" for each in ("depth", "trade", "bookTicker", "ticker", "kline.1m")]
    for stream in subscribed:
        markets.watch(stream, START_US)
    frames = markets.advance(3000, START_US + 5)
    for tick in range(1, 1300):
        frames += markets.by_the_clock(START_US + tick * 50_000)
    said = streams(ledger)
    data = [json.loads(payload)["data"] for stream, payload in frames if stream in subscribed]
    depth = [(each["E"], each["U"], each["u"]) for each in data if each["e"] == "depth"]
    assert depth == [(each.event_us, each.first_id, each.last_id) for each in said["depth"]]
    trades = [(each["E"], each["t"]) for each in data if each["e"] == "trade"]
    assert trades == [(each.event_us, each.last_id) for each in said["trade"]]
    tops = [(each["E"], each["u"]) for each in data if each["e"] == "bookTicker"]
    assert tops == [(each.event_us, each.last_id) for each in said["bookTicker"]]
    assert [each["E"] for each in data if each["e"] == "ticker"] == [each.event_us for each in said["ticker"]]
    closed = [each["E"] for each in data if each["e"] == "kline" and each["X"]]
    assert closed == [each.event_us for each in said["kline.1m"]]
    assert closed
    assert ledger.shown(SYMBOL, 0, None)["subscribed"] == dict.fromkeys(subscribed, START_US)


def test_liquidations_are_recorded_with_their_details():
    markets, ledger = venue()
    markets.watch("liquidation", START_US)
    frames = [
        json.loads(payload)["data"] for stream, payload in markets.advance(4000, START_US + 1) if stream[0] == "l"
    ]
    on_wire = [(each["E"], f"{each['S']} {each['p']} {each['q']}") for each in frames]
    assert on_wire == [(each.event_us, each.detail) for each in streams(ledger, "BTC_USDC_PERP")["liquidation"]]
    assert on_wire


@given(st.integers(1, 3000), st.integers(0, 3000))
def test_every_past_book_can_be_restored(frames, back):
    markets, ledger = venue(markets=1)
    market = markets.markets["BTC_USDC_PERP"]
    wanted = max(0, frames - back)
    then = None
    for number in range(frames + 1):
        if number == wanted:
            then = market.view()
        if number < frames:
            market.step(START_US + number)
    assert then is not None
    found = ledger.book("BTC_USDC_PERP", then.last_update_id, None)
    assert found is not None
    assert (found.bids, found.asks, found.last_update_id) == (then.bids, then.asks, then.last_update_id)
    as_of = ledger.book("BTC_USDC_PERP", None, START_US + wanted - 1) if wanted else None
    assert as_of is None or as_of.last_update_id == then.last_update_id
    assert ledger.book("BTC_USDC_PERP", 1, None) is None
    assert ledger.book("NONE", 1, 1) is None


def test_memory_is_bounded_and_the_kept_part_is_complete():
    markets, ledger = venue(limit=2000, markets=1)
    market = markets.markets["BTC_USDC_PERP"]
    views = {}
    for number in range(9000):
        market.step(START_US + number)
        if number % 500 == 0:
            views[market.last_update_id] = market.view()
    (listed,) = ledger.shown(None, 0, None)["markets"]["BTC_USDC_PERP"]
    depth = listed["streams"]["depth"]
    assert 1500 <= len(depth) <= 2600
    assert listed["forgotten"]["depth"] + len(depth) == 9000
    assert all(len(messages) <= 2600 for messages in listed["streams"].values())
    kept = [view for update_id, view in views.items() if update_id >= depth[0].last_id]
    assert len(kept) >= 3
    for view in kept:
        found = ledger.book("BTC_USDC_PERP", view.last_update_id, None)
        assert found is not None
        assert (found.bids, found.asks) == (view.bids, view.asks)
    assert ledger.book("BTC_USDC_PERP", min(views), None) is None


def test_a_relisted_market_restarts_from_one():
    markets, ledger = venue()
    markets.advance(50, START_US + 1, SYMBOL)
    old = markets.markets[SYMBOL].view()
    assert markets.delist_market(SYMBOL, START_US + 10, gone=True)
    assert SYMBOL not in {each.symbol for each in markets.listings()}
    assert markets.book(SYMBOL) is None
    assert markets.list_market(SYMBOL, START_US + 20, first_id=1)
    assert {each.symbol: each for each in markets.listings()}[SYMBOL].market_type == "SPOT"
    markets.advance(5000, START_US + 30, SYMBOL)
    first, second = ledger.shown(SYMBOL, 0, None)["markets"][SYMBOL]
    assert (first["ended"], second["begun"], second["ended"]) == (START_US + 10, START_US + 20, None)
    assert (second["first_update_id"], second["streams"]["depth"][0].first_id) == (0, 1)
    assert second["streams"]["trade"][0].last_id == 1
    again = ledger.book(SYMBOL, old.last_update_id, None)
    assert again is not None
    assert again.bids == old.bids
    assert ledger.book(SYMBOL, None, START_US + 15) is None
    rows = markets.trades(SYMBOL, 0, 1000)
    assert min(row["id"] for row in rows) == 1


def test_a_paused_market_sends_only_tickers():
    markets, ledger = venue()
    assert markets.pace(SYMBOL, 0)
    markets.advance(500, START_US + 1)
    for tick in range(1, 60):
        markets.by_the_clock(START_US + tick * 50_000)
    said = streams(ledger)
    assert not said["depth"]
    assert len(said["ticker"]) >= 2
    markets.advance(7, START_US + 2, SYMBOL)  # a burst still moves it
    assert len(streams(ledger)["depth"]) == 7
    assert markets.pace(SYMBOL, 3)
    markets.advance(400, START_US + 3)
    assert 7 + 250 < len(streams(ledger)["depth"]) < 7 + 350
    assert not markets.pace("NONE", 1)


def test_messages_can_be_selected_by_time_and_stream():
    markets, ledger = venue()
    for moment in range(10):
        markets.advance(10, START_US + moment, SYMBOL)
    (listed,) = ledger.shown(SYMBOL, START_US + 7, frozenset({"depth"}))["markets"][SYMBOL]
    assert set(listed["streams"]) == {"depth"}
    assert len(listed["streams"]["depth"]) == 30


def test_levels_are_exact_decimals():
    markets, ledger = venue()
    markets.advance(100, START_US + 1, SYMBOL)
    book = ledger.book(SYMBOL, None, START_US + 1)
    truth = markets.markets[SYMBOL].view()
    assert book is not None
    assert {Decimal(price): Decimal(quantity) for price, quantity in book.bids} == {
        Decimal(price): Decimal(quantity) for price, quantity in truth.bids
    }
