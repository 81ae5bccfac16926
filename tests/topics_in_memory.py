"""A reader whose topics are lists: a test decides what Kafka holds and how it is fetched. Records are encoded as on the bus."""

import asyncio
from collections.abc import Container, Iterable, Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self

from aiokafka import TopicPartition
from aiokafka.structs import ConsumerRecord

from backpack_streams.books.record_stream import RecordStream
from backpack_streams.bus.codec import Codec
from backpack_streams.bus.partitioner import partition_of
from backpack_streams.bus.topic_ids import TopicRecreatedError

CODEC = Codec()
PREFIX = "b."
SECOND = 1_000_000
T0 = 1_700_000_000 * SECOND


class Topics:
    """Partitions by topic. Offsets may be missing, as after compaction and transaction markers."""

    def __init__(self, partitions: Mapping[str, int] | None = None) -> None:
        self.partitions = {"market.depth": 2, "market.book_snapshot": 1, "market.trade": 2, "ops.gap": 1}
        self.partitions |= {"ops.watermark": 1, **(partitions or {})}
        self.logs: dict[TopicPartition, list[ConsumerRecord]] = {
            (PREFIX + name, partition): [] for name, count in self.partitions.items() for partition in range(count)
        }
        self.end_of: dict[TopicPartition, int] = dict.fromkeys(self.logs, 0)
        self.first_of: dict[TopicPartition, int] = {}
        self.recreated: set[str] = set()
        """Full names of topics whose new ids no reader has met yet."""

    def add(self, name: str, key: str, record: str, row: dict[str, Any] | None, time_us: int) -> ConsumerRecord:
        partition = partition_of(key.encode(), self.partitions[name])
        topic_partition = PREFIX + name, partition
        value = None if row is None else encoded(record, row)
        made = ConsumerRecord(
            *topic_partition,
            self.end_of[topic_partition],
            time_us // 1000,
            0,
            key.encode(),
            value,
            None,
            0,
            len(value or b""),
            (),
        )
        self.logs[topic_partition].append(made)
        self.end_of[topic_partition] += 1
        return made

    def skip(self, topic_partition: TopicPartition, count: int = 1) -> None:
        """Offsets without a record: removed by compaction, or a transaction marker."""
        self.end_of[topic_partition] += count

    def grow(self, name: str, count: int) -> None:
        """Add partitions to a topic, up to this number."""
        for partition in range(self.partitions[name], count):
            self.logs[PREFIX + name, partition], self.end_of[PREFIX + name, partition] = [], 0
        self.partitions[name] = count

    def recreate(self, name: str) -> None:
        """Delete a topic and make it again."""
        for partition in range(self.partitions[name]):
            self.logs[PREFIX + name, partition], self.end_of[PREFIX + name, partition] = [], 0
        self.recreated.add(PREFIX + name)

    def remove_before(self, topic_partition: TopicPartition, offset: int) -> None:
        """Remove old records, as Kafka's retention does."""
        self.logs[topic_partition] = [each for each in self.logs[topic_partition] if each.offset >= offset]
        self.first_of[topic_partition] = offset

    def trade(self, trade_id: int, symbol: str = "A", seconds: float = 0.0, received: float | None = None) -> None:
        row = _dated(symbol, seconds, received) | {
            "trade_id": trade_id,
            "price": "1",
            "quantity": "1",
            "quote_quantity": None,
            "buyer_order_id": None,
            "seller_order_id": None,
            "is_buyer_maker": True,
        }
        self.add("market.trade", symbol, "Trade", row, row["engine_time"])

    def update(self, update_id: int, symbol: str = "A", seconds: float = 0.0, received: float | None = None) -> None:
        row = _dated(symbol, seconds, received) | {
            "first_update_id": update_id,
            "last_update_id": update_id,
            "bids": [{"price": "1", "quantity": str(update_id)}],
            "asks": [],
        }
        self.add("market.depth", symbol, "DepthUpdate", row, row["engine_time"])

    def snapshot(self, update_id: int, symbol: str = "A", seconds: float = 0.0, received: float | None = None) -> None:
        row = _dated(symbol, seconds, received) | {
            "source": "REST",
            "origin": "SEED",
            "last_update_id": update_id,
            "bids": [{"price": "1", "quantity": str(update_id)}],
            "asks": [{"price": "2", "quantity": "1"}],
            "bids_complete": True,
            "asks_complete": True,
            "depth_limit": None,
            "delta_topic": PREFIX + "market.depth",
            "delta_partition": 0,
            "delta_offset": 0,
        }
        self.add("market.book_snapshot", symbol, "BookSnapshot", row, row["engine_time"])

    def watermark(
        self, streams: Iterable[str], seconds: float, sequence: int, instance: str = "i", **changes: Any
    ) -> None:
        """Write a watermark that vouches for everything in the topics now."""
        through = T0 + round(seconds * SECOND)
        offsets = [
            {"topic": PREFIX + name, "next_offsets": [self.end_of[PREFIX + name, each] for each in range(count)]}
            for name, count in self.partitions.items()
        ]
        row: dict[str, Any] = {
            "service": "producer",
            "instance": instance,
            "sequence": sequence,
            "complete_through": through,
            "published_time": through,
            "interval_ms": 1000,
            "is_final": False,
            "offsets": offsets,
            "coverage_sequence": sequence,
            "coverage": [{"since": T0, "until": None, "streams": sorted(streams)}],
        }
        self.add("ops.watermark", instance, "Watermark", row | changes, through)


