"""Candle buckets: every moment is in exactly one; weeks begin on Monday, and months on their first day."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backpack_sandbox.intervals import bucket, naive_iso
from backpack_sandbox.streams import KLINE_INTERVALS


@given(st.sampled_from(KLINE_INTERVALS), st.integers(0, 4_000_000_000))
def test_buckets_tile_time(interval, at_seconds):
    start, end = bucket(interval, at_seconds)
    assert start <= at_seconds < end
    assert bucket(interval, start) == bucket(interval, end - 1) == (start, end)
    assert bucket(interval, end)[0] == end


@pytest.mark.parametrize(
    ("interval", "start", "end"),
    [
        ("2h", "2025-08-06T22:00:00", "2025-08-07T00:00:00"),
        ("1w", "2025-08-04T00:00:00", "2025-08-11T00:00:00"),
        ("1month", "2025-08-01T00:00:00", "2025-09-01T00:00:00"),
    ],
)
def test_known_buckets(interval, start, end):
    at = int(datetime(2025, 8, 6, 23, 30, tzinfo=UTC).timestamp())
    assert tuple(naive_iso(moment) for moment in bucket(interval, at)) == (start, end)


def test_december_ends_with_the_year():
    at = int(datetime(2025, 12, 31, 23, 59, 59, tzinfo=UTC).timestamp())
    assert naive_iso(bucket("1month", at)[1], " ") == "2026-01-01 00:00:00"
