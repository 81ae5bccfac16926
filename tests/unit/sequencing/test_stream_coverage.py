"""What readers derive from watermarks, case by case: how old a stream is, its runs, and what a run proves."""

from collections.abc import Callable
from math import inf
from typing import Any

import pytest

from backpack_streams.sequencing.runs import RunKey, watermarks_to_outlast_an_answer
from unit.sequencing.watermark_feed import (
    DEPTH,
    SECOND,
    STREAM,
    WALL_US,
    Feed,
    key,
    view,
    watermark,
)


def test_a_stream_without_a_watermark_is_not_covered() -> None:
    coverage = view()
    assert coverage.as_of(STREAM) is None
    assert coverage.age_seconds(STREAM, 0.0) == inf
    assert coverage.runs(STREAM) == []
    assert coverage.wanted_by(STREAM) == []


def test_a_stream_is_not_complete_past_unread_records() -> None:
    feed = Feed()
    feed.say(watermark("a", 0, 1.0, depth=10), 1.0)
    feed.say(watermark("a", 1, 2.0, depth=20, stated_by=0), 2.0)
    assert feed.coverage.as_of(STREAM) is None
    feed.coverage.positions[DEPTH] = 10
    assert feed.coverage.as_of(STREAM) == WALL_US + 1 * SECOND
    assert feed.coverage.age_seconds(STREAM, 3.0) == 2.0
    feed.coverage.positions[DEPTH] = 20
    assert feed.coverage.as_of(STREAM) == WALL_US + 2 * SECOND
    assert feed.coverage.age_seconds(STREAM, 3.0) == 1.0


def test_a_watermark_is_no_younger_than_what_was_read_before_it() -> None:
    """A reader that was away for a minute finds a watermark that may be a minute old."""
    feed = Feed()
    feed.say(watermark("a", 0, 1.0), 61.0, heard=1.0)
    assert feed.coverage.age_seconds(STREAM, 61.0) == 60.0


def test_the_producers_own_lag_counts() -> None:
    feed = Feed()
    feed.say(watermark("a", 0, 1.0, published=31.0), 31.0)
    assert feed.coverage.age_seconds(STREAM, 31.0) == 30.0


@pytest.mark.parametrize("step", [3600.0, -3600.0])
def test_a_clock_that_was_set_neither_holds_a_book_back_nor_keeps_it_live_longer(step: float) -> None:
    feed = Feed()
    feed.say(watermark("a", 0, 1.0), 1.0)
    feed.say(watermark("a", 1, 2.0 + step, stated_by=0), 2.0)
    assert feed.coverage.age_seconds(STREAM, 2.0) == 0.0
    for sequence in range(2, 9):  # its records continue without a newer time
        feed.say(watermark("a", sequence, 2.0 + step, stated_by=0), 1.0 + sequence)
    assert feed.coverage.age_seconds(STREAM, 9.0) == 7.0
    assert abs(feed.coverage.clock_difference_seconds) > 3500


@pytest.mark.parametrize(("wall", "age"), [(100.0, 0.0), (104.0, 4.0), (96.0, 0.0), (106.0, inf), (94.0, inf)])
def test_an_earlier_watermark_is_trusted_by_the_wall_clock_or_not_at_all(wall: float, age: float) -> None:
    feed = Feed()
    feed.say(watermark("a", 0, 99.0, published=99.0), 7.0, heard=None, wall=wall)
    feed.say(watermark("a", 1, 100.0, published=100.0, stated_by=0), 7.0, heard=None, wall=wall)
    assert feed.coverage.age_seconds(STREAM, 7.0) == age
    feed.say(watermark("a", 2, 101.0, stated_by=0), 8.0, wall=wall)  # a later one is trusted
    assert feed.coverage.age_seconds(STREAM, 8.0) == 0.0


