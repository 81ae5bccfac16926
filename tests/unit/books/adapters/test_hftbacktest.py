"""Against hftbacktest itself: a backtest over the array ends with the same book as ours."""

import asyncio
import math
from typing import Any

import pytest
from recorded_markets import LATENCY_US, Follower, recorded_records, trade

from backpack_streams.books.adapters.hftbacktest import HftEvents
from backpack_streams.books.market_book import MarketBook
from backpack_streams.books.record_stream import StreamedRecord
from topics_in_memory import PREFIX, SECOND, T0, MemoryReader, Topics, stream_of

hftbacktest = pytest.importorskip("hftbacktest", reason="hftbacktest is not installed")

validate_event_order = pytest.importorskip(
    "hftbacktest.data", reason="hftbacktest is not installed"
).validate_event_order

SYMBOL = "LINK_USDC_PERP"
TICK, LOT = 0.001, 1.0


Books = tuple[dict[int, float], dict[int, float]]


def books_at_the_end(arrays: list[Any]) -> list[Books]:
    """Bids and asks of each array by tick, as the local side sees them after the last event; one run, because it has to compile."""
    assets = [
        hftbacktest.BacktestAsset()
        .data([data])
        .linear_asset(1.0)
        .constant_order_latency(0, 0)
        .power_prob_queue_model(2)
        .no_partial_fill_exchange()
        .trading_value_fee_model(0, 0)
        .tick_size(TICK)
        .lot_size(LOT)
        for data in arrays
    ]
    backtest = hftbacktest.HashMapMarketDepthBacktest(assets)
    try:
        while backtest.elapse(3_600_000_000_000) == 0:
            pass
        found = []
        for place, data in enumerate(arrays):
            depth = backtest.depth(place)
            ticks = sorted({round(price / TICK) for price in data["px"].tolist() if not math.isnan(price)})
            bids = {tick: q for tick in ticks if (q := depth.bid_qty_at_tick(tick))}
            asks = {tick: q for tick in ticks if (q := depth.ask_qty_at_tick(tick))}
            found.append((bids, asks))
        return found
    finally:
        backtest.close()


def by_tick(market: MarketBook) -> Books:
    bids, asks = ({round(float(p) / TICK): float(q) for p, q in side} for side in market.book.depth())
    return bids, asks


def test_a_backtest_ends_with_our_book_and_a_gap_clears_it_until_the_next_snapshot() -> None:
    records = list(recorded_records(SYMBOL))
    whole, holed = (Follower(SYMBOL), HftEvents(SYMBOL)), (Follower(SYMBOL), HftEvents(SYMBOL))
    for place, record in enumerate(records):
        for follower, events in (whole, holed) if place not in (100, 101) else (whole,):
            follower.take(record)
            events.add(record)
    follower, events = holed
    in_the_hole = events.array()
    value = records[-1].value | follower.market.book.to_record()
    snapshot = StreamedRecord("market.book_snapshot", "BookSnapshot", SYMBOL, value, 0, 0)
    snapshot.value["last_update_id"] = records[-1].value["last_update_id"]
    follower.take(snapshot)
    events.add(snapshot)
    arrays = [whole[1].array(), in_the_hole, events.array()]
    for data in arrays:
        validate_event_order(data)
        assert data.dtype == hftbacktest.types.event_dtype
        assert len(data) > 300
    after_all, without, resynced = books_at_the_end(arrays)
    assert after_all == by_tick(whole[0].market)
    assert without == ({}, {})
    assert resynced == by_tick(follower.market)


def test_events_that_arrive_out_of_order_appear_twice() -> None:
    types, events = hftbacktest.types, HftEvents(SYMBOL)
    assert len(events.array()) == 0
    for record in recorded_records(SYMBOL):
        events.add(record)
    alone = len(events.array())
    moment = next(record for record in recorded_records(SYMBOL) if record.name == "BookSnapshot").value["engine_time"]
    events.add(trade(SYMBOL, 1, moment + 1, received_time=moment + 40 * LATENCY_US))
    events.add(trade(SYMBOL, 2, moment + 2, received_time=moment - 5))  # a clock that was set back
    events.add(trade("BTC_USDC", 2, moment + 2))
    data = events.array()
    validate_event_order(data)
    assert len(data) > alone + 2
    trades = data[data["ev"] & 0xFF == types.TRADE_EVENT]
    assert set(trades["px"]) == {86700.1}
    assert set(trades["qty"]) == {0.00123}
    assert all(event & types.SELL_EVENT for event in trades["ev"])
    assert all(row["local_ts"] >= row["exch_ts"] for row in data)
    for side in (types.EXCH_EVENT, types.LOCAL_EVENT):
        assert sum(bool(event & side) for event in data["ev"]) == alone + 2  # each event once on each side
    assert not any(math.isnan(row["px"]) for row in trades)


def test_ten_minutes_give_the_same_events_in_any_order_of_fetching() -> None:
    """One update a second from id 101 on, one snapshot a minute, and id 130 permanently lost."""
    topics = Topics({"market.depth": 1})
    for number in range(600):
        if number % 60 == 0:
            topics.snapshot(100 + number, "BTC", number - 0.5)
        if number != 29:
            topics.update(101 + number, "BTC", number)

    async def events(schedule: list[Any]) -> Any:
        gathered = HftEvents("BTC")
        options: dict[str, Any] = {"start": "beginning", "until": "end", "merged": True}
        async with stream_of(MemoryReader(topics, schedule), list(HftEvents.TOPICS), ["BTC"], **options) as records:
            async for record in records:
                if isinstance(record, StreamedRecord):
                    gathered.add(record)
        return gathered.array()

    depth, snapshots = (PREFIX + "market.depth", 0), (PREFIX + "market.book_snapshot", 0)
    whole = asyncio.run(events([]))
    for schedule in (
        [(snapshots, 10)],
        [(depth, 599)],
        [(depth, 60), (snapshots, 1)] * 10,
        [(snapshots, 1), (depth, 60)] * 10,
    ):
        assert asyncio.run(events(schedule)).tobytes() == whole.tobytes()
    seconds = {int(row["exch_ts"]) // 10**9 - T0 // SECOND for row in whole}
    # The book is empty from the update after the lost one until the next minute's snapshot.
    assert seconds >= {*range(29), *range(60, 600)}
    assert not seconds & set(range(31, 59))
