"""When no subscription stood is on record exactly, whatever the order of events."""

from collections.abc import Iterable
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from backpack_streams.feed import reports
from backpack_streams.feed.coverage import Blind, Coverage

S = "account.orderUpdate"


def bounds(found: Iterable[Blind]) -> list[tuple[str, int, int]]:
    return [(each.reason, each.since_us, each.until_us) for each in found]


def test_a_first_start_of_which_nothing_was_known_is_no_gap() -> None:
    coverage = Coverage([S], 100)
    assert coverage.observe([], 0, 110) == []
    assert coverage.observe([S], 120, 120) == []


def test_what_an_earlier_run_received_last_is_where_the_gap_of_a_restart_begins() -> None:
    coverage = Coverage([S], 100)
    assert coverage.resume({S: 40, "other": 50}) == []
    assert bounds(coverage.observe([S], 120, 121)) == [(reports.RESTART, 40, 121)]
    assert coverage.observe([S], 130, 131) == []


def test_an_earlier_run_may_become_known_after_subscriptions_have_come_and_gone() -> None:
    coverage = Coverage([S], 100)
    assert coverage.observe([S], 150, 160) == []
    coverage.observe([], 155, 170)
    assert bounds(coverage.observe([S], 190, 191)) == [(reports.DISCONNECTED, 150, 191)]
    assert bounds(coverage.resume({S: 40})) == [(reports.RESTART, 40, 160)]


def test_a_refusal_that_ended_before_the_earlier_run_became_known_is_not_told_twice() -> None:
    coverage = Coverage([S], 100)
    coverage.refused(S)
    assert bounds(coverage.observe([S], 150, 160)) == [(reports.SUBSCRIPTION_REFUSED, 100, 160)]
    assert bounds(coverage.resume({S: 40})) == [(reports.RESTART, 40, 100)]


def test_an_outage_runs_from_what_was_heard_last_until_the_subscription_stands_again() -> None:
    coverage = Coverage([S], 100)
    coverage.observe([S], 150, 160)
    assert coverage.observe([], 155, 170) == []
    assert coverage.observe([], 180, 180) == []
    assert bounds(coverage.observe([S], 190, 191)) == [(reports.DISCONNECTED, 150, 191)]


def test_a_subscription_refused_from_the_start_on_is_a_gap_from_the_start_on() -> None:
    coverage = Coverage([S], 100)
    coverage.refused(S)
    assert coverage.observe([], 500, 500) == []
    assert bounds(coverage.observe([S], 900, 901)) == [(reports.SUBSCRIPTION_REFUSED, 100, 901)]


def test_one_refused_after_an_outage_is_one_gap_from_the_outage_on() -> None:
    coverage = Coverage([S], 100)
    coverage.observe([S], 150, 150)
    coverage.observe([], 150, 160)
    coverage.refused(S)
    assert bounds(coverage.observe([S], 900, 901)) == [(reports.SUBSCRIPTION_REFUSED, 150, 901)]


def test_a_stream_that_is_not_watched_is_nobodys_gap() -> None:
    coverage = Coverage([S], 100)
    coverage.refused("other")
    assert coverage.observe(["other"], 120, 120) == []


@given(st.lists(st.tuples(st.booleans(), st.booleans(), st.integers(1, 50)), max_size=60))
def test_every_moment_without_a_subscription_lies_in_a_gap_once_it_stands_again(
    steps: list[tuple[bool, bool, int]],
) -> None:
    """A step: is the subscription standing when it is looked at, was it refused before, how much later is it."""
    now = 1_000
    coverage = Coverage([S], now)
    coverage.resume({S: now})
    gaps: list[Blind] = []
    dark: list[int] = [now + 1]
    for stands, refused, later in [*steps, (True, False, 1)]:
        now += later
        if refused and not stands:
            coverage.refused(S)
        if not stands:
            dark.append(now)
        gaps += coverage.observe([S] if stands else [], now, now)
    assert all(any(gap.since_us <= moment <= gap.until_us for gap in gaps) for moment in dark)
    assert all(early.until_us <= late.since_us for early, late in pairwise(gaps))
