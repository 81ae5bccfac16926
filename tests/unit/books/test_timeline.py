"""The records of several partitions in one order of time, and the pace of replay."""

from hypothesis import given
from hypothesis import strategies as st

from backpack_streams.books.timeline import Pace, Timeline, believed_times

A, B = ("t", 0), ("t", 1)


def taken(timeline: Timeline[str], limit_us: int | None = None) -> list[str]:
    return list(timeline.take(limit_us, 100))


def test_nothing_is_given_while_an_earlier_record_may_come() -> None:
    timeline: Timeline[str] = Timeline([A, B])
    timeline.feed(A, [(1, "a1"), (5, "a5")])
    assert timeline.hungry == {B}
    assert taken(timeline) == []
    timeline.feed(B, [(3, "b3")])
    assert taken(timeline) == ["a1", "b3"], "B has nothing left, and may have a 4"
    timeline.rest(B)
    assert taken(timeline) == ["a5"]
    assert timeline.hungry == {A}
    assert not timeline.is_through()
    timeline.rest(A)
    assert timeline.is_through()
    timeline.wake(B)
    assert timeline.hungry == {B}
    assert not timeline.is_through(0)


def test_a_clock_that_goes_back_does_not_reverse_the_order_of_a_partition() -> None:
    timeline: Timeline[str] = Timeline([A, B])
    timeline.feed(A, [(5, "a5"), (2, "a2"), (6, "a6")])
    timeline.feed(B, [(4, "b4"), (9, "b9")])
    timeline.rest(A)
    timeline.rest(B)
    assert taken(timeline, 4) == ["b4"]
    assert taken(timeline, 5) == ["a5", "a2"]
    assert timeline.is_through(5)
    assert not timeline.is_through(6)
    assert taken(timeline) == ["a6", "b9"]


@given(st.lists(st.lists(st.integers(0, 50)), min_size=1, max_size=4), st.integers(1, 7), st.integers(1, 7))
def test_in_pieces_of_any_size_the_order_is_by_time(clocks: list[list[int]], piece: int, most: int) -> None:
    topic_partitions = [("t", number) for number in range(len(clocks))]
    timeline: Timeline[tuple[int, int]] = Timeline(topic_partitions)
    left = {
        each: [(time, (each[1], i)) for i, time in enumerate(clock)]
        for each, clock in zip(topic_partitions, clocks, strict=True)
    }
    given_items: list[tuple[int, int]] = []
    while not timeline.is_through():
        for topic_partition in timeline.hungry:
            head, left[topic_partition] = left[topic_partition][:piece], left[topic_partition][piece:]
            if head:
                timeline.feed(topic_partition, head)
            else:
                timeline.rest(topic_partition)
        given_items += timeline.take(None, most)
        if timeline.next_time is None and not timeline.hungry:
            break
    latest = [max(clocks[number][: i + 1]) for number, i in given_items]
    assert latest == sorted(latest)
    for number, clock in enumerate(clocks):
        assert [i for each, i in given_items if each == number] == list(range(len(clock)))


def test_replay_runs_at_the_original_pace() -> None:
    pace = Pace(1_000_000)
    assert pace.moment_us(50.0) == 1_000_000
    assert pace.moment_us(52.5) == 3_500_000
    assert pace.seconds_until(4_000_000, 52.5) == 0.5
    assert pace.seconds_until(3_000_000, 52.5) == 0.0


HOUR = 3_600_000_000
MINUTE = HOUR // 60


def test_one_record_with_an_absurd_time_delays_nothing_after_it() -> None:
    timeline: Timeline[str] = Timeline([A])
    minutes = [(HOUR + i * MINUTE, f"m{i}") for i in range(1, 61)]
    timeline.feed(A, [(HOUR, "a"), (3 * HOUR, "absurd"), *minutes])
    timeline.rest(A)
    assert taken(timeline, 2 * HOUR) == ["a", "absurd", *(name for _, name in minutes)]


def test_a_quiet_night_is_not_an_absurd_time() -> None:
    assert believed_times(HOUR, [9 * HOUR, 9 * HOUR + 1]) == [9 * HOUR, 9 * HOUR + 1]
    assert believed_times(0, [9 * HOUR]) == [9 * HOUR]
    # Late copies follow the first update after it: its receive time confirms that update.
    times = [9 * HOUR, HOUR - 1, HOUR - 1, HOUR - 1]
    assert believed_times(HOUR, times, lambda i: 9 * HOUR if i == 0 else None)[0] == 9 * HOUR


def test_the_last_record_of_a_piece_is_believed_only_if_it_was_received_then() -> None:
    assert believed_times(HOUR, [99 * HOUR], lambda _: HOUR + 5) == [HOUR]
    assert believed_times(HOUR, [99 * HOUR], lambda _: 99 * HOUR) == [99 * HOUR]
    assert believed_times(0, [99 * HOUR], lambda _: HOUR) == [HOUR]


@given(st.lists(st.integers(0, 20 * MINUTE), min_size=20, max_size=60), st.data())
def test_a_few_absurd_records_change_no_other_records_time(steps: list[int], data: st.DataObject) -> None:
    """Clocks that only go forward, in steps below a minute; up to three records in a row are from another century."""
    times, now = [], HOUR
    for step in steps:
        now += step % MINUTE
        times.append(now)
    topic_partition = data.draw(st.integers(1, len(times) - 8))
    count = data.draw(st.integers(1, 3))
    with_absurd = times[:topic_partition] + [10_000 * HOUR] * count + times[topic_partition:]
    assert (
        believed_times(0, with_absurd)
        == times[:topic_partition] + [times[topic_partition - 1]] * count + times[topic_partition:]
    )
