"""Merges the records of several partitions in order of engine time, independent of the order in which they were fetched. Sans I/O."""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from heapq import heappop, heappush
from math import inf
from typing import Final, Generic, NamedTuple, TypeVar

__all__ = ["WINDOW_SECONDS", "EngineTimeMerge", "Slot"]

Place = tuple[str, int]
Item = TypeVar("Item")

WINDOW_SECONDS: Final = 1.0
"""How late, relative to its partition, a record is still sorted into place; two producers' sockets differ by less."""


class Slot(NamedTuple):
    """The position of an item: its time (µs), then fields that order items of one time independently of fetching."""

    time: int
    rank: int
    partition: int
    number: int
    offset: int


@dataclass(slots=True)
class _Lane:
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

    def __init__(self, places: Iterable[Place], window_us: int) -> None:
        self._lanes = {place: _Lane() for place in places}
        self._window_us = window_us
        self._heap: list[tuple[Slot, int, float, Item]] = []
        self._count = 0

    def __len__(self) -> int:
        return len(self._heap)

    def follow(self, place: Place) -> None:
        """Include a further partition."""
        self._lanes[place] = _Lane()

    def progress(self, place: Place, time_us: int, received_us: int) -> None:
        """Take note of a record's times (µs), whether or not it is given."""
        lane = self._lanes[place]
        lane.newest_us = max(lane.newest_us, min(time_us, received_us))
        self._raise_floor(lane)

    def is_behind(self, place: Place, time_us: int) -> bool:
        """Return whether an item of this time comes too late for its place in the order."""
        return time_us < self._lanes[place].floor_us

    def add(self, place: Place, key: str, slot: Slot, item: Item, *, is_late: bool, now: float) -> None:
        """Take an item; `now` in monotonic seconds.

        Items of one key keep their order of arrival, even if their times go back, unless they are late.
        """
        lane, time_us = self._lanes[place], slot.time
        if not is_late:
            time_us = lane.keys_us[key] = max(time_us, lane.keys_us.get(key, 0))
        self._count += 1
        heappush(self._heap, (slot._replace(time=max(time_us, lane.floor_us)), self._count, now, item))

    def hold(self, place: Place, time_us: float) -> None:
        """Hold the partition at this time (µs), from which something is missing that may still come; infinity: nothing is missing."""
        lane = self._lanes[place]
        lane.held_us = time_us
        self._raise_floor(lane)

    def end(self, place: Place) -> None:
        """Take note that this partition has ended."""
        self._lanes[place].has_ended = True

    def laggards(self) -> list[Place]:
        """Return the partitions that delay the next item and have not ended."""
        if not self._heap:
            return []
        time_us = self._heap[0][0].time
        return [place for place, lane in self._lanes.items() if self._frontier(lane) <= time_us and not lane.has_ended]

    def times(self) -> Iterator[int]:
        """Yield the earliest time (µs) of the waiting items, if any."""
        if self._heap:
            yield self._heap[0][0].time

    def take(self) -> Iterator[Item]:
        """Yield, in order, the items that no partition can precede any more."""
        limit = min(map(self._frontier, self._lanes.values()), default=inf)
        while self._heap and self._heap[0][0].time < limit:
            yield heappop(self._heap)[-1]

    def take_waiting(self, idle: Collection[Place], added_before: float, made_before_us: int) -> Iterator[Item]:
        """Yield items likewise, without waiting for the exhausted `idle` partitions: those that have waited long enough, by the time at
        which they were added or by their own time.
        """
        lanes = self._lanes
        limit = min(
            (lane.held_us if place in idle else self._frontier(lane) for place, lane in lanes.items()), default=inf
        )
        while self._heap:
            slot, _, added, _ = self._heap[0]
            if slot.time >= limit or (added > added_before and slot.time > made_before_us):
                return
            yield heappop(self._heap)[-1]

    def _raise_floor(self, lane: _Lane) -> None:
        lane.floor_us = max(lane.floor_us, int(min(lane.newest_us - self._window_us, lane.held_us)))

    def _frontier(self, lane: _Lane) -> float:
        return lane.held_us if lane.has_ended else lane.floor_us
