"""Whether a stream is covered without a break, from the producers' watermarks and a reader's positions. Sans I/O.

A *run* is one interval of coverage of one stream by one producer instance: (instance, since). It certifies itself: a watermark that states
it says that nothing was missed since its beginning, so a run outlives a silence of its instance. A proof at one moment of a run holds for
the whole run. Runs are thus the generations of a stream's coverage: a break is a moment at which no run continues.

The decision does not compare clocks of two hosts. The order of the watermarks' partition says what came first (`knowledge.py`). Run B
continues run A without a break if A's instance knows the first watermark that states B, while A is open. Two runs that did overlap count as
separate if a watermark does not name its own topic, if two instances overlap by less than about three watermarks, or if a clock jumped just
then. The opposite error needs a jump of less than a second at that moment. A producer that takes over is therefore ready only once the
others know it (`feed/overlap.py`).

An answer of the exchange's REST API may be old. It shows the state at some moment of a run only if it was asked for so long after the run
began that it cannot be older (`OLDEST_ANSWER_SECONDS`). That time is counted in watermarks of the instance, which come at a fixed interval,
because a wall clock may be set.

A stream's record does not say which instance wrote it, and its time of receipt is by that one's clock. So an instance whose clock is
clearly ahead, and whose `complete_through` lies before the run, lets records prove the run only later (`_ahead_of`).
"""

from collections.abc import Collection, Iterator, Mapping
from collections.abc import Set as AbstractSet
from math import inf
from typing import Any, Final

from backpack_streams.sequencing.runs import Mark, Producer, Run, RunKey, TopicPartitionOf
from backpack_streams.sequencing.watermarks import Instance, Instances
from backpack_streams.topic_partition import TopicPartition

__all__ = ["CoverageView"]


_FORGOTTEN_SECONDS: Final = 3600.0
_ENDED_RUNS_KEPT: Final = 32
_CLOCKS_AGREE_SECONDS: Final = 1.0
"""Clocks whose watermarks show less difference agree: how long watermarks are in transit differs, too."""
_MICROS: Final = 1_000_000


