"""The records of several partitions in one order of time; the pace of the past."""

from hypothesis import given
from hypothesis import strategies as st

from backpack_streams.books.timeline import Pace, Timeline

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


def test_a_clock_that_goes_back_does_not_turn_the_order_of_a_partition() -> None:
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
def test_whatever_the_pieces_the_order_is_that_of_time(clocks: list[list[int]], piece: int, most: int) -> None:
    places = [("t", number) for number in range(len(clocks))]
    timeline: Timeline[tuple[int, int]] = Timeline(places)
    left = {
        place: [(time, (place[1], i)) for i, time in enumerate(clock)]
        for place, clock in zip(places, clocks, strict=True)
    }
    given_items: list[tuple[int, int]] = []
    while not timeline.is_through():
        for place in timeline.hungry:
            head, left[place] = left[place][:piece], left[place][piece:]
            if head:
                timeline.feed(place, head)
            else:
                timeline.rest(place)
        given_items += timeline.take(None, most)
        if timeline.next_time is None and not timeline.hungry:
            break
    latest = [max(clocks[number][: i + 1]) for number, i in given_items]
    assert latest == sorted(latest)
    for number, clock in enumerate(clocks):
        assert [i for each, i in given_items if each == number] == list(range(len(clock)))


def test_the_past_passes_as_fast_as_it_did() -> None:
    pace = Pace(1_000_000)
    assert pace.moment_us(50.0) == 1_000_000
    assert pace.moment_us(52.5) == 3_500_000
    assert pace.seconds_until(4_000_000, 52.5) == 0.5
    assert pace.seconds_until(3_000_000, 52.5) == 0.0
