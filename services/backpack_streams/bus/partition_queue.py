"""The records waiting for Kafka: one queue per partition, within a shared limit in bytes. No I/O."""

import asyncio
import time
from collections import deque
from dataclasses import dataclass

from backpack_streams.errors import BusError

__all__ = [
    "DEFAULT_BUFFER_BYTES",
    "RECORD_OVERHEAD_BYTES",
    "Acknowledged",
    "Handover",
    "PartitionQueue",
    "Record",
    "Rejected",
    "SendBuffer",
]

DEFAULT_BUFFER_BYTES = 256 * 1024 * 1024
RECORD_OVERHEAD_BYTES = 176
"""Measured memory of a waiting record in addition to its value: tuple, timestamp, the value's object header, references."""
_IN_FLIGHT_SHARE = 64
_SMALL_BATCH_BYTES = 16 * 1024
_SETTLED_POLL_SECONDS = 0.02

Record = tuple[bytes | None, bytes | None, int]
"""Key, value (None deletes the key in a compacted topic), timestamp (ms since the Unix epoch)."""


@dataclass(frozen=True, slots=True)
class Rejected:
    """A record that Kafka will never accept.

    Attributes:
        topic: the full topic name.
        partition: the partition.
        record: the record.
        reason: why Kafka refuses it, for messages.
    """

    topic: str
    partition: int
    record: Record
    reason: str


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """A batch that all in-sync replicas have.

    Attributes:
        topic: the full topic name.
        records: the number of records.
        timestamp_ms: the timestamp of the first record, which waited longest (ms since the Unix epoch).
        waited_seconds: how long that record waited. An upper bound if a batch is the second or later part of one read.
    """

    topic: str
    records: int
    timestamp_ms: int
    waited_seconds: float


class SendBuffer:
    """The limit shared by all queues of a publisher.

    Attributes:
        max_bytes: the limit for waiting records, in bytes.
        used_bytes: bytes of waiting records, `RECORD_OVERHEAD_BYTES` included for each.
        in_flight_bytes: bytes of batches being sent. Each batch is in memory several times, in addition to its records.
        refused_records: how many records were refused because the buffer was full.
        failure: why nothing will be sent any more; None while the publisher works.
        takes_all: accept records beyond the limit. Used while the process ends, when the records are in memory already.
    """

    __slots__ = ("failure", "in_flight_bytes", "max_bytes", "refused_records", "takes_all", "used_bytes")

    def __init__(self, max_bytes: int = DEFAULT_BUFFER_BYTES) -> None:
        self.max_bytes = max_bytes
        self.used_bytes = 0
        self.in_flight_bytes = 0
        self.refused_records = 0
        self.failure: BusError | None = None
        self.takes_all = False

    def batch_bytes(self, most: int) -> int:
        """Return the maximum size of the next batch in bytes, at most `most`. Small batches may always leave, so that no
        partition waits for another.
        """
        room = self.max_bytes // _IN_FLIGHT_SHARE - self.in_flight_bytes
        return max(_SMALL_BATCH_BYTES, min(most, room))


