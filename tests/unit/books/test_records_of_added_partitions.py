"""Partitions are added to a topic while a stream of records reads it: no record of a key that moves is missed."""

import asyncio
import time
from typing import Any

import pytest

from backpack_streams.books.record_stream import RecordStream, StreamedRecord
from backpack_streams.bus.partitioner import partition_of
from backpack_streams.errors import BusError
from topics_in_memory import PREFIX, SECOND, T0, MemoryReader, Topics, stream_of

MOVES = next(
    symbol
    for symbol in (f"S{number}" for number in range(100))
    if (partition_of(symbol.encode(), 2), partition_of(symbol.encode(), 3)) == (0, 1)
)
"""Its key moves to a partition that was there before."""


def at(seconds: float) -> int:
    return T0 + int(seconds * SECOND)


async def rounds(stream: RecordStream[Any]) -> None:
    iteration = stream.rounds()
    for _ in range(2):
        for _ in await anext(iteration):
            pass


async def test_they_are_included_even_if_a_question_to_kafka_fails_meanwhile() -> None:
    topics = Topics()
    topics.trade(100, MOVES)
    reader = MemoryReader(topics)
    async with stream_of(reader, "market.trade", [MOVES], start="beginning") as stream:
        await anext(stream.events())
        topics.grow("market.trade", 3)
        reader.questions_that_fail.append(BusError("refused"))
        with pytest.raises(BusError, match="refused"):
            await anext(stream.events())
        topics.trade(101, MOVES, seconds=time.time() - T0 / SECOND)
        async with asyncio.timeout(5):
            item = await anext(stream.events())
        assert isinstance(item, StreamedRecord)
        assert item.value["trade_id"] == 101


@pytest.mark.parametrize("wanted", [["A", "B", "C", "D"], None])
async def test_completeness_goes_on_after_partitions_were_added(wanted: list[str] | None) -> None:
    topics = Topics()
    topics.watermark([f"trade.{each}" for each in "ABCD"], 0.0, 0)
    async with stream_of(MemoryReader(topics), "market.trade", wanted) as stream:
        await rounds(stream)
        topics.grow("market.trade", 5)
        for number in range(1, 4):  # a producer that was started later knows the new number
            for symbol in "ABCD":
                topics.trade(number, symbol, seconds=number)
            topics.watermark([f"trade.{each}" for each in "ABCD"], number + 0.5, number - 1, "younger")
            topics.watermark([], number + 0.5, number, is_final=number == 1)
            await rounds(stream)
            assert stream.complete_through("market.trade") == at(number + 0.5)


async def test_a_stream_of_all_markets_is_complete_only_once_added_partitions_were_read() -> None:
    topics = Topics({"perp.liquidation": 1})
    topics.watermark(["liquidation"], 0.0, 0)
    reader = MemoryReader(topics)
    async with stream_of(reader, "perp.liquidation") as stream:
        await rounds(stream)
        topics.grow("perp.liquidation", 2)
        topics.skip((PREFIX + "perp.liquidation", 1), 3)
        topics.watermark(["liquidation"], 1.0, 0, "younger")
        topics.watermark([], 1.0, 1, is_final=True)
        reader.away = {(PREFIX + "perp.liquidation", 1)}
        await rounds(stream)
        assert stream.complete_through("perp.liquidation") is None
        reader.away.clear()
        await rounds(stream)
        assert stream.complete_through("perp.liquidation") == at(1)
