"""Text of decimals: padded, trimmed, never rounded, never an exponent."""

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from backpack_sandbox.decimals import padded, plain, trim, trimmed


@given(st.integers(-(10**40), 10**40), st.integers(0, 30))
def test_padded_and_trimmed_keep_the_value(value, places):
    exact = Decimal(value).scaleb(-places) if abs(value) < 10**27 else None
    text = padded(value, places)
    assert len(text.partition(".")[2]) == places
    assert text.replace(".", "").lstrip("-").lstrip("0") == str(abs(value)).lstrip("0")
    short = trimmed(value, places)
    assert "." not in short or not short.endswith("0")
    if exact is not None:
        assert Decimal(text) == Decimal(short) == exact


@given(st.decimals(allow_nan=False, allow_infinity=False, places=12))
def test_plain_keeps_the_value_without_exponent_or_trailing_zeros(value):
    text = plain(value)
    assert Decimal(text) == value
    assert "E" not in text.upper()
    assert "." not in text or not text.endswith("0")


def test_examples():
    assert padded(8667000, 2) == "86670.00"
    assert padded(0, 5) == "0.00000"
    assert trim("86700.0") == "86700"
    assert trim("100") == "100"
    assert trimmed(-520700, 3) == "-520.7"
    assert plain(Decimal("1E+3")) == "1000"
