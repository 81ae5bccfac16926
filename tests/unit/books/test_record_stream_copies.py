"""Copies and late refills: what two producers and REST bring more than once is given once."""

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backpack_streams.books.record_flow import RecordFlow
from backpack_streams.books.record_stream import Gap, RecordStream
from backpack_streams.bus.topics import topic
from topics_in_memory import CODEC, PREFIX, MemoryReader, Topics, stream_of

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


async def all_of(stream: RecordStream[Any]) -> list[Any]:
    async with stream:
        return [item async for item in stream]


@settings(max_examples=20)
@given(st.integers(1, 3), st.booleans())
def test_copies_of_a_producer_that_is_far_behind_are_dropped(copies: int, merged: bool) -> None:
    topics = Topics()
    for _ in range(1 + copies):
        for number in range(300):
            topics.update(1 + number, seconds=number / 100)
    found = asyncio.run(
        all_of(stream_of(MemoryReader(topics), "market.depth", start="beginning", until="end", merged=merged))
    )
    assert [item.value["last_update_id"] for item in found] == list(range(1, 301))


def test_five_thousand_updates_of_a_producer_five_thousand_behind_are_dropped() -> None:
    topics = Topics()
    for _ in range(2):
        for number in range(5_000):
            topics.update(1 + number, seconds=number / 100)
    stream = stream_of(MemoryReader(topics), "market.depth", start="beginning", until="end")
    assert len(asyncio.run(all_of(stream))) == 5_000
    assert stream.duplicates == 5_000


def read_all(topics: Topics, name: str) -> list[Any]:
    async def read() -> list[Any]:
        async with stream_of(MemoryReader(topics), name, start="beginning", until="end") as stream:
            return [item async for item in stream]

    return asyncio.run(read())


@pytest.mark.parametrize("behind", [0.0, 10.0, 3_599.0, 3_610.0, 80_000.0])
def test_a_refill_is_late_next_to_a_producer_whose_clock_is_far_behind(behind: float) -> None:
    """That clock's receive times do not count for the sequence, the exchange's times do. They do not reveal the gap either."""
    topics = Topics()
    for trade_id, late_by in ((100, 0.0), (101, 0.0), (105, -behind), (106, -behind), (102, 60.0), (104, 60.0)):
        topics.trade(trade_id, "A", trade_id - 100.0, trade_id - 100.0 + late_by)
    flow, given = RecordFlow(CODEC), []
    [records] = [log for (name, _), log in topics.logs.items() if name == PREFIX + "market.trade" and log]
    for record in records:
        flow.take(topic("market.trade"), record, 0.0)
        flow.polled(60.0)  # everything that waits has waited long enough
        given += [(item.value["trade_id"], item.is_late) for item in flow.ready if not isinstance(item, Gap)]
        flow.ready.clear()
    assert given == [(100, False), (101, False), (105, False), (106, False), (102, True), (104, True)]


@pytest.mark.parametrize("behind", [0.0, 10.0, 3_599.0, 3_610.0, 80_000.0])
def test_copies_of_a_producer_whose_clock_is_far_behind_are_dropped(behind: float) -> None:
    for first, second in ((behind, 0.0), (0.0, behind)):
        topics = Topics()
        for update_id in range(20):
            topics.update(update_id, "A", float(update_id), update_id - first)
            topics.update(update_id, "A", float(update_id), update_id - second)
        assert len(read_all(topics, "market.depth")) == 20
