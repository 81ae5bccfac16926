"""JSON of the gateway: every digit arrives, as a number or as a string, and nothing passes through a float."""

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backpack_streams.books.units import UNITS_LIMIT, exact_decimal
from backpack_streams.gateway.json_text import Levels, encode, encode_pairs, fields

decimals = st.decimals(allow_nan=False, allow_infinity=False, min_value=Decimal("-1e20"), max_value=Decimal("1e20"))
units = st.integers(min_value=0, max_value=UNITS_LIMIT - 1)
levels = st.lists(st.tuples(units, units), max_size=20)
rows = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text() | decimals,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


def read(text: bytes) -> Any:
    return json.loads(text, parse_float=Decimal, parse_int=Decimal)


def as_decimals(value: Any) -> Any:
    """The value with each number as a `Decimal`, as `read` returns it."""
    if isinstance(value, dict):
        return {name: as_decimals(each) for name, each in value.items()}
    if isinstance(value, list):
        return [as_decimals(each) for each in value]
    if isinstance(value, int) and not isinstance(value, bool):
        return Decimal(value)
    return value


@given(rows)
def test_everything_written_is_read_back_with_every_digit(row: Any) -> None:
    assert read(encode(row)) == as_decimals(row)


@given(decimals)
def test_a_decimal_is_plain_and_canonical(value: Decimal) -> None:
    text = encode(value).decode()
    assert encode(value, "string").decode() == f'"{text}"'
    assert Decimal(text) == value
    assert not set(text) - set("-0123456789.")
    assert text == "0" or not text.startswith("-0") or "." in text
    assert "." not in text or text[-1] != "0"


@given(levels)
def test_levels_are_written_with_every_digit(pairs: list[tuple[int, int]]) -> None:
    expected = [(exact_decimal(price), exact_decimal(size)) for price, size in pairs]
    assert [(each["price"], each["size"]) for each in read(encode(Levels(pairs)))] == expected
    assert [tuple(each) for each in read(encode_pairs(pairs))] == expected
    texts = json.loads(encode(Levels(pairs), "string"))
    assert [(Decimal(each["price"]), Decimal(each["size"])) for each in texts] == expected
    assert [tuple(map(Decimal, each)) for each in json.loads(encode_pairs(pairs, "string"))] == expected


def test_a_funding_rate_of_28_digits_is_written_exactly() -> None:
    rate = Decimal("0.0002438565367033305404731178")
    assert encode({"funding_rate": rate}) == b'{"funding_rate":0.0002438565367033305404731178}'


def test_fields_are_an_object_without_its_braces() -> None:
    assert fields({"a": Decimal("1.50"), "b": None}) == b'"a":1.5,"b":null'
    assert fields({}) == b""


@pytest.mark.parametrize("value", [1.5, Decimal("NaN"), Decimal("-Infinity"), object(), {"a": [0.1]}])
def test_a_value_without_an_exact_form_is_refused(value: Any) -> None:
    with pytest.raises(TypeError):
        encode(value)
