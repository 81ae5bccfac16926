"""Combines Watermark records by producer instance. Sans I/O.

An instance's times are by its own clock. They are compared with each other only, never with another clock.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

__all__ = ["Instance", "Instances", "Interval"]

_REMEMBERED = 64
"""The number of remembered records per instance; they tell a copy from another producer's record."""
_LATE_AT_MOST = 5
"""How far a retry may move a record behind younger ones: Kafka's clients have at most this many requests in flight."""


class Interval(NamedTuple):
    """When a stream is covered without a break, in microseconds by the instance's clock.

    Attributes:
        since: None if it was never covered.
        until: None if it still is.
        is_settled: False while the losses before `since` are not on record. Then a successor counts only the coverage until
            `settled_until`.
        settled_until: None if no coverage counts.
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
    """Whether the records under one id can be those of one producer, whose sequence increases by one per record.

    They may be repeated, be slightly late, or all come again from an earlier one on. Another producer's records show by a different content
    under a known sequence, or by continuing above the newest one while the others are still far below.
    """

    __slots__ = ("_seen", "_starts_over")

    def __init__(self) -> None:
        self._seen: dict[int, tuple[str, int, int]] = {}
        self._starts_over = False

    def fits(self, record: Mapping[str, Any], newest: int) -> bool:
        """Take the next record; return False if another producer made it. `newest` is the highest sequence so far."""
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
    """One producer instance, by its newest watermark.

    Attributes:
        coverage: by stream; None until the record that holds the coverage in force was read.
        offsets: by full topic name and partition, the offset below which its records are acknowledged.
        partitions: by full topic name, the number of partitions as the instance knows it.
        has_conflict: two producers publish under this id. Their records cannot be combined, so the instance covers nothing.
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
        """Until when the stream was last covered with every loss before it on record (µs); None if never, or if unknown."""
        interval = self.coverage.get(stream) if self.coverage else None
        if interval is None or interval.since is None:
            return None
        if not interval.is_settled:
            return interval.settled_until
        return self.complete_through if interval.until is None else interval.until

    def take(self, record: Mapping[str, Any]) -> bool:
        """Take a record of this instance. Returns False for one that is not newer than the newest, and so changes nothing."""
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
    """All producer instances with a watermark, by instance id. `conflicts` counts the ids that two producers use.

    Records must come in the order of their partition. After a seek, start with new `Instances`.
    """

    def __init__(self) -> None:
        self.by_id: dict[str, Instance] = {}
        self.conflicts = 0

    def take(self, record: Mapping[str, Any]) -> Instance | None:
        """Take a Watermark record with times in microseconds. Returns its instance if the record changed it.

        None for a record that is not newer than an earlier one, and for everything after a conflict of two producers under the id.
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
        """Drop an instance that has ended, so that restarts do not accumulate."""
        self.by_id.pop(instance, None)
