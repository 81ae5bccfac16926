"""Whether a stream is covered without a break, by what producers' watermarks say and how far a reader has read. Sans I/O.

A *run* is one interval of coverage of one stream by one producer instance: (instance, since). It certifies itself: a watermark that states
it says that nothing was missed since its beginning, so a run outlives the silence of its instance. What is proven at one moment of a run
holds as long as the run does. So runs stand for the generations of a stream's coverage: a break is where no run goes on.

Clocks of two hosts are not compared to decide this. The order of one partition, that of the watermarks, says what came first
(`knowledge.py`). Run B goes on from run A without a break if A's instance knows the first watermark that states B, while A is open. Where
a watermark does not name its own topic, where two instances overlap by less than about three watermarks, or where a clock jumped just
then, two runs that did overlap pass for separate ones; never the other way, but for a jump of less than a second at that moment. So a
producer that takes over is ready only once the others know it (`feed/overlap.py`).

An answer of the exchange's REST API may be old. It shows the exchange's state at some moment of a run only if it was asked for so long
after the run began that it cannot be from before (`OLDEST_ANSWER_SECONDS`). How long that is, the instance's own watermarks count, as they
come at a fixed interval: a wall clock may be set.
"""

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from math import ceil, inf
from typing import Any, Final, NamedTuple

from backpack_streams.sequencing.knowledge import Knowledge
from backpack_streams.sequencing.watermarks import Instance, Instances

__all__ = ["OLDEST_ANSWER_SECONDS", "CoverageView", "Mark", "Run", "RunKey", "watermarks_to_outlast_an_answer"]

Place = tuple[str, int]
"""A topic and a partition."""

PlaceOf = Callable[[str, int | None], Place | None]
"""The partition that holds a stream's records, by how many the topic has: as its producer knows, or None if that does not say. None for a
stream that is of no interest. A producer that was there before partitions were added goes on with the old number.
"""

_MARKS_KEPT: Final = 300
_FORGOTTEN_SECONDS: Final = 3600.0
_MICROS: Final = 1_000_000
OLDEST_ANSWER_SECONDS: Final = 20.0
"""No answer of the exchange's REST API is older than that: a server that is behind is behind by less."""


def watermarks_to_outlast_an_answer(interval_ms: int) -> int:
    """How many watermarks an instance publishes, at one each `interval_ms`, in no less than `OLDEST_ANSWER_SECONDS`."""
    return ceil(OLDEST_ANSWER_SECONDS * 1000 / max(1, interval_ms))


class RunKey(NamedTuple):
    """Which interval of coverage: whose, and since when by that instance's clock (µs)."""

    instance: str
    since: int


class Mark(NamedTuple):
    """A watermark that advanced: its offset in its topic, what it says, and as of when (the reader's monotonic seconds) that was so."""

    offset: int
    complete_through: int
    fresh_at: float
    offsets: Mapping[Place, int]


class Run:
    """One interval of coverage of one stream that goes on, as far as is known."""

    __slots__ = (
        "_sequence",
        "holds",
        "key",
        "next_offset",
        "offset",
        "outlasted_at",
        "place",
        "producer",
        "stream",
        "through",
    )

    def __init__(self, key: RunKey, stream: str, place: Place, producer: "_Producer", next_offset: int) -> None:
        self.key = key
        self.stream = stream
        self.place = place
        """Where the stream's records are."""
        self.producer = producer
        self.offset = producer.offset
        """Of the first watermark known that states it."""
        self.through = producer.said.complete_through
        """`complete_through` of that one."""
        self._sequence = producer.said.sequence
        self.outlasted_at: int | None = None
        """Offset of the first watermark from which on no answer of the exchange can be from before the run; None before that."""
        self.next_offset = next_offset
        """From where on in `place` this instance's records were sent after `through`."""
        self.holds: dict[RunKey, int] = {key: 0}
        """The runs from which it goes on without a break, itself among them: what was proven in one of them is proven in this one, once
        `place` was read so far."""

    @property
    def service(self) -> str:
        """Whose it is, for people."""
        return self.producer.said.service

    def goes_on(self) -> bool:
        """Another watermark says so. Returns whether the run has lasted for longer than an answer of the exchange may be old."""
        said = self.producer.said
        if self.outlasted_at is None and said.sequence - self._sequence >= watermarks_to_outlast_an_answer(
            said.interval_ms
        ):
            self.outlasted_at = self.producer.offset
        return self.outlasted_at is not None


