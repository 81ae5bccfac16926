"""Field reading: every digit kept, numbers as text and text as numbers, and no float in between."""

import json
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from backpack_streams.exchange.rest_fields import (
    FieldError,
    Row,
    boolean,
    decimal_text,
    decode_exact,
    integer,
    text,
    time_us,
)

# No test fails for being slow.
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
    assert decimal_text(decode_exact(json.dumps(sent).encode())) == sent


@unhurried
@given(number=json_numbers)
@example(number="1e-7")
@example(number="0.2438565367133305404731178000")
@example(number="123456789012345678901234567890.123456789012345678901234567890")
@example(number="0.1")
@example(number="-0E+3")
def test_a_json_number_keeps_its_value_and_loses_its_exponent(number: str) -> None:
    read = decimal_text(decode_exact(number.encode()))
    assert Decimal(read) == Decimal(number)
    assert not set(read) - set("-0123456789.")


@unhurried
@given(number=json_numbers)
def test_a_string_with_an_exponent_has_the_value_of_the_same_number(number: str) -> None:
    assert Decimal(decimal_text(number)) == Decimal(number)


@pytest.mark.parametrize(
    "value",
    [
        *("", " ", "1 ", "N/A", "NaN", "Infinity", "-", ".", "1.2.3", "1,5", "0x10", "١", "1_000"),
        *("1e9999", "1e999999999", "9" * 129, 10**200, None, True, [], {}),
    ],
)
def test_what_is_no_decimal_is_refused(value: object) -> None:
    with pytest.raises(FieldError):
        decimal_text(value)


@unhurried
@given(value=st.integers(-(2**63), 2**63 - 1))
def test_an_integer_is_the_same_as_number_and_as_text(value: int) -> None:
    assert integer(value) == integer(str(value)) == integer(f"{value}.0") == value


@pytest.mark.parametrize(
    "value", ["", "1.5", "1e-1", "abc", None, True, [], 2**63, -(2**63) - 1, str(2**63), "1e30", "9" * 5000]
)
def test_what_is_no_64_bit_integer_is_refused(value: object) -> None:
    with pytest.raises(FieldError):
        integer(value)


def test_truth_values_and_texts_tolerate_the_other_form() -> None:
    assert [boolean(value) for value in (True, False, "true", "false")] == [True, False, True, False]
    assert [text(value) for value in ("BTC", 42)] == ["BTC", "42"]
    no_truth_values: tuple[object, ...] = (1, 0, "yes", None, [])
    for value in no_truth_values:
        with pytest.raises(FieldError):
            boolean(value)
    no_texts: tuple[object, ...] = (None, True, [], {})
    for value in no_texts:
        with pytest.raises(FieldError):
            text(value)


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
    assert time_us(sent) == microseconds


@unhurried
@given(moment=st.datetimes(), separator=st.sampled_from("T "))
def test_every_moment_is_exact_to_the_microsecond(moment: datetime, separator: str) -> None:
    exact = (moment.replace(tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
    assert time_us(moment.isoformat(sep=separator)) == exact


@pytest.mark.parametrize(
    "value", ["", "2025-07-19", "2025-02-30 00:00:00", "2025-07-19 25:00:00", "19.07.2025 13:12:00", 1752930720, None]
)
def test_what_is_no_time_is_refused(value: object) -> None:
    with pytest.raises(FieldError):
        time_us(value)


def test_a_row_reads_required_and_optional_fields_and_names_what_is_wrong() -> None:
    row = Row({"symbol": "BTC_USDC", "price": 1, "empty": None, "bad": "x", "new": 1, "newer": 2})
    assert row.text("symbol") == "BTC_USDC"
    assert row.optional_decimal("price") == "1"
    assert row.optional_decimal("empty") is None
    assert row.optional_integer("absent") is None
    assert row.optional_decimal("bad", absent=("x",)) is None
    with pytest.raises(FieldError, match="field `bad`: not a decimal number"):
        row.decimal("bad")
    with pytest.raises(FieldError, match="field `empty` is null"):
        row.decimal("empty")
    with pytest.raises(FieldError, match="field `absent` is missing"):
        row.decimal("absent")
    row.leave("newer")
    assert row.unknown() == {"new"}


def test_an_optional_number_that_is_empty_text_is_absent_and_a_required_one_is_wrong() -> None:
    row = Row({"a": "", "text": ""})
    assert row.optional_decimal("a") is row.optional_integer("a") is row.optional_moment_us("a", 1000) is None
    assert row.optional_moment_us("absent", 1000) is None
    assert row.optional_text("text") == ""
    for read in (row.decimal, row.integer, lambda name: row.moment_us(name, 1000)):
        with pytest.raises(FieldError, match="field `a`"):
            read("a")
    assert Row({"a": "7"}).optional_moment_us("a", 1000) == 7000


def test_nested_objects_and_arrays_may_be_absent_but_not_something_else() -> None:
    row = Row({"object": {"a": 1}, "array": [1], "null": None})
    assert row.nested("object").integer("a") == 1
    assert row.nested("null").optional_text("a") is row.nested("absent").optional_text("a") is None
    assert (row.items("array"), row.items("null"), row.items("absent")) == ([1], [], [])
    with pytest.raises(FieldError, match="field `array`: not an object"):
        row.nested("array")
    with pytest.raises(FieldError, match="field `object`: not an array"):
        row.items("object")


@unhurried
@given(raw=st.binary(max_size=40) | json_values.map(lambda value: json.dumps(value).encode()))
@example(raw=b"[" * 100_000 + b"]" * 100_000)
@example(raw=b'"\xff"')
@example(raw=b"1" * 6_000)
@example(raw=b"")
def test_no_bytes_raise_anything_but_a_field_error(raw: bytes) -> None:
    try:
        decoded = decode_exact(raw)
    except FieldError:
        return
    for read in (decimal_text, integer, boolean, text, time_us, Row):
        with suppress(FieldError):
            read(decoded)
