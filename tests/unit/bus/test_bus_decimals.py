"""Numbers keep every digit between text, integers, Avro bytes and `Decimal`; a number that does not fit is refused, never rounded."""

from decimal import Context, Decimal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from backpack_streams.bus import decimals
from backpack_streams.bus.decimals import (
    RATE_SCALE,
    SCALE,
    DecimalBytes,
    DecimalDoesNotFit,
    UnscaledNumbers,
    bytes_from_unscaled,
    decimal_from_bytes,
    plain,
    unscaled_from_text,
)
from backpack_streams.errors import CodecError

EXACT = Context(prec=1000)
LIMIT = 10**38
SCALES = st.sampled_from([0, 1, SCALE, RATE_SCALE])
fitting = st.one_of(st.integers(-(10**6), 10**6), st.integers(1 - LIMIT, LIMIT - 1))


@st.composite
def written(draw: st.DrawFn, unscaled: int, scale: int) -> str:
    """One of the many ways to write a number: padded, signed, with an exponent."""
    number = Decimal(unscaled).scaleb(-scale, EXACT)
    shift = draw(st.integers(-40, 40))
    if draw(st.booleans()):
        shifted = format(number.scaleb(shift, EXACT), "f")
        text = f"{shifted}{draw(st.sampled_from('eE'))}{-shift}"
    else:
        text = format(number, "f")
        zeros = "0" * draw(st.integers(0, 40))
        text += zeros if "." in text else f".{zeros}" if zeros else ""
    sign, digits = ("-", text[1:]) if text.startswith("-") else (draw(st.sampled_from(["", "+"])), text)
    return sign + "0" * draw(st.integers(0, 5)) + digits


@given(st.data(), fitting, SCALES)
def test_every_spelling_of_a_number_keeps_its_value(data: st.DataObject, unscaled: int, scale: int) -> None:
    text = data.draw(written(unscaled, scale))
    assert unscaled_from_text(text, scale) == unscaled
    assert Decimal(text) == Decimal(unscaled).scaleb(-scale, EXACT)


@given(fitting, SCALES)
def test_bytes_give_back_the_same_decimal(unscaled: int, scale: int) -> None:
    data = bytes_from_unscaled(unscaled)
    number = decimal_from_bytes(data, scale)
    assert type(number) is Decimal
    assert number == Decimal(unscaled).scaleb(-scale, EXACT)


@given(fitting)
@example(-128)
@example(-(2**119))
def test_the_bytes_are_the_shortest_twos_complement(unscaled: int) -> None:
    data = bytes_from_unscaled(unscaled)
    assert int.from_bytes(data, "big", signed=True) == unscaled
    if len(data) > 1:
        assert int.from_bytes(data[1:], "big", signed=True) != unscaled


@given(fitting, st.integers(1, 8))
def test_longer_forms_of_other_writers_are_read(unscaled: int, padding: int) -> None:
    sign = b"\xff" if unscaled < 0 else b"\x00"
    padded = sign * padding + bytes_from_unscaled(unscaled)
    assert UnscaledNumbers()[padded] == unscaled


@given(st.integers(0, 37), st.sampled_from(["", "-", "+"]))
def test_38_digits_fit_and_39_do_not(places: int, sign: str) -> None:
    digits = "9" * 38
    text = f"{sign}{digits[: 38 - places]}.{digits[38 - places :]}"
    assert abs(unscaled_from_text(text, places)) == LIMIT - 1
    with pytest.raises(DecimalDoesNotFit):
        unscaled_from_text(f"{sign}9{text.lstrip('+-')}", places)


@given(st.integers(LIMIT, 10**60), SCALES, st.booleans())
def test_a_number_with_too_many_digits_is_refused(unscaled: int, scale: int, negative: bool) -> None:
    number = format(Decimal(-unscaled if negative else unscaled).scaleb(-scale, EXACT), "f")
    with pytest.raises(DecimalDoesNotFit, match="digits"):
        unscaled_from_text(number, scale)


@given(st.integers(0, 10**15), st.integers(1, 20), st.integers(1, 9))
def test_places_beyond_the_scale_are_refused_unless_they_are_zeros(whole: int, beyond: int, digit: int) -> None:
    exact = f"{whole}." + "0" * (SCALE - 1) + "1"
    assert unscaled_from_text(exact + "0" * beyond) == whole * 10**SCALE + 1
    with pytest.raises(DecimalDoesNotFit, match="decimal places"):
        unscaled_from_text(exact + "0" * (beyond - 1) + str(digit))


