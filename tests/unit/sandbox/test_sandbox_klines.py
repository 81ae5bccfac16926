"""Candles of every interval are sums of their trades, on the socket as over REST."""

import json
from collections import defaultdict
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backpack_sandbox.candles import merged
from backpack_sandbox.intervals import bucket, naive_iso
from backpack_sandbox.listings import synthetic_listings
from backpack_sandbox.market import SyntheticMarket
from backpack_sandbox.past import Past
from backpack_sandbox.streams import KLINE_INTERVALS

START_US = 1_790_134_357_267_289
SECOND_US = 1_000_000
LISTING = synthetic_listings(2)[1]


def summed(trades: list[dict[str, Any]]) -> tuple[int, Decimal, list[Decimal | None]]:
    prices = [Decimal(trade["p"]) for trade in trades]
    volume = sum((Decimal(trade["q"]) for trade in trades), Decimal(0))
    return len(trades), volume, [prices[0], max(prices), min(prices), prices[-1]] if prices else [None] * 4


def of_frame(candle: dict[str, Any]) -> tuple[int, Decimal, list[Decimal | None]]:
    return candle["n"], Decimal(candle["v"]), [None if candle[key] is None else Decimal(candle[key]) for key in "ohlc"]


def of_row(row: dict[str, Any]) -> tuple[int, Decimal, list[Decimal | None]]:
    prices = [None if row[key] is None else Decimal(row[key]) for key in ("open", "high", "low", "close")]
    return int(row["trades"]), Decimal(row["volume"]), prices


@pytest.mark.parametrize("interval", KLINE_INTERVALS)
@settings(max_examples=5)
@given(seed=st.integers(0, 10_000), steps_a_candle=st.integers(3, 40))
def test_closed_candles_are_the_sums_of_the_trades_in_them(interval: str, seed: int, steps_a_candle: int) -> None:
    market = SyntheticMarket(LISTING, seed, START_US)
    market.wanted = {"trade"}
    market.history.watch(interval, START_US)
    start, end = bucket(interval, START_US // SECOND_US)
    step_us = max(1, (end - start) * SECOND_US // steps_a_candle)
    trades: dict[str, list[dict[str, Any]]] = defaultdict(list)
    frames: list[dict[str, Any]] = []
    now_us = START_US
    for _ in range(steps_a_candle * 4):
        now_us += step_us
        for _ in range(8):
            for _, payload in market.step(now_us):
                trade = json.loads(payload)["data"]
                trades[naive_iso(bucket(interval, trade["T"] // SECOND_US)[0])].append(trade)
        frames += [json.loads(payload)["data"] for _, payload in market.history.kline_frames(now_us, market.writer)]
    closed = [frame for frame in frames if frame["X"]]
    whole = [
        frame for frame in closed if frame["t"] >= naive_iso(end)
    ]  # the first one also holds trades from before the start
    assert len(whole) >= 2
    assert [frame["T"] for frame in closed[:-1]] == [frame["t"] for frame in closed[1:]]
    rows = {
        row["start"]: row for row in market.history.klines(interval, start, now_us // SECOND_US, now_us // SECOND_US)
    }
    for frame in whole:
        assert of_frame(frame) == summed(trades[frame["t"]])
    for frame in closed:
        row = rows[frame["t"].replace("T", " ")]
        assert row["end"] == frame["T"].replace("T", " ")
        if frame in whole or interval != "1s":
            assert of_row(row) == of_frame(frame)


@pytest.mark.parametrize("interval", KLINE_INTERVALS)
def test_the_end_of_a_candle_is_the_start_of_the_next_one(interval: str) -> None:
    start, end = bucket(interval, START_US // SECOND_US)
    assert start <= START_US // SECOND_US < end
    assert bucket(interval, end)[0] == end


@given(seed=st.integers(0, 10_000))
def test_the_past_ends_where_the_market_begins(seed: int) -> None:
    past = Past(LISTING, seed, START_US // SECOND_US)
    assert past.price(past.end_seconds // 60) == LISTING.anchor
    assert len({past.price(minute) for minute in range(past.begin_seconds // 60, past.begin_seconds // 60 + 60)}) > 30


@settings(max_examples=20)
@given(st.integers(-2 * 86_400, 30 * 86_400), st.integers(0, 3 * 86_400), st.integers(0, 10_000), st.booleans())
def test_the_past_adds_up_to_the_same_in_hours_as_in_minutes(
    begin: int, length: int, seed: int, is_quiet: bool
) -> None:
    past = Past(replace(LISTING, quiet=is_quiet), seed, START_US // SECOND_US)
    begin += past.begin_seconds
    by_minute, by_part = (merged(0, 0, parts(begin, begin + length)) for parts in (past.minutes, past.parts))
    assert by_part == by_minute
