"""A watermark claims what Kafka has acknowledged and no more, whatever waits, is refused, or is still to be told."""

from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from backpack_streams.exchange.session_actions import CoverageEvent, SocketProven, StreamsActive, StreamsInactive
from backpack_streams.feed.coverage import Coverage, Moment
from backpack_streams.feed.watermarks import Watermarks
from backpack_streams.sequencing import watermarks
from backpack_streams.sequencing.watermarks import Instances
from thoroughness import runs
from unit.feed.recorded_queues import CODEC, Plant, depth_frame, encoder

SECOND = 1_000_000
S = "depth.X"


@dataclass
class PartitionQueue:
    topic: str = "backpack.market.depth"
    partition: int = 0
    done: int = 0
    handed_over: int = 0

    @property
    def next_offset(self) -> int:
        return 1000 + self.done if self.done else -1


@dataclass
class Between:
    """What is between the sockets and Kafka, as the test says."""

    partitions: list[PartitionQueue] = field(default_factory=lambda: [PartitionQueue()])
    held: float | None = None
    owes: bool = False
    rejected: int = 0

    def partition_queues(self) -> list[PartitionQueue]:
        return self.partitions

    def held_since(self) -> float | None:
        return self.held

    def owes_reports(self) -> bool:
        return self.owes

    def rejected_records(self) -> int:
        return self.rejected


def stated(since: int, until: int | None, owes: int | None = None) -> dict[str, Any]:
    """The interval of the one stream; `owes`: when its coverage ended before a break that is not on record yet."""
    return {
        "since": since * SECOND,
        "until": until and until * SECOND,
        "is_settled": owes is None,
        "settled_until": owes and owes * SECOND,
        "streams": [S],
    }


def reader_of(row: dict[str, Any]) -> watermarks.Instance:
    instances = Instances()
    instances.take(row)
    return instances.by_id[row["instance"]]


class Instance:
    """One stream that a socket covers from second 10 on, and the watermarks of that."""

    def __init__(self, interval_ms: int = 1000) -> None:
        self.between = Between()
        self.coverage = Coverage()
        self.coverage.want([S])
        self.coverage.resume({S: None})
        self.now = 10.0
        self.take(StreamsActive((S,), 0, 10.0))
        self.marks = Watermarks("market-producer", self.coverage, self.between, interval_ms, lambda: "me")

    @property
    def moment(self) -> Moment:
        return Moment(self.now, round(self.now * SECOND))

    def take(self, event: CoverageEvent) -> None:
        self.coverage.take(event, self.moment)

    def proven(self, through: float) -> None:
        self.now = through
        self.take(SocketProven(0, through))

    def mark(self, at: float) -> None:
        """Everything is proven until then, and a mark is set."""
        self.proven(at)
        self.marks.mark(self.moment)

    def says(self) -> dict[str, Any] | None:
        """The record that can be published, handed over; it is one that the schema takes."""
        row = self.marks.next_row(self.moment)
        if row is not None:
            encoder("ops.watermark")(row)
            self.marks.published(row)
        return row

    def through(self) -> float | None:
        row = self.says()
        return None if row is None else row["complete_through"] / SECOND


# ---- what holds a mark back


def test_a_mark_becomes_a_watermark_at_once_where_nothing_is_on_its_way() -> None:
    instance = Instance()
    assert instance.says() is None
    instance.mark(11.0)
    row = instance.says()
    assert row is not None
    assert (row["instance"], row["sequence"], row["complete_through"]) == ("me", 0, 11 * SECOND)
    assert instance.says() is None
    assert instance.marks.through == instance.moment


def test_every_partition_must_have_acknowledged_what_was_handed_over_before_the_mark() -> None:
    instance = Instance()
    one, two = PartitionQueue(handed_over=3), PartitionQueue(partition=1, handed_over=2)
    instance.between.partitions = [one, two]
    instance.mark(11.0)
    one.done = 3
    one.handed_over = 50
    assert instance.through() is None
    two.done = 1
    assert instance.through() is None
    two.done = 2
    assert instance.through() == 11.0


