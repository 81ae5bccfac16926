"""What a live reading reads while topics change; no Kafka."""

from collections.abc import Mapping
from typing import Any

import pytest

from backpack_streams.books import partition_counts
from backpack_streams.books import stream as stream_module
from backpack_streams.books.intake import Intake
from backpack_streams.books.live_reading import LiveReading
from backpack_streams.books.live_start import LiveStart
from backpack_streams.books.market_book import BaseSnapshot, Status
from backpack_streams.books.partition_counts import PartitionCounts
from backpack_streams.books.selection import Selection
from backpack_streams.books.stream import BookStream
from backpack_streams.bus.partitioner import partition_of
from backpack_streams.errors import BookError, BusError
from backpack_streams.topic_partition import TopicPartition
from topics_in_memory import CODEC, PREFIX, T0, MemoryReader, Topics

DEPTH = PREFIX + "market.depth"
SYMBOL = next(name for name in "ABCDEFGH" if partition_of(name.encode(), 6) > 2)


class LiveReader(MemoryReader):
    """Follows topics that a test recreates."""

    async def topic_partitions(self, name: str) -> list[TopicPartition]:
        count = self.partition_count(name)
        if count is None:
            raise BusError(f"topic {name} does not exist")
        return [(name, each) for each in range(count)]

    def partition_count(self, topic: str) -> int | None:
        return self.topics.partitions.get(topic.removeprefix(PREFIX))

    def follow(self, offsets: Mapping[TopicPartition, int], topics: object = None) -> None:
        self.assign(offsets)

    def recreate(self, name: str, partitions: int) -> None:
        """Empty the topic; partitions that are gone answer no more."""
        topics = self.topics
        topics.partitions[name] = partitions
        for each in [each for each in topics.logs if each[0] == PREFIX + name]:
            topics.logs[each], topics.end_of[each] = [], 0
            if each in self.positions:
                self.positions[each] = 0


async def reading_of(reader: Any, symbol: str, max_age: float | None) -> LiveReading:
    selection = Selection(symbol)
    intake = Intake(CODEC, PREFIX, selection)
    start = LiveStart(reader, CODEC, PREFIX, selection, intake, max_age)
    await start.join({})
    return LiveReading(start)


async def read(live: LiveReading, times: int = 3) -> None:
    for _ in range(times):
        for _ in (await live.read(1_000, is_applied=True)).events:
            pass


async def test_books_move_to_the_partitions_of_a_topic_that_was_recreated_with_fewer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(partition_counts, "_FEWER_SECONDS", 0.0)
    reader = LiveReader(Topics({"market.depth": 6}))
    for update_id in (1, 2):
        reader.topics.update(update_id, SYMBOL)
    live = await reading_of(reader, SYMBOL, max_age=None)
    await read(live)
    assert live.intake.updates == 2
    reader.recreate("market.depth", 3)
    reader.topics.update(3, SYMBOL)
    await read(live)
    assert live.intake.updates == 3
    assert set(live.position.next_offsets) == {(DEPTH, partition_of(SYMBOL.encode(), 3))}
    assert live.intake.misplaced_updates == 0


async def test_a_book_that_moves_to_another_partition_of_a_recreated_topic_loses_its_proof(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(partition_counts, "_FEWER_SECONDS", 0.0)
    reader = LiveReader(Topics({"market.depth": 6}))
    reader.topics.update(1, SYMBOL)
    live = await reading_of(reader, SYMBOL, max_age=None)
    await read(live)
    market = live.intake.books[SYMBOL]
    base = BaseSnapshot(1, T0, T0)
    market.on_snapshot(1, T0, [(1, 1)], [(2, 1)], bids_complete=True, asks_complete=True, base=base)
    assert market.status is Status.LIVE
    reader.recreate("market.depth", 3)
    await read(live)
    assert market.status is Status.STALE


async def test_a_topic_of_watermarks_that_is_recreated_before_any_came_is_noticed() -> None:
    """Otherwise its watermarks would count as ones from before the start, until it is as long as the former one."""
    reader = LiveReader(Topics())
    for sequence in range(5):
        reader.topics.watermark([f"depth.{SYMBOL}"], sequence, sequence)
    live = await reading_of(reader, SYMBOL, max_age=5.0)
    await read(live)
    vouching = live.intake.vouching
    assert vouching is not None
    assert vouching.coverage.next_offset == 5
    reader.recreate("ops.watermark", 1)
    await read(live)
    assert vouching.coverage.next_offset == 0


async def test_a_stream_is_entered_once_but_for_attempts_that_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    reader: Any = LiveReader(Topics())
    monkeypatch.setattr(stream_module, "Reader", lambda *_: reader)
    stream = BookStream("localhost:1", SYMBOL, topic_prefix=PREFIX)
    del reader.topics.partitions["ops.gap"]
    with pytest.raises(BusError, match="does not exist"):
        await stream.__aenter__()
    reader.topics.partitions["ops.gap"] = 1
    async with stream:
        reader.errors = [BusError("Kafka is away")]
        with pytest.raises(BusError, match="Kafka is away"):
            await stream.until_live(5.0)
    with pytest.raises(BookError, match="make a new one"):
        await stream.__aenter__()


async def test_with_room_for_one_record_it_still_shows_whether_everything_was_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reader = LiveReader(Topics())
    live = await reading_of(reader, SYMBOL, max_age=5.0)
    told = []
    monkeypatch.setattr(live._start.vouching.watermarks, "polled", lambda is_all, now: told.append(is_all))
    for update_id in (1, 2, 3):
        reader.topics.update(update_id, SYMBOL)
        for _ in (await live.read(1, is_applied=True)).events:
            pass
    assert (told, live.intake.updates) == ([True] * 3, 3)


def test_fewer_partitions_count_only_if_they_stay_fewer() -> None:
    counts = PartitionCounts()
    counts.known[DEPTH] = 6
    assert not counts.has_changed(lambda _: 3, 100.0)
    assert not counts.has_changed(lambda _: 6, 105.0)
    assert not counts.has_changed(lambda _: 3, 106.0)
    assert not counts.has_changed(lambda _: None, 112.0)
    assert not counts.has_changed(lambda _: 3, 115.9)
    assert counts.has_changed(lambda _: 3, 126.0)
    assert counts.has_changed(lambda _: 9, 126.0)