class MemoryReader:
    """A `Reader` of such topics. `schedule` sets the partition and number of records of the next polls; then comes everything else."""

    def __init__(self, topics: Topics, schedule: Iterable[tuple[TopicPartition, int]] = ()) -> None:
        self.topics = topics
        self.schedule = iter(schedule)
        self.positions: dict[TopicPartition, int] = {}
        self.polls = 0
        self._watches = False
        self.errors: list[Exception] = []
        self.away: set[TopicPartition] = set()
        """Partitions without a leader."""
        self.questions_that_fail: list[Exception] = []
        """What the next questions for the offset of a time raise."""
        self.gate: asyncio.Event | None = None
        """Polls take their records, then wait for it."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return

    async def topic_partitions(self, name: str) -> list[TopicPartition]:
        return sorted(each for each in self.topics.logs if each[0] == name)

    async def has(self, name: str) -> bool:
        return (name, 0) in self.topics.logs

    async def ends(self, topic_partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        return {each: self.topics.end_of[each] for each in topic_partitions}

    async def beginnings(self, topic_partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        return {each: self.topics.first_of.get(each, 0) for each in topic_partitions}

    async def offset_at(self, topic_partition: TopicPartition, timestamp_ms: int) -> int | None:
        if self.questions_that_fail:
            raise self.questions_that_fail.pop(0)
        later = (record.offset for record in self.topics.logs[topic_partition] if record.timestamp >= timestamp_ms)
        return next(later, None)

    @contextmanager
    def searching(self) -> Iterator[None]:
        yield
        self.positions = {}

    def assign(self, offsets: Mapping[TopicPartition, int]) -> None:
        self.positions, self._watches = dict(offsets), False

    def follow(self, offsets: Mapping[TopicPartition, int], topics: Container[str] | None = None) -> None:
        self.positions, self._watches = dict(offsets), True

    def _rewind_recreated(self) -> None:
        """Begin again where a topic shows by its id that it was recreated, or by its end."""
        recreated = self.topics.recreated.intersection(each[0] for each in self.positions)
        self.topics.recreated -= recreated
        if recreated and not self._watches:
            raise TopicRecreatedError(recreated)
        for each, position in self.positions.items():
            if each[0] in recreated or position > self.topics.end_of[each]:
                self.positions[each] = 0

    def also(self, offsets: Mapping[TopicPartition, int]) -> None:
        self.positions = dict(offsets) | self.positions

    def partition_count(self, topic: str) -> int | None:
        return self.topics.partitions.get(topic.removeprefix(PREFIX))

    async def position(self, topic_partition: TopicPartition) -> int:
        return self.positions[topic_partition]

    def reached(self, topic_partition: TopicPartition) -> int | None:
        return self.positions[topic_partition]

    def high_water(self, topic_partition: TopicPartition) -> int | None:
        return self.topics.end_of[topic_partition]

    async def poll(
        self, timeout_ms: int, most: int = 10_000, only: Iterable[TopicPartition] = ()
    ) -> Mapping[TopicPartition, list[ConsumerRecord]]:
        self.polls += 1
        await asyncio.sleep(0)
        if self.errors:
            raise self.errors.pop(0)
        self._rewind_recreated()
        chosen = [each for each in self.positions if each not in self.away and (not only or each in set(only))]
        wanted, count = next(self.schedule, (None, most))
        if wanted in chosen:
            chosen = [wanted] if wanted is not None else chosen
        else:
            count = most
        batches = {}
        for topic_partition in chosen:
            log = [
                record
                for record in self.topics.logs[topic_partition]
                if record.offset >= self.positions[topic_partition]
            ]
            if log[:count]:
                batches[TopicPartition(*topic_partition)] = log[:count]
            self.positions[topic_partition] = (
                log[count - 1].offset + 1 if len(log) > count else self.topics.end_of[topic_partition]
            )
        if self.gate is not None:
            await self.gate.wait()
        if not batches:
            await asyncio.sleep(0.001)
        return batches


def encoded(record: str, row: dict[str, Any]) -> bytes:
    return CODEC.encoder(record, "b.any")(CODEC.rows(record)(row))


def stream_of(reader: MemoryReader, topics: str | list[str], symbols: Any = None, **options: Any) -> RecordStream[Any]:
    stream = RecordStream("localhost:1", topics, symbols, topic_prefix=PREFIX, **options)
    stream._reader = stream._reading._reader = reader  # type: ignore[assignment]
    return stream


def _dated(symbol: str, seconds: float, received: float | None) -> dict[str, Any]:
    engine_us = T0 + round(seconds * SECOND)
    return {
        "symbol": symbol,
        "source": "WEBSOCKET",
        "event_time": engine_us,
        "engine_time": engine_us,
        "received_time": engine_us + 50_000 if received is None else T0 + round(received * SECOND),
    }