def test_the_newest_mark_that_is_acknowledged_counts() -> None:
    instance = Instance()
    [partition_queue] = instance.between.partitions
    for second in (11, 12, 13):
        partition_queue.handed_over = second
        instance.mark(second)
    partition_queue.done = 12
    assert instance.through() == 12.0
    assert instance.through() is None
    partition_queue.done = 13
    assert instance.through() == 13.0


def test_its_own_records_are_no_part_of_what_is_acknowledged() -> None:
    instance = Instance()
    instance.between.partitions = [PartitionQueue("backpack.ops.watermark", handed_over=5)]
    instance.mark(11.0)
    row = instance.says()
    assert row is not None
    assert row["offsets"] == [{"topic": "backpack.ops.watermark", "next_offsets": [-1]}], (
        "readers need its place all the same"
    )


def test_a_record_that_kafka_refused_cancels_the_marks_before_its_report() -> None:
    instance = Instance()
    [partition_queue] = instance.between.partitions
    partition_queue.handed_over = 1
    instance.mark(11.0)
    partition_queue.done, instance.between.rejected = 1, 1
    partition_queue.handed_over = 2  # the report
    assert instance.through() is None
    instance.mark(12.0)
    assert instance.through() is None
    partition_queue.done = 2
    assert instance.through() == 12.0


def test_reports_that_are_owed_hold_marks_back() -> None:
    instance = Instance()
    instance.between.owes = True
    instance.mark(11.0)
    instance.between.owes = False
    assert instance.through() is None
    instance.mark(12.0)
    assert instance.through() == 12.0


def test_what_is_held_bounds_the_mark() -> None:
    instance = Instance()
    instance.proven(10.7)
    instance.between.held = 10.2
    instance.marks.mark(instance.moment)
    assert instance.through() == 10.2
    instance.between.held = 99.0
    instance.mark(11.0)
    assert instance.through() == 11.0


def test_a_message_that_is_held_was_sent_after_what_had_been_brought_when_it_came() -> None:
    """Not after it was received: until then it was on its way."""
    plant = Plant([S], sockets=2)
    for socket in (0, 1):
        plant.prove(socket, at=10.0)
    plant.send(depth_frame(1, 1, 1))
    plant.tick(10.9)
    plant.send(depth_frame(3, 3, 3))
    for socket in (0, 1):
        plant.prove(socket, at=10.95)
    assert plant.router.held_since() == 10.0
    plant.tick(12.0)
    assert plant.router.held_since() is None


def test_a_socket_whose_pings_are_not_answered_lets_the_watermark_stand_still() -> None:
    instance = Instance()
    instance.mark(11.0)
    assert instance.through() == 11.0
    for second in (12.0, 13.0, 60.0):
        instance.now = second
        instance.marks.mark(instance.moment)
        row = instance.says()
        assert row is not None
        assert (row["complete_through"], row["published_time"]) == (11 * SECOND, round(second * SECOND))


# ---- the statement of coverage


def statements(instance: Instance, count: int) -> list[bool]:
    made = []
    for _ in range(count):
        instance.mark(instance.now + 1)
        row = instance.says()
        assert row is not None
        made.append(row["coverage"] is not None)
        if row["coverage"] is None:
            assert 0 < row["sequence"] - row["coverage_sequence"] < 10
        else:
            assert row["coverage_sequence"] == row["sequence"]
    return made


def test_it_is_made_first_and_in_every_tenth_record() -> None:
    assert statements(Instance(), 25) == [number % 10 == 0 for number in range(25)]


@pytest.mark.parametrize(("interval_ms", "between"), [(100, 10), (3_000, 10), (6_000, 5), (60_000, 1), (600_000, 1)])
def test_it_is_made_twice_a_minute_though_records_are_rare(interval_ms: int, between: int) -> None:
    assert statements(Instance(interval_ms), 21) == [number % between == 0 for number in range(21)]


