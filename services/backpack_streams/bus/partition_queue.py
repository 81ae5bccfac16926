"""The records that wait for Kafka, a queue a partition, within one bound in bytes for all of them. No I/O."""

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
    "Lane",
    "Record",
    "Rejected",
    "SendBuffer",
]

DEFAULT_BUFFER_BYTES = 256 * 1024 * 1024
RECORD_OVERHEAD_BYTES = 176
"""What a waiting record costs beside its value, as measured: tuple, timestamp, the value's own head, references."""
_IN_FLIGHT_SHARE = 64
_SMALL_BATCH_BYTES = 16 * 1024
_SETTLED_POLL_SECONDS = 0.02

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


class SendBuffer:
    """What all queues of a publisher may hold together.

    Attributes:
        failure: why nothing will be sent any more; None while the publisher works.
        takes_all: nothing is refused. For the end of a process: what is handed over then was in memory anyway.
        in_flight_bytes: of batches on their way, each of which is in memory several times over, beside its records.
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
        """How large the next batch may be, `most` at most. Small ones always may leave, so that no partition waits for another."""
        room = self.max_bytes // _IN_FLIGHT_SHARE - self.in_flight_bytes
        return max(_SMALL_BATCH_BYTES, min(most, room))


class Lane:
    """The queue of one partition. Made by `Publisher.lane`.

    Attributes:
        buffer: what it shares with the queues of other partitions.
        pending: records that Kafka has neither acknowledged nor refused for good, in the order they were handed over.
        done: how many it has acknowledged or refused for good.
        next_offset: the offset behind the last one acknowledged, -1 before the first.
        owed_since: since when Kafka has owed an acknowledgement (monotonic seconds), None if it owes nothing.
        waiting_since: when the first record behind those that are being sent was handed over (monotonic seconds).
        rejected: how many it has refused for good.
        trouble: why the last attempt failed; empty after a success.
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
        """Records that were handed over so far."""
        return self.done + len(self.pending)

    def append(self, key: bytes | None, value: bytes | None, timestamp_ms: int, spare: bool = False) -> bool:
        """Hands a record over. False when the buffer is full: the record was not taken.

        `spare` records may use a tenth more: they say what the buffer had no room for.
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
        """Waits until Kafka has acknowledged or refused for good all that was handed over before the call.

        Returns how many records it refused meanwhile; a `Handover` tells which.

        Raises:
            BusError: the publisher has failed, or was closed before.
        """
        goal, rejected = self.handed_over, self.rejected
        while self.done < goal:  # rarely asked for: no event on the way of every batch
            if self.buffer.failure is not None:
                raise self.buffer.failure
            await asyncio.sleep(_SETTLED_POLL_SECONDS)
        return self.rejected - rejected

    # For the sender of the partition ---------------------------------------------------------------------------

    async def filled(self) -> bool:
        """Waits until something is pending; False once the queue has ended and nothing is."""
        while not self.pending and not self._ends:
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        return bool(self.pending)

    def end(self) -> None:
        """Nothing more will be handed over."""
        self._ends = True
        self._wake()

    def take(self) -> float:
        """The records pending now are being sent. Returns since when the first of them has waited (monotonic seconds)."""
        if not self._taken:
            self._taken = len(self.pending)
            self._sending_since = self.waiting_since
        if self.owed_since is None:
            self.owed_since = time.monotonic()
        return self._sending_since

    def dispose(self, records: int) -> list[Record]:
        """Kafka has acknowledged or refused for good the first `records` of those pending; they are returned."""
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
        """Kafka has refused the first record for good; it is returned."""
        for handover in self._handovers:
            handover.refused(self.done)
        self.rejected += 1
        return self.dispose(1)[0]

    def _wake(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)


class Handover:
    """Records that one caller hands over to a queue, and what became of each: for who says afterwards that Kafka has them."""

    def __init__(self, lane: Lane) -> None:
        self._lane = lane
        self._numbers: dict[int, int] = {}
        self._refused: set[int] = set()

    def append(self, key: bytes | None, value: bytes | None, timestamp_ms: int) -> bool:
        """As `Lane.append`."""
        position = self._lane.handed_over
        if not self._lane.append(key, value, timestamp_ms):
            return False
        self._numbers[position] = len(self._numbers)
        self._lane._handovers.add(self)
        return True

    async def settled(self) -> frozenset[int]:
        """Waits as `Lane.settled` does. Returns which of the records Kafka refused for good, counted from 0 as they were appended.

        Raises:
            BusError: the publisher has failed, or was closed before.
        """
        try:
            await self._lane.settled()
        finally:
            self._lane._handovers.discard(self)
        return frozenset(self._refused)

    def refused(self, position: int) -> None:
        """Kafka refused the record at that place of the queue for good."""
        if position in self._numbers:
            self._refused.add(self._numbers[position])
