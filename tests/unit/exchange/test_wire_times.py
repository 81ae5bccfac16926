"""Times on the wire are exact, and an impossible time is not taken for one."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backpack_streams.exchange.wire_errors import UnreadableMessageError
from backpack_streams.exchange.wire_times import (
    EARLIEST_US,
    LATEST_US,
    micros_from_iso,
    micros_of_any_unit,
    sane_time_us,
)


@given(st.datetimes(datetime(1970, 1, 1), datetime(2100, 1, 1)), st.sampled_from(["T", " "]))  # noqa: DTZ001  # the wire has no zone
def test_a_time_without_a_zone_is_utc_to_the_microsecond(moment: datetime, separator: str) -> None:
    since = moment.replace(tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)
    assert micros_from_iso(moment.isoformat(separator)) == since // timedelta(microseconds=1)


@pytest.mark.parametrize(
    ("text", "micros"),
    [
        ("1970-01-01T00:00:00", 0),
        ("2025-08-06T22:00:00", 1_754_517_600_000_000),
        ("2025-07-19 13:12:00", 1_752_930_720_000_000),
        ("2025-08-06T22:00:00Z", 1_754_517_600_000_000),
        ("2025-08-06T22:00:00.000001", 1_754_517_600_000_001),
        ("2025-08-07T00:00:00+02:00", 1_754_517_600_000_000),
        ("1969-12-31T23:59:59.999999", -1),
    ],
)
def test_known_times(text: str, micros: int) -> None:
    assert micros_from_iso(text) == micros


@pytest.mark.parametrize("text", ["", "now", "2025-13-01T00:00:00", "1754517600", "2025-08-06T25:00:00"])
def test_an_invalid_time_is_unreadable(text: str) -> None:
    with pytest.raises(UnreadableMessageError, match="ISO 8601"):
        micros_from_iso(text)


@given(st.integers(1_000_000_000, 99_999_999_999), st.booleans())
def test_a_time_without_a_unit_gets_its_unit_from_its_size(seconds: int, as_text: bool) -> None:
    for unit in (1, 10**3, 10**6, 10**9):
        moment = seconds * unit
        assert micros_of_any_unit(str(moment) if as_text else moment) == seconds * 10**6


def test_a_time_in_milliseconds_is_kept_and_iso_8601_is_accepted_too() -> None:
    assert micros_of_any_unit(1_790_134_357_267) == 1_790_134_357_267_000
    assert micros_of_any_unit(1_790_134_357_267_289) == 1_790_134_357_267_289
    assert micros_of_any_unit("2025-08-06T22:00:00") == 1_754_517_600_000_000


@pytest.mark.parametrize("moment", [-1, "-1", "", "now", "9" * 5000, 10**40, "1.5", "\u0661\u0662"])
def test_an_invalid_number_of_time_units_is_unreadable(moment: int | str) -> None:
    with pytest.raises(UnreadableMessageError):
        micros_of_any_unit(moment)


@pytest.mark.parametrize("text", ["\uff12025-08-06T22:00:00", "2025-08-06T22:00:0\u0663"])
def test_digits_of_other_scripts_are_no_time(text: str) -> None:
    with pytest.raises(UnreadableMessageError, match="ISO 8601"):
        micros_from_iso(text)


def test_a_plausible_time_is_of_this_century() -> None:
    assert datetime.fromtimestamp(EARLIEST_US / 1e6, UTC) == datetime(2000, 1, 1, tzinfo=UTC)
    assert datetime.fromtimestamp(LATEST_US / 1e6, UTC) == datetime(2100, 1, 1, tzinfo=UTC)
    assert sane_time_us(EARLIEST_US) == EARLIEST_US
    assert sane_time_us(LATEST_US - 1) == LATEST_US - 1


@pytest.mark.parametrize(
    "moment",
    [
        None,
        -5,
        0,
        1,
        1_790_134_357,
        1_790_134_357_267,
        EARLIEST_US - 1,
        LATEST_US,
        1_790_134_357_267_289_000,
        2**62,
        2**80,
    ],
)
def test_an_implausible_time_is_replaced_by_the_next_one(moment: int | None) -> None:
    assert sane_time_us(moment) == 0
    assert sane_time_us(moment, 1_790_134_357_267_289) == 1_790_134_357_267_289
    assert sane_time_us(1_790_134_357_267_289, moment) == 1_790_134_357_267_289