def test_it_is_made_when_coverage_changes() -> None:
    instance = Instance()
    assert statements(instance, 3) == [True, False, False]
    instance.take(StreamsInactive((S,), 0, instance.now, "DISCONNECTED"))
    assert statements(instance, 2) == [True, False]
    instance.coverage.want([S, "trade.X"])
    assert statements(instance, 2) == [True, False]


def test_it_is_that_of_the_mark_and_not_of_later() -> None:
    instance = Instance()
    [partition_queue] = instance.between.partitions
    partition_queue.handed_over = 1
    instance.mark(11.0)
    instance.take(StreamsInactive((S,), 0, 11.0, "DISCONNECTED"))
    instance.marks.mark(instance.moment)
    partition_queue.done = 1
    partition_queue.handed_over = 2
    instance.marks.mark(instance.moment)
    row = instance.says()
    assert row is not None
    assert row["coverage"] == [stated(10, 11)]


def test_a_record_that_had_no_room_counts_for_nothing() -> None:
    instance = Instance()
    assert statements(instance, 2) == [True, False]
    instance.take(StreamsInactive((S,), 0, instance.now, "DISCONNECTED"))
    instance.mark(instance.now + 1)
    through = instance.marks.through
    lost = instance.marks.next_row(instance.moment)  # and is not handed over
    assert lost is not None
    assert (lost["sequence"], instance.marks.through) == (2, through)
    instance.mark(instance.now + 1)
    row = instance.says()
    assert row is not None
    assert (row["sequence"], row["coverage_sequence"]) == (2, 2), "what it stated is stated by the next one"
    assert row["coverage"] is not None


def test_whoever_takes_over_between_a_break_and_its_gap_counts_until_the_break_alone() -> None:
    plant = Plant([S])
    plant.send(depth_frame(1, 1, 1))
    marks = Watermarks("market-producer", plant.coverage, Between(), 1000, lambda: "me")
    plant.uncover(0, through=5.0)
    plant.cover(1, at=60.0)
    plant.tick(60.5)
    plant.prove(1)
    marks.mark(plant.moment)
    row = marks.next_row(plant.moment)
    assert plant.partition_queues.gaps[1:] == [], "the next message may tell what was missed"
    assert row is not None
    assert row["coverage"] == [stated(60, None, owes=5)]
    assert reader_of(row).covered_until(S) == 5 * SECOND
    marks.published(row)
    plant.tick(70.0)
    assert len(plant.partition_queues.gaps) == 2
    plant.prove(1)
    marks.mark(plant.moment)
    row = marks.next_row(plant.moment)
    assert row is not None
    assert row["coverage"] == [stated(60, None)]


# ---- the first record


def test_the_first_record_says_what_is_covered_and_vouches_for_nothing_before() -> None:
    instance = Instance()
    instance.proven(15.0)
    row = instance.marks.first_row(instance.moment)
    encoder("ops.watermark")(row)
    assert (row["sequence"], row["complete_through"], row["coverage"]) == (0, 10 * SECOND, [stated(10, None)])
    instance.marks.published(row)
    instance.mark(16.0)
    second = instance.says()
    assert second is not None
    assert (second["sequence"], second["coverage_sequence"], second["coverage"]) == (1, 0, None)


# ---- offsets, and the last record


def test_offsets_are_those_behind_what_kafka_has_by_topic_and_partition() -> None:
    instance = Instance()
    instance.between.partitions = [
        PartitionQueue("p.trade", 1, 4, 4),
        PartitionQueue("p.depth", 0, 7, 7),
        PartitionQueue("p.trade", 0, 0, 0),
        PartitionQueue("p.ops.watermark", 0, 9, 9),
    ]
    instance.mark(11.0)
    row = instance.says()
    assert row is not None
    assert row["offsets"] == [
        {"topic": "p.depth", "next_offsets": [1007]},
        {"topic": "p.ops.watermark", "next_offsets": [1009]},
        {"topic": "p.trade", "next_offsets": [-1, 1004]},
    ]


