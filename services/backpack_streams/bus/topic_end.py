"""Reads partitions from given offsets to given ends, whole or not at all: who gives up says so with an error, never with a warning."""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from aiokafka.errors import KafkaError
from aiokafka.structs import ConsumerRecord

from backpack_streams.backoff import Backoff
from backpack_streams.bus.connection import KafkaUnreachableError
from backpack_streams.bus.reader import Place, Reader, Records
from backpack_streams.errors import BusError

__all__ = ["PATIENCE_SECONDS", "EndWatch", "PollSize", "TopicEndNotReachedError", "read_to_end"]

logger = logging.getLogger(__name__)

PATIENCE_SECONDS: Final = 30.0
"""For how long nothing may be had of any partition: a leader that moves is away for some seconds."""
BYTES_A_POLL: Final = 8 * 1024 * 1024
"""How much is taken from the client at once, about: the records of some topics are a thousand times as large as those of others."""
_FIRST_RECORDS: Final = 500
_MOST_RECORDS: Final = 10_000
_POLL_MILLIS: Final = 200
_FIRST_RETRY_SECONDS, _LONGEST_RETRY_SECONDS = 0.2, 2.0
_LONGEST_LOOK_SECONDS: Final = 2.0

Take = Callable[[Place, Sequence[ConsumerRecord]], object]
"""Takes the next records of a partition."""


class TopicEndNotReachedError(BusError):
    """A partition could not be read to its end, so what was read of it is not the whole.

    Attributes:
        place: the topic and the partition.
        reached: the offset up to which it was read.
        end: the offset up to which it was to be read.
    """

    def __init__(
        self, place: Place, reached: int, end: int, idle_seconds: float, trouble: BaseException | None
    ) -> None:
        self.place = place
        self.reached = reached
        self.end = end
        because = f" ({trouble})" if trouble is not None else ""
        super().__init__(
            f"partition {place[1]} of topic {place[0]} was read to offset {reached}, not to {end}: Kafka gave nothing "
            f"for {idle_seconds:.0f} s{because}; look whether the partition has a leader"
        )


class EndWatch:
    """How far partitions have been read, and when to give up. Sans I/O.

    What counts is where the consumer stands, not what records it gave: at offsets that retention or compaction emptied, and at the
    marks of transactions, there is none. Time in which nobody looked, as of a process that was stopped, does not count as patience.
    """

    def __init__(
        self, starts: Mapping[Place, int], ends: Mapping[Place, int], patience_seconds: float, now: float
    ) -> None:
        self._ends = {place: ends[place] for place in starts}
        self._patience = patience_seconds
        self._looked_at = now
        self._idle = 0.0
        self._has_moved = False
        self._trouble: BusError | None = None
        self.reached = {place: start for place, start in starts.items() if start < ends[place]}
        """By partition that is not at its end yet, the offset that comes next."""

    def wanted(self, place: Place, records: Sequence[ConsumerRecord]) -> Sequence[ConsumerRecord]:
        """Those before the end that were not given yet: a topic made anew begins anew."""
        start = self.reached.get(place)
        if start is None:
            return ()
        end = self._ends[place]
        if start <= records[0].offset and records[-1].offset < end:
            return records
        return [record for record in records if start <= record.offset < end]

    def stands_at(self, place: Place, offset: int) -> None:
        """The record at this offset of the partition comes next."""
        if offset > self.reached[place]:
            self._has_moved = True
            self.reached[place] = offset
        if offset >= self._ends[place]:
            del self.reached[place]

    def failed(self, error: BusError) -> None:
        """An attempt to read failed in a way that may pass."""
        self._trouble = error

    def look(self, now: float) -> None:
        """Whether it goes on.

        Raises:
            TopicEndNotReachedError: nothing has moved for too long.
        """
        if self._has_moved:
            self._has_moved, self._idle, self._trouble = False, 0.0, None
        else:
            self._idle += min(now - self._looked_at, _LONGEST_LOOK_SECONDS)
        self._looked_at = now
        if self.reached and self._idle >= self._patience:
            place, reached = min(self.reached.items())
            raise TopicEndNotReachedError(place, reached, self._ends[place], self._idle, self._trouble)


class PollSize:
    """How many records to ask for, so that they are about `BYTES_A_POLL`, going by the last ones. Sans I/O."""

    def __init__(self) -> None:
        self.records = _FIRST_RECORDS

    def saw(self, records: Records) -> None:
        """These came."""
        count = sum(map(len, records.values()))
        if count:
            size = sum(len(each.key or b"") + len(each.value or b"") for batch in records.values() for each in batch)
            self.records = max(1, min(_MOST_RECORDS, BYTES_A_POLL * count // max(1, size)))


async def read_to_end(
    reader: Reader,
    starts: Mapping[Place, int],
    ends: Mapping[Place, int],
    take: Take,
    *,
    patience_seconds: float = PATIENCE_SECONDS,
) -> None:
    """Hands `take` every record from `starts` to before `ends`, in the order of each partition. The reader is assigned anew.

    Raises:
        TopicEndNotReachedError: for so long nothing could be had. What `take` was given is not the whole then.
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
            if not _may_pass(error):
                raise
            logger.info("reading failed; trying again", extra={"error": str(error)})
            watch.failed(error)
            await asyncio.sleep(backoff.next_delay_seconds())
            reader.assign(watch.reached)  # nothing that the failed attempt may have skipped is lost
            records = {}
        else:
            backoff.reset()
        size.saw(records)
        for partition, batch in records.items():
            place = partition.topic, partition.partition
            if wanted := watch.wanted(place, batch):
                take(place, wanted)
        for place in list(watch.reached):
            offset = reader.reached(place)
            if offset is not None:
                watch.stands_at(place, offset)
        watch.look(time.monotonic())


def _may_pass(error: BusError) -> bool:
    """Whether it is of the kind that a moving leader or a broker that comes back ends."""
    cause = error.__cause__
    return isinstance(error, KafkaUnreachableError) or (isinstance(cause, KafkaError) and bool(cause.retriable))
