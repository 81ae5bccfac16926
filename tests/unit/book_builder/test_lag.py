"""The lag of a builder in time: never less than the true lag, and not more than the known data allows."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backpack_streams.book_builder.lag import PartitionLag

WALL = 1_800_000_000.0
steps = st.lists(st.tuples(st.sampled_from(["arrives", "read one", "read all"]), st.floats(0.001, 100.0)), max_size=60)


@given(steps)
def test_lag_is_never_less_than_the_age_of_the_oldest_unread_update(steps: list[tuple[str, float]]) -> None:
    """Updates arrive in Kafka at the time of their timestamp, in whole milliseconds."""
    lag, now = PartitionLag(), 0.0
    unread: list[int] = []
    has_read = False
    for what, seconds in steps:
        now += seconds
        if what == "arrives":
            unread.append(int((WALL + now) * 1000))
        elif unread:
            number = 1 if what == "read one" else len(unread)
            lag.read(unread[number - 1])
            has_read = True
            del unread[:number]
        if not unread:
            lag.at_end(now)
        shown = lag.seconds(len(unread), now, WALL + now)
        if unread and (has_read or shown):
            assert shown >= WALL + now - unread[0] / 1000 - 0.002
        else:
            assert shown == 0.0


def test_a_pause_is_not_lag() -> None:
    lag = PartitionLag()
    lag.read(int(WALL * 1000))
    lag.at_end(1.0)
    lag.at_end(600.0)
    assert lag.seconds(0, 600.0, WALL + 600) == 0.0
    assert lag.seconds(1, 600.5, WALL + 600.5) == 0.5


def test_a_builder_that_never_reaches_the_end_lags_by_the_age_of_what_it_reads() -> None:
    lag = PartitionLag()
    lag.at_end(0.0)
    for second in range(100, 200):
        lag.read(int((WALL + second - 7) * 1000))
        assert lag.seconds(50, second, WALL + second) == pytest.approx(7.0)


def test_lag_is_zero_before_anything_was_read() -> None:
    assert PartitionLag().seconds(10, 5.0, WALL) == 0.0
