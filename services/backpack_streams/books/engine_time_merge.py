"""Merges the records of several partitions in order of engine time, independent of the order in which they were fetched. Sans I/O."""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from heapq import heappop, heappush
from math import inf
from typing import Final, Generic, NamedTuple, TypeVar

from backpack_streams.topic_partition import TopicPartition

__all__ = ["WINDOW_SECONDS", "EngineTimeMerge", "SortKey"]

Item = TypeVar("Item")

WINDOW_SECONDS: Final = 1.0
"""How late, relative to its partition, a record is still sorted into place; two producers' sockets differ by less."""


class SortKey(NamedTuple):
    """The position of an item: its time (µs), then fields that order items of one time independently of fetching."""

    time: int
    rank: int
    partition: int
    number: int
    offset: int


@dataclass(slots=True)
class _Source:
    newest_us: int = 0
    """The newest time of a record read, or its receive time if that is earlier."""
    held_us: float = inf
    """Time from which something is missing that may still come."""
    floor_us: int = 0
    """Items before this time may have been given, so none is placed there any more. It never goes back."""
    has_ended: bool = False
    keys_us: dict[str, int] = field(default_factory=dict)
    """Time of the newest item, by key."""


class EngineTimeMerge(Generic[Item]):
    """A partition's *frontier* is the time before which none of its items will come; items before all frontiers may be given.

    The frontier depends only on the partition's content, so the order does not depend on which partition was read first. A record later
    than the window allows is placed at the frontier of its partition.
    """

    def __init__(self, topic_partitions: Iterable[TopicPartition], window_us: int) -> None:
        """Prepare an empty merge.

        Args:
            topic_partitions: the partitions to merge, as (full topic name, partition number).
            window_us: how late, relative to its partition, an item is still sorted into place (µs).
        """
        self._sources = {each: _Source() for each in topic_partitions}
        self._window_us = window_us
        self._heap: list[tuple[SortKey, int, float, Item]] = []
        self._count = 0

    def __len__(self) -> int:
        return len(self._heap)

    def follow(self, topic_partition: TopicPartition) -> None:
        """Include a further partition.

        Args:
            topic_partition: (full topic name, partition number); `take` yields nothing until it makes progress or ends.
        """
        self._sources[topic_partition] = _Source()

    def begin_again(self, topic_partitions: Iterable[TopicPartition]) -> None:
        """Merge exactly these partitions from now on, also those that have ended. What waits keeps its place.

        Args:
            topic_partitions: as (full topic name, partition number).
        """
        self._sources = {each: self._sources.get(each, _Source()) for each in topic_partitions}
        for source in self._sources.values():
            source.has_ended = False

    def progress(self, topic_partition: TopicPartition, time_us: int, received_us: int) -> None:
        """Advance the clock of a partition by a record, whether or not the record is given.

        Args:
            topic_partition: the partition.
            time_us: the record's time (µs since the Unix epoch).
            received_us: its receive time (µs). It limits `time_us`, so that a time in the future does not end the
                window early.
        """
        source = self._sources[topic_partition]
        source.newest_us = max(source.newest_us, min(time_us, received_us))
        self._raise_floor(source)

    def is_behind(self, topic_partition: TopicPartition, time_us: int) -> bool:
        """Return whether an item of this time comes too late for its place in the order."""
        return time_us < self._sources[topic_partition].floor_us

    def add(
        self, topic_partition: TopicPartition, key: str, sort_key: SortKey, item: Item, *, is_late: bool, now: float
    ) -> None:
        """Take an item.

        Items of one key keep their order of arrival, even if their times go back, unless they are late.

        Args:
            topic_partition: the partition that it came from.
            key: what the item is about, such as the record's type and the symbol.
            sort_key: its position in the order; its time is raised if the partition's frontier has passed it.
            item: what `take` yields for it.
            is_late: whether the item is out of order within its key.
            now: when it was read (monotonic seconds).
        """
        source, time_us = self._sources[topic_partition], sort_key.time
        if not is_late:
            time_us = source.keys_us[key] = max(time_us, source.keys_us.get(key, 0))
        self._count += 1
        heappush(self._heap, (sort_key._replace(time=max(time_us, source.floor_us)), self._count, now, item))

    def hold(self, topic_partition: TopicPartition, time_us: float) -> None:
        """Hold the partition at this time (µs), from which something is missing that may still come; infinity: nothing is missing."""
        source = self._sources[topic_partition]
        source.held_us = time_us
        self._raise_floor(source)

    def end(self, topic_partition: TopicPartition) -> None:
        """Take note that this partition has ended."""
        self._sources[topic_partition].has_ended = True

    def laggards(self) -> list[TopicPartition]:
        """Return the partitions that delay the next item and have not ended."""
        if not self._heap:
            return []
        time_us = self._heap[0][0].time
        return [
            each for each, source in self._sources.items() if self._frontier(source) <= time_us and not source.has_ended
        ]

    def times(self) -> Iterator[int]:
        """Yield the earliest time (µs) of the waiting items, if any."""
        if self._heap:
            yield self._heap[0][0].time

    def take(self) -> Iterator[Item]:
        """Yield, in order, the items that no partition can precede any more."""
        limit = min(map(self._frontier, self._sources.values()), default=inf)
        while self._heap and self._heap[0][0].time < limit:
            yield heappop(self._heap)[-1]

    def take_waiting(
        self, idle: Collection[TopicPartition], added_before: float, made_before_us: int
    ) -> Iterator[Item]:
        """Yield items in order, without waiting for exhausted partitions: only items that have waited long enough.

        Args:
            idle: the partitions that deliver nothing for now.
            added_before: an item that was added by then (monotonic seconds) has waited long enough.
            made_before_us: so has an item with a time up to this one (µs since the Unix epoch).
        """
        sources = self._sources
        limit = min(
            (source.held_us if each in idle else self._frontier(source) for each, source in sources.items()),
            default=inf,
        )
        while self._heap:
            sort_key, _, added, _ = self._heap[0]
            if sort_key.time >= limit or (added > added_before and sort_key.time > made_before_us):
                return
            yield heappop(self._heap)[-1]

    def _raise_floor(self, source: _Source) -> None:
        source.floor_us = max(source.floor_us, int(min(source.newest_us - self._window_us, source.held_us)))

    def _frontier(self, source: _Source) -> float:
        return source.held_us if source.has_ended else source.floor_us
