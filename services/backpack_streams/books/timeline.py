"""Merges the records of several partitions in order of time, and paces them. Sans I/O."""

import heapq
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final, Generic, TypeVar

from backpack_streams.topic_partition import TopicPartition

__all__ = ["JUMP_MICROS", "Pace", "Timeline", "believed_times"]

JUMP_MICROS: Final = 60_000_000
"""Largest plausible time step between records of a partition; a larger one needs confirmation."""
_LOOKED_AHEAD: Final = 16

_Item = TypeVar("_Item")


def believed_times(
    latest: int, times: Sequence[int], received_us: Callable[[int], int | None] = lambda _: None
) -> list[int]:
    """Return the times of a partition's next records, with implausibly late ones replaced by the time before them.

    A jump is believed if the record was received at that time, or if at least half of the next records confirm it.

    Args:
        latest: the latest time believed so far (µs since the Unix epoch), 0 before the first.
        times: the stated times of the next records (µs since the Unix epoch).
        received_us: returns the receive time of a record by its index in `times`; None if unknown.
    """
    believed: list[int] = []
    for index, time_us in enumerate(times):
        if time_us > latest + JUMP_MICROS and not _is_borne_out(times, index, received_us):
            received = received_us(index)
            next_us = times[index + 1] if index + 1 < len(times) else time_us
            time_us = latest or min(time_us, next_us if received is None else received)
        latest = max(latest, time_us)
        believed.append(time_us)
    return believed


def _is_borne_out(times: Sequence[int], index: int, received_us: Callable[[int], int | None]) -> bool:
    floor_us, received = times[index] - JUMP_MICROS, received_us(index)
    if received is not None and received >= floor_us:
        return True
    following = times[index + 1 : index + 1 + _LOOKED_AHEAD]
    if not following:
        return received is None
    return sum(each >= floor_us for each in following) * 2 >= len(following)


class Timeline(Generic[_Item]):
    """Merges partitions by time; within a partition the order is kept, even if its clock goes back.

    Nothing is given while a partition with more records is `hungry`, since its next record might be the earlier one. So each partition
    buffers at most what Kafka gave in one answer while it was hungry, however far that reaches ahead of the others.

    A partition's order takes precedence over its times, so a record with an implausibly late time would delay all records after it: it is
    given with the records before it (`believed_times`).
    """

    def __init__(self, topic_partitions: Iterable[TopicPartition]) -> None:
        self._queues: dict[TopicPartition, deque[tuple[int, _Item]]] = {each: deque() for each in topic_partitions}
        self._latest: dict[TopicPartition, int] = {}
        self._heads: list[tuple[int, TopicPartition]] = []
        self._hungry = set(self._queues)
        self._resting: set[TopicPartition] = set()

    @property
    def hungry(self) -> frozenset[TopicPartition]:
        """Partitions that have more records, but none in the buffer."""
        return frozenset(self._hungry)

    @property
    def resting(self) -> frozenset[TopicPartition]:
        """Partitions that were read to their end."""
        return frozenset(self._resting)

    @property
    def next_time(self) -> int | None:
        """Time (µs) of the next item; None if the buffers are empty."""
        return self._heads[0][0] if self._heads else None

    def feed(self, topic_partition: TopicPartition, items: Iterable[tuple[int, _Item]]) -> None:
        """Take the next items of a partition, each with its time in µs."""
        queue, latest = self._queues[topic_partition], self._latest.get(topic_partition, 0)
        was_empty, fed = not queue, list(items)
        times = believed_times(latest, [time_us for time_us, _ in fed])
        for time_us, (_, item) in zip(times, fed, strict=True):
            latest = max(latest, time_us)
            queue.append((latest, item))
        self._latest[topic_partition] = latest
        if was_empty and queue:
            heapq.heappush(self._heads, (queue[0][0], topic_partition))
            self._hungry.discard(topic_partition)

    def latest(self, topic_partition: TopicPartition) -> int:
        """Return the latest time (µs) believed of a partition; 0 before the first."""
        return self._latest.get(topic_partition, 0)

    def rest(self, topic_partition: TopicPartition) -> None:
        """Mark a partition as read to its end: the merge no longer waits for it."""
        self._hungry.discard(topic_partition)
        self._resting.add(topic_partition)

    def wake(self, topic_partition: TopicPartition) -> None:
        """Mark a partition as having more records."""
        self._resting.discard(topic_partition)
        if not self._queues[topic_partition]:
            self._hungry.add(topic_partition)

    def is_through(self, limit_us: int | None = None) -> bool:
        """Return whether everything up to this time, inclusive, was given (None: everything there is)."""
        next_time = self.next_time
        if self._hungry or next_time is None:
            return not self._hungry
        return limit_us is not None and next_time > limit_us

    def take(self, limit_us: int | None, most: int) -> Iterator[_Item]:
        """Yield at most `most` items in order of time, up to and including this time, until a partition becomes hungry."""
        heads = self._heads
        while heads and most > 0 and not self._hungry:
            time_us, topic_partition = heads[0]
            if limit_us is not None and time_us > limit_us:
                return
            queue = self._queues[topic_partition]
            _, item = queue.popleft()
            if queue:
                heapq.heapreplace(heads, (queue[0][0], topic_partition))
            else:
                heapq.heappop(heads)
                if topic_partition not in self._resting:
                    self._hungry.add(topic_partition)
            most -= 1
            yield item


class Pace:
    """Replays the past in real time: says which past moment corresponds to now."""

    def __init__(self, start_us: int) -> None:
        """Prepare; the first call of `moment_us` starts the clock.

        Args:
            start_us: the past moment at which the replay begins (µs since the Unix epoch).
        """
        self._start_us = start_us
        self._started: float | None = None

    def moment_us(self, now: float) -> int:
        """Return the past moment (µs) for `now` (monotonic seconds); the first call starts the clock."""
        if self._started is None:
            self._started = now
        return self._start_us + int((now - self._started) * 1_000_000)

    def seconds_until(self, time_us: int, now: float) -> float:
        """Return the seconds from `now` to a past moment; 0 if it has been reached."""
        return max(0.0, (time_us - self.moment_us(now)) / 1_000_000)
