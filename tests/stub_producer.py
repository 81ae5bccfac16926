"""A stub producer instance and a stub poller: they write their records when a test calls them."""

import time
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

from backpack_streams.bus.admin import TopicAdmin
from backpack_streams.bus.codec import Codec
from backpack_streams.bus.connection import KafkaConnection
from backpack_streams.bus.partitioner import partition_of
from backpack_streams.bus.publisher import Publisher
from backpack_streams.bus.topics import TOPICS
from backpack_streams.errors import BackpackStreamsError

DEPTH, SNAPSHOT, WATERMARK = "market.depth", "market.book_snapshot", "ops.watermark"
MICROS = 1_000_000


def now_us() -> int:
    return time.time_ns() // 1000


class StubExchange:
    """The last update id of each market."""

    def __init__(self, symbols: Sequence[str]) -> None:
        self.last_ids = dict.fromkeys(symbols, 100)

    def move(self, symbol: str, updates: int = 1) -> int:
        self.last_ids[symbol] += updates
        return self.last_ids[symbol]


class StubProducer:
    """An instance that covers all markets from its start on; as an async context manager it is connected."""

    def __init__(self, servers: str, prefix: str, exchange: StubExchange, instance: str = "first") -> None:
        self.exchange = exchange
        self.instance = instance
        self.since = now_us()
        self.clock_ahead_us = 0
        self._connection = KafkaConnection(servers)
        self._prefix = prefix
        self._codec = Codec()
        self._publisher = Publisher(self._connection)
        self._next: dict[tuple[str, int], int] = {}
        self._sequence = -1
        self.last_watermark = 0.0

    async def __aenter__(self) -> Self:
        await TopicAdmin(self._connection, self._prefix).apply(TOPICS)
        await self._publisher.start()
        await self._publisher.open([self._prefix + name for name in (DEPTH, SNAPSHOT, WATERMARK)])
        self.since = now_us()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._publisher.close()

    async def _write(self, name: str, record: str, key: str, row: dict[str, Any]) -> None:
        encode = self._codec.encoder(record, self._prefix + name)
        partition_queue = self._publisher.partition_queue(self._prefix + name, key.encode())
        if not partition_queue.append(key.encode(), encode(self._codec.rows(record)(row)), now_us() // 1000):
            raise BackpackStreamsError("no room")
        await partition_queue.settled()
        topic_partition = name, partition_of(key.encode(), self._partitions(name))
        self._next[topic_partition] = self._next.get(topic_partition, 0) + 1

    async def update(self, symbol: str) -> None:
        """Move the market, and write the update."""
        last_id = self.exchange.move(symbol)
        await self._write(DEPTH, "DepthUpdate", symbol, _update(symbol, last_id))

    async def snapshot(self, symbol: str, watermark_offset: int | None) -> None:
        """Write a snapshot of a book."""
        partition = partition_of(symbol.encode(), self._partitions(DEPTH))
        await self._write(
            SNAPSHOT,
            "BookSnapshot",
            symbol,
            _snapshot(symbol, self.exchange.last_ids[symbol], (self._prefix + DEPTH, partition), watermark_offset),
        )

    async def watermark(self, *, is_final: bool = False) -> None:
        """Write a watermark: everything up to now is in Kafka."""
        self._sequence += 1
        now = now_us() + self.clock_ahead_us
        row = {
            "service": "market-producer-0",
            "instance": self.instance,
            "sequence": self._sequence,
            "complete_through": now,
            "published_time": now,
            "interval_ms": 1000,
            "is_final": is_final,
            "offsets": [self._offsets(DEPTH), self._offsets(WATERMARK)],
            "coverage_sequence": self._sequence,
            "coverage": [
                {
                    "since": self.since,
                    "until": None,
                    "streams": [f"depth.{symbol}" for symbol in self.exchange.last_ids],
                }
            ],
        }
        await self._write(WATERMARK, "Watermark", self.instance, row)
        self.last_watermark = time.time()

    @property
    def watermarks_written(self) -> int:
        """The end offset of their topic."""
        return self._next.get((WATERMARK, 0), 0)

    def _partitions(self, name: str) -> int:
        """The number of partitions that the topic had when this instance started."""
        return sum(
            partition_queue.topic == self._prefix + name for partition_queue in self._publisher.partition_queues()
        )

    def _offsets(self, name: str) -> dict[str, Any]:
        """Correct as long as nobody else writes to this prefix."""
        offsets = [self._next.get((name, partition), -1) for partition in range(self._partitions(name))]
        return {"topic": self._prefix + name, "next_offsets": offsets}

    def goes_on_from(self, other: "StubProducer") -> None:
        """Continue from the offsets of an instance that wrote until now."""
        self._next = dict(other._next)


def _update(symbol: str, last_id: int) -> dict[str, Any]:
    return {
        "symbol": symbol,
        "source": "WEBSOCKET",
        "event_time": now_us(),
        "engine_time": now_us(),
        "received_time": now_us(),
        "first_update_id": last_id,
        "last_update_id": last_id,
        "bids": [{"price": "1", "quantity": str(last_id)}],
        "asks": [],
    }


def _snapshot(
    symbol: str, last_id: int, topic_partition: tuple[str, int], watermark_offset: int | None
) -> dict[str, Any]:
    return {
        "symbol": symbol,
        "source": "REST",
        "event_time": None,
        "engine_time": now_us(),
        "received_time": now_us(),
        "origin": "SEED",
        "last_update_id": last_id,
        "bids": [{"price": "1", "quantity": str(last_id)}],
        "asks": [{"price": "2", "quantity": "1"}],
        "bids_complete": True,
        "asks_complete": True,
        "depth_limit": None,
        "delta_topic": topic_partition[0],
        "delta_partition": topic_partition[1],
        "delta_offset": 0,
        "watermark_offset": watermark_offset,
    }
