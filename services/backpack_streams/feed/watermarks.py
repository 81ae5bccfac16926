"""Watermark records: what this producer instance has covered and Kafka has acknowledged. Sans I/O.

A mark is a moment; everything received before it has been handed to the publisher. Once Kafka has acknowledged all of that, the mark
becomes a watermark.
"""

import uuid
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from backpack_streams.feed.coverage import Coverage
from backpack_streams.feed.moments import Moment

WATERMARK = "ops.watermark"
_RECORDS_BETWEEN_STATEMENTS = 10
_STATEMENT_MILLIS_AT_MOST = 60_000
_WAITING_MARKS = 600


class QueueProgress(Protocol):
    """The progress of one partition."""

    topic: str
    partition: int
    done: int
    next_offset: int

    @property
    def handed_over(self) -> int:
        """Records handed over so far."""


class Progress(Protocol):
    """What lies between the sockets and Kafka."""

    def partition_queues(self) -> Iterable[QueueProgress]:
        """Return the partition queues written to, by full topic name."""

    def held_since(self) -> float | None:
        """Return a moment (monotonic seconds) after which every message was sent that waits for earlier ones; None if none waits."""

    def owes_reports(self) -> bool:
        """Return whether something is missing that no report handed over speaks of yet."""

    def rejected_records(self) -> int:
        """Records that Kafka refused permanently so far; the gaps they leave are reported after the mark."""


@dataclass(frozen=True, slots=True)
class _Mark:
    through: Moment
    generation: int
    coverage: Sequence[dict[str, Any]]
    waits_for: Sequence[tuple[QueueProgress, int]]
    rejected: int


class Watermarks:
    """The marks of one producer instance, and the records made of them.

    Attributes:
        instance: the id of this instance, new at each start.
        through: the mark of the newest record; None before the first.
    """

    def __init__(
        self,
        service: str,
        coverage: Coverage,
        progress: Progress,
        interval_ms: int,
        new_id: Callable[[], str] | None = None,
    ) -> None:
        """Start an instance with a new id.

        Args:
            service: the name of the service, for the records.
            coverage: when each stream was covered.
            progress: what lies between the sockets and Kafka.
            interval_ms: time between two watermarks, in milliseconds.
            new_id: returns the id of the instance; None for a random UUID.
        """
        self.instance = (new_id or (lambda: uuid.uuid4().hex))()
        self.through: Moment | None = None
        self._service = service
        self._coverage = coverage
        self._progress = progress
        self._interval_ms = interval_ms
        self._marks: deque[_Mark] = deque(maxlen=_WAITING_MARKS)
        self._sequence = 0
        self._stated = -1
        self._stated_generation = -1
        self._newest: _Mark | None = None
        self._rows: Sequence[dict[str, Any]] = ()
        self._rows_generation = -1
        between = _STATEMENT_MILLIS_AT_MOST // interval_ms // 2
        self._records_between = max(1, min(_RECORDS_BETWEEN_STATEMENTS, between))

    def mark(self, now: Moment) -> None:
        """Set a mark, unless reports are owed. Call it about once per interval.

        The mark is the moment through which the coverage is complete, or an earlier one if messages are held.
        """
        progress = self._progress
        if progress.owes_reports():
            return
        through = self._coverage.complete_through(now)
        held = progress.held_since()
        if held is not None and held < through.seconds:
            through = through.at(held)
        waits_for = [
            (partition_queue, handed)
            for partition_queue in self._partition_queues()
            if (handed := partition_queue.handed_over) > partition_queue.done
        ]
        generation = self._coverage.generation
        self._marks.append(_Mark(through, generation, self._statement(), waits_for, progress.rejected_records()))

    def next_row(self, now: Moment) -> dict[str, Any] | None:
        """Return the Watermark record that can be published now, or None. Call `published` once it has been handed over.

        A mark is skipped if Kafka has refused records since it was set: the report of that loss follows later.

        Args:
            now: present time, for `published_time`.
        """
        rejected = self._progress.rejected_records()
        newest = None
        while self._marks and all(
            partition_queue.done >= handed for partition_queue, handed in self._marks[0].waits_for
        ):
            mark = self._marks.popleft()
            if mark.rejected == rejected:
                newest = mark
        return None if newest is None else self._row(newest, now, is_final=False)

    def first_row(self, now: Moment) -> dict[str, Any]:
        """Return the record before anything is published: the streams covered from now on. It vouches for nothing sent until then."""
        earliest = self._coverage.began(now)
        return self._row(_Mark(earliest, self._coverage.generation, self._statement(), (), 0), now, is_final=False)

    def last_row(self, now: Moment) -> dict[str, Any] | None:
        """Return the instance's last record, after its sockets have closed; None if Kafka lacks something that was received."""
        if self._progress.owes_reports() or any(
            partition_queue.handed_over > partition_queue.done for partition_queue in self._partition_queues()
        ):
            return None
        through = self._coverage.complete_through(now)
        mark = _Mark(through, self._coverage.generation, self._statement(), (), self._progress.rejected_records())
        return self._row(mark, now, is_final=True)

    def published(self, row: dict[str, Any]) -> None:
        """Note that the publisher has taken the record.

        Args:
            row: the record, as `first_row`, `next_row` or `last_row` returned it.
        """
        assert self._newest is not None, "next_row or last_row made the record"
        self._sequence = row["sequence"] + 1
        self._stated = row["coverage_sequence"]
        self._stated_generation = self._newest.generation
        self.through = self._newest.through

    def _row(self, mark: _Mark, now: Moment, *, is_final: bool) -> dict[str, Any]:
        is_due = self._stated < 0 or self._sequence - self._stated >= self._records_between
        states = is_due or is_final or mark.generation != self._stated_generation
        self._newest = mark
        return {
            "service": self._service,
            "instance": self.instance,
            "sequence": self._sequence,
            "complete_through": mark.through.us,
            "published_time": now.us,
            "interval_ms": self._interval_ms,
            "is_final": is_final,
            "offsets": self._offsets(),
            "coverage_sequence": self._sequence if states else self._stated,
            "coverage": list(mark.coverage) if states else None,
        }

    def _partition_queues(self) -> Iterable[QueueProgress]:
        return (
            partition_queue
            for partition_queue in self._progress.partition_queues()
            if not partition_queue.topic.endswith(WATERMARK)
        )

    def _offsets(self) -> list[dict[str, Any]]:
        topics: dict[str, list[int]] = {}
        for partition_queue in sorted(
            self._progress.partition_queues(),
            key=lambda partition_queue: (partition_queue.topic, partition_queue.partition),
        ):
            topics.setdefault(partition_queue.topic, []).append(partition_queue.next_offset)
        return [{"topic": name, "next_offsets": offsets} for name, offsets in topics.items()]

    def _statement(self) -> Sequence[dict[str, Any]]:
        if self._rows_generation != self._coverage.generation:
            self._rows_generation = self._coverage.generation
            self._rows = [
                {**interval._asdict(), "streams": list(streams)} for interval, streams in self._coverage.statement()
            ]
        return self._rows
