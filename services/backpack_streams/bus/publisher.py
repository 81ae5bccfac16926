"""Publishes records to Kafka: idempotent, acknowledged by all in-sync replicas, ordered per partition, in bounded memory.

Each partition has a queue (`partition_queue.py`) and a sender (`sender.py`). All senders share one Kafka producer
(`producer_in_use.py`), which is replaced if it fails.

While Kafka is slow or unavailable, aiokafka retries a batch under its sequence number until it is acknowledged, and
records gather here up to `max_buffer_bytes`. Beyond that, `append` refuses and the caller records the loss. If Kafka is
available but owes acknowledgements for too long, the publisher fails with an explanation (`progress.py`).
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

from aiokafka.errors import KafkaError, UnknownTopicOrPartitionError

from backpack_streams.bus.connection import KafkaConnection
from backpack_streams.bus.kafka_producer import BATCH_BYTES
from backpack_streams.bus.partition_queue import (
    DEFAULT_BUFFER_BYTES,
    RECORD_OVERHEAD_BYTES,
    Acknowledged,
    Handover,
    PartitionQueue,
    Record,
    Rejected,
    SendBuffer,
)
from backpack_streams.bus.partitioner import partition_of
from backpack_streams.bus.producer_in_use import ProducerInUse
from backpack_streams.bus.progress import Owed, ProgressJudge, PublisherStuckError, look_at_kafka
from backpack_streams.bus.sender import Sender
from backpack_streams.errors import BusError

__all__ = [
    "BATCH_BYTES",
    "DEFAULT_BUFFER_BYTES",
    "DEFAULT_PROGRESS_SECONDS",
    "RECORD_OVERHEAD_BYTES",
    "Acknowledged",
    "Handover",
    "PartitionQueue",
    "Publisher",
    "Record",
    "Rejected",
]

logger = logging.getLogger(__name__)

DEFAULT_PROGRESS_SECONDS = 120.0
_ROOM_SHARE = 0.75
_MOST_SECONDS_BETWEEN_LOOKS = 5.0
_FIRST_SHARE, _LAST_SHARE = 0.4, 0.2
"""Shares of the time to close: the limit for the topics named first, and the reserve for records added to them afterwards."""
_LATE_SHARE = 0.1
"""Share of the bound; acknowledgements that are overdue for less are not examined."""


class Publisher:
    """One Kafka producer and its queues."""

    def __init__(
        self,
        connection: KafkaConnection,
        max_buffer_bytes: int = DEFAULT_BUFFER_BYTES,
        on_rejected: Callable[[Rejected], None] | None = None,
        on_acknowledged: Callable[[Acknowledged], None] | None = None,
        progress_seconds: float = DEFAULT_PROGRESS_SECONDS,
        on_deleted: Callable[[str], None] | None = None,
    ) -> None:
        """Prepare; `start` connects.

        Args:
            connection: how to reach Kafka.
            max_buffer_bytes: the limit for records waiting for Kafka.
            on_rejected: called with each record that Kafka will never accept (too large, a timestamp that the broker
                refuses). The record is dropped afterwards.
            on_acknowledged: called with each batch that Kafka has acknowledged.
            progress_seconds: how long an available Kafka may owe an acknowledgement before the publisher fails.
            on_deleted: called with the full name of a topic that was recreated or truncated, once acknowledgements show it.
        """
        self._connection = connection
        self._tell_rejected = on_rejected
        self._tell_acknowledged = on_acknowledged
        self._tell_deleted = on_deleted
        self._partition_queues: dict[str, list[PartitionQueue]] = {}
        self._producer = ProducerInUse(connection, self._partition_queues.keys)
        self._senders: dict[asyncio.Task[None], Sender] = {}
        self._progress_seconds = progress_seconds
        self._watching: asyncio.Task[None] | None = None
        self._has_failed = asyncio.Event()
        self.buffer = SendBuffer(max_buffer_bytes)
        self.published_records = 0
        self.published_bytes = 0
        self.rejected_records = 0
        self.unused_partitions: dict[str, int] = {}
        """By full topic name, how many partitions were added since this publisher opened the topic. It does not use them."""

    @property
    def max_buffer_bytes(self) -> int:
        """The limit for records waiting for Kafka."""
        return self.buffer.max_bytes

    @property
    def buffered_bytes(self) -> int:
        """Bytes of records waiting for Kafka."""
        return self.buffer.used_bytes

    @property
    def refused_records(self) -> int:
        """How many records were refused because the buffer was full."""
        return self.buffer.refused_records

    @property
    def producer_failures(self) -> int:
        """How many Kafka producers failed and were replaced."""
        return self._producer.failures

    @property
    def sender_failures(self) -> int:
        """How often a sender failed unexpectedly and was restarted."""
        return sum(sender.failures for sender in self._senders.values())

    @property
    def fault(self) -> str | None:
        """The last failure in one line; None after a later acknowledgement."""
        return self._producer.fault

    @property
    def failure(self) -> BusError | None:
        """Why this publisher is stuck for good; None while it works or waits for Kafka."""
        return self.buffer.failure

    async def start(self) -> None:
        """Connect.

        Raises:
            BusError: Kafka is unreachable or refuses the credentials.
        """
        await self._producer.start()
        self._watching = asyncio.create_task(self._watch(), name="publisher-progress")

    async def open(self, topics: Iterable[str]) -> None:
        """Create the queues of all partitions of `topics` (full names), so that `partition_queue` can answer at once.

        Raises:
            BusError: a topic does not exist, or Kafka does not answer.
        """
        new = [topic for topic in topics if topic not in self._partition_queues]
        self._producer.now.know(new)
        for topic in new:
            await self._open(topic)

    async def _open(self, topic: str) -> None:
        try:
            partitions = await self._producer.now.partitions(topic)
        except UnknownTopicOrPartitionError as error:
            raise BusError(f"topic {topic} does not exist: run `backpack-streams topics apply`") from error
        except (KafkaError, OSError) as error:
            raise self._connection.explain(error) from error
        self._partition_queues[topic] = [
            PartitionQueue(self.buffer, topic, partition) for partition in range(len(partitions))
        ]
        for partition_queue in self._partition_queues[topic]:
            sender = Sender(partition_queue, self._producer, self)
            task = asyncio.create_task(sender.run(), name=f"sender {topic}-{partition_queue.partition}")
            self._senders[task] = sender

    def partition_queue(self, topic: str, key: bytes) -> PartitionQueue:
        """Return the queue of the partition of `key`.

        Args:
            topic: the full name of an opened topic.
            key: the Kafka key.

        Raises:
            KeyError: the topic was not opened.
        """
        partition_queues = self._partition_queues[topic]
        return partition_queues[partition_of(key, len(partition_queues))]

    def has_room(self) -> bool:
        """Whether the buffer is well below its limit."""
        return self.buffered_bytes < self.max_buffer_bytes * _ROOM_SHARE or self.buffer.takes_all

    def go_on_from(self, ends: Mapping[tuple[str, int], int]) -> None:
        """Set the initial `next_offset` of queues that have written nothing yet.

        Args:
            ends: the end offset of each partition, by full topic name and partition.
        """
        for partition_queue in self.partition_queues():
            if partition_queue.next_offset < 0:
                partition_queue.next_offset = ends.get((partition_queue.topic, partition_queue.partition), -1)

    def partition_queues(self) -> Iterator[PartitionQueue]:
        """Yield the queues of all opened topics."""
        return (
            partition_queue
            for partition_queues in self._partition_queues.values()
            for partition_queue in partition_queues
        )

    def unacknowledged_seconds(self) -> float:
        """Return how long Kafka has owed the oldest acknowledgement; 0 if it owes none."""
        now = time.monotonic()
        return max(
            (
                now - partition_queue.owed_since
                for partition_queue in self.partition_queues()
                if partition_queue.owed_since is not None
            ),
            default=0.0,
        )

    async def until_failed(self) -> None:
        """Wait until the publisher is stuck for good.

        Raises:
            BusError: always, once it is stuck; the message says what it was waiting for.
        """
        await self._has_failed.wait()
        if self.failure is not None:
            raise self.failure

    async def close(self, timeout_seconds: float = 20.0, first: Collection[str] = ()) -> int:
        """Send the waiting records, then disconnect. Returns how many records Kafka did not acknowledge in time.

        Args:
            timeout_seconds: the limit for all of it.
            first: full names of topics whose waiting records leave before the others. Records that the others add to
                these topics while closing, such as reports of rejected records, leave last.
        """
        deadline = time.monotonic() + timeout_seconds
        urgent = [sender for sender in self._senders.values() if sender.partition_queue.topic in first]
        others = [sender for sender in self._senders.values() if sender.partition_queue.topic not in first]
        for sender in others:
            sender.may_send.clear()
        with contextlib.suppress(TimeoutError, BusError):  # the other topics get their turn in any case
            async with asyncio.timeout(timeout_seconds * _FIRST_SHARE):
                await asyncio.gather(*(sender.partition_queue.settled() for sender in urgent))
        for sender in others:
            sender.may_send.set()
        await self._end(others, deadline - timeout_seconds * _LAST_SHARE if urgent else deadline)
        await self._end(urgent, deadline)
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.gather(self._watching, return_exceptions=True)
        await self._producer.close()
        if self.failure is None:
            self.buffer.failure = BusError("the publisher was closed before Kafka acknowledged this")
        return sum(len(partition_queue.pending) for partition_queue in self.partition_queues())

    async def _end(self, senders: Collection[Sender], deadline: float) -> None:
        for sender in senders:
            sender.partition_queue.end()
        tasks = [task for task, sender in self._senders.items() if sender in senders]
        if not tasks:
            return
        _, late = await asyncio.wait(tasks, timeout=max(0.0, deadline - time.monotonic()))
        for task in late:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # What became of records ------------------------------------------------------------------------------------

    def on_acknowledged(self, batch: Acknowledged, size_bytes: int) -> None:
        """Count an acknowledged batch. `size_bytes` counts its values."""
        self.published_records += batch.records
        self.published_bytes += size_bytes
        if self._tell_acknowledged is not None:
            self._tell_acknowledged(batch)

    def on_rejected(self, rejected: Rejected) -> None:
        """Count a record that Kafka will never accept."""
        self.rejected_records += 1
        if self._tell_rejected is not None:
            self._tell_rejected(rejected)

    def on_deleted(self, topic: str) -> None:
        """Note that a topic was recreated or truncated, so that the offsets in its other partitions mean nothing either."""
        for partition_queue in self._partition_queues[topic]:
            partition_queue.next_offset = 0
        if self._tell_deleted is not None:
            self._tell_deleted(topic)

    # Whether there is progress ---------------------------------------------------------------------------------

    async def _watch(self) -> None:
        """Probe Kafka while acknowledgements are overdue. Returns once the publisher is stuck for good."""
        judge = ProgressJudge(self._progress_seconds)
        pause = min(_MOST_SECONDS_BETWEEN_LOOKS, self._progress_seconds / 4)
        stuck: str | None = None
        while stuck is None:
            await asyncio.sleep(pause)
            try:
                self._note_unused_partitions()
                stuck = await self._look(judge)
            except Exception:  # any error: the watchdog must not end silently
                logger.exception("probing Kafka failed; retrying")
        logger.error("the publisher is stuck", extra={"reason": stuck})
        self.buffer.failure = PublisherStuckError(stuck)
        self._has_failed.set()

    async def _look(self, judge: ProgressJudge) -> str | None:
        late = time.monotonic() - self._progress_seconds * _LATE_SHARE
        owed = {
            (partition_queue.topic, partition_queue.partition): Owed(
                partition_queue.owed_since, partition_queue.trouble
            )
            for partition_queue in self.partition_queues()
            if partition_queue.owed_since is not None and partition_queue.owed_since < late
        }
        found = await look_at_kafka(self._connection, owed) if owed else {}
        return judge.look(time.monotonic(), owed, found)

    def _note_unused_partitions(self) -> None:
        for topic, partition_queues in self._partition_queues.items():
            unused = self._producer.now.known_partitions(topic) - len(partition_queues)
            if unused <= self.unused_partitions.get(topic, 0):
                continue
            self.unused_partitions[topic] = unused
            logger.error(
                "a topic has more partitions than before; this process keeps using the old ones to preserve the order of each key: "
                "restart it to use all",
                extra={"topic": topic, "used": len(partition_queues), "partitions": len(partition_queues) + unused},
            )