def test_the_last_record_is_made_only_if_kafka_has_everything() -> None:
    instance = Instance()
    [partition_queue] = instance.between.partitions
    instance.mark(11.0)
    instance.says()
    instance.take(StreamsInactive((S,), 0, 11.0, "DISCONNECTED"))
    partition_queue.handed_over = 1
    assert instance.marks.last_row(instance.moment) is None
    partition_queue.done = 1
    instance.between.owes = True
    assert instance.marks.last_row(instance.moment) is None
    instance.between.owes = False
    row = instance.marks.last_row(instance.moment)
    assert row is not None
    assert (row["is_final"], row["sequence"]) == (True, 1)
    assert row["coverage"] == [stated(10, 11)]


# ---- what a reader makes of it


class Read(RuleBasedStateMachine):
    """Whatever is lost on the way, a reader never believes more than what was so."""

    def __init__(self) -> None:
        super().__init__()
        self.instance = Instance()
        self.socket = 0
        self.read = Instances()
        self.sure: list[tuple[float, float]] = []
        self.since = 10.0
        self.handed: list[float] = [10.0]
        """When each record was handed over."""

    @property
    def partition_queue(self) -> PartitionQueue:
        return self.instance.between.partitions[0]

    @rule()
    def hand_over(self) -> None:
        self.partition_queue.handed_over += 1
        self.handed.append(self.instance.now)

    @rule(share=st.floats(0, 1))
    def acknowledge(self, share: float) -> None:
        self.partition_queue.done += int((self.partition_queue.handed_over - self.partition_queue.done) * share + 0.5)

    @rule(seconds=st.sampled_from([0.25, 1.0, 3.0]))
    def wait(self, seconds: float) -> None:
        self.instance.now += seconds
        if self.instance.coverage.is_covered(S):
            self.instance.take(SocketProven(self.socket, self.instance.now))

    @rule()
    def lose_or_find_the_socket(self) -> None:
        now = self.instance.now
        if self.instance.coverage.is_covered(S):
            self.instance.take(StreamsInactive((S,), self.socket, now, "DISCONNECTED"))
            self.sure.append((self.since, now))
        else:
            self.socket += 1
            if self.sure and self.sure[-1][1] == now:
                self.since = self.sure.pop()[0]  # at the same moment: nothing lies between
            else:
                self.since = now
            self.instance.take(StreamsActive((S,), self.socket, now))

    @rule()
    def settle(self) -> None:
        self.instance.coverage.settle(S)

    @rule(arrives=st.sampled_from(["read", "read", "lost", "no room"]))
    def tick(self, arrives: str) -> None:
        self.instance.marks.mark(self.instance.moment)
        row = self.instance.marks.next_row(self.instance.moment)
        if row is None or arrives == "no room":
            return
        self.instance.marks.published(row)
        if arrives == "read":
            self.read.take(CODEC.decode(encoder("ops.watermark")(row))[1])

    @invariant()
    def what_is_believed_was_so(self) -> None:
        known = self.read.by_id.get("me")
        if known is None or known.coverage is None:
            return
        interval = known.coverage[S]
        if interval.since is None:
            return
        until = known.complete_through if interval.until is None else interval.until
        spans = [*self.sure, *([(self.since, self.instance.now)] if self.instance.coverage.is_covered(S) else [])]
        if until > interval.since:
            claimed = interval.since, until
            assert any(round(since * SECOND) <= claimed[0] and until <= round(end * SECOND) for since, end in spans)
        offset = known.offsets.get((self.partition_queue.topic, 0), 1000)
        missing = self.handed[offset - 1000 + 1 :]
        assert all(round(at * SECOND) >= known.complete_through for at in missing), "not in Kafka, though claimed"

    @invariant()
    def what_a_successor_counts_ends_before_what_is_owed(self) -> None:
        known = self.read.by_id.get("me")
        if known is not None and known.coverage is not None and not known.coverage[S].is_settled:
            until = known.covered_until(S)
            assert until is None or any(until == round(end * SECOND) for _, end in self.sure)


TestRead = Read.TestCase
TestRead.settings = runs(60, steps=30)
