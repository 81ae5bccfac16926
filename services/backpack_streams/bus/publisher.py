"""Records into Kafka: idempotent, acknowledged by all in-sync replicas, in order a partition, in bounded memory.

Each partition written to has a lane: a list of records that wait and a pump that sends them. The pump takes all that wait as one
batch and, while Kafka acknowledges it, the next ones gather. What a socket delivered in one piece so leaves in one piece, and a
burst leaves in large batches.

When Kafka is slow or gone, aiokafka repeats a batch under its sequence number until it is acknowledged, while records gather here
up to `max_buffer_bytes`. Beyond that `append` refuses: the caller records what it could not hand over. A producer that fails is
replaced and unacknowledged batches go out again under a new producer id: a duplicate is legal on the bus, a loss is not.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.errors import (
    CorruptRecordException,
    DuplicateSequenceNumber,
    InvalidMessageError,
    InvalidTimestampError,
    KafkaError,
    MessageSizeTooLargeError,
    RecordListTooLargeError,
    UnknownTopicOrPartitionError,
    UnsupportedForMessageFormatError,
)

from backpack_streams.bus.connection import KafkaConnection
from backpack_streams.bus.partitioner import partition_of
from backpack_streams.errors import BusError

__all__ = [
    "BATCH_BYTES",
    "DEFAULT_BUFFER_BYTES",
    "RECORD_OVERHEAD_BYTES",
    "Acknowledged",
    "Lane",
    "Publisher",
    "Record",
    "Rejected",
]

logger = logging.getLogger(__name__)

DEFAULT_BUFFER_BYTES = 256 * 1024 * 1024
RECORD_OVERHEAD_BYTES = 120
"""What a waiting record costs beside its value: tuple, timestamp, references."""
BATCH_BYTES = 512 * 1024
_REQUEST_BYTES = 16 * 1024 * 1024
_REQUEST_TIMEOUT_MILLIS = 30_000
_FIRST_RETRY_SECONDS = 0.2
_LONGEST_RETRY_SECONDS = 10.0
_ABANDON_SECONDS = 10.0
_ROOM_SHARE = 0.75
_SETTLED_POLL_SECONDS = 0.02

_RECORD_AT_FAULT = (
    MessageSizeTooLargeError,
    RecordListTooLargeError,
    UnknownTopicOrPartitionError,
    InvalidTimestampError,
    InvalidMessageError,
    CorruptRecordException,
    UnsupportedForMessageFormatError,
)

Record = tuple[bytes | None, bytes | None, int]
"""Key, value (None deletes the key of a compacted topic), timestamp in milliseconds since the Unix epoch."""


@dataclass(frozen=True, slots=True)
class Rejected:
    """A record that Kafka will never take, and why."""

    topic: str
    partition: int
    record: Record
    reason: str


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """A batch that all in-sync replicas have."""

    topic: str
    records: int
    timestamp_ms: int
    """Of its first record, which waited for longest."""
    waited_seconds: float
    """Since that one was handed over; at most that long where a batch follows on another of the same read."""


class Lane:
    """The way into one partition. Made by `Publisher.lane`.

    `done` counts the records that Kafka has acknowledged or refused for good; `next_offset` is the offset behind the last one
    acknowledged, -1 before the first.
    """

    __slots__ = (
        "_publisher",
        "_waiter",
        "done",
        "next_offset",
        "partition",
        "pending",
        "sending",
        "sent_since",
        "topic",
        "waiting_since",
    )

    def __init__(self, publisher: "Publisher", topic: str, partition: int) -> None:
        self._publisher = publisher
        self.topic = topic
        self.partition = partition
        self.pending: list[Record] = []
        self.sending = 0
        self.done = 0
        self.next_offset = -1
        self.sent_since: float | None = None
        self.waiting_since = 0.0
        """When the first of the pending records was handed over (monotonic seconds)."""
        self._waiter: asyncio.Future[None] | None = None

    @property
    def handed_over(self) -> int:
        """Records that were handed over so far."""
        return self.done + self.sending + len(self.pending)

    def append(self, key: bytes | None, value: bytes | None, timestamp_ms: int, spare: bool = False) -> bool:
        """Hands a record over. False when the buffer is full: the record was not taken.

        `spare` records may use a tenth more: they say what the buffer had no room for.
        """
        publisher = self._publisher
        cost = RECORD_OVERHEAD_BYTES + (len(value) if value else 0)
        room = publisher.max_buffer_bytes
        if spare:
            room += room // 10
        if publisher.buffered_bytes + cost > room:
            publisher.refused_records += 1
            return False
        publisher.buffered_bytes += cost
        pending = self.pending
        if not pending:
            self.waiting_since = time.monotonic()
        pending.append((key, value, timestamp_ms))
        if self._waiter is not None:
            self._wake()
        return True

    async def settled(self) -> None:
        """Returns once Kafka has acknowledged all that was handed over: for lanes with little traffic, since it waits for a pause."""
        while self.pending or self.sent_since is not None:  # noqa: ASYNC110  # rarely asked for: no event on the way of every batch
            await asyncio.sleep(_SETTLED_POLL_SECONDS)

    def _wake(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    async def take(self) -> list[Record]:
        """All that waits, once something does; empty when the publisher closes and nothing is left."""
        while not self.pending and not self._publisher.closing:
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        chunk, self.pending = self.pending, []
        self.sending = len(chunk)
        return chunk


class Publisher:
    """One Kafka producer and its lanes.

    `on_rejected` is told of records that Kafka will never take (too large, a timestamp the broker refuses); they are dropped after.
    `on_acknowledged` is told of each batch that Kafka has.
    """

    def __init__(
        self,
        connection: KafkaConnection,
        max_buffer_bytes: int = DEFAULT_BUFFER_BYTES,
        on_rejected: Callable[[Rejected], None] | None = None,
        on_acknowledged: Callable[[Acknowledged], None] | None = None,
    ) -> None:
        self._connection = connection
        self._on_rejected = on_rejected
        self._on_acknowledged = on_acknowledged
        self._producer: AIOKafkaProducer | None = None
        self._replacing = asyncio.Lock()
        self._lanes: dict[str, list[Lane]] = {}
        self._pumps: list[asyncio.Task[None]] = []
        self._leaving: set[asyncio.Task[None]] = set()
        self.closing = False
        self.max_buffer_bytes = max_buffer_bytes
        self.buffered_bytes = 0
        self.refused_records = 0
        self.published_records = 0
        self.published_bytes = 0
        self.rejected_records = 0
        self.producer_failures = 0
        self.fault: str | None = None

    async def start(self) -> None:
        """Connects.

        Raises:
            BusError: Kafka cannot be reached or refuses the credentials.
        """
        self._producer = await self._connect()

    async def open(self, topics: Iterable[str]) -> None:
        """Makes the lanes of every partition of `topics`, so that `lane` can answer at once.

        Raises:
            BusError: a topic does not exist or Kafka does not answer.
        """
        assert self._producer is not None
        new = [topic for topic in topics if topic not in self._lanes]
        for topic in new:
            self._producer.client.add_topic(topic)  # so that one look at the metadata serves them all
        for topic in new:
            await self._open(topic)

    async def _open(self, topic: str) -> None:
        assert self._producer is not None
        try:
            partitions = await self._producer.partitions_for(topic)
        except UnknownTopicOrPartitionError as error:
            raise BusError(f"topic {topic} does not exist: run `backpack-streams topics apply`") from error
        except (KafkaError, OSError) as error:
            raise self._connection.explain(error) from error
        lanes = [Lane(self, topic, partition) for partition in range(len(partitions))]
        self._lanes[topic] = lanes
        self._pumps += [asyncio.create_task(self._pump(lane), name=f"pump {topic}-{lane.partition}") for lane in lanes]

    def lane(self, topic: str, key: bytes) -> Lane:
        """The lane of `key`'s partition in a topic that was opened."""
        lanes = self._lanes[topic]
        return lanes[partition_of(key, len(lanes))]

    def has_room(self) -> bool:
        """Whether the buffer is well below its limit."""
        return self.buffered_bytes < self.max_buffer_bytes * _ROOM_SHARE

    def go_on_from(self, ends: Mapping[tuple[str, int], int]) -> None:
        """Where partitions ended, by topic and number, before anything was written to them: `Lane.next_offset` begins there."""
        for lane in self.lanes():
            if lane.next_offset < 0:
                lane.next_offset = ends.get((lane.topic, lane.partition), -1)

    def lanes(self) -> Iterator[Lane]:
        """The lanes of all topics that were opened."""
        return (lane for lanes in self._lanes.values() for lane in lanes)

    def unacknowledged_seconds(self) -> float:
        """How long Kafka has owed the oldest acknowledgement."""
        now = time.monotonic()
        return max((now - lane.sent_since for lane in self.lanes() if lane.sent_since is not None), default=0.0)

    async def close(self, timeout_seconds: float = 20.0) -> int:
        """Sends what waits, then disconnects. Returns how many records Kafka did not acknowledge in time."""
        self.closing = True
        for lane in self.lanes():
            lane._wake()  # a lane is part of its publisher
        if self._pumps:
            _, late = await asyncio.wait(self._pumps, timeout=timeout_seconds)
            for pump in late:
                pump.cancel()
            await asyncio.gather(*self._pumps, return_exceptions=True)
        if self._producer is not None:
            await self._abandon(self._producer)
        if self._leaving:
            await asyncio.wait(self._leaving, timeout=_ABANDON_SECONDS)
        return sum(len(lane.pending) for lane in self.lanes())

    async def _pump(self, lane: Lane) -> None:
        while True:
            chunk = await lane.take()
            if not chunk:
                return
            start, waiting_since = 0, lane.waiting_since
            try:
                while start < len(chunk):
                    disposed = await self._deliver(lane, chunk, start, waiting_since)
                    start += disposed
                    lane.sending -= disposed
                    lane.done += disposed
            finally:
                if start < len(chunk):  # cancelled: what was not acknowledged is counted by close()
                    lane.pending[:0] = chunk[start:]
                lane.sending = 0

    async def _deliver(self, lane: Lane, chunk: list[Record], start: int, waiting_since: float) -> int:
        """One batch from `chunk[start:]`, until it is acknowledged or given up; returns how many records it disposed of."""
        most = len(chunk)
        delay = _FIRST_RETRY_SECONDS
        lane.sent_since = time.monotonic()
        while True:
            producer = self._producer
            assert producer is not None
            builder = producer.create_batch()
            end = start
            while end < most:
                key, value, timestamp_ms = chunk[end]
                if builder.append(timestamp=timestamp_ms, key=key, value=value) is None:
                    break
                end += 1
            if end == start:
                return self._reject(lane, chunk[start], f"larger than a batch may be ({BATCH_BYTES} bytes)")
            try:
                builder.close()
                sent = await (await producer.send_batch(builder, lane.topic, partition=lane.partition))
                if (
                    sent.offset < 0
                ):  # acknowledged, but nobody knows where it is: once more, so that the offset is known
                    raise DuplicateSequenceNumber("the offset of a batch is not known")
                lane.next_offset = sent.offset + end - start
            except _RECORD_AT_FAULT as error:
                if end - start == 1:
                    await self._replace(producer, error)
                    return self._reject(lane, chunk[start], str(error) or type(error).__name__)
                most = start + (end - start) // 2  # the culprit is found by halving
                await self._replace(producer, error)
            except (KafkaError, OSError) as error:
                await self._replace(producer, error)
                await asyncio.sleep(delay)
                delay = min(2 * delay, _LONGEST_RETRY_SECONDS)
            else:
                return self._acknowledged(lane, chunk, start, end, waiting_since)

    def _acknowledged(self, lane: Lane, chunk: list[Record], start: int, end: int, waiting_since: float) -> int:
        size = sum([len(record[1] or b"") for record in chunk[start:end]])
        self.buffered_bytes -= size + RECORD_OVERHEAD_BYTES * (end - start)
        self.published_records += end - start
        self.published_bytes += size
        lane.sent_since = None
        self.fault = None
        if self._on_acknowledged is not None:
            waited = time.monotonic() - waiting_since
            self._on_acknowledged(Acknowledged(lane.topic, end - start, chunk[start][2], waited))
        return end - start

    def _reject(self, lane: Lane, record: Record, reason: str) -> int:
        self.rejected_records += 1
        self.buffered_bytes -= RECORD_OVERHEAD_BYTES + len(record[1] or b"")
        lane.sent_since = None
        logger.error(
            "kafka refused a record", extra={"topic": lane.topic, "partition": lane.partition, "reason": reason}
        )
        if self._on_rejected is not None:
            self._on_rejected(Rejected(lane.topic, lane.partition, record, reason))
        return 1

    async def _replace(self, failed: AIOKafkaProducer, error: BaseException) -> None:
        """A failed batch burns its sequence numbers, so the producer goes and its lanes repeat under a new one."""
        async with self._replacing:
            if self._producer is not failed:
                return
            self.producer_failures += 1
            self.fault = str(self._connection.explain(error))
            logger.warning("kafka producer failed; making a new one", extra={"error": self.fault})
            self._leave(failed)
            delay = _FIRST_RETRY_SECONDS
            while True:
                try:
                    self._producer = await self._connect()
                    return
                except BusError as refused:
                    self.fault = str(refused)
                    logger.warning("kafka is not there; trying again", extra={"error": self.fault, "in_seconds": delay})
                await asyncio.sleep(delay)
                delay = min(2 * delay, _LONGEST_RETRY_SECONDS)

    def _leave(self, producer: AIOKafkaProducer) -> None:
        task = asyncio.create_task(self._abandon(producer))
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)

    async def _abandon(self, producer: AIOKafkaProducer) -> None:
        try:
            await asyncio.wait_for(producer.stop(), _ABANDON_SECONDS)
        except (TimeoutError, KafkaError, OSError) as error:
            logger.info("kafka producer left without a goodbye", extra={"error": repr(error)})

    async def _connect(self) -> AIOKafkaProducer:
        options: dict[str, Any] = self._connection.client_options()
        producer = AIOKafkaProducer(
            **options,
            acks="all",
            enable_idempotence=True,
            max_batch_size=BATCH_BYTES,
            max_request_size=_REQUEST_BYTES,
            request_timeout_ms=_REQUEST_TIMEOUT_MILLIS,
        )
        try:
            await producer.start()
        except (TimeoutError, KafkaError, OSError) as error:
            await self._abandon(producer)
            raise self._connection.explain(error) from error
        return producer
