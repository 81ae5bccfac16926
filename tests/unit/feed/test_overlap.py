"""Our first messages wait for those before them while another producer brings them, and no longer than that is worth."""

from hypothesis import given
from hypothesis import strategies as st

from backpack_streams.feed.overlap import LONGEST_SECONDS, QUIET_SECONDS, Overlap


def test_what_follows_on_the_topics_end_waits_for_nothing() -> None:
    overlap = Overlap({"depth.A": 11, "depth.B": 5, "depth.C": 1}, 0.0)
    assert not overlap.waits({"depth.A": 10, "depth.B": 8}, 0.0), "B is ahead of us: its messages are duplicates"


def test_a_stream_that_another_producer_still_brings_is_waited_for() -> None:
    overlap = Overlap({"depth.A": 20}, 0.0)
    assert overlap.waits({"depth.A": 10}, 0.0)
    assert overlap.waits({"depth.A": 14}, 0.9)
    assert overlap.waits({"depth.A": 18}, 1.8), "it goes on: the wait begins anew"
    assert not overlap.waits({"depth.A": 19}, 1.9)


def test_a_hole_that_nobody_fills_costs_a_second() -> None:
    overlap = Overlap({"depth.A": 20}, 0.0)
    assert overlap.waits({"depth.A": 10}, 0.0)
    assert overlap.waits({"depth.A": 10}, QUIET_SECONDS - 0.01)
    assert not overlap.waits({"depth.A": 10}, QUIET_SECONDS)


def test_a_stream_that_kafka_does_not_know_is_not_waited_for() -> None:
    assert not Overlap({"depth.A": 20}, 0.0).waits({}, 0.0)


@given(st.lists(st.tuples(st.integers(0, 30), st.floats(0.0, 0.9)), min_size=1, max_size=40))
def test_the_wait_ends_whatever_comes(steps: list[tuple[int, float]]) -> None:
    overlap, now = Overlap({"depth.A": 25, "depth.B": 9}, 0.0), 0.0
    for last_id, seconds in steps:
        now += seconds
        waits = overlap.waits({"depth.A": last_id, "depth.B": last_id}, now)
        assert waits is False or (now < LONGEST_SECONDS and last_id < 24)
