"""Where candles begin and end, whatever their records claim."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backpack_streams.exchange.streams import KLINE_INTERVALS
from backpack_streams.exchange.wire_times import micros_from_iso
from backpack_streams.sequencing.candle_times import candle_end, candle_start

HOUR = 3_600_000_000


@pytest.mark.parametrize(
    ("interval", "start", "end"),
    [
        ("1s", "2026-01-31T23:59:59", "2026-02-01T00:00:00"),
        ("3m", "2026-01-31T23:57:00", "2026-02-01T00:00:00"),
        ("1w", "2026-01-29T00:00:00", "2026-02-05T00:00:00"),
        ("1month", "2026-01-01T00:00:00", "2026-02-01T00:00:00"),
        ("1month", "2028-02-01T00:00:00", "2028-03-01T00:00:00"),
        ("1month", "2026-12-01T00:00:00", "2027-01-01T00:00:00"),
    ],
)
def test_a_candle_ends_where_the_next_one_starts(interval: str, start: str, end: str) -> None:
    assert candle_end(interval, micros_from_iso(start)) == micros_from_iso(end)


@pytest.mark.parametrize("interval", ["", "m", "0m", "-1m", "1q", "1quarter", "1.5h", "month"])
def test_an_unknown_interval_is_an_error(interval: str) -> None:
    with pytest.raises(ValueError, match="no interval"):
        candle_end(interval, 0)


@given(st.sampled_from(KLINE_INTERVALS), st.integers(0, 10**19))
def test_every_candle_ends_however_absurd_its_start_is(interval: str, start: int) -> None:
    end = candle_end(interval, start)
    assert end > start
    assert candle_start(interval, start, end) == end


@given(st.integers(0, 10**18), st.integers(0, 10**6))
def test_a_moment_lies_in_the_candle_that_contains_it(start: int, hours: int) -> None:
    at = start + hours * HOUR + HOUR // 2
    found = candle_start("1h", start, at)
    assert (found, candle_end("1h", found)) == (start + hours * HOUR, start + (hours + 1) * HOUR)
