"""A reader whose topics are lists: what Kafka holds, and in which pieces it is fetched, a test decides. Records as they are on the bus."""

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self

from aiokafka import TopicPartition
from aiokafka.structs import ConsumerRecord

from backpack_streams.books.record_stream import RecordStream
from backpack_streams.bus.codec import Codec
from backpack_streams.bus.partitioner import partition_of

CODEC = Codec()
PREFIX = "b."
SECOND = 1_000_000
T0 = 1_700_000_000 * SECOND

Place = tuple[str, int]


class Topics:
    """Partitions by topic. Offsets may have holes, as compaction and the marks of transactions leave them."""

    def __init__(self, partitions: Mapping[str, int] | None = None) -> None:
        self.partitions = {"market.depth": 2, "market.book_snapshot": 1, "market.trade": 2, "ops.gap": 1}
        self.partitions |= {"ops.watermark": 1, **(partitions or {})}
        self.logs: dict[Place, list[ConsumerRecord]] = {
            (PREFIX + name, partition): [] for name, count in self.partitions.items() for partition in range(count)
        }
        self.end_of: dict[Place, int] = dict.fromkeys(self.logs, 0)

    def add(self, name: str, key: str, record: str, row: dict[str, Any] | None, time_us: int) -> ConsumerRecord:
        partition = partition_of(key.encode(), self.partitions[name])
        place = PREFIX + name, partition
        value = None if row is None else encoded(record, row)
        made = ConsumerRecord(
            *place, self.end_of[place], time_us // 1000, 0, key.encode(), value, None, 0, len(value or b""), ()
        )
        self.logs[place].append(made)
        self.end_of[place] += 1
        return made

    def skip(self, place: Place, count: int = 1) -> None:
        """Offsets that hold no record: what compaction took, or the mark of a transaction."""
        self.end_of[place] += count

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
        """It vouches for all that is in the topics now."""
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
    """A `Reader` of such topics. `schedule` says from which partition how many records the next polls give; then all that is there."""

    def __init__(self, topics: Topics, schedule: Iterable[tuple[Place, int]] = ()) -> None:
        self.topics = topics
        self.schedule = iter(schedule)
        self.positions: dict[Place, int] = {}
        self.polls = 0
        self.errors: list[Exception] = []
        self.gate: asyncio.Event | None = None
        """Polls wait for it, having taken what they will give."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return

    async def places(self, name: str) -> list[Place]:
        return sorted(place for place in self.topics.logs if place[0] == name)

    async def has(self, name: str) -> bool:
        return (name, 0) in self.topics.logs

    async def ends(self, places: Iterable[Place]) -> dict[Place, int]:
        return {place: self.topics.end_of[place] for place in places}

    async def beginnings(self, places: Iterable[Place]) -> dict[Place, int]:
        return dict.fromkeys(places, 0)

    async def offset_at(self, place: Place, timestamp_ms: int) -> int | None:
        later = (record.offset for record in self.topics.logs[place] if record.timestamp >= timestamp_ms)
        return next(later, None)

    @contextmanager
    def searching(self) -> Iterator[None]:
        yield
        self.positions = {}

    def assign(self, offsets: Mapping[Place, int]) -> None:
        self.positions = dict(offsets)

    def partition_count(self, topic: str) -> int | None:
        return None

    async def position(self, place: Place) -> int:
        return self.positions[place]

    def reached(self, place: Place) -> int | None:
        return self.positions[place]

    def high_water(self, place: Place) -> int | None:
        return self.topics.end_of[place]

    async def poll(
        self, timeout_ms: int, most: int = 10_000, only: Iterable[Place] = ()
    ) -> Mapping[TopicPartition, list[ConsumerRecord]]:
        self.polls += 1
        await asyncio.sleep(0)
        if self.errors:
            raise self.errors.pop(0)
        chosen = [place for place in self.positions if not only or place in set(only)]
        wanted, count = next(self.schedule, (None, most))
        if wanted in chosen:
            chosen = [wanted] if wanted is not None else chosen
        else:
            count = most
        batches = {}
        for place in chosen:
            log = [record for record in self.topics.logs[place] if record.offset >= self.positions[place]]
            if log[:count]:
                batches[TopicPartition(*place)] = log[:count]
            self.positions[place] = log[count - 1].offset + 1 if len(log) > count else self.topics.end_of[place]
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
