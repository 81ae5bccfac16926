"""All synthetic markets together: turns, clock-driven streams, aggregated depth, markets that open and close."""

import json
from collections import defaultdict
from decimal import Decimal

import pytest

from backpack_streams.sandbox.synthetic import SyntheticVenue

START_US = 1_790_134_357_267_289
SECOND_US = 1_000_000


def venue(count: int = 12) -> SyntheticVenue:
    return SyntheticVenue(count, 1, START_US)


def test_every_market_gets_its_turn_and_the_count_is_exact():
    markets = venue(30)
    markets.advance(500, START_US)
    assert sum(market.depth_frames for market in markets.markets.values()) == 500
    assert all(market.depth_frames for market in markets.markets.values())


def test_first_symbols_are_fixed():
    assert list(venue().markets)[:8] == [
        "BTC_USDC_PERP",
        "SOL_USDC",
        "ETH_USDC_PERP",
        "kSHIB_USDC_PERP",
        "AAPL.US_USDC_PERP",
        "SOL_USDC_PERP",
        "ETH_USDC",
        "BTC_USDC",
    ]


def test_ticker_and_mark_price_come_once_a_second_even_if_nothing_changes():
    markets = venue()
    for stream in ("ticker.BTC_USDC_PERP", "markPrice.BTC_USDC_PERP"):
        markets.watch(stream, START_US)
    seen: dict[str, int] = defaultdict(int)
    for step in range(1000):
        for stream, _ in markets.by_the_clock(START_US + step * 10_000):
            seen[stream] += 1
    assert seen == {"ticker.BTC_USDC_PERP": 10, "markPrice.BTC_USDC_PERP": 10}


def test_mark_price_forms():
    markets = venue(30)
    for symbol in markets.markets:
        markets.watch(f"markPrice.{symbol}", START_US)
    frames = {}
    for step in range(1, 21):
        for _, payload in markets.by_the_clock(START_US + step * 50_000):
            data = json.loads(payload)["data"]
            frames[data["s"]] = data
    assert "SOL_USDC" not in frames
    assert len(frames["BTC_USDC_PERP"]["f"].partition(".")[2]) == 28
    assert "f" not in frames["kSHIB_USDC_PERP"]
    assert "i" not in frames["kSHIB_USDC_PERP"]
    assert frames["ETH_USDC_PERP"]["n"] % 3_600_000 == 0
    assert frames["ETH_USDC_PERP"]["n"] > START_US // 1000
    view = markets.book("BTC_USDC_PERP")
    assert abs(Decimal(frames["BTC_USDC_PERP"]["p"]) - Decimal(view.bids[0][0])) < 5


def test_open_interest_comes_once_a_minute():
    markets = venue()
    markets.watch("openInterest.SOL_USDC_PERP", START_US)
    frames = [f for step in range(1800) for f in markets.by_the_clock(START_US + step * 100_000)]
    assert len(frames) == 3
    assert set(json.loads(frames[0][1])["data"]) == {"e", "E", "s", "o"}


@pytest.mark.parametrize("window", ["200ms", "600ms", "1000ms"])
def test_an_aggregated_stream_leads_to_the_same_book_with_the_same_numbers(window):
    markets = venue(3)
    symbol = "ETH_USDC_PERP"
    view = markets.book(symbol)
    markets.watch(f"depth.{window}.{symbol}", START_US)
    book = {"a": dict(view.asks), "b": dict(view.bids)}
    book = {side: {Decimal(p): Decimal(q) for p, q in levels.items()} for side, levels in book.items()}
    last, frames, now_us = view.last_update_id, 0, START_US
    for _ in range(500):
        now_us += 10_000
        markets.advance(3, now_us)
        for stream, payload in markets.by_the_clock(now_us):
            data = json.loads(payload)["data"]
            assert stream == f"depth.{window}.{symbol}" == json.loads(payload)["stream"]
            assert data["U"] == last + 1
            last, frames = data["u"], frames + 1
            for side in "ab":
                book[side].update({Decimal(p): Decimal(q) for p, q in data[side]})
    assert frames == pytest.approx(5000 / int(window[:-2]), abs=2)
    markets.by_the_clock(now_us + 1)
    behind = markets.book(symbol).last_update_id - last
    truth = markets.book(symbol, behind)
    assert truth.last_update_id == last
    assert sorted((p, q) for p, q in book["b"].items() if q) == sorted((Decimal(p), Decimal(q)) for p, q in truth.bids)
    assert sorted((p, q) for p, q in book["a"].items() if q) == sorted((Decimal(p), Decimal(q)) for p, q in truth.asks)


def test_a_closed_market_falls_silent_and_a_reopened_one_speaks_again():
    markets = venue(3)
    markets.watch("depth.SOL_USDC", START_US)
    assert markets.delist_market("SOL_USDC")
    assert not markets.advance(300, START_US)
    assert markets.listing("SOL_USDC").state == "Closed"
    later_us = START_US + 60 * SECOND_US
    last = markets.sequences()["SOL_USDC"]["depth"]["last_update_id"]
    assert markets.list_market("SOL_USDC", later_us)
    frames = markets.advance(300, later_us)
    assert {stream for stream, _ in frames} == {"depth.SOL_USDC"}
    assert json.loads(frames[0][1])["data"]["U"] > last


def test_a_new_market_opens_for_who_waits_for_it():
    markets = venue(3)
    markets.watch("depth.NEW_USDC_PERP", START_US)
    assert not markets.advance(100, START_US)
    assert markets.list_market("NEW_USDC_PERP", START_US)
    assert not markets.list_market("NEW_USDC_PERP", START_US)
    assert any(stream == "depth.NEW_USDC_PERP" for stream, _ in markets.advance(300, START_US))


def test_nothing_is_made_for_a_stream_that_nobody_wants_any_more():
    markets = venue(3)
    for stream in ("depth.SOL_USDC", "kline.1m.SOL_USDC", "depth.200ms.SOL_USDC", "ticker.SOL_USDC", "liquidation"):
        markets.watch(stream, START_US)
        markets.unwatch(stream)
    assert not markets.advance(300, START_US)
    assert not markets.by_the_clock(START_US + 5 * SECOND_US)


def test_funding_begins_with_the_interval_in_progress_which_moves():
    markets = venue(3)
    rows, total = markets.funding_rates("BTC_USDC_PERP", 0, 100, START_US)
    later, _ = markets.funding_rates("BTC_USDC_PERP", 0, 100, START_US + 7 * SECOND_US)
    assert total > 700
    assert rows[0] != later[0]
    assert rows[1:] == later[1:]
    assert rows[0]["intervalEndTimestamp"] > rows[1]["intervalEndTimestamp"]
    assert all(len(row["fundingRate"].partition(".")[2]) <= 9 for row in rows)
    assert markets.funding_rates("SOL_USDC", 0, 100, START_US) == ([], 0)
