"""Partitions are added to a topic while a stream of records reads it: no record of a key that moves is missed."""

import asyncio
import time

import pytest

from backpack_streams.books.record_stream import StreamedRecord
from backpack_streams.bus.partitioner import partition_of
from backpack_streams.errors import BusError
from topics_in_memory import SECOND, T0, MemoryReader, Topics, stream_of

MOVES = next(
    symbol
    for symbol in (f"S{number}" for number in range(100))
    if (partition_of(symbol.encode(), 2), partition_of(symbol.encode(), 3)) == (0, 1)
)
"""Its key moves to a partition that was there before."""


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
