"""Backoff: bounded, growing, jittered, and back at the base after a reset."""

import random

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from backpack_streams.backoff import Backoff

# No test fails for being slow.
unhurried = hypothesis_settings(deadline=None)

seconds = st.floats(min_value=0.001, max_value=100, allow_nan=False)


class UpperEnd(random.Random):
    """Draws the widest delay allowed."""

    def uniform(self, a: float, b: float) -> float:
        return b


class LowerEnd(random.Random):
    """Draws the shortest delay allowed."""

    def uniform(self, a: float, b: float) -> float:
        return a


def test_the_bound_doubles_up_to_the_cap_and_a_reset_returns_to_the_base() -> None:
    backoff = Backoff(0.5, 3.0, UpperEnd())
    assert [backoff.next_delay_seconds() for _ in range(5)] == [0.5, 1.0, 2.0, 3.0, 3.0]
    assert backoff.attempts == 5
    backoff.reset()
    assert backoff.attempts == 0
    assert backoff.next_delay_seconds() == 0.5


def test_who_counts_by_itself_gets_the_same_delays() -> None:
    counted, asked = Backoff(0.5, 3.0, random.Random(4)), Backoff(0.5, 3.0, random.Random(4))
    assert [counted.next_delay_seconds() for _ in range(9)] == [asked.delay_seconds(each) for each in range(9)]
    assert asked.attempts == 0


def test_the_jitter_is_full_so_the_shortest_delay_is_none() -> None:
    backoff = Backoff(0.5, 3.0, LowerEnd())
    assert [backoff.next_delay_seconds() for _ in range(3)] == [0.0, 0.0, 0.0]


@unhurried
@given(base=seconds, factor=st.floats(min_value=1, max_value=1e4), seed=st.integers(), tries=st.integers(1, 80))
def test_no_delay_leaves_its_bounds_however_many_failures(base: float, factor: float, seed: int, tries: int) -> None:
    cap = base * factor
    backoff = Backoff(base, cap, random.Random(seed))
    for attempt in range(tries):
        assert 0 <= backoff.next_delay_seconds() <= min(cap, base * 2**attempt)


def test_two_clients_do_not_come_back_together() -> None:
    one, other = Backoff(1, 60, random.Random(1)), Backoff(1, 60, random.Random(2))
    assert [one.next_delay_seconds() for _ in range(5)] != [other.next_delay_seconds() for _ in range(5)]


def test_thousands_of_failures_neither_overflow_nor_exceed_the_cap() -> None:
    backoff = Backoff(0.1, 30, random.Random(3))
    assert max(backoff.next_delay_seconds() for _ in range(5_000)) <= 30


@pytest.mark.parametrize(("base", "cap"), [(0, 1), (-1, 1), (2, 1)])
def test_senseless_settings_are_refused(base: float, cap: float) -> None:
    with pytest.raises(ValueError, match="base"):
        Backoff(base, cap)
