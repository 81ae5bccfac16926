"""Values on the wire: every digit kept, numbers as text and text as numbers, and no float in between."""

import json
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from backpack_streams.exchange.wire_decoding import parse_keeping_digits
from backpack_streams.exchange.wire_errors import UnreadableMessageError
from backpack_streams.exchange.wire_values import iso_time, moment, plain_decimal, whole_number

# Slow tests do not fail.
unhurried = hypothesis_settings(deadline=None)

plain_decimals = st.from_regex(r"-?(0|[1-9][0-9]{0,37})(\.[0-9]{1,38})?", fullmatch=True)
json_numbers = st.from_regex(r"-?(0|[1-9][0-9]{0,20})(\.[0-9]{1,30})?([eE][+-]?[0-4]?[0-9])?", fullmatch=True)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


@unhurried
@given(sent=plain_decimals)
def test_a_plain_decimal_in_a_string_stays_exactly_as_sent(sent: str) -> None:
    assert plain_decimal(parse_keeping_digits(json.dumps(sent).encode())) == sent


@unhurried
@given(number=json_numbers)
@example(number="1e-7")
@example(number="0.2438565367133305404731178000")
@example(number="123456789012345678901234567890.123456789012345678901234567890")
@example(number="0.1")
@example(number="-0E+3")
def test_a_json_number_keeps_its_value_and_loses_its_exponent(number: str) -> None:
    read = plain_decimal(parse_keeping_digits(number.encode()))
    assert Decimal(read) == Decimal(number)
    assert not set(read) - set("-0123456789.")


@unhurried
@given(number=json_numbers)
def test_a_string_with_an_exponent_has_the_value_of_the_same_number(number: str) -> None:
    assert Decimal(plain_decimal(number)) == Decimal(number)


@pytest.mark.parametrize(
    "value",
    [
        *("", " ", "1 ", "N/A", "NaN", "Infinity", "-", ".", "1.2.3", "1,5", "0x10", "١", "1_000"),
        *("1e9999", "1e999999999", "9" * 129, 10**200, None, True, [], {}),
    ],
)
def test_anything_but_a_decimal_is_refused(value: object) -> None:
    with pytest.raises(UnreadableMessageError):
        plain_decimal(value)


@unhurried
@given(value=st.integers(-(2**63), 2**63 - 1))
def test_an_integer_is_the_same_as_a_number_and_as_text(value: int) -> None:
    as_number, as_text = parse_keeping_digits(f'[{value}, "{value}"]'.encode())
    assert whole_number(as_number) == whole_number(as_text) == whole_number(f"{value}.0") == value


@pytest.mark.parametrize(
    "value", ["", "1.5", "1e-1", "abc", None, True, [], 2**63, -(2**63) - 1, str(2**63), "1e30", "9" * 5000]
)
def test_anything_but_a_64_bit_integer_is_refused(value: object) -> None:
    with pytest.raises(UnreadableMessageError):
        whole_number(value)


@pytest.mark.parametrize(
    ("sent", "microseconds"),
    [
        ("1970-01-01T00:00:00", 0),
        ("1970-01-01 00:00:00.000001", 1),
        ("2025-07-19 13:12:00", 1_752_930_720_000_000),
        ("2025-07-19T13:12:00", 1_752_930_720_000_000),
        ("2025-07-19T13:12", 1_752_930_720_000_000),
        ("2025-07-19T13:12:00.5", 1_752_930_720_500_000),
        ("2025-07-19T13:12:00.123456", 1_752_930_720_123_456),
        ("2025-07-19T13:12:00.123456999", 1_752_930_720_123_456),
        ("2025-07-19T13:12:00Z", 1_752_930_720_000_000),
        ("2025-07-19T15:12:00+02:00", 1_752_930_720_000_000),
        ("2025-07-19T11:42:00.25-01:30", 1_752_930_720_250_000),
        ("1969-12-31T23:59:59.999999", -1),
    ],
)
def test_times_are_read_as_utc(sent: str, microseconds: int) -> None:
    assert iso_time(sent) == microseconds


@unhurried
@given(moment=st.datetimes(), separator=st.sampled_from("T "))
def test_every_moment_is_exact_to_the_microsecond(moment: datetime, separator: str) -> None:
    exact = (moment.replace(tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
    assert iso_time(moment.isoformat(sep=separator)) == exact


@pytest.mark.parametrize(
    "value", ["", "2025-07-19", "2025-02-30 00:00:00", "2025-07-19 25:00:00", "19.07.2025 13:12:00", 1752930720, None]
)
def test_an_invalid_time_is_refused(value: object) -> None:
    with pytest.raises(UnreadableMessageError):
        iso_time(value)


def test_a_time_is_iso_text_or_a_number_of_its_unit() -> None:
    assert moment("1752930720123", 1000) == moment("1.752930720123e12", 1000) == 1_752_930_720_123_000
    assert moment("1752930720123456", 1) == moment("2025-07-19T13:12:00.123456", 1000) == 1_752_930_720_123_456
    for value in ("", "soon", "1.5", str(2**62), None, True, []):
        with pytest.raises(UnreadableMessageError):
            moment(value, 1000)


@unhurried
@given(raw=st.binary(max_size=40) | json_values.map(lambda value: json.dumps(value).encode()))
@example(raw=b"[" * 100_000 + b"]" * 100_000)
@example(raw=b'"\xff"')
@example(raw=b"1" * 6_000)
@example(raw=b"")
def test_no_bytes_raise_anything_but_an_unreadable_message(raw: bytes) -> None:
    try:
        decoded = parse_keeping_digits(raw)
    except UnreadableMessageError:
        return
    for read in (plain_decimal, whole_number, iso_time, lambda value: moment(value, 1000)):
        with suppress(UnreadableMessageError):
            read(decoded)
