"""Up to when the records of a topic are complete: never further than what was given, and None if a market has no coverage."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from backpack_streams.books.record_stream import RecordStream
from backpack_streams.errors import UsageError
from topics_in_memory import PREFIX, SECOND, T0, MemoryReader, Topics, stream_of


def at(seconds: float) -> int:
    return T0 + int(seconds * SECOND)


async def taken(stream: RecordStream[Any], count: int) -> None:
    events = stream.events()
    for _ in range(count):
        await anext(events)


async def rounds(stream: RecordStream[Any], count: int = 2) -> None:
    iteration = stream.rounds()
    for _ in range(count):
        for _ in await anext(iteration):
            pass


async def test_it_is_the_newest_watermark_whose_records_were_given() -> None:
    topics = Topics()
    topics.watermark(["trade.A"], 0.0, 0)
    for number in range(10):
        topics.trade(1 + number, seconds=number)
        topics.watermark(["trade.A"], number + 0.9, 1 + number)
    async with stream_of(MemoryReader(topics), "market.trade", ["A"], start="beginning") as stream:
        assert stream.complete_through("market.trade") is None  # records present at the join are unread
        await taken(stream, 4)
        assert stream.complete_through("market.trade") is None
        await rounds(stream)
        assert stream.complete_through("market.trade") == at(9.9)
        topics.trade(11, seconds=10)
        topics.trade(12, seconds=11)
        topics.watermark(["trade.A"], 11.5, 11)
        await taken(stream, 1)
        assert stream.complete_through("market.trade") == at(9.9)
        await rounds(stream)
        assert stream.complete_through(PREFIX + "market.trade") == at(11.5)


async def test_trades_that_wait_for_a_missing_one_hold_it_back() -> None:
    topics = Topics()
    topics.watermark(["trade.A"], 0.0, 0)
    async with stream_of(MemoryReader(topics), "market.trade", ["A"]) as stream:
        topics.trade(1, seconds=1)
        topics.trade(3, seconds=3)
        topics.watermark(["trade.A"], 4.0, 1)
        await rounds(stream)
        assert stream.complete_through("market.trade") == at(1)
        topics.trade(2, seconds=2)
        await rounds(stream)
        assert stream.complete_through("market.trade") == at(4)


async def test_every_wanted_market_counts() -> None:
    topics = Topics()
    topics.watermark(["trade.A"], 5.0, 0, "one")
    topics.watermark(["trade.B", "depth.A"], 3.0, 0, "two")
    async with (
        stream_of(MemoryReader(topics), ["market.trade", "market.depth"], ["A", "B"]) as both,
        stream_of(MemoryReader(topics), "market.trade", ["A", "C"]) as uncovered,
        stream_of(MemoryReader(topics), "market.trade") as every,
    ):
        for stream in (both, uncovered, every):
            await rounds(stream)
        assert both.complete_through("market.trade") == at(3)
        assert both.complete_through("market.depth") is None
        assert uncovered.complete_through("market.trade") is None
        assert every.complete_through("market.trade") == at(3)
        # A producer that ends covers nothing more; the coverage of the others continues.
        topics.watermark(["trade.B", "depth.A"], 6.0, 1, "two", is_final=True)
        topics.watermark(["trade.A"], 7.0, 1, "one")
        for stream in (both, every):
            await rounds(stream)
        assert both.complete_through("market.trade") is None
        assert every.complete_through("market.trade") == at(7)


async def test_a_producer_that_disappears_without_a_final_watermark_stops_it() -> None:
    topics = Topics()
    topics.watermark(["trade.A"], 5.0, 0, "one")
    topics.watermark(["trade.B"], 5.0, 0, "two")
    async with stream_of(MemoryReader(topics), "market.trade") as stream:
        for sequence in range(1, 9):
            topics.watermark(["trade.A"], 5.0 + sequence, sequence, "one")
        await rounds(stream)
        assert stream.complete_through("market.trade") == at(5)


async def test_the_record_with_the_coverage_may_be_far_back() -> None:
    topics = Topics()
    topics.watermark(["trade.A"], 0.0, 0)
    for sequence in range(1, 1_500):
        topics.watermark([], sequence, sequence, coverage=None, coverage_sequence=0)
    async with stream_of(MemoryReader(topics), "market.trade", ["A"]) as stream:
        await rounds(stream)
        assert stream.complete_through("market.trade") == at(1_499)


async def test_candles_are_complete_per_interval() -> None:
    topics = Topics({"market.kline": 2})
    topics.watermark(["kline.1m.A"], 9.0, 0, "one")
    topics.watermark(["kline.1h.A"], 3.0, 0, "two")
    async with stream_of(MemoryReader(topics), "market.kline", ["A"]) as stream:
        await rounds(stream)
        assert stream.complete_through("market.kline", "kline.1m") == at(9)
        assert stream.complete_through("market.kline") == at(3)
        assert stream.complete_through("market.kline", "kline.5m") is None
        with pytest.raises(UsageError, match="no stream"):
            stream.complete_through("market.kline", "kline.7m")


async def test_a_stream_of_all_markets_covers_each_of_them() -> None:
    topics = Topics({"perp.liquidation": 2})
    topics.watermark(["liquidation"], 9.0, 0)
    async with (
        stream_of(MemoryReader(topics), "perp.liquidation", ["A"]) as one,
        stream_of(MemoryReader(topics), "perp.liquidation") as every,
    ):
        for stream in (one, every):
            await rounds(stream)
            assert stream.complete_through("perp.liquidation") == at(9)


async def test_a_topic_without_watermarks_is_refused() -> None:
    topics = Topics({"reference.market": 1})
    async with stream_of(MemoryReader(topics), "reference.market") as stream:
        with pytest.raises(UsageError, match="no stream"):
            stream.complete_through("reference.market")
        with pytest.raises(UsageError, match="not among"):
            stream.complete_through("market.trade")


async def test_a_poll_whose_records_were_not_taken_counts_as_unread() -> None:
    topics = Topics()
    topics.watermark(["trade.A"], 0.0, 0)
    reader = MemoryReader(topics)
    async with stream_of(reader, "market.trade", ["A"]) as stream:
        await rounds(stream)
        topics.watermark(["trade.A"], 1.0, 1)
        await rounds(stream)
        topics.trade(1, seconds=1.5)
        events = stream.events()
        asking = asyncio.ensure_future(events.__anext__())
        await asyncio.sleep(0)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        assert stream._reading._polling is not None
        await asyncio.wait({stream._reading._polling})
        assert sum(reader.positions[each] for each in reader.positions if each[0] == PREFIX + "market.trade") == 1
        topics.watermark(["trade.A"], 2.0, 2)
        assert stream.complete_through("market.trade") == at(1)
        await taken(stream, 1)
        await rounds(stream)
        assert stream.complete_through("market.trade") == at(2)


async def test_it_goes_on_after_the_topic_was_recreated() -> None:
    topics = Topics({"market.trade": 1})
    topic_partition = PREFIX + "market.trade", 0
    topics.end_of[topic_partition] = 1_000  # where the reader joins
    topics.watermark(["trade.A"], 0.0, 0)
    reader = MemoryReader(topics)
    async with stream_of(reader, "market.trade", ["A"]) as stream:
        topics.trade(1, seconds=1)
        topics.watermark(["trade.A"], 1.5, 1)
        await rounds(stream)
        topics.logs[topic_partition].clear()
        topics.end_of[topic_partition] = reader.positions[topic_partition] = 0
        topics.trade(2, seconds=2)
        topics.watermark(["trade.A"], 2.5, 2)
        await rounds(stream)
        assert stream.complete_through("market.trade") == at(2.5)


async def test_right_after_retention_removed_unread_records_nothing_is_complete(
    caplog: pytest.LogCaptureFixture,
) -> None:
    topics = Topics({"market.depth": 1})
    topics.watermark(["depth.A"], 0.0, 0)
    async with stream_of(MemoryReader(topics), "market.depth", ["A"]) as stream:
        topics.update(1, seconds=1)
        topics.watermark(["depth.A"], 1.5, 1)
        await rounds(stream)
        assert stream.complete_through("market.depth") == at(1.5)
        for number in range(2, 9):
            topics.update(number, seconds=number)
        topics.watermark(["depth.A"], 8.5, 2)
        topics.remove_before((PREFIX + "market.depth", 0), 5)
        await rounds(stream)
        assert stream.complete_through("market.depth") is None
        topics.watermark(["depth.A"], 9.5, 3)
        await rounds(stream)
        assert stream.complete_through("market.depth") == at(9.5)
    [said] = [each for each in caplog.records if "retention" in each.message]
    assert (vars(said)["first"], vars(said)["end"]) == (1, 5)


async def test_offsets_that_no_record_ever_had_are_no_loss() -> None:
    topics = Topics({"market.trade": 1})
    topics.watermark(["trade.A"], 0.0, 0)
    async with stream_of(MemoryReader(topics), "market.trade", ["A"]) as stream:
        topics.trade(1, seconds=1)
        topics.skip((PREFIX + "market.trade", 0))
        topics.trade(2, seconds=2)
        topics.watermark(["trade.A"], 2.5, 1)
        await rounds(stream)
        assert stream.complete_through("market.trade") == at(2.5)


@pytest.mark.parametrize("merged", [False, True])
@pytest.mark.parametrize(("symbol", "is_selected"), [("A", True), ("B", False)])
async def test_right_after_a_record_that_cannot_be_decoded_nothing_is_complete(
    symbol: str, is_selected: bool, merged: bool
) -> None:
    topics = Topics({"market.trade": 1})
    topics.watermark(["trade.A"], 0.0, 0)
    async with stream_of(MemoryReader(topics), "market.trade", ["A"], merged=merged) as stream:
        topics.trade(1, seconds=1)
        await rounds(stream)
        topics.trade(2, symbol, seconds=2)
        log = topics.logs[PREFIX + "market.trade", 0]
        log[-1] = replace(log[-1], value=b"\x00\x00\x00\x00\x63" + (log[-1].value or b"")[5:])
        topics.watermark(["trade.A"], 2.5, 1)
        await rounds(stream)
        assert (stream.complete_through("market.trade") is None) is is_selected
        topics.watermark(["trade.A"], 3.5, 2)
        await rounds(stream)
        assert stream.complete_through("market.trade") is not None
        assert stream.undecodable_records == is_selected
