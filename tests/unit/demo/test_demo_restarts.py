from itertools import pairwise
from random import Random

import pytest

from backpack_streams.demo.restarts import (
    FIRST_RESTART_SECONDS,
    LONGEST_RESTART_SECONDS,
    MOST_FAILED_STARTS,
    STEADY_SECONDS,
    WRONG_USAGE_EXIT_CODE,
    Restarts,
)

KILLED = -9


class LargestDraw(Random):
    """Draws the upper bound."""

    def uniform(self, a: float, b: float) -> float:
        return max(a, b)


def restarts(most_failed_starts: int = MOST_FAILED_STARTS) -> Restarts:
    return Restarts(most_failed_starts, LargestDraw())


@pytest.mark.parametrize("exit_code", [KILLED, 0, 1, WRONG_USAGE_EXIT_CODE, None])
def test_a_program_that_has_been_ready_is_always_restarted(exit_code: int | None) -> None:
    after = restarts(most_failed_starts=1)
    assert after.delay_seconds(exit_code, at=10.0, ready_at=5.0) is not None
    for end in range(20):
        assert after.delay_seconds(exit_code, at=20.0 + end, ready_at=None) is not None


def test_wrong_usage_is_not_retried() -> None:
    after = restarts()
    assert after.delay_seconds(WRONG_USAGE_EXIT_CODE, at=10.0, ready_at=None) is None
    assert after.ends == 1


@pytest.mark.parametrize("exit_code", [KILLED, 0, 1, None])
def test_a_program_that_is_never_ready_is_given_up_after_a_few_starts(exit_code: int | None) -> None:
    after = restarts()
    delays = [after.delay_seconds(exit_code, at=end, ready_at=None) for end in range(MOST_FAILED_STARTS)]
    assert None not in delays[:-1]
    assert delays[-1] is None
    assert after.ends == MOST_FAILED_STARTS


def test_delays_grow_up_to_the_longest() -> None:
    after = restarts()
    delays = [after.delay_seconds(KILLED, at=10.0 * end + 2, ready_at=10.0 * end) or 0.0 for end in range(1, 12)]
    assert delays[0] == FIRST_RESTART_SECONDS
    assert all(second > first or second == LONGEST_RESTART_SECONDS for first, second in pairwise(delays))
    assert delays[-1] == LONGEST_RESTART_SECONDS


def test_a_program_that_was_ready_for_long_is_restarted_as_quickly_as_at_first() -> None:
    after = restarts()
    for end in range(1, 6):
        after.delay_seconds(KILLED, at=10.0 * end + 2, ready_at=10.0 * end)
    assert after.delay_seconds(KILLED, at=100.0 + STEADY_SECONDS, ready_at=100.0) == FIRST_RESTART_SECONDS