class _Producer:
    """One instance: its marks, its open runs, and what it knows of the watermarks' topic."""

    __slots__ = ("heard_at", "knowledge", "marks", "offset", "runs", "said", "young")

    def __init__(self, said: Instance) -> None:
        self.said = said
        self.offset = 0
        """Of its newest record."""
        self.marks: deque[Mark] = deque(maxlen=_MARKS_KEPT)
        self.runs: dict[str, Run] = {}
        self.young: list[Run] = []
        """Those that an answer of the exchange may be older than."""
        self.knowledge = Knowledge()
        self.heard_at = -inf


class CoverageView:
    """Fed with the records of the watermarks' partition in its order, and told how far the reader has read; answers by stream.

    Times are the reader's monotonic seconds, and µs of a wall clock. `positions` and `ends` are the caller's to keep up to date.
    """

    def __init__(self, watermarks: Place, topic: str, place_of: PlaceOf, believed_seconds: float) -> None:
        """Prepare.

        Args:
            watermarks: the partition of the watermarks.
            topic: the topic that holds the streams' records.
            place_of: see `PlaceOf`.
            believed_seconds: a watermark from before the reader came is believed at once if the wall clock differs from its time by no
                more than this. Any other is believed only once a younger one has advanced.
        """
        self.positions: dict[Place, int] = {}
        """By partition, the offset of the record that comes next."""
        self.ends: dict[Place, int] = {}
        """By partition, where it ended when the reader came."""
        self.records = 0
        """Watermarks taken."""
        self.next_offset = 0
        """Of the watermark that comes next."""
        self._place = watermarks
        self._topic = topic
        self._place_of = place_of
        self._believed = believed_seconds
        self._instances = Instances()
        self._producers: dict[str, _Producer] = {}
        self._differences: dict[str, float] = {}

    # What is read ---------------------------------------------------------------------------------------------

    def take(self, record: Mapping[str, Any], offset: int, *, heard: float | None, now: float, wall_us: int) -> None:
        """Take a Watermark record with times in microseconds.

        `heard`: when the reader had last read all that there was, so that the record is younger than that; None for a record that was
        there before the reader came, which may be of any age.

        Raises:
            KeyError: the record is no watermark.
        """
        if offset < self.next_offset:  # the topic was made anew: offsets from before mean nothing any more
            self._instances, self._producers = Instances(), {}
        self.next_offset = offset + 1
        self.records += 1
        said = self._instances.take(record)
        if said is None:
            return
        producer = self._producers.get(said.instance)
        if producer is None:
            producer = self._producers[said.instance] = _Producer(said)
        producer.offset, producer.heard_at = offset, now
        if said.complete_through != producer.knowledge.through:
            offsets = {place: end for place, end in said.offsets.items() if place[0] == self._topic}
            fresh_at = self._fresh_at(said, heard, now, wall_us)
            producer.marks.append(Mark(offset, said.complete_through, fresh_at, offsets))
        self._state_runs(producer)
        producer.young = [run for run in producer.young if not run.goes_on()]
        producer.knowledge.learn(said, self._place)
        self._hand_over(producer)
        if said.is_final:
            producer.runs.clear()

    def _fresh_at(self, said: Instance, heard: float | None, now: float, wall_us: int) -> float:
        """As of when what it says was so, by the reader's clock. By how much its producer is behind, one clock tells: the producer's."""
        seconds = (wall_us - said.published_time) / _MICROS
        if heard is not None:
            self._differences[said.instance] = seconds
            fresh_at = heard
        elif abs(seconds) <= self._believed:
            fresh_at = now - max(0.0, seconds)
        else:
            return -inf
        return fresh_at - max(0, said.published_time - said.complete_through) / _MICROS

    def _state_runs(self, producer: _Producer) -> None:
        said, runs = producer.said, producer.runs
        if said.coverage is None:
            runs.clear()  # the statement in force was not read: nobody knows
            return
        if runs and said.coverage_sequence != said.sequence:
            return  # nothing has changed since the last one
        for stream in [stream for stream in runs if not said.covers(stream)]:
            del runs[stream]
        if said.is_final:
            return
        for stream, interval in said.coverage.items():
            if not interval.is_open or interval.since is None:
                continue
            known, key = runs.get(stream), RunKey(said.instance, interval.since)
            place = self._place_of(stream, said.partitions.get(self._topic))
            if place is not None and (known is None or known.key != key or known.place != place):
                # Where it has written nothing, its records lie after what is there.
                bound = max(self.positions.get(place, 0), self.ends.get(place, 0))
                run = runs[stream] = Run(key, stream, place, producer, said.offsets.get(place, bound))
                producer.young.append(run)

    def _hand_over(self, producer: _Producer) -> None:
        """What is proven in this instance's runs is proven in those that others began before its `complete_through`."""
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
                written = producer.said.offsets.get(run.place, 0)
                for key, needed in run.holds.items():
                    successor.holds.setdefault(key, max(needed, written))

    def forget_old(self, now: float) -> None:
        """Forget instances that have said nothing for an hour, so that restarts do not add up."""
        old = [name for name, each in self._producers.items() if now - each.heard_at > _FORGOTTEN_SECONDS]
        for name in old:
            gone = self._producers.pop(name)
            self._instances.by_id.pop(name, None)
            self._differences.pop(name, None)
            for producer in self._producers.values():
                for run in producer.runs.values():
                    for key in [key for key in run.holds if key.instance == gone.said.instance]:
                        del run.holds[key]

    # What it means --------------------------------------------------------------------------------------------

    def runs(self, stream: str) -> list[Run]:
        """The runs of a stream that go on, as far as is known."""
        return [run for producer in self._producers.values() if (run := producer.runs.get(stream)) is not None]

    def newest_mark(self, run: Run) -> Mark | None:
        """The newest watermark of the run that the reader has reached: all that it names in the stream's partition was read."""
        place = run.place
        position = self.positions.get(place, 0)
        if position < self.ends.get(place, 0):
            return None
        for mark in reversed(run.producer.marks):
            if mark.offset < run.offset:
                return None
            if mark.offsets.get(place, 0) <= position:
                return mark
        return None

    def holds(self, run: Run, proven: frozenset[RunKey]) -> bool:
        """Whether what was proven in any of these runs is proven in this one as well."""
        position = self.positions.get(run.place, 0)
        return any(key in proven and needed <= position for key, needed in run.holds.items())

    def runs_at(self, stream: str, watermarks_end: int) -> frozenset[RunKey]:
        """The runs that had begun when the watermarks' topic ended at this offset."""
        if watermarks_end > self.next_offset:
            return frozenset()
        return frozenset(run.key for run in self.runs(stream) if run.offset < watermarks_end)

    def runs_outlasting(self, stream: str, watermarks_end: int) -> frozenset[RunKey]:
        """The runs that an answer of the exchange is not older than which was asked for when the watermarks' topic ended at this offset."""
        if watermarks_end > self.next_offset:
            return frozenset()
        outlasted = (
            run for run in self.runs(stream) if run.outlasted_at is not None and run.outlasted_at < watermarks_end
        )
        return frozenset(run.key for run in outlasted)

    def runs_before(self, stream: str, offset: int, received_us: int) -> Iterator[RunKey]:
        """The runs that had begun when the exchange sent the record at this offset of the stream's partition, received at `received_us`.

        An instance's own records from `next_offset` on were sent after what it had covered by then. Nothing tells another instance's
        record from these; that it is no late one, the time of receipt says.
        """
        for run in self.runs(stream):
            marks = run.producer.marks
            if offset >= run.next_offset and received_us >= run.through:
                yield run.key
            elif (
                marks and marks[-1].offset >= run.offset
            ):  # that one's clock may have been set back since the run began
                written = marks[-1].offsets.get(run.place)
                if written is not None and offset >= written and received_us >= marks[-1].complete_through:
                    yield run.key

    def as_of(self, stream: str) -> int | None:
        """Up to when (µs, by a producer's clock) the reader has all that the exchange sent on a stream; None where nobody covers it."""
        mark = self._freshest(stream)
        return None if mark is None else mark.complete_through

    def age_seconds(self, stream: str, now: float) -> float:
        """How old that is by the reader's clock; infinite where nobody covers it."""
        mark = self._freshest(stream)
        return inf if mark is None else now - mark.fresh_at

    def _freshest(self, stream: str) -> Mark | None:
        marks = [mark for run in self.runs(stream) if (mark := self.newest_mark(run)) is not None]
        return max(marks, key=lambda mark: mark.fresh_at, default=None)

    def wanted_by(self, stream: str) -> list[str]:
        """The services that want a stream, whether they cover it or not; those that ended are not among them."""
        going_on = (each.said for each in self._producers.values() if not each.said.is_final and each.said.coverage)
        return sorted({said.service for said in going_on if stream in (said.coverage or {})})

    @property
    def clock_difference_seconds(self) -> float:
        """How far the reader's wall clock is ahead of a producer's, of the one that differs most; negative: behind. 0 before any."""
        return max(self._differences.values(), key=abs, default=0.0)

    def is_incomplete(self) -> bool:
        """Whether some instance's statement in force lies before the records that were read."""
        return any(each.said.coverage is None and not each.said.is_final for each in self._producers.values())
