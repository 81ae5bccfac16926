"""All synthetic markets together: turns, periodic streams, aggregated depth, markets that open and close."""

import json
from collections import defaultdict
from decimal import Decimal
from typing import Any

import pytest

from backpack_sandbox.synthetic import SyntheticVenue

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
def test_an_aggregated_stream_leads_to_the_same_book_with_the_same_ids(window):
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


def test_a_closed_market_falls_silent_and_a_reopened_one_sends_again():
    markets = venue(3)
    markets.watch("depth.SOL_USDC", START_US)
    assert markets.delist_market("SOL_USDC", START_US)
    assert not markets.advance(300, START_US)
    assert markets.listing("SOL_USDC").state == "Closed"
    later_us = START_US + 60 * SECOND_US
    last = markets.sequences()["SOL_USDC"]["depth"]["last_update_id"]
    assert markets.list_market("SOL_USDC", later_us)
    frames = markets.advance(300, later_us)
    assert {stream for stream, _ in frames} == {"depth.SOL_USDC"}
    assert json.loads(frames[0][1])["data"]["U"] > last


def test_a_new_market_is_sent_to_its_waiting_subscribers():
    markets = venue(3)
    markets.watch("depth.NEW_USDC_PERP", START_US)
    assert not markets.advance(100, START_US)
    assert markets.list_market("NEW_USDC_PERP", START_US)
    assert not markets.list_market("NEW_USDC_PERP", START_US)
    assert any(stream == "depth.NEW_USDC_PERP" for stream, _ in markets.advance(300, START_US))


def test_nothing_is_produced_for_an_unsubscribed_stream():
    markets = venue(3)
    for stream in ("depth.SOL_USDC", "kline.1m.SOL_USDC", "depth.200ms.SOL_USDC", "ticker.SOL_USDC", "liquidation"):
        markets.watch(stream, START_US)
        markets.unwatch(stream)
    assert not markets.advance(300, START_US)
    assert not markets.by_the_clock(START_US + 5 * SECOND_US)


def test_funding_starts_with_the_interval_in_progress_which_still_changes():
    markets = venue(3)
    rows, total = markets.funding_rates("BTC_USDC_PERP", 0, 100, START_US)
    later, _ = markets.funding_rates("BTC_USDC_PERP", 0, 100, START_US + 7 * SECOND_US)
    assert total > 700
    assert rows[0] != later[0]
    assert rows[1:] == later[1:]
    assert rows[0]["intervalEndTimestamp"] > rows[1]["intervalEndTimestamp"]
    assert all(len(row["fundingRate"].partition(".")[2]) <= 9 for row in rows)
    assert markets.funding_rates("SOL_USDC", 0, 100, START_US) == ([], 0)


# ---- kinds of market, and data of external providers


def every_kind() -> SyntheticVenue:
    return SyntheticVenue(5, 1, START_US, 1_000_000, every_kind=True)


def seconds_of(markets: SyntheticVenue, seconds: int) -> list[dict[str, Any]]:
    """The frames of the periodic streams within some seconds."""
    frames = [f for step in range(seconds * 20) for f in markets.by_the_clock(START_US + step * 50_000)]
    return [json.loads(payload) for _, payload in frames]


def test_there_is_a_market_of_every_kind_if_requested():
    kinds = {listing.market_type for listing in every_kind().listings() if listing.state == "Open"}
    assert kinds == {"SPOT", "PERP", "IPERP", "DATED", "PREDICTION", "RFQ", "EXOTIC"}
    assert {listing.market_type for listing in venue().listings() if listing.state == "Open"} == {
        "SPOT",
        "PERP",
        "EXOTIC",
    }


@pytest.mark.parametrize(
    "symbol", ["ETH_USDC_IPERP", "BTC_USDC_270326", "SNOWFALL2026_USDC_PREDICTION", "WEATHER_USDC_EXOTIC"]
)
def test_markets_of_other_kinds_trade_like_the_usual_ones(symbol):
    markets = every_kind()
    for channel in ("depth", "trade", "bookTicker"):
        markets.watch(f"{channel}.{symbol}", START_US)
    frames = markets.advance(3000, START_US)
    assert {stream for stream, _ in frames} == {f"{channel}.{symbol}" for channel in ("depth", "trade", "bookTicker")}
    assert markets.book(symbol).bids


def test_an_rfq_market_has_no_book():
    markets = every_kind()
    markets.watch("depth.SOL_USDC_RFQ", START_US)
    assert markets.advance(3000, START_US) == []
    assert markets.book("SOL_USDC_RFQ") is None


