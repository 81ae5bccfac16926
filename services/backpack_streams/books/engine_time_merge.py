"""Puts the records of several partitions into one order of engine time, whatever order they were fetched in. Sans I/O."""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from heapq import heappop, heappush
from math import inf
from typing import Final, Generic, NamedTuple, TypeVar

__all__ = ["WINDOW_SECONDS", "EngineTimeMerge", "Slot"]

Place = tuple[str, int]
Item = TypeVar("Item")

WINDOW_SECONDS: Final = 1.0
"""How far back in a partition a record is still put in its place: two producers' sockets differ by less."""


class Slot(NamedTuple):
    """Where an item belongs: its time (µs), then what tells items of one time apart whoever fetches them."""

    time: int
    rank: int
    partition: int
    number: int
    offset: int


@dataclass(slots=True)
class _Lane:
    newest_us: int = 0
    """The newest time of a record that was read, its time of receipt where that is earlier."""
    held_us: float = inf
    """From this time on something is missing that may still come."""
    floor_us: int = 0
    """What is before it may have gone, so nothing is placed there any more. It never goes back."""
    has_ended: bool = False
    keys_us: dict[str, int] = field(default_factory=dict)
    """By key, the time of its newest item."""


class EngineTimeMerge(Generic[Item]):
    """A partition's *frontier* is the time before which nothing of it will come any more; what is before all frontiers may go.

    The frontier follows from what the partition holds alone, so the order does not depend on which partition was read first. A record
    that comes later than the window allows is placed at the frontier of its partition.
    """

    def __init__(self, places: Iterable[Place], window_us: int) -> None:
        self._lanes = {place: _Lane() for place in places}
        self._window_us = window_us
        self._heap: list[tuple[Slot, int, float, Item]] = []
        self._count = 0

    def __len__(self) -> int:
        return len(self._heap)

    def follow(self, place: Place) -> None:
        """One more partition may hold what comes next."""
        self._lanes[place] = _Lane()

    def progress(self, place: Place, time_us: int, received_us: int) -> None:
        """A record of this time was read, whether it is given or not."""
        lane = self._lanes[place]
        lane.newest_us = max(lane.newest_us, min(time_us, received_us))
        self._raise_floor(lane)

    def is_behind(self, place: Place, time_us: int) -> bool:
        """Whether an item of this time comes too late for its place in the order."""
        return time_us < self._lanes[place].floor_us

    def add(self, place: Place, key: str, slot: Slot, item: Item, *, is_late: bool, now: float) -> None:
        """Take an item; `now` is in monotonic seconds.

        Items of one key stay in the order in which they come, also where their times go back, unless they are late.
        """
        lane, time_us = self._lanes[place], slot.time
        if not is_late:
            time_us = lane.keys_us[key] = max(time_us, lane.keys_us.get(key, 0))
        self._count += 1
        heappush(self._heap, (slot._replace(time=max(time_us, lane.floor_us)), self._count, now, item))

    def hold(self, place: Place, time_us: float) -> None:
        """Of this partition something is missing from this time on that may still come; infinity: nothing is."""
        lane = self._lanes[place]
        lane.held_us = time_us
        self._raise_floor(lane)

    def end(self, place: Place) -> None:
        """Nothing more will come of this partition."""
        self._lanes[place].has_ended = True

    def laggards(self) -> list[Place]:
        """The partitions that hold up what comes next, and have not ended."""
        if not self._heap:
            return []
        time_us = self._heap[0][0].time
        return [place for place, lane in self._lanes.items() if self._frontier(lane) <= time_us and not lane.has_ended]

    def times(self) -> Iterator[int]:
        """The earliest time of what waits."""
        if self._heap:
            yield self._heap[0][0].time

    def take(self) -> Iterator[Item]:
        """What no partition can be before any more, in order."""
        limit = min(map(self._frontier, self._lanes.values()), default=inf)
        while self._heap and self._heap[0][0].time < limit:
            yield heappop(self._heap)[-1]

    def take_waiting(self, idle: Collection[Place], added_before: float, made_before_us: int) -> Iterator[Item]:
        """The same without waiting for the `idle` partitions, which Kafka has no more of: what has waited for long enough, by when it
        was added or by its time.
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