def test_a_funding_rate_with_28_places_fits_its_scale_and_not_that_of_prices() -> None:
    rate = "0.0002438565367033305404731178"
    assert decimal_from_bytes(DecimalBytes(RATE_SCALE)[rate], RATE_SCALE) == Decimal(rate)
    with pytest.raises(DecimalDoesNotFit):
        DecimalBytes()[rate]


@pytest.mark.parametrize(
    "text",
    ["", ".", "-", "+", "e5", "1e", "NaN", "sNaN", "nan", "Infinity", "-inf", "1,5", "0x10", "1_000", " 1", "1 ", "\n1", "1.2.3", "--1",
     "N/A", "null", "1e99999999999999999999", "9" * 500, "0." + "0" * 300 + "1"],
)  # fmt: skip
def test_anything_but_a_finite_decimal_number_is_refused(text: str) -> None:
    with pytest.raises(DecimalDoesNotFit) as refused:
        unscaled_from_text(text)
    assert len(str(refused.value)) < 200


@given(
    st.text(st.characters(categories=["Nd"]), min_size=1, max_size=6),
    st.sampled_from(["{}", "-{}", "1.{}", "{}e1", "1e{}"]),
)
def test_digits_of_other_scripts_are_not_a_number(text: str, form: str) -> None:
    shown = form.format(text)
    if text.isascii():
        return
    for read in (unscaled_from_text, DecimalBytes().__getitem__):
        with pytest.raises(DecimalDoesNotFit):
            read(shown)


@pytest.mark.parametrize("text", ["1e-1000500", "-7e-2000000", "1e-999999999999999999"])
def test_a_number_too_small_to_hold_is_refused_and_not_taken_for_zero(text: str) -> None:
    with pytest.raises(DecimalDoesNotFit):
        unscaled_from_text(text)


@pytest.mark.parametrize("text", ["0", "-0", "0.00000", "0e5", "-0.0e-400", "0E+30", "000"])
def test_every_spelling_of_zero_is_zero(text: str) -> None:
    assert unscaled_from_text(text) == 0
    assert DecimalBytes()[text] == b"\x00"


@given(st.text(max_size=30))
def test_any_text_is_a_number_or_refused(text: str) -> None:
    try:
        unscaled = unscaled_from_text(text)
    except DecimalDoesNotFit:
        return
    assert Decimal(text).scaleb(SCALE, EXACT) == unscaled


@pytest.mark.parametrize("digits", [401, 1000])
def test_a_long_decimal_of_another_writer_is_exact_or_refused(digits: int) -> None:
    unscaled = 10**digits + 1
    try:
        number = decimal_from_bytes(bytes_from_unscaled(unscaled))
    except CodecError:
        return
    assert number == Decimal(unscaled).scaleb(-SCALE, Context(prec=2000))


@given(fitting)
def test_plain_text_has_no_exponent_and_no_trailing_zeros(unscaled: int) -> None:
    number = decimal_from_bytes(bytes_from_unscaled(unscaled))
    text = plain(number)
    assert Decimal(text) == number
    assert "E" not in text.upper()
    assert text != "-0"
    assert not ("." in text and text.endswith(("0", ".")))


@pytest.mark.parametrize(
    ("number", "text"),
    [("86700.0", "86700"), ("0.00123", "0.00123"), ("1E+5", "100000"), ("0E+3", "0"), ("-0.00", "0"), ("100", "100"), ("-1.50", "-1.5")],
)  # fmt: skip
def test_plain_text_of_known_numbers_is_exact(number: str, text: str) -> None:
    assert plain(Decimal(number)) == text


def test_equal_numbers_are_equal_bytes_in_any_spelling() -> None:
    table = DecimalBytes()
    assert table["86700.0"] == table["86700"] == table["8.67e4"] == table["086700.000"]


def test_caches_of_numbers_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decimals, "_CACHE_ENTRIES", 4)
    table, numbers = DecimalBytes(), UnscaledNumbers()
    for number in range(40):
        assert numbers[table[str(number)]] == number * 10**SCALE
        assert numbers[bytes_from_unscaled(number)] == number
        assert len(table) <= 4
        assert len(numbers) <= 4


def test_a_number_that_does_not_fit_is_not_cached() -> None:
    table = DecimalBytes()
    for _ in range(2):
        with pytest.raises(DecimalDoesNotFit):
            table["abc"]
    assert not table
