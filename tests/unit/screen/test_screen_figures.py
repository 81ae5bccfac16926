from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backpack_streams.screen.figures import age, compact, count, percent, price
from backpack_streams.screen.lines import Line, Part, Tone, cut, labelled, line, plain_text, width

numbers = st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**20), max_value=10**20, places=18)


def test_prices_keep_every_digit() -> None:
    assert price(Decimal("86700.10")) == "86,700.10"
    assert price(Decimal("1E+3")) == "1,000"
    assert price(Decimal("0.000000000000000001")) == "0.000000000000000001"
    assert price(None) == "–"


@given(numbers)
def test_a_price_is_the_number_itself(number: Decimal) -> None:
    assert Decimal(price(number).replace(",", "")) == number


@pytest.mark.parametrize(
    ("number", "text"),
    [
        ("0", "0"),
        ("0.00001234", "0.000012"),
        ("12.345", "12.34"),
        ("999.999", "1000"),
        ("995000", "995.00K"),
        ("999999", "1.00M"),
        ("-999999999", "-1.00B"),
        ("1234", "1.23K"),
        ("-1234567", "-1.23M"),
        ("2500000000", "2.50B"),
        ("1234567000000000000", "1,234,567.00T"),
    ],
)
def test_volumes_are_short(number: str, text: str) -> None:
    assert compact(Decimal(number)) == text


@given(numbers)
def test_a_short_figure_has_no_exponent(number: Decimal) -> None:
    assert "E" not in compact(number)
    assert "E" not in percent(number)


@pytest.mark.parametrize(
    ("fraction", "text"),
    [("0.0125", "+1.25%"), ("-0.3", "-30.00%"), ("0", "0.00%"), ("-0.00000001", "0.00%"), ("12.5", "+1,250.00%")],
)
def test_percentages_are_signed(fraction: str, text: str) -> None:
    assert percent(Decimal(fraction)) == text


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [
        (-5, "0 ms"),
        (999, "999 ms"),
        (1_290, "1.2 s"),
        (10_000, "10 s"),
        (119_999, "119 s"),
        (120_000, "2 min"),
        (7_200_000, "2 h"),
        (172_800_000, "2 d"),
        (None, "–"),
    ],
)
def test_ages(milliseconds: int | None, text: str) -> None:
    assert age(milliseconds) == text


def test_counts_are_grouped() -> None:
    assert (count(1234567), count(None)) == ("1,234,567", "–")


# ---- lines

parts = st.lists(st.builds(Part, st.text(max_size=12), st.sampled_from(Tone)), max_size=6)


@given(parts, st.integers(0, 40))
def test_a_cut_line_is_never_too_wide_and_is_marked_as_cut(made: list[Part], columns: int) -> None:
    whole = line(*made)
    short = cut(whole, columns)
    assert width(short) <= columns or short == whole
    assert width(short) == min(width(whole), columns)
    if short != whole and columns:
        assert short[-1].text == "…"


def test_text_of_a_record_does_not_reach_the_terminal_as_a_command() -> None:
    shown: Line = labelled("books", ["\x1b[2JSOL", Part("https://me:secret@host", Tone.BAD)])
    assert plain_text(shown) == "books     \\x1b[2JSOLhttps://***@host"