def test_futures_have_mark_price_and_open_interest_and_prediction_markets_only_a_mark_price():
    markets = every_kind()
    for listing in markets.listings():
        markets.watch(f"markPrice.{listing.symbol}", START_US)
        markets.watch(f"openInterest.{listing.symbol}", START_US)
    frames = seconds_of(markets, 3)
    marks = {frame["data"]["s"]: frame["data"] for frame in frames if frame["data"]["e"] == "markPrice"}
    interest = {frame["data"]["s"] for frame in frames if frame["data"]["e"] == "openInterest"}
    futures = {
        "BTC_USDC_PERP",
        "ETH_USDC_PERP",
        "kSHIB_USDC_PERP",
        "AAPL.US_USDC_PERP",
        "ETH_USDC_IPERP",
        "BTC_USDC_270326",
    }
    assert interest == futures
    assert marks.keys() == futures | {"SNOWFALL2026_USDC_PREDICTION"}
    assert marks["SNOWFALL2026_USDC_PREDICTION"].keys() == {"E", "T", "e", "p", "s"}
    assert "n" in marks["BTC_USDC_270326"]


def test_stock_prices_come_once_a_second_and_are_sometimes_closed():
    markets = every_kind()
    for stream in ("stockPrice.AAPL", "stockPrice.BRK.B", "stockPrice.NOPE"):
        markets.watch(stream, START_US)
    frames = seconds_of(markets, 20)
    quotes = [frame["data"] for frame in frames if frame["stream"] == "stockPrice.BRK.B"]
    assert {frame["stream"] for frame in frames} == {"stockPrice.AAPL", "stockPrice.BRK.B"}
    assert len(quotes) in (19, 20)
    assert all(quote.keys() == {"e", "symbol", "bid", "ask", "mid", "timestamp", "session"} for quote in quotes)
    assert all((quote["bid"] is None) == (quote["ask"] is None) == (quote["session"] is None) for quote in quotes)
    assert any(quote["bid"] is None for quote in quotes)
    for quote in quotes:
        if quote["bid"] is not None:
            assert Decimal(quote["mid"]) * 2 == Decimal(quote["bid"]) + Decimal(quote["ask"])
    markets.unwatch("stockPrice.BRK.B")
    markets.unwatch("stockPrice.AAPL")
    later_us = START_US + 30 * SECOND_US
    assert markets.by_the_clock(later_us) == []


def test_only_real_world_assets_have_external_tickers():
    markets = every_kind()
    for listing in markets.listings():
        markets.watch(f"externalTicker.{listing.symbol}", START_US)
    frames = [frame["data"] for frame in seconds_of(markets, 5)]
    assert {frame["s"] for frame in frames} == {"AAPL.US_USDC_PERP", "NVDA.US_USDC"}
    assert {next(iter(frame)) for frame in frames} <= {"E", "e"}
    assert {frame["e"] for frame in frames} == {"externalTicker"}
    for frame in frames:
        assert Decimal(frame["l"]) <= min(Decimal(frame["o"]), Decimal(frame["c"]))
        assert Decimal(frame["h"]) >= max(Decimal(frame["o"]), Decimal(frame["c"]))


@pytest.mark.parametrize(
    ("symbol", "kind"),
    [
        ("A_USDC", "SPOT"), ("A_USDC_PERP", "PERP"), ("A_USDC_IPERP", "IPERP"), ("A_USDC_260925", "DATED"),
        ("A_USDC_PREDICTION", "PREDICTION"), ("A_USDC_RFQ", "RFQ"), ("A_USDC_EXOTIC", "EXOTIC"),
    ],
)  # fmt: skip
def test_a_new_market_has_the_kind_in_its_name(symbol, kind):
    markets = venue(3)
    assert markets.list_market(symbol, START_US)
    assert markets.listing(symbol).market_type == kind
    assert (symbol in markets.book_symbols()) == (kind != "RFQ")


def test_liquidations_of_all_markets_continue_when_the_last_private_stream_is_unsubscribed() -> None:
    exchange = venue()
    exchange.watch("liquidation", START_US)
    wanted = {symbol: set(market.wanted) for symbol, market in exchange.markets.items()}
    assert all("liquidation.all" in each for each in wanted.values())
    exchange.unwatch("account.balanceUpdate")
    assert {symbol: set(market.wanted) for symbol, market in exchange.markets.items()} == wanted
    exchange.unwatch("liquidation")
    assert not any("liquidation.all" in market.wanted for market in exchange.markets.values())
