"""Reads partitions from given offsets to given ends, completely or not at all: giving up is an error, never just a warning."""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from aiokafka.structs import ConsumerRecord

from backpack_streams.backoff import Backoff
from backpack_streams.bus.connection import may_pass
from backpack_streams.bus.reader import Reader, Records
from backpack_streams.bus.topic_ids import TopicRecreatedError
from backpack_streams.errors import BusError
from backpack_streams.topic_partition import TopicPartition

__all__ = ["PATIENCE_SECONDS", "EndWatch", "PollSize", "TopicEndNotReachedError", "read_to_end"]

logger = logging.getLogger(__name__)

PATIENCE_SECONDS: Final = 30.0
"""How long no partition may make progress: a partition without a leader is unavailable for some seconds."""
BYTES_A_POLL: Final = 8 * 1024 * 1024
"""Approximate bytes per poll: records of some topics are a thousand times as large as those of others."""
_FIRST_RECORDS: Final = 500
_MOST_RECORDS: Final = 10_000
_POLL_MILLIS: Final = 200
_FIRST_RETRY_SECONDS, _LONGEST_RETRY_SECONDS = 0.2, 2.0
_LONGEST_LOOK_SECONDS: Final = 2.0

Take = Callable[[TopicPartition, Sequence[ConsumerRecord]], object]
"""Receives the next records of a partition."""


class TopicEndNotReachedError(BusError):
    """A partition could not be read to its end, so its records are incomplete.

    Attributes:
        topic_partition: the full topic name and the partition.
        reached: the offset up to which it was read.
        end: the offset up to which it should have been read.
    """

    def __init__(
        self,
        topic_partition: TopicPartition,
        reached: int,
        end: int,
        idle_seconds: float,
        trouble: BaseException | None,
    ) -> None:
        self.topic_partition = topic_partition
        self.reached = reached
        self.end = end
        because = f" ({trouble})" if trouble is not None else ""
        topic, partition = topic_partition
        super().__init__(
            f"partition {partition} of topic {topic} was read to offset {reached} instead of {end}: Kafka returned nothing "
            f"for {idle_seconds:.0f} s{because}; check whether the partition has a leader"
        )


class EndWatch:
    """Tracks how far partitions have been read, and decides when to give up. Sans I/O.

    Positions count, not records: offsets emptied by retention or compaction, and transaction markers, have no record.
    Time during which nobody looked, as while the process was suspended, does not count.
    """

    def __init__(
        self,
        starts: Mapping[TopicPartition, int],
        ends: Mapping[TopicPartition, int],
        patience_seconds: float,
        now: float,
    ) -> None:
        """Prepare.

        Args:
            starts: the first offset of each partition.
            ends: the end offset of each partition.
            patience_seconds: how long no partition may make progress.
            now: the time (monotonic seconds).
        """
        self._ends = {each: ends[each] for each in starts}
        self._patience = patience_seconds
        self._looked_at = now
        self._idle = 0.0
        self._has_moved = False
        self._trouble: BusError | None = None
        self.reached = {each: start for each, start in starts.items() if start < ends[each]}
        """The next offset of each partition that has not reached its end."""

    def wanted(self, topic_partition: TopicPartition, records: Sequence[ConsumerRecord]) -> Sequence[ConsumerRecord]:
        """Return the records before the end that were not delivered yet. A recreated topic starts over at lower offsets."""
        start = self.reached.get(topic_partition)
        if start is None:
            return ()
        end = self._ends[topic_partition]
        if start <= records[0].offset and records[-1].offset < end:
            return records
        return [record for record in records if start <= record.offset < end]

    def stands_at(self, topic_partition: TopicPartition, offset: int) -> None:
        """Note that the record at `offset` comes next.

        Raises:
            TopicRecreatedError: the partition begins again, so what was its end is none any more.
        """
        if offset < self.reached[topic_partition]:
            raise TopicRecreatedError([topic_partition[0]])
        if offset > self.reached[topic_partition]:
            self._has_moved = True
            self.reached[topic_partition] = offset
        if offset >= self._ends[topic_partition]:
            del self.reached[topic_partition]

    def failed(self, error: BusError) -> None:
        """Note a failed attempt that may be temporary, for the error message."""
        self._trouble = error

    def look(self, now: float) -> None:
        """Check the progress at `now` (monotonic seconds).

        Raises:
            TopicEndNotReachedError: no partition has made progress for too long.
        """
        if self._has_moved:
            self._has_moved, self._idle, self._trouble = False, 0.0, None
        else:
            self._idle += min(now - self._looked_at, _LONGEST_LOOK_SECONDS)
        self._looked_at = now
        if self.reached and self._idle >= self._patience:
            topic_partition, reached = min(self.reached.items())
            raise TopicEndNotReachedError(
                topic_partition, reached, self._ends[topic_partition], self._idle, self._trouble
            )


class PollSize:
    """Chooses how many records to request, so that they take about `BYTES_A_POLL`, from the size of the last ones. Sans I/O."""

    def __init__(self) -> None:
        self.records = _FIRST_RECORDS

    def saw(self, records: Records) -> None:
        """Note the records of a poll."""
        count = sum(map(len, records.values()))
        if count:
            size = sum(len(each.key or b"") + len(each.value or b"") for batch in records.values() for each in batch)
            self.records = max(1, min(_MOST_RECORDS, BYTES_A_POLL * count // max(1, size)))


async def read_to_end(
    reader: Reader,
    starts: Mapping[TopicPartition, int],
    ends: Mapping[TopicPartition, int],
    take: Take,
    *,
    patience_seconds: float = PATIENCE_SECONDS,
) -> None:
    """Pass every record from `starts` to before `ends` to `take`, ordered per partition. Replaces the reader's assignment.

    Args:
        reader: a connected reader.
        starts: the first offset of each partition.
        ends: the end offset of each partition.
        take: receives a partition and its next records.
        patience_seconds: how long no partition may make progress.

    Raises:
        TopicEndNotReachedError: no progress for `patience_seconds`. The records passed to `take` are then incomplete.
        TopicRecreatedError: a topic was recreated meanwhile. The records passed to `take` may be of both.
        BusError: Kafka refuses for good.
    """
    backoff = Backoff(_FIRST_RETRY_SECONDS, _LONGEST_RETRY_SECONDS)
    watch, size = EndWatch(starts, ends, patience_seconds, time.monotonic()), PollSize()
    if watch.reached:
        reader.assign(watch.reached)
    while watch.reached:
        try:
            records = await reader.poll(_POLL_MILLIS, size.records, only=list(watch.reached))
        except BusError as error:
            if not may_pass(error):
                raise
            logger.info("reading failed; retrying", extra={"error": str(error)})
            watch.failed(error)
            await asyncio.sleep(backoff.next_delay_seconds())
            reader.assign(watch.reached)  # read again what the failed attempt may have skipped
            records = {}
        else:
            backoff.reset()
        size.saw(records)
        for partition, batch in records.items():
            topic_partition = partition.topic, partition.partition
            if wanted := watch.wanted(topic_partition, batch):
                take(topic_partition, wanted)
        for topic_partition in list(watch.reached):
            offset = reader.reached(topic_partition)
            if offset is not None:
                watch.stands_at(topic_partition, offset)
        watch.look(time.monotonic())
