"""Quotas: no second, wherever it begins, and no month has more requests than the tier allows."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backpack_streams.gateway.access_errors import TooManyRequestsError
from backpack_streams.gateway.quotas import Quota, Usage
from backpack_streams.gateway.tiers import TIERS, Tier

NOVEMBER = datetime(2026, 11, 30, 23, 59, 58, tzinfo=UTC)


def is_admitted(quota: Quota, monotonic: float, now: datetime = NOVEMBER) -> bool:
    try:
        quota.admit(monotonic, now)
    except TooManyRequestsError as error:
        return not error.retry_after_seconds  # each refusal says when to come back
    return True


def test_the_tiers_are_the_documented_ones() -> None:
    limits = [(each.requests_per_second, each.requests_per_month) for each in TIERS.values()]
    assert limits == [(3, 15_000), (8, 330_000), (20, 1_700_000), (60, 9_000_000), (None, None)]


@given(st.integers(1, 8), st.lists(st.floats(0, 0.7), min_size=1, max_size=80))
def test_no_second_holds_more_than_the_tier_allows(most: int, steps: list[float]) -> None:
    quota, now, admitted = Quota(Tier("t", most, None)), 1000.0, []
    for step in steps:
        now += step
        if is_admitted(quota, now):
            admitted.append(now)
        else:  # refused only when that second is full
            assert sum(1 for each in admitted if each + 1.0 > now) >= most
    for first in admitted:
        assert sum(1 for each in admitted if first <= each < first + 1.0) <= most


def test_a_refused_request_gets_a_retry_time_and_costs_nothing() -> None:
    quota = Quota(TIERS["basic"])
    assert [is_admitted(quota, 5.0) for _ in range(5)] == [True, True, True, False, False]
    assert quota.usage.count("2026-11") == 3
    assert not is_admitted(quota, 5.999)
    assert is_admitted(quota, 6.0)


@given(st.integers(1, 20), st.lists(st.integers(0, 40 * 86_400), min_size=1, max_size=60))
def test_no_month_holds_more_than_the_tier_allows_whatever_the_clock_does(most: int, seconds: list[int]) -> None:
    quota = Quota(Tier("t", None, most))
    admitted: dict[str, int] = {}
    for number, second in enumerate(seconds):  # the wall clock jumps back and forth between two months
        now = datetime(2026, 11, 25, tzinfo=UTC) + timedelta(seconds=second)
        month = now.strftime("%Y-%m")
        assert is_admitted(quota, float(number), now) == (admitted.get(month, 0) < most)
        admitted[month] = min(admitted.get(month, 0) + 1, most)


def test_a_month_is_one_of_utc_and_its_end_is_reported() -> None:
    quota = Quota(Tier("t", None, 1))
    tokyo = timezone(timedelta(hours=9))
    assert is_admitted(quota, 0.0, datetime(2026, 12, 1, 8, 0, tzinfo=tokyo))  # still November in UTC
    with pytest.raises(TooManyRequestsError, match="2026-11") as raised:
        quota.admit(1.0, NOVEMBER)
    assert raised.value.retry_after_seconds == 2
    assert is_admitted(quota, 2.0, NOVEMBER + timedelta(seconds=2))


def test_a_changed_tier_counts_earlier_requests() -> None:
    quota = Quota(TIERS["pro"])
    assert all(is_admitted(quota, 1.0) for _ in range(8))
    quota.tier = TIERS["basic"]
    assert not is_admitted(quota, 1.5)
    quota.tier = TIERS["unlimited"]
    assert all(is_admitted(quota, 1.5) for _ in range(100))


def test_old_months_are_forgotten() -> None:
    usage = Usage()
    for month in ("2026-10", "2026-11", "2026-12", "2027-01"):
        usage.add(month)
    assert [usage.count(month) for month in ("2026-10", "2026-11", "2027-01")] == [0, 1, 1]
