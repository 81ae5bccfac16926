"""A synthetic market's frames, replayed with a dict and Decimal, give its own book; its streams agree with each other."""

import json
from collections import defaultdict
from decimal import Decimal
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from backpack_sandbox.intervals import bucket, naive_iso
from backpack_sandbox.listings import synthetic_listings
from backpack_sandbox.market import SyntheticMarket
from backpack_sandbox.views import BookView

START_US = 1_790_134_357_267_289
LISTINGS = synthetic_listings(20)

runs = settings(max_examples=25, deadline=None)
listings = st.sampled_from(LISTINGS)
seeds = st.integers(0, 2**31)
pauses = st.lists(st.integers(0, 40_000), min_size=1, max_size=8)


def played(market: SyntheticMarket, steps: int, pauses_us: list[int]) -> list[dict[str, Any]]:
    """All frames of `steps` steps; the clock advances by the pauses in turn."""
    now_us, frames = START_US, []
    for number in range(steps):
        now_us += pauses_us[number % len(pauses_us)]
        for stream, payload in market.step(now_us):
            envelope = json.loads(payload)
            assert envelope["stream"] == stream
            frames.append(envelope["data"])
    return frames


class Replay:
    """A book from a view and depth frames, keyed by value."""

    def __init__(self, view: BookView) -> None:
        self.bids = {Decimal(price): Decimal(quantity) for price, quantity in view.bids}
        self.asks = {Decimal(price): Decimal(quantity) for price, quantity in view.asks}
        self.last = view.last_update_id

    def apply(self, data: dict[str, Any]) -> None:
        assert data["U"] == self.last + 1
        assert data["u"] >= data["U"]
        for side, changes in ((self.bids, data["b"]), (self.asks, data["a"])):
            for price, quantity in changes:
                side[Decimal(price)] = Decimal(quantity)
                if not Decimal(quantity):
                    del side[Decimal(price)]
        self.last = data["u"]
        assert not self.bids or not self.asks or max(self.bids) < min(self.asks)

    def best_first(self) -> tuple[list[tuple[Decimal, Decimal]], list[tuple[Decimal, Decimal]]]:
        return sorted(self.bids.items(), reverse=True), sorted(self.asks.items())


def as_decimals(view: BookView) -> tuple[list[tuple[Decimal, Decimal]], list[tuple[Decimal, Decimal]]]:
    def side(levels: list[tuple[str, str]]) -> list[tuple[Decimal, Decimal]]:
        return [(Decimal(price), Decimal(quantity)) for price, quantity in levels]

    return side(view.bids), side(view.asks)


@runs
@given(listings, seeds, st.integers(1, 400), pauses)
def test_depth_frames_from_a_snapshot_on_give_the_markets_own_book(listing, seed, steps, pauses_us):
    market = SyntheticMarket(listing, seed, START_US)
    market.wanted = {"depth"}
    replay = Replay(market.view())
    for data in played(market, steps, pauses_us):
        replay.apply(data)
    assert replay.best_first() == as_decimals(market.view())
    assert replay.last == market.view().last_update_id


@runs
@given(listings, seeds, st.integers(1, 400))
def test_book_ticker_gives_the_top_of_book_at_its_update_id(listing, seed, steps):
    market = SyntheticMarket(listing, seed, START_US)
    market.wanted = {"depth", "bookTicker"}
    replay, told = Replay(market.view()), None
    for data in played(market, steps, [500]):
        if data["e"] == "bookTicker":
            told = data
            continue
        replay.apply(data)
        if told is not None and told["u"] == replay.last:
            for best, price, quantity in (
                (max(replay.bids, default=None), "b", "B"),
                (min(replay.asks, default=None), "a", "A"),
            ):
                side = replay.bids if price == "b" else replay.asks
                assert (told[price] is None) == (best is None) == (told[quantity] is None)
                if best is not None:
                    assert (Decimal(told[price]), Decimal(told[quantity])) == (best, side[best])
    tickers = market.book_ticker_frames
    assert tickers == 0 or told is not None


@runs
@given(listings, seeds, st.integers(50, 600))
def test_trades_take_from_the_top_of_book_and_have_sequential_ids(listing, seed, steps):
    market = SyntheticMarket(listing, seed, START_US)
    market.wanted = {"depth", "trade"}
    replay, trade, next_id = Replay(market.view()), None, market.first_trade_id
    for data in played(market, steps, [700]):
        if data["e"] == "trade":
            assert data["t"] == next_id
            next_id += 1
            trade = data
            continue
        bids, asks = dict(replay.bids), dict(replay.asks)
        replay.apply(data)
        if trade is not None:
            before, after = (bids, replay.bids) if trade["m"] else (asks, replay.asks)
            price = Decimal(trade["p"])
            assert price == (max(before) if trade["m"] else min(before))
            assert before[price] - after.get(price, Decimal(0)) == Decimal(trade["q"])
            trade = None