class PartitionQueue:
    """The queue of one partition, created by `Publisher.open`.

    Attributes:
        buffer: the limit shared with the other queues.
        topic: the full topic name.
        partition: the partition.
        pending: records that Kafka has neither acknowledged nor finally refused, in order of handover.
        done: how many records Kafka has acknowledged or finally refused.
        rejected: how many records Kafka has finally refused.
        next_offset: the offset after the last acknowledged record, -1 before the first, 0 once the topic was recreated.
        owed_since: since when Kafka has owed an acknowledgement (monotonic seconds), None if it owes none.
        waiting_since: when the first record that is not being sent yet was handed over (monotonic seconds).
        trouble: why the last attempt failed, empty after a success.
    """

    __slots__ = (
        "_ends",
        "_handovers",
        "_sending_since",
        "_taken",
        "_waiter",
        "buffer",
        "done",
        "next_offset",
        "owed_since",
        "partition",
        "pending",
        "rejected",
        "topic",
        "trouble",
        "waiting_since",
    )

    def __init__(self, buffer: SendBuffer, topic: str, partition: int) -> None:
        self.buffer = buffer
        self.topic = topic
        self.partition = partition
        self.pending: deque[Record] = deque()
        self.done = 0
        self.rejected = 0
        self.next_offset = -1
        self.owed_since: float | None = None
        self.waiting_since = 0.0
        self.trouble = ""
        self._taken = 0
        self._sending_since = 0.0
        self._waiter: asyncio.Future[None] | None = None
        self._ends = False
        self._handovers: set[Handover] = set()

    @property
    def handed_over(self) -> int:
        """The number of records handed over so far."""
        return self.done + len(self.pending)

    def append(self, key: bytes | None, value: bytes | None, timestamp_ms: int, spare: bool = False) -> bool:
        """Hand over a record. Returns False if the buffer is full; the record is then not queued.

        Args:
            key: the Kafka key.
            value: the Kafka value, None to delete the key in a compacted topic.
            timestamp_ms: the Kafka timestamp (ms since the Unix epoch).
            spare: whether the record may exceed the limit by a tenth. For reports of what the buffer had no room for.
        """
        buffer = self.buffer
        cost = RECORD_OVERHEAD_BYTES + (len(value) if value else 0)
        room = buffer.max_bytes
        if spare:
            room += room // 10
        if buffer.used_bytes + cost > room and not buffer.takes_all:
            buffer.refused_records += 1
            return False
        buffer.used_bytes += cost
        pending = self.pending
        if len(pending) == self._taken:
            self.waiting_since = time.monotonic()
        pending.append((key, value, timestamp_ms))
        if self._waiter is not None:
            self._wake()
        return True

    async def settled(self) -> int:
        """Wait until Kafka has acknowledged or finally refused every record handed over before the call. Returns how many
        it refused meanwhile.

        To learn which records were refused, use a `Handover`.

        Raises:
            BusError: the publisher failed or was closed first.
        """
        goal, rejected = self.handed_over, self.rejected
        while self.done < goal:  # rarely used, so poll rather than signal after every batch
            if self.buffer.failure is not None:
                raise self.buffer.failure
            await asyncio.sleep(_SETTLED_POLL_SECONDS)
        return self.rejected - rejected

    # For the sender of the partition ---------------------------------------------------------------------------

    async def filled(self) -> bool:
        """Wait until a record is pending. Returns False once the queue has ended and is empty."""
        while not self.pending and not self._ends:
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        return bool(self.pending)

    def end(self) -> None:
        """Declare that no more records will be handed over."""
        self._ends = True
        self._wake()

    def take(self) -> float:
        """Mark the pending records as being sent. Returns when the first of them was handed over (monotonic seconds)."""
        if not self._taken:
            self._taken = len(self.pending)
            self._sending_since = self.waiting_since
        if self.owed_since is None:
            self.owed_since = time.monotonic()
        return self._sending_since

    def dispose(self, records: int) -> list[Record]:
        """Remove the first `records` pending records, which Kafka has acknowledged or finally refused, and return them."""
        popleft = self.pending.popleft
        disposed = [popleft() for _ in range(records)]
        self._taken = max(0, self._taken - records)
        self.done += records
        size = sum([len(record[1] or b"") for record in disposed])
        self.buffer.used_bytes -= size + RECORD_OVERHEAD_BYTES * records
        self.owed_since = None
        self.trouble = ""
        return disposed

    def refuse(self) -> Record:
        """Remove the first pending record, which Kafka has finally refused, and return it."""
        for handover in self._handovers:
            handover.refused(self.done)
        self.rejected += 1
        return self.dispose(1)[0]

    def _wake(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)


class Handover:
    """The records that one caller hands over to a queue, and the outcome of each.

    For callers that report afterwards which records Kafka has.
    """

    def __init__(self, partition_queue: PartitionQueue) -> None:
        self._partition_queue = partition_queue
        self._numbers: dict[int, int] = {}
        self._refused: set[int] = set()

    def append(self, key: bytes | None, value: bytes | None, timestamp_ms: int) -> bool:
        """Hand over a record, as `PartitionQueue.append`."""
        position = self._partition_queue.handed_over
        if not self._partition_queue.append(key, value, timestamp_ms):
            return False
        self._numbers[position] = len(self._numbers)
        self._partition_queue._handovers.add(self)
        return True

    async def settled(self) -> frozenset[int]:
        """Wait as `PartitionQueue.settled`. Returns which records Kafka finally refused, by index in order of `append`.

        Raises:
            BusError: the publisher failed or was closed first.
        """
        try:
            await self._partition_queue.settled()
        finally:
            self._partition_queue._handovers.discard(self)
        return frozenset(self._refused)

    def refused(self, position: int) -> None:
        """Note that Kafka finally refused the record at a position of the queue."""
        if position in self._numbers:
            self._refused.add(self._numbers[position])
