"""Records into Kafka: idempotent, acknowledged by all in-sync replicas, in order a partition, in bounded memory.

Each partition written to has a queue (`partition_queue.py`) and a sender (`sender.py`); all senders share one Kafka producer
(`producer_in_use.py`), which is replaced when it fails.

When Kafka is slow or gone, aiokafka repeats a batch under its sequence number until it is acknowledged, while records gather here
up to `max_buffer_bytes`. Beyond that `append` refuses: the caller records what it could not hand over. A publisher that Kafka owes
acknowledgements for too long although it is there says so and fails (`progress.py`).
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
    Lane,
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
    "Lane",
    "Publisher",
    "Record",
    "Rejected",
]

logger = logging.getLogger(__name__)

DEFAULT_PROGRESS_SECONDS = 120.0
_ROOM_SHARE = 0.75
_MOST_SECONDS_BETWEEN_LOOKS = 5.0
_FIRST_SHARE, _LAST_SHARE = 0.4, 0.2
"""Of the time to close: what the first topics may take of it, and what is kept for what is added to them."""
_LATE_SHARE = 0.1
"""Of the bound: what Kafka has owed for less is not looked into."""


class Publisher:
    """One Kafka producer and its queues.

    `on_rejected` is told of records that Kafka will never take (too large, a timestamp the broker refuses); they are dropped after.
    `on_acknowledged` is told of each batch that Kafka has. `progress_seconds` is for how long it may owe an acknowledgement although it
    is there before the publisher fails.
    """

    def __init__(
        self,
        connection: KafkaConnection,
        max_buffer_bytes: int = DEFAULT_BUFFER_BYTES,
        on_rejected: Callable[[Rejected], None] | None = None,
        on_acknowledged: Callable[[Acknowledged], None] | None = None,
        progress_seconds: float = DEFAULT_PROGRESS_SECONDS,
    ) -> None:
        self._connection = connection
        self._tell_rejected = on_rejected
        self._tell_acknowledged = on_acknowledged
        self._lanes: dict[str, list[Lane]] = {}
        self._producer = ProducerInUse(connection, self._lanes.keys)
        self._senders: dict[asyncio.Task[None], Sender] = {}
        self._progress_seconds = progress_seconds
        self._watching: asyncio.Task[None] | None = None
        self._has_failed = asyncio.Event()
        self.buffer = SendBuffer(max_buffer_bytes)
        self.published_records = 0
        self.published_bytes = 0
        self.rejected_records = 0
        self.unused_partitions: dict[str, int] = {}
        """By topic, partitions that were added while this publisher runs: it goes on with those it knew."""

    @property
    def max_buffer_bytes(self) -> int:
        """What may wait for Kafka."""
        return self.buffer.max_bytes

    @property
    def buffered_bytes(self) -> int:
        """What waits for Kafka."""
        return self.buffer.used_bytes

    @property
    def refused_records(self) -> int:
        """Records that had no room."""
        return self.buffer.refused_records

    @property
    def producer_failures(self) -> int:
        """Kafka producers that failed and were replaced."""
        return self._producer.failures

    @property
    def sender_failures(self) -> int:
        """Times that a sender failed for a reason that nobody expected, and began again."""
        return sum(sender.failures for sender in self._senders.values())

    @property
    def fault(self) -> str | None:
        """What went wrong last, in one line; None while all goes well."""
        return self._producer.fault

    @property
    def failure(self) -> BusError | None:
        """Why this publisher is stuck for good; None while it works, or waits for Kafka."""
        return self.buffer.failure

    async def start(self) -> None:
        """Connects.

        Raises:
            BusError: Kafka cannot be reached or refuses the credentials.
        """
        await self._producer.start()
        self._watching = asyncio.create_task(self._watch(), name="publisher-progress")

    async def open(self, topics: Iterable[str]) -> None:
        """Makes the queues of every partition of `topics`, so that `lane` can answer at once.

        Raises:
            BusError: a topic does not exist or Kafka does not answer.
        """
        new = [topic for topic in topics if topic not in self._lanes]
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
        self._lanes[topic] = [Lane(self.buffer, topic, partition) for partition in range(len(partitions))]
        for lane in self._lanes[topic]:
            sender = Sender(lane, self._producer, self)
            task = asyncio.create_task(sender.run(), name=f"sender {topic}-{lane.partition}")
            self._senders[task] = sender

    def lane(self, topic: str, key: bytes) -> Lane:
        """The queue of `key`'s partition in a topic that was opened."""
        lanes = self._lanes[topic]
        return lanes[partition_of(key, len(lanes))]

    def has_room(self) -> bool:
        """Whether the buffer is well below its limit."""
        return self.buffered_bytes < self.max_buffer_bytes * _ROOM_SHARE or self.buffer.takes_all

    def go_on_from(self, ends: Mapping[tuple[str, int], int]) -> None:
        """Where partitions ended, by topic and number, before anything was written to them: `Lane.next_offset` begins there."""
        for lane in self.lanes():
            if lane.next_offset < 0:
                lane.next_offset = ends.get((lane.topic, lane.partition), -1)

    def lanes(self) -> Iterator[Lane]:
        """The queues of all topics that were opened."""
        return (lane for lanes in self._lanes.values() for lane in lanes)

    def unacknowledged_seconds(self) -> float:
        """How long Kafka has owed the oldest acknowledgement."""
        now = time.monotonic()
        return max((now - lane.owed_since for lane in self.lanes() if lane.owed_since is not None), default=0.0)

    async def until_failed(self) -> None:
        """Waits until the publisher is stuck for good.

        Raises:
            BusError: it is; the message says what it waited for.
        """
        await self._has_failed.wait()
        if self.failure is not None:
            raise self.failure

    async def close(self, timeout_seconds: float = 20.0, first: Collection[str] = ()) -> int:
        """Sends what waits, then disconnects. Returns how many records Kafka did not acknowledge in time.

        What waits for the topics `first` leaves before the rest, and what the rest adds to them, as reports of rejected records, after it.
        """
        deadline = time.monotonic() + timeout_seconds
        urgent = [sender for sender in self._senders.values() if sender.lane.topic in first]
        others = [sender for sender in self._senders.values() if sender.lane.topic not in first]
        for sender in others:
            sender.may_send.clear()
        with contextlib.suppress(TimeoutError, BusError):  # the others have a turn too
            async with asyncio.timeout(timeout_seconds * _FIRST_SHARE):
                await asyncio.gather(*(sender.lane.settled() for sender in urgent))
        for sender in others:
            sender.may_send.set()
        await self._end(others, deadline - timeout_seconds * _LAST_SHARE if urgent else deadline)
        await self._end(urgent, deadline)
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.gather(self._watching, return_exceptions=True)
        await self._producer.close()
        if self.failure is None:
            self.buffer.failure = BusError("the publisher was closed before Kafka had acknowledged this")
        return sum(len(lane.pending) for lane in self.lanes())

    async def _end(self, senders: Collection[Sender], deadline: float) -> None:
        for sender in senders:
            sender.lane.end()
        tasks = [task for task, sender in self._senders.items() if sender in senders]
        if not tasks:
            return
        _, late = await asyncio.wait(tasks, timeout=max(0.0, deadline - time.monotonic()))
        for task in late:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # What became of records ------------------------------------------------------------------------------------

    def on_acknowledged(self, batch: Acknowledged, size_bytes: int) -> None:
        """Counts a batch that Kafka has."""
        self.published_records += batch.records
        self.published_bytes += size_bytes
        if self._tell_acknowledged is not None:
            self._tell_acknowledged(batch)

    def on_rejected(self, rejected: Rejected) -> None:
        """Counts a record that Kafka will never take."""
        self.rejected_records += 1
        if self._tell_rejected is not None:
            self._tell_rejected(rejected)

    # Whether there is progress ---------------------------------------------------------------------------------

    async def _watch(self) -> None:
        """Ends once the publisher is stuck for good."""
        judge = ProgressJudge(self._progress_seconds)
        pause = min(_MOST_SECONDS_BETWEEN_LOOKS, self._progress_seconds / 4)
        stuck: str | None = None
        while stuck is None:
            await asyncio.sleep(pause)
            try:
                self._note_unused_partitions()
                stuck = await self._look(judge)
            except Exception:  # whatever it is: who watches over others must not end unseen
                logger.exception("the look at Kafka failed; it is repeated")
        logger.error("the publisher is stuck", extra={"reason": stuck})
        self.buffer.failure = PublisherStuckError(stuck)
        self._has_failed.set()

    async def _look(self, judge: ProgressJudge) -> str | None:
        late = time.monotonic() - self._progress_seconds * _LATE_SHARE
        owed = {
            (lane.topic, lane.partition): Owed(lane.owed_since, lane.trouble)
            for lane in self.lanes()
            if lane.owed_since is not None and lane.owed_since < late
        }
        found = await look_at_kafka(self._connection, owed) if owed else {}
        return judge.look(time.monotonic(), owed, found)

    def _note_unused_partitions(self) -> None:
        for topic, lanes in self._lanes.items():
            unused = self._producer.now.known_partitions(topic) - len(lanes)
            if unused <= self.unused_partitions.get(topic, 0):
                continue
            self.unused_partitions[topic] = unused
            logger.error(
                "a topic has got more partitions; this process goes on with those that it knew, so that the order of each key stays "
                "as it is: restart it to use all",
                extra={"topic": topic, "used": len(lanes), "partitions": len(lanes) + unused},
            )