@pytest.mark.parametrize(
    "end",
    [
        watermark("a", 1, 2.0, since=0.0, until=1.5),
        watermark("a", 1, 2.0, since=None),
        watermark("a", 1, 2.0, stated_by=0, final=True),
        watermark("a", 1, 2.0, stated_by=7),
    ],
    ids=["ended", "never", "final", "statement not read"],
)
def test_a_record_that_ends_coverage_ends_the_run(end: dict[str, Any]) -> None:
    feed = Feed()
    feed.say(watermark("a", 0, 1.0), 1.0)
    assert [run.key for run in feed.coverage.runs(STREAM)] == [key("a")]
    feed.say(end, 2.0)
    assert feed.coverage.runs(STREAM) == []
    assert feed.coverage.as_of(STREAM) is None


def test_an_instance_that_restarts_its_coverage_does_not_prove_earlier_runs() -> None:
    feed = Feed()
    feed.say(watermark("a", 0, 1.0), 1.0)
    feed.say(watermark("a", 1, 9.0, since=8.0), 9.0)
    assert not feed.holds("a", key("a"))
    assert feed.holds("a", key("a", 8.0))


def test_the_same_interval_continues_after_a_silence() -> None:
    feed = Feed()
    feed.say(watermark("a", 0, 1.0), 1.0)
    feed.say(watermark("a", 1, 300.0), 300.0)
    assert feed.holds("a", key("a"))


def overlap(feed: Feed, *, known: Callable[[int], int], rounds: int = 4) -> None:
    """A covers, B starts, and both publish once a second."""
    feed.say(watermark("a", 0, 0.5, since=0.0, known=-1), 1.0)
    for second in range(1, rounds):
        feed.say(watermark("b", second, second + 0.6, since=1.2, depth=3, known=known(feed.offset)), second + 0.6)
        feed.say(watermark("a", second, second + 0.9, since=0.0, depth=5, known=known(feed.offset)), second + 0.9)


def test_coverage_moves_to_an_instance_that_was_there_before_the_other_ended() -> None:
    feed = Feed()
    overlap(feed, known=lambda offset: offset)
    assert not feed.holds("b", key("a"))  # not before everything that A had written by then was read
    feed.coverage.positions[DEPTH] = 5
    assert feed.holds("b", key("a"))
    feed.say(watermark("a", 4, 4.9, stated_by=3, final=True), 5.0)
    assert feed.holds("b", key("a"))
    assert [run.key.instance for run in feed.coverage.runs(STREAM)] == ["b"]


def test_coverage_does_not_move_if_the_order_of_events_is_unknown() -> None:
    feed = Feed()
    overlap(feed, known=lambda _: -1)
    feed.coverage.positions[DEPTH] = 5
    assert not feed.holds("b", key("a"))
    assert feed.holds("b", key("b", 1.2))


def test_a_clock_set_forward_does_not_prove_that_time_has_passed() -> None:
    """A's clock jumps past the time at which it saw B: that does not make it complete up to then."""
    feed = Feed()
    feed.coverage.positions[DEPTH] = 5
    feed.say(watermark("a", 0, 0.5, published=1.0), 1.0)
    feed.say(watermark("b", 0, 1.5, since=1.2, depth=3), 1.5)
    feed.say(watermark("a", 1, 0.9, published=2.0, known=2), 2.0)
    feed.say(watermark("a", 2, 3600.9, published=3603.0, known=3), 3.0)
    assert not feed.holds("b", key("a"))


def test_a_recreated_topic_starts_again() -> None:
    feed = Feed()
    feed.coverage.positions[DEPTH] = 5
    overlap(feed, known=lambda offset: offset)
    feed.offset = 0
    feed.say(watermark("b", 9, 9.0, since=1.2), 9.0)
    assert feed.holds("b", key("b", 1.2))
    assert not feed.holds("b", key("a"))
    assert [run.key.instance for run in feed.coverage.runs(STREAM)] == ["b"]


def test_an_answer_requested_after_a_run_was_known_belongs_to_it() -> None:
    feed = Feed()
    feed.say(watermark("a", 0, 1.0), 1.0)
    assert feed.coverage.runs_at(STREAM, 0) == frozenset()
    assert feed.coverage.runs_at(STREAM, 1) == {key("a")}
    assert feed.coverage.runs_at(STREAM, 2) == frozenset()  # an offset of another topic of that name