@runs
@given(listings, seeds, st.integers(100, 500), pauses)
def test_closed_candles_are_the_trades_of_their_minute(listing, seed, steps, pauses_us):
    market = SyntheticMarket(listing, seed, START_US // 60_000_000 * 60_000_000)
    market.wanted = {"trade"}
    now_us = START_US // 60_000_000 * 60_000_000
    market.history.watch("1m", now_us + 20_000)
    trades: dict[str, list[dict[str, Any]]] = defaultdict(list)
    closed: list[dict[str, Any]] = []
    for number in range(steps):
        now_us += pauses_us[number % len(pauses_us)] * 50
        for _, payload in market.step(now_us):
            data = json.loads(payload)["data"]
            trades[naive_iso(bucket("1m", data["T"] // 1_000_000)[0])].append(data)
        if number % 7 == 0:
            frames = [json.loads(payload)["data"] for _, payload in market.history.kline_frames(now_us, market.writer)]
            closed += [frame for frame in frames if frame["X"]]
    starts = [candle["t"] for candle in closed]
    assert starts == sorted(set(starts))
    for candle in closed:
        prints = trades[candle["t"]]
        assert candle["n"] == len(prints)
        assert Decimal(candle["v"]) == sum((Decimal(data["q"]) for data in prints), Decimal(0))
        prices = [Decimal(data["p"]) for data in prints]
        expected = [prices[0], max(prices), min(prices), prices[-1]] if prices else [None] * 4
        assert [None if candle[key] is None else Decimal(candle[key]) for key in "ohlc"] == expected


@runs
@given(listings, seeds, st.integers(1, 200), st.integers(1, 60))
def test_the_book_of_some_update_ids_ago_is_the_book_at_that_time(listing, seed, steps, behind):
    market = SyntheticMarket(listing, seed, START_US)
    views = [market.view()]
    for number in range(steps):
        market.step(START_US + number)
        views.append(market.view())
    target = market.last_update_id - behind
    expected = max(
        (view for view in views if view.last_update_id <= target), default=views[0], key=lambda v: v.last_update_id
    )
    assert market.view(behind) == expected


@runs
@given(listings, seeds, pauses)
def test_times_never_go_back_and_the_engine_is_never_ahead_of_the_event(listing, seed, pauses_us):
    market = SyntheticMarket(listing, seed, START_US)
    market.wanted = {"depth"}
    last_event = last_engine = 0
    for data in played(market, 200, pauses_us):
        assert data["E"] >= last_event
        assert data["T"] >= last_engine
        assert data["T"] <= data["E"]
        last_event, last_engine = data["E"], data["T"]


def test_the_same_seed_and_start_give_the_same_bytes():
    def run(seed: int) -> list[tuple[str, bytes]]:
        market = SyntheticMarket(LISTINGS[0], seed, START_US)
        market.wanted = {"depth", "trade", "bookTicker"}
        return [frame for number in range(500) for frame in market.step(START_US + number * 900)]

    assert run(7) == run(7)
    assert run(7) != run(8)


def test_features_of_the_wire_occur():
    market = SyntheticMarket(LISTINGS[0], 1, START_US)
    market.wanted = {"depth", "liquidation", "liquidation.all"}
    texts = [(stream, payload.decode()) for number in range(9000) for stream, payload in market.step(START_US + number)]
    depth = [json.loads(text)["data"] for stream, text in texts if stream.startswith("depth.")]
    assert any(data["a"] == data["b"] == [] for data in depth)
    assert any(data["U"] < data["u"] for data in depth)
    assert any(quantity == "0.00000" for data in depth for _, quantity in data["a"] + data["b"])
    best = max(Decimal(price) for data in depth for price, _ in data["b"])
    assert any(Decimal(price) < best - 100 for data in depth for price, _ in data["b"])
    assert any(text.startswith('{"data"') for _, text in texts)
    assert any(text.startswith('{"stream"') for _, text in texts)
    assert {"liquidation", "liquidation.BTC_USDC_PERP"} <= {stream for stream, _ in texts}


def test_a_book_holds_between_100_and_400_levels_a_side_however_long_it_runs():
    market = SyntheticMarket(LISTINGS[1], 3, START_US)
    for number in range(20_000):
        market.step(START_US + number)
        if number % 500 == 0:
            assert 100 <= len(market.bids.levels) <= 400
            assert 100 <= len(market.asks.levels) <= 400


def test_sides_of_a_thin_book_run_empty_and_refill():
    thin = next(listing for listing in LISTINGS if listing.thin)
    market = SyntheticMarket(thin, 1, START_US)
    market.wanted = {"bookTicker"}
    tickers = played(market, 5000, [100])
    assert any(data["a"] is None and data["A"] is None for data in tickers)
    assert any(data["b"] is None and data["B"] is None for data in tickers)
    assert tickers[-1] != tickers[0]
