"""What Watermark records say, put together by producer instance. Sans I/O.

Times of one instance are by that instance's clock: they are compared with each other only, never with another clock.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

__all__ = ["Instance", "Instances", "Interval"]

_REMEMBERED = 64
"""How many records of an instance are remembered, to tell a copy of one of them from another producer's."""
_LATE_AT_MOST = 5
"""How far a retry may put a record behind younger ones: Kafka's clients have no more requests on their way."""


class Interval(NamedTuple):
    """When a stream is covered without interruption, microseconds by the instance's clock.

    `since` None: never yet. `until` None: it still is. `is_settled` False: what was lost before `since` is not on record yet, so whoever
    takes over counts the coverage until `settled_until` alone (None: none at all).
    """

    since: int | None
    until: int | None
    is_settled: bool = True
    settled_until: int | None = None

    @property
    def is_open(self) -> bool:
        """Whether the stream is covered until the instance's `complete_through`."""
        return self.since is not None and self.until is None


class _History:
    """Whether the records under one id can be those of one producer, whose sequence goes up by one a record.

    They may come twice, a little late, or all over again from an earlier one on. Another producer's show by saying something else
    under a sequence that was read, or by going on above the newest while the others are still far below.
    """

    __slots__ = ("_seen", "_starts_over")

    def __init__(self) -> None:
        self._seen: dict[int, tuple[str, int, int]] = {}
        self._starts_over = False

    def fits(self, record: Mapping[str, Any], newest: int) -> bool:
        """Takes the next record, `newest` being the greatest sequence so far; False if it is another producer's."""
        sequence = record["sequence"]
        said = record["service"], record["published_time"], record["complete_through"]
        known = self._seen.get(sequence)
        if known is not None:
            self._starts_over = False
            return known == said
        if sequence > newest:
            if self._starts_over:
                return False
        elif sequence < newest - _LATE_AT_MOST:
            if sequence > min(self._seen):
                return False
            self._starts_over = True
            return True
        self._seen[sequence] = said
        if len(self._seen) > _REMEMBERED:
            del self._seen[next(iter(self._seen))]
        return True


@dataclass(slots=True)
class Instance:
    """One producer instance, as its newest watermark tells.

    `coverage` is None until the record that holds the coverage in force was read. `offsets` are by full topic name and partition;
    `partitions` says how many a topic has, as far as the instance knows. `has_conflict`: two producers publish under this id, so
    nothing can be put together from what they say, and it covers nothing.
    """

    service: str
    instance: str
    sequence: int = -1
    complete_through: int = 0
    published_time: int = 0
    interval_ms: int = 0
    is_final: bool = False
    offsets: dict[tuple[str, int], int] = field(default_factory=dict)
    partitions: dict[str, int] = field(default_factory=dict)
    coverage_sequence: int = -1
    coverage: dict[str, Interval] | None = None
    has_conflict: bool = False
    _history: _History = field(default_factory=_History, init=False, repr=False, compare=False)

    def covers(self, stream: str) -> bool:
        """Whether the stream is covered until `complete_through`."""
        interval = self.coverage.get(stream) if self.coverage else None
        return interval is not None and interval.is_open

    def covered_until(self, stream: str) -> int | None:
        """Until when the stream was last covered and every loss before that is on record; None if never, or nothing is known of it."""
        interval = self.coverage.get(stream) if self.coverage else None
        if interval is None or interval.since is None:
            return None
        if not interval.is_settled:
            return interval.settled_until
        return self.complete_through if interval.until is None else interval.until

    def take(self, record: Mapping[str, Any]) -> bool:
        """A record under this instance's id. False for one that changes nothing: it is older than the newest."""
        if record["service"] != self.service or not self._history.fits(record, self.sequence):
            self.has_conflict = True
            self.coverage = None
            self.offsets, self.partitions = {}, {}
            return True
        if record["sequence"] <= self.sequence:
            return False
        self.sequence = record["sequence"]
        self.complete_through = record["complete_through"]
        self.published_time = record["published_time"]
        self.interval_ms = record["interval_ms"]
        self.is_final = record["is_final"]
        self.offsets = {
            (topic["topic"], partition): offset
            for topic in record["offsets"]
            for partition, offset in enumerate(topic["next_offsets"])
            if offset >= 0
        }
        self.partitions = {topic["topic"]: len(topic["next_offsets"]) for topic in record["offsets"]}
        if record["coverage"] is not None:
            self.coverage = {
                stream: Interval(
                    interval["since"],
                    interval["until"],
                    interval.get("is_settled", True),
                    interval.get("settled_until"),
                )
                for interval in record["coverage"]
                for stream in interval["streams"]
            }
            self.coverage_sequence = record["sequence"]
        elif self.coverage_sequence != record["coverage_sequence"]:
            self.coverage = None  # the record that holds it was not read
        return True


class Instances:
    """All producer instances of which a watermark was read, by instance id. `conflicts` counts the ids that two producers use.

    Records come in the order of their partition. Whoever jumps within it begins with new `Instances`.
    """

    def __init__(self) -> None:
        self.by_id: dict[str, Instance] = {}
        self.conflicts = 0

    def take(self, record: Mapping[str, Any]) -> Instance | None:
        """A Watermark record with times in microseconds. Returns its instance if what is known of it changed.

        None for a record that is older than one read before, and for all that follows under an id that two producers use.
        """
        name = record["instance"]
        known = self.by_id.get(name)
        if known is None:
            known = self.by_id[name] = Instance(record["service"], name)
        if known.has_conflict:
            return None
        if not known.take(record):
            return None
        self.conflicts += known.has_conflict
        return known

    def forget(self, instance: str) -> None:
        """Drops an instance that nothing is expected of any more, so that restarts do not add up."""
        self.by_id.pop(instance, None)
