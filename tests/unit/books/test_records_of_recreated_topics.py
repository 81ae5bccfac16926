"""A topic is deleted and made again while a stream of records reads it: the new one is read from its beginning, however long it is."""

from typing import Any

import pytest

from backpack_streams.books.record_stream import RecordStream
from backpack_streams.errors import BusError
from topics_in_memory import SECOND, T0, MemoryReader, Topics, stream_of


def updates(first: int, end: int) -> Topics:
    topics = Topics()
    for number in range(first, end):
        topics.update(number, seconds=number)
    return topics


def again(topics: Topics, first: int, end: int) -> None:
    topics.recreate("market.depth")
    for number in range(first, end):
        topics.update(number, seconds=number)


async def rounds(stream: RecordStream[Any], count: int = 2) -> list[int]:
    iteration, items = stream.rounds(), list[Any]()
    for _ in range(count):
        items += await anext(iteration)
    return [item.value["last_update_id"] for item in items]


@pytest.mark.parametrize("merged", [False, True])
async def test_one_that_is_longer_than_what_was_read_is_not_read_on_from_the_middle(merged: bool) -> None:
    topics = updates(1, 6)
    async with stream_of(MemoryReader(topics), "market.depth", start="beginning", merged=merged) as stream:
        assert await rounds(stream) == list(range(1, 6))
        again(topics, 6, 30)
        assert await rounds(stream) == list(range(6, 30))
        assert stream.is_caught_up


async def test_one_that_became_empty_again_is_not_complete_before_it_was_read() -> None:
    topics = updates(1, 6)
    topics.watermark(["depth.A"], 6.0, 0)
    reader = MemoryReader(topics)
    async with stream_of(reader, "market.depth", ["A"], start="beginning") as stream:
        await rounds(stream)
        topics.recreate("market.depth")
        await rounds(stream)
        again(topics, 6, 9)
        topics.watermark(["depth.A"], 9.0, 1)
        reader.away = {each for each in topics.logs if each[0].endswith("market.depth")}
        await rounds(stream)
        assert stream.complete_through("market.depth") != T0 + 9 * SECOND
        reader.away.clear()
        assert await rounds(stream) == [6, 7, 8]
        assert stream.complete_through("market.depth") == T0 + 9 * SECOND


async def test_watermarks_of_their_recreated_topic_count() -> None:
    topics = updates(1, 2)
    for sequence in range(5):
        topics.watermark(["depth.A"], sequence, sequence)
    async with stream_of(MemoryReader(topics), "market.depth", ["A"], start="beginning") as stream:
        topics.watermark(["depth.A"], 5.0, 5)
        await rounds(stream)
        topics.recreate("ops.watermark")
        topics.watermark(["depth.A"], 6.0, 6)
        await rounds(stream)
        assert stream.complete_through("market.depth") == T0 + 6 * SECOND


async def test_one_that_was_to_be_read_to_its_end_is_an_error() -> None:
    topics = updates(1, 20)
    partition = next(each for each, log in topics.logs.items() if log)
    reader = MemoryReader(topics, [(partition, 5)])
    async with stream_of(reader, "market.depth", start="beginning", until="end") as stream:
        assert await rounds(stream, 1) == list(range(1, 6))
        again(topics, 1, 60)
        for _ in range(2):
            with pytest.raises(BusError, match="recreated"):
                await anext(stream.events())


@pytest.mark.parametrize("merged", [False, True])
@pytest.mark.parametrize("until", ["end", T0 + 60 * SECOND])
async def test_so_is_one_of_which_nothing_was_read_yet(merged: bool, until: Any) -> None:
    """Its partition had no leader, so its position never went back."""
    topics = updates(1, 10)
    topics.trade(1)
    reader = MemoryReader(topics)
    reader.away = {each for each in topics.logs if each[0].endswith("market.depth")}
    names = ["market.trade", "market.depth"]
    async with stream_of(reader, names, start="beginning", until=until, merged=merged, late_seconds=0.0) as stream:
        for _ in range(2):
            await anext(stream.rounds())
        reader.away.clear()
        again(topics, 1, 60)
        for _ in range(2):
            with pytest.raises(BusError, match="recreated"):
                async for _ in stream.events():
                    pass
