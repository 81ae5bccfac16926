"""Old duplicates and late snapshots against a restarted sequence: told apart by time, whatever the ids."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backpack_streams.sequencing.restart import (
    AHEAD_AT_MOST_MICROSECONDS,
    TOLERANCE_MICROSECONDS,
    Position,
    SequenceTime,
    followed,
    newest_of,
    restarted_by_snapshot,
    restarted_by_update,
    snapshot_is_outdated,
    update_is_outdated,
)

SECOND = 1_000_000
AT = Position(last_id=1000, engine_time=100 * SECOND, tolerance_microseconds=SECOND)


@pytest.mark.parametrize(
    ("last_id", "engine_time", "expected"),
    [
        (5, 101 * SECOND + 1, True),
        (1000, 101 * SECOND + 1, True),
        (5, 101 * SECOND, False),
        (5, 99 * SECOND, False),
        (1001, 200 * SECOND, False),
        (5, None, False),
    ],
)
def test_an_old_id_with_a_later_engine_time_is_a_restart(last_id: int, engine_time: int | None, expected: bool) -> None:
    assert restarted_by_update(AT, last_id, engine_time) is expected


@pytest.mark.parametrize(
    ("last_update_id", "engine_time", "expected"),
    [
        (499, 110 * SECOND + 1, True),
        (500, 200 * SECOND, False),
        (499, 110 * SECOND, False),
        (2000, 200 * SECOND, False),
        (499, None, False),
    ],
)
def test_a_snapshot_far_behind_but_clearly_later_is_a_restart(
    last_update_id: int, engine_time: int | None, expected: bool
) -> None:
    assert restarted_by_snapshot(AT, last_update_id, engine_time) is expected


@pytest.mark.parametrize(
    ("last_update_id", "engine_time", "expected"),
    [
        (1000, 90 * SECOND - 1, True),
        (5000, 0, True),
        (1000, 90 * SECOND, False),
        (999, 0, False),
        (5000, None, False),
    ],
)
def test_a_snapshot_ahead_but_clearly_earlier_belongs_to_the_previous_sequence(
    last_update_id: int, engine_time: int | None, expected: bool
) -> None:
    assert snapshot_is_outdated(AT, last_update_id, engine_time) is expected


@pytest.mark.parametrize(
    ("last_id", "engine_time", "expected"),
    [
        (2001, 90 * SECOND - 1, True),
        (5000, 0, True),
        (2000, 0, False),
        (5000, 90 * SECOND, False),
        (5000, 200 * SECOND, False),
        (5000, None, False),
    ],
)
def test_an_update_far_ahead_but_clearly_earlier_belongs_to_the_previous_sequence(
    last_id: int, engine_time: int | None, expected: bool
) -> None:
    assert update_is_outdated(AT, last_id, engine_time) is expected


def test_an_unknown_time_proves_nothing() -> None:
    unknown = Position(1000, None, SECOND)
    assert not restarted_by_update(unknown, 5, 10**18)
    assert not restarted_by_snapshot(unknown, 5, 10**18)
    assert not snapshot_is_outdated(unknown, 5000, 0)
    assert not update_is_outdated(unknown, 5000, 0)


# ---- engine times within one sequence


def at(time_us: int) -> SequenceTime:
    time = SequenceTime()
    time.saw(time_us)
    return time


def test_a_later_engine_time_is_a_restart_and_a_later_rest_time_only_beyond_the_tolerance() -> None:
    assert at(100).begins_anew(5, 101)
    assert not at(100).begins_anew(5, 100)
    assert not at(100).begins_anew(5, 100 + TOLERANCE_MICROSECONDS, TOLERANCE_MICROSECONDS)
    assert at(100).begins_anew(5, 101 + TOLERANCE_MICROSECONDS, TOLERANCE_MICROSECONDS)
    assert not at(0).begins_anew(5, 101), "nothing is known"


def test_a_time_far_ahead_of_our_clock_needs_two_messages_of_the_sequence() -> None:
    time, now = at(100 * SECOND), 200 * SECOND
    absurd = now + AHEAD_AT_MOST_MICROSECONDS + 1
    assert time.begins_anew(5, absurd - 1, 0, now)
    assert not time.begins_anew(5, absurd, 0, now)
    assert not time.begins_anew(5, absurd, 0, now), "its copy of another socket"
    assert not time.begins_anew(6, absurd - 1 + 2 * AHEAD_AT_MOST_MICROSECONDS, 0, now), "another absurd one"
    assert not time.begins_anew(7, absurd, 0, now)
    assert time.begins_anew(8, absurd, 0, now), "so it is our clock that is wrong"
    time.begin_anew(absurd)
    assert (time.time_us, time.began_us, time.ended_us) == (absurd, absurd, 100 * SECOND)
    assert not time.begins_anew(9, absurd + 2, 0, now), "nothing is left of the claim"
    assert not time.begins_anew(10, absurd + 1, 0, now), "times do not go back"
    assert time.begins_anew(11, absurd + 1 + AHEAD_AT_MOST_MICROSECONDS, 0, now)


@given(st.lists(st.integers(1, 10**9), min_size=1, max_size=30))
def test_the_newest_time_counts_unless_the_clock_was_set(times: list[int]) -> None:
    found = SequenceTime()
    for time in times:
        found.saw(time)
    assert found.time_us == max(times)
    found.saw(0)
    assert found.time_us == max(times)


def test_nothing_is_known_before_the_first_message() -> None:
    time = SequenceTime()
    assert (time.time_us, time.began_us, time.ended_us, time.disowned_us) == (0, 0, 0, 0)


@pytest.mark.parametrize(
    ("time", "known", "newest"),
    [
        (5, 0, 5),
        (5, 4, 5),
        (4, 5, 5),
        (0, 5, 5),
        (1, 10**15, 1),
        (0, 10**15, 10**15),
        (-1, 10**15, 10**15),
        (100, 100 + AHEAD_AT_MOST_MICROSECONDS, 100 + AHEAD_AT_MOST_MICROSECONDS),
        (100, 101 + AHEAD_AT_MOST_MICROSECONDS, 100),
    ],
)
def test_the_newest_time_only_goes_back_from_an_absurd_one(time: int, known: int, newest: int) -> None:
    assert newest_of(time, known) == newest


def test_a_message_without_a_time_changes_nothing() -> None:
    found = at(10**15)
    found.saw(0)
    assert (found.time_us, found.disowned_us) == (10**15, 0)


@given(st.integers(1, 10**6), st.integers(1, 10**6), st.integers(0, 2 * 10**6))
def test_a_message_nearer_to_the_old_end_belongs_to_the_previous_sequence(ended: int, began: int, time: int) -> None:
    found = at(ended)
    found.begin_anew(began)
    expected = ended < began and time > 0 and abs(time - ended) < abs(began - time)
    assert found.is_of_before(time) is expected


def test_without_a_restart_nothing_belongs_to_a_previous_sequence() -> None:
    assert not at(100).is_of_before(1)
    later = at(0)
    later.begin_anew(100)
    assert not later.is_of_before(1)
    unknown = at(100)
    unknown.begin_anew(None)
    assert not unknown.is_of_before(1)


def test_after_an_update_followed_a_snapshot_the_snapshots_time_no_longer_counts() -> None:
    assert followed(None, 5, 100) == Position(5, 100)
    assert followed(None, 5, None) == Position(5, None)
    assert followed(Position(4, 200, SECOND), 5, 100) == Position(5, 100)
    assert followed(Position(4, 200), 5, 100) == Position(5, 200)
    assert followed(Position(4, 200), 5, None) == Position(5, 200)
    absurd = followed(Position(4, 10**15), 5, 100)
    assert absurd == Position(5, 100, 0, 10**15)
    assert followed(absurd, 6, 101) == Position(6, 101, 0, 10**15)


def test_a_copy_of_a_message_with_an_absurd_time_is_not_a_restart_after_the_sequence_went_on() -> None:
    time = at(100 * SECOND)
    absurd = 100 * SECOND + 3 * AHEAD_AT_MOST_MICROSECONDS
    time.saw(absurd)
    time.saw(101 * SECOND)
    position = Position(5, 101 * SECOND, 0, absurd)
    for copied in (absurd, absurd - AHEAD_AT_MOST_MICROSECONDS):
        assert not time.begins_anew(4, copied)
        assert not restarted_by_update(position, 4, copied)
    for other in (absurd + 1, absurd - AHEAD_AT_MOST_MICROSECONDS - 1, 102 * SECOND):
        assert time.begins_anew(4, other)
        assert restarted_by_update(position, 4, other)
    time.saw(absurd - AHEAD_AT_MOST_MICROSECONDS)
    assert time.begins_anew(4, absurd), "the present has come there"
    time.begin_anew(absurd)
    time.saw(101 * SECOND)
    time.begin_anew(102 * SECOND)
    assert time.begins_anew(4, absurd), "that was another sequence"
