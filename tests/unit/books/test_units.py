import decimal
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backpack_streams.books.units import UNITS_PER_ONE, exact_decimal, plain, to_units
from backpack_streams.errors import BookError

UNITS = st.integers(-(10**38) + 1, 10**38 - 1)


@pytest.mark.parametrize(
    ("units", "written"),
    [
        (0, "0"),
        (86_700 * UNITS_PER_ONE, "86700"),
        (UNITS_PER_ONE * 123 // 100_000, "0.00123"),
        (1, "0.000000000000000001"),
        (-UNITS_PER_ONE // 2, "-0.5"),
        (10**38 - 1, "99999999999999999999.999999999999999999"),
    ],
)
def test_plain_has_every_digit_no_trailing_zero_and_no_exponent(units: int, written: str) -> None:
    assert plain(units) == written


@given(UNITS)
def test_plain_equals_decimal_without_an_exponent(units: int) -> None:
    with decimal.localcontext(prec=60):
        written = f"{Decimal(units).scaleb(-18):f}"
    if "." in written:
        written = written.rstrip("0").rstrip(".")
    assert plain(units) == ("0" if written == "-0" else written)


@given(UNITS)
def test_units_survive_the_round_trip_through_a_decimal_in_any_context(units: int) -> None:
    with decimal.localcontext(prec=3):
        assert to_units(exact_decimal(units)) == units
        assert to_units(plain(units)) == units


@given(UNITS, st.sampled_from([0, 1, 12, 13, 18, 19, 36]))
def test_a_decimal_equals_its_plain_text(units: int, scale: int) -> None:
    with decimal.localcontext(prec=3):
        assert repr(exact_decimal(units, scale)) == repr(Decimal(plain(units, scale)))


def test_one_value_in_several_spellings_is_one_number_of_units() -> None:
    spellings = ["86700.0", "86700", "8.67E+4", Decimal("86700.000000000000000000000"), 86_700]
    assert {to_units(spelling) for spelling in spellings} == {86_700 * UNITS_PER_ONE}
    assert to_units("-0") == to_units("0E+999999") == 0


@pytest.mark.parametrize(
    "value",
    ["0.1234567890123456789", "1E-999999", "1E+20", "1E+999999", 10**20, "NaN", "Infinity", "ten", "", 0.5, True, None],
)
def test_a_value_that_cannot_be_held_exactly_is_refused(value: Any) -> None:
    with pytest.raises(BookError):
        to_units(value)