class CoverageView:
    """Takes the records of the watermarks' partition in order, and the reader's positions; answers by stream.

    Times are the reader's monotonic seconds, and µs of a wall clock. The caller sets `ends`, and reports what it read
    (`read_up_to`).
    """

    def __init__(
        self, watermarks: TopicPartition, topic: str, topic_partition_of: TopicPartitionOf, believed_seconds: float
    ) -> None:
        """Prepare.

        Args:
            watermarks: the partition of the watermarks.
            topic: the full name of the topic with the streams' records.
            topic_partition_of: see `TopicPartitionOf`.
            believed_seconds: a watermark older than the reader is believed at once if the wall clock differs from its time by at most this,
                any other only once a younger one has advanced.
        """
        self.positions: dict[TopicPartition, int] = {}
        """By partition, the offset of the next record."""
        self.ends: dict[TopicPartition, int] = {}
        """By partition, its end when the reader started."""
        self.records = 0
        """Watermarks taken."""
        self.next_offset = 0
        """The offset of the next watermark."""
        self._topic_partition = watermarks
        self._topic = topic
        self._topic_partition_of = topic_partition_of
        self._believed = believed_seconds
        self._instances = Instances()
        self._producers: dict[str, Producer] = {}
        self._differences: dict[str, float] = {}
        self._clocks: dict[str, tuple[int, float]] = {}
        """By instance: the publication time of its newest watermark (µs by its clock), and the least time by which the reader's clock was
        ahead of one when it came (seconds).
        """

    # What is read ---------------------------------------------------------------------------------------------

    def take(self, record: Mapping[str, Any], offset: int, *, heard: float | None, now: float, wall_us: int) -> None:
        """Take a Watermark record with times in microseconds.

        `heard`: when the reader had last read to the end of the topic, so that the record is younger than that; None for a record from
        before the reader started, which may have any age.

        Raises:
            KeyError: the record is no watermark.
        """
        if offset < self.next_offset:
            self.begin_anew()
        self.next_offset = offset + 1
        self.records += 1
        said = self._instances.take(record)
        if said is None:
            return
        producer = self._producers.get(said.instance)
        if producer is None:
            producer = self._producers[said.instance] = Producer(said)
        producer.offset, producer.heard_at = offset, now
        self._compare_clocks(said, now)
        if said.complete_through != producer.knowledge.through:
            offsets = {each: end for each, end in said.offsets.items() if each[0] == self._topic}
            fresh_at = self._fresh_at(said, heard, now, wall_us)
            producer.marks.append(Mark(offset, said.complete_through, fresh_at, offsets))
        self._state_runs(producer)
        producer.young = [run for run in producer.young if not run.goes_on()]
        producer.knowledge.learn(said, self._topic_partition)
        self._hand_over(producer)
        if said.is_final:
            producer.runs.clear()

    def begin_anew(self) -> None:
        """Note that the topic of watermarks was recreated: all earlier offsets are meaningless."""
        self._instances, self._producers, self._clocks = Instances(), {}, {}
        self.next_offset = 0

    def _fresh_at(self, said: Instance, heard: float | None, now: float, wall_us: int) -> float:
        """When its content was true, by the reader's clock. The producer's own clock tells how far it lags."""
        seconds = (wall_us - said.published_time) / _MICROS
        if heard is not None:
            self._differences[said.instance] = seconds
            fresh_at = heard
        elif abs(seconds) <= self._believed:
            fresh_at = now - max(0.0, seconds)
        else:
            return -inf
        return fresh_at - max(0, said.published_time - said.complete_through) / _MICROS

    def _compare_clocks(self, said: Instance, now: float) -> None:
        published, difference = self._clocks.get(said.instance, (0, inf))
        if said.published_time < published:  # that clock was set back
            difference = inf
        self._clocks[said.instance] = said.published_time, min(difference, now - said.published_time / _MICROS)

    def _state_runs(self, producer: Producer) -> None:
        said, runs = producer.said, producer.runs
        if said.coverage is None:
            runs.clear()  # the statement in force was not read, so the coverage is unknown
            return
        if runs and said.coverage_sequence != said.sequence:
            return  # no change since the last one
        for stream in [stream for stream in runs if not said.covers(stream)]:
            del runs[stream]
        if said.is_final:
            return
        for stream, interval in said.coverage.items():
            if not interval.is_open or interval.since is None:
                continue
            known, key = runs.get(stream), RunKey(said.instance, interval.since)
            topic_partition = self._topic_partition_of(stream, said.partitions.get(self._topic))
            if topic_partition is not None and (
                known is None or known.key != key or known.topic_partition != topic_partition
            ):
                # If it has written nothing there, its records lie after what is there.
                bound = max(self.positions.get(topic_partition, 0), self.ends.get(topic_partition, 0))
                run = runs[stream] = Run(
                    key, stream, topic_partition, producer, said.offsets.get(topic_partition, bound)
                )
                producer.young.append(run)

    def _hand_over(self, producer: Producer) -> None:
        """A proof in this instance's runs holds in those that other instances began before its `complete_through`."""
        for other in self._producers.values():
            if other is producer:
                continue
            for stream, successor in other.runs.items():
                run = producer.runs.get(stream)
                if (
                    run is None
                    or successor.offset >= producer.knowledge.knows
                    or run.holds.keys() <= successor.holds.keys()
                ):
                    continue
                written = producer.said.offsets.get(run.topic_partition, 0)
                for key, needed in run.holds.items():
                    successor.holds.setdefault(key, max(needed, written))

    def forget_old(self, now: float) -> None:
        """Forget instances that have been silent for an hour, and all but the newest of the ended runs that open ones continue, so that
        neither restarts nor breaks accumulate.
        """
        old = [name for name, each in self._producers.items() if now - each.heard_at > _FORGOTTEN_SECONDS]
        for name in old:
            del self._producers[name]
            self._instances.by_id.pop(name, None)
            self._differences.pop(name, None)
            self._clocks.pop(name, None)
        for producer in self._producers.values():
            for stream, run in producer.runs.items():
                self._forget_ended(run, {each.key for each in self.runs(stream)}, old)

    @staticmethod
    def _forget_ended(run: Run, open_runs: AbstractSet[RunKey], forgotten: Collection[str]) -> None:
        """Forget ended runs. A proof in one of them has long become a proof in `run` if the reader keeps up (`vouching.py`)."""
        for key in [key for key in run.holds if key.instance in forgotten]:
            del run.holds[key]
        ended = sorted(run.holds.keys() - open_runs, key=lambda key: key.since)
        for key in ended[:-_ENDED_RUNS_KEPT]:
            del run.holds[key]

    def read_up_to(self, topic_partition: TopicPartition, offset: int) -> None:
        """Record that all records of a partition below this offset were read. It falls if the topic was recreated: every offset
        known of it is meaningless then.
        """
        if offset < self.positions.get(topic_partition, 0):
            self.ends.pop(topic_partition, None)
            for run in [run for producer in self._producers.values() for run in producer.runs.values()]:
                if run.topic_partition == topic_partition:
                    run.begins_anew(offset)
        self.positions[topic_partition] = offset

    # What it means --------------------------------------------------------------------------------------------

    def runs(self, stream: str) -> list[Run]:
        """The open runs of a stream, as far as is known."""
        return [run for producer in self._producers.values() if (run := producer.runs.get(stream)) is not None]

    def newest_mark(self, run: Run) -> Mark | None:
        """The newest watermark of the run that the reader has reached: everything that it names in the stream's partition was read."""
        topic_partition = run.topic_partition
        position = self.positions.get(topic_partition, 0)
        if position < self.ends.get(topic_partition, 0):
            return None
        for mark in reversed(run.producer.marks):
            if mark.offset < run.offset:
                return None
            if mark.offsets.get(topic_partition, 0) <= position:
                return mark
        return None

    def holds(self, run: Run, proven: frozenset[RunKey]) -> bool:
        """Whether a proof in any of these runs holds in this one as well."""
        position = self.positions.get(run.topic_partition, 0)
        return any(key in proven and needed <= position for key, needed in run.holds.items())

    def runs_at(self, stream: str, watermarks_end: int) -> frozenset[RunKey]:
        """The runs that had begun when the watermarks' topic ended at this offset."""
        if watermarks_end > self.next_offset:
            return frozenset()
        return frozenset(run.key for run in self.runs(stream) if run.offset < watermarks_end)

    def runs_outlasting(self, stream: str, watermarks_end: int) -> frozenset[RunKey]:
        """The runs that are older than any answer of the exchange asked for when the watermarks' topic ended at this offset."""
        if watermarks_end > self.next_offset:
            return frozenset()
        outlasted = (
            run for run in self.runs(stream) if run.outlasted_at is not None and run.outlasted_at < watermarks_end
        )
        return frozenset(run.key for run in outlasted)

    def runs_before(self, stream: str, offset: int, received_us: int) -> Iterator[RunKey]:
        """The runs that had begun when the exchange sent the record at this offset of the stream's partition, received at `received_us`.

        An instance's own records from `next_offset` on were sent after its coverage up to then. Another instance's records look the same,
        so the time of receipt has to show that the record is not a late one, by whichever clock.
        """
        for run in self.runs(stream):
            marks, received_us_at_least = run.producer.marks, received_us - self._ahead_of(run)
            if offset >= run.next_offset and received_us_at_least >= run.through:
                yield run.key
            elif (
                marks and marks[-1].offset >= run.offset
            ):  # that one's clock may have been set back since the run began
                written = marks[-1].offsets.get(run.topic_partition)
                if written is not None and offset >= written and received_us_at_least >= marks[-1].complete_through:
                    yield run.key

    def _ahead_of(self, run: Run) -> int:
        """How far (µs) the clock of an instance is ahead of the run's whose records from before the run may have yet to come."""
        ahead, own = 0, self._clocks[run.key.instance][1]
        for producer in self._producers.values():
            said, seconds = producer.said, own - self._clocks[producer.said.instance][1]
            covers = not said.is_final and (said.coverage is None or run.stream in said.coverage)
            if covers and seconds > _CLOCKS_AGREE_SECONDS:
                micros = int(seconds * _MICROS)
                if said.complete_through - micros < run.through:
                    ahead = max(ahead, micros)
        return ahead

    def as_of(self, stream: str) -> int | None:
        """Up to when the reader has everything sent on a stream (µs, by a producer's clock); None if it is not covered."""
        mark = self._freshest(stream)
        return None if mark is None else mark.complete_through

    def age_seconds(self, stream: str, now: float) -> float:
        """The age of `as_of` by the reader's clock, in seconds; infinite if the stream is not covered."""
        mark = self._freshest(stream)
        return inf if mark is None else now - mark.fresh_at

    def _freshest(self, stream: str) -> Mark | None:
        marks = [mark for run in self.runs(stream) if (mark := self.newest_mark(run)) is not None]
        return max(marks, key=lambda mark: mark.fresh_at, default=None)

    def wanted_by(self, stream: str) -> list[str]:
        """The services that want a stream, covered or not, without those that ended."""
        going_on = (each.said for each in self._producers.values() if not each.said.is_final and each.said.coverage)
        return sorted({said.service for said in going_on if stream in (said.coverage or {})})

    @property
    def clock_difference_seconds(self) -> float:
        """How far the reader's wall clock is ahead of the producer's that differs most (negative: behind); 0 before any watermark."""
        return max(self._differences.values(), key=abs, default=0.0)

    def is_incomplete(self) -> bool:
        """Whether some instance's statement in force lies before the records that were read."""
        return any(each.said.coverage is None and not each.said.is_final for each in self._producers.values())
