"""Klines, trades and tickers of a synthetic market agree with each other, before its start and after."""

import json
from decimal import Decimal

from backpack_sandbox.listings import synthetic_listings
from backpack_sandbox.market import SyntheticMarket

START_US = 1_790_134_357_267_289
START = START_US // 1_000_000
LISTINGS = synthetic_listings(12)


def market_after(steps: int, number: int = 0, spacing_us: int = 40_000) -> tuple[SyntheticMarket, int]:
    market = SyntheticMarket(LISTINGS[number], 5, START_US)
    for step in range(steps):
        market.step(START_US + step * spacing_us)
    return market, (START_US + steps * spacing_us) // 1_000_000


def test_an_hour_is_the_sum_of_its_minutes_across_the_start():
    market, now = market_after(4000)
    hour = START // 3600 * 3600
    (whole,) = market.history.klines("1h", hour, hour, now)
    minutes = market.history.klines("1m", hour, hour + 3599, now)
    traded = [row for row in minutes if row["trades"] != "0"]
    assert whole["open"] == traded[0]["open"]
    assert whole["close"] == traded[-1]["close"]
    assert Decimal(whole["high"]) == max(Decimal(row["high"]) for row in traded)
    assert Decimal(whole["low"]) == min(Decimal(row["low"]) for row in traded)
    assert Decimal(whole["volume"]) == sum(Decimal(row["volume"]) for row in minutes)
    assert int(whole["trades"]) == sum(int(row["trades"]) for row in minutes)


def test_minutes_without_trades_have_null_prices():
    market, now = market_after(10)
    rows = market.history.klines("1m", START - 86_400, START, now)
    quiet = [row for row in rows if row["trades"] == "0"]
    assert quiet
    assert all(row[key] is None for row in quiet for key in ("open", "high", "low", "close"))
    assert all(row["volume"] == "0" for row in quiet)
    assert rows[0]["start"][10] == " "


def test_klines_end_at_the_candle_in_progress_and_start_with_the_past():
    market, now = market_after(10)
    rows = market.history.klines("1d", 0, now + 10**9, now)
    assert 30 <= len(rows) <= 32


def test_the_past_is_the_same_at_every_request():
    one, now = market_after(10)
    other, _ = market_after(500)
    assert one.history.klines("5m", START - 7200, START - 3600, now) == other.history.klines(
        "5m", START - 7200, START - 3600, now
    )


def test_trades_are_newest_first_with_consecutive_ids_into_the_past():
    market, _ = market_after(3000)
    count = market.history.next_trade_id - market.first_trade_id
    rows = market.history.trades(0, count + 50)
    assert [row["id"] for row in rows] == list(range(market.history.next_trade_id - 1, market.first_trade_id - 51, -1))
    assert [row["timestamp"] for row in rows] == sorted((row["timestamp"] for row in rows), reverse=True)
    assert market.history.trades(10, 5) == rows[10:15]
    for row in rows:
        assert Decimal(row["price"]) * Decimal(row["quantity"]) == Decimal(row["quoteQuantity"])


def test_rest_trades_are_the_trades_of_the_socket():
    market = SyntheticMarket(LISTINGS[1], 9, START_US)
    market.wanted = {"trade"}
    prints = [json.loads(payload)["data"] for n in range(2000) for _, payload in market.step(START_US + n * 1000)]
    rows = market.history.trades(0, len(prints))
    assert [(row["id"], Decimal(row["price"]), Decimal(row["quantity"]), row["isBuyerMaker"]) for row in rows] == [
        (data["t"], Decimal(data["p"]), Decimal(data["q"]), data["m"]) for data in reversed(prints)
    ]


def test_ticker_row_and_ticker_frame_agree():
    market, now = market_after(500)
    row = market.history.ticker_row()
    _, payload = market.writer.ticker(now * 1_000_000, market.history.day())
    data = json.loads(payload)["data"]
    names = {"o": "firstPrice", "c": "lastPrice", "h": "high", "l": "low", "v": "volume", "V": "quoteVolume"}
    assert all(Decimal(data[letter]) == Decimal(row[name]) for letter, name in names.items())
    assert str(data["n"]) == row["trades"]


def test_a_market_that_never_traded_has_no_percentage():
    quiet = next(number for number, listing in enumerate(LISTINGS) if listing.quiet)
    market, _ = market_after(500, quiet)
    row = market.history.ticker_row()
    assert (row["trades"], row["priceChangePercent"]) == ("0", "N/A")


def test_one_second_candles_are_the_trades_of_their_second():
    market, now = market_after(2000)
    rows = market.history.klines("1s", START, now, now)
    assert sum(int(row["trades"]) for row in rows) == market.history.next_trade_id - market.first_trade_id