def test_an_answer_requested_soon_after_a_run_began_may_be_older_than_it() -> None:
    feed = Feed()
    outlast = watermarks_to_outlast_an_answer(1000)
    for sequence in range(outlast + 1):
        assert feed.coverage.runs_outlasting(STREAM, sequence) == frozenset()
        feed.say(watermark("a", sequence, sequence + 1.0), sequence + 1.0)
    assert feed.coverage.runs_outlasting(STREAM, outlast) == frozenset()
    assert feed.coverage.runs_outlasting(STREAM, outlast + 1) == {key("a")}
    assert feed.coverage.runs_outlasting(STREAM, outlast + 2) == frozenset()  # an offset of another topic of that name


def test_a_clock_that_jumps_makes_no_run_older() -> None:
    feed = Feed()
    feed.say(watermark("a", 0, 1.0), 1.0)
    feed.say(watermark("a", 1, 3601.0), 2.0)
    assert feed.coverage.runs_outlasting(STREAM, 2) == frozenset()


@pytest.mark.parametrize(("interval_ms", "count"), [(1000, 20), (20_000, 1), (60_000, 1), (300, 67), (0, 20_000)])
def test_enough_watermarks_outlast_an_answer(interval_ms: int, count: int) -> None:
    assert watermarks_to_outlast_an_answer(interval_ms) == count


def test_an_instances_own_records_after_its_first_watermark_belong_to_its_run() -> None:
    feed = Feed()
    feed.say(watermark("a", 0, 1.0, depth=10), 1.0)
    at = WALL_US + 1 * SECOND

    def proves(offset: int, received_us: int) -> list[RunKey]:
        return list(feed.coverage.runs_before(STREAM, offset, received_us))

    assert proves(10, at + 1) == [key("a")]
    assert proves(9, at + 1) == []  # acknowledged before
    assert proves(10, at - 1) == []  # another instance's, delayed
    feed.say(watermark("a", 1, -3599.0, depth=20, stated_by=0), 2.0)
    assert proves(20, at - 3590 * SECOND) == [key("a")]  # its clock was set back


def test_for_partitions_without_its_records_an_instances_records_come_after_the_known_end() -> None:
    feed = Feed()
    feed.coverage.ends[DEPTH] = 7
    feed.say(watermark("a", 0, 1.0), 1.0)
    assert list(feed.coverage.runs_before(STREAM, 6, WALL_US + 9 * SECOND)) == []
    assert list(feed.coverage.runs_before(STREAM, 7, WALL_US + 9 * SECOND)) == [key("a")]


def test_instances_are_forgotten_an_hour_after_their_last_watermark() -> None:
    feed = Feed()
    feed.coverage.positions[DEPTH] = 5
    overlap(feed, known=lambda offset: offset)
    feed.say(watermark("b", 9, 4000.0, since=1.2), 4000.0)
    feed.coverage.forget_old(4000.0)
    assert feed.coverage.wanted_by(STREAM) == ["producer-b"]
    assert not feed.holds("b", key("a"))


def test_ended_runs_do_not_accumulate_while_another_producer_continues_them() -> None:
    feed = Feed()
    feed.coverage.positions[DEPTH] = 5
    at, since = 0.0, 0.0
    for second in range(600):
        at += 0.5
        feed.say(watermark("b", second, at, depth=1, known=feed.offset), at)
        at += 0.5
        if second % 6 == 5:
            since = at - 0.2  # a's socket was lost and came back
        feed.say(watermark("a", second, at, since=since, depth=1, known=feed.offset), at)
        if second % 100 == 99:
            feed.coverage.forget_old(at)
    [run] = [run for run in feed.coverage.runs(STREAM) if run.key.instance == "b"]
    newest = sorted(each.since for each in run.holds if each.instance == "a")
    assert len(newest) < 50
    assert newest[-1] - newest[0] >= 30 * 6 * SECOND
    assert all(feed.holds("b", each) for each in run.holds)
    assert key("b") in run.holds
