"""Messages of account streams: every form of a value decodes to the same value, and unknown fields are kept."""

import json
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Struct

from backpack_streams.exchange.account_wire import (
    AccountDecoder,
    BalanceUpdate,
    OrderUpdate,
    PositionUpdate,
    RfqUpdate,
)
from backpack_streams.exchange.unknown_fields import MOST_FIELDS, OTHER_FIELDS
from backpack_streams.exchange.wire_errors import UnreadableMessageError
from backpack_streams.exchange.wire_values import Number

KINDS: tuple[type[Struct], ...] = (OrderUpdate, PositionUpdate, RfqUpdate, BalanceUpdate)


def optional_numbers(kind: type[Struct]) -> set[str]:
    return {each.encode_name for each in msgspec.structs.fields(kind) if each.type in (Number | None, int | None)}


whole = st.integers(-(2**63), 2**63 - 1)
digits = st.decimals(allow_nan=False, allow_infinity=False, places=12, min_value=-(10**15), max_value=10**15)
words = st.text(st.characters(codec="utf-8"), max_size=12).filter(lambda text: text.lower() != "null")


def of_type(wanted: str, is_number: bool) -> st.SearchStrategy[tuple[Any, str]]:
    """A value as the struct holds it, and one of its forms on the wire, as JSON text."""
    if wanted.startswith("int"):
        return whole.flatmap(lambda n: st.sampled_from([(n, str(n)), (n, f'"{n}"')]))
    if wanted.startswith("bool"):
        return st.sampled_from([(True, "true"), (False, "false"), (True, '"true"'), (False, '"false"')])
    number = digits.map(lambda d: format(d, "f"))
    return st.one_of(
        words.filter(lambda text: text or not is_number).map(lambda text: (text, json.dumps(text, ensure_ascii=False))),
        number.flatmap(lambda text: st.sampled_from([(text, text), (text, f'"{text}"')])),
        whole.map(lambda n: (str(n), str(n))),
    )


@st.composite
def messages(draw: st.DrawFn) -> tuple[type[Struct], bytes, dict[str, Any], dict[str, str]]:
    """A message type, a message, its values by field, and its unknown fields as JSON texts."""
    kind = draw(st.sampled_from(KINDS))
    values: dict[str, Any] = {}
    texts: list[tuple[str, str]] = []
    for each in msgspec.structs.fields(kind):
        is_number = each.encode_name in optional_numbers(kind)
        form = draw(st.sampled_from(["absent", "null", "value", *(["empty"] if is_number else [])]))
        values[each.name] = None
        if form == "null":
            texts.append((each.encode_name, "null"))
        elif form == "empty":
            texts.append((each.encode_name, '""'))
        elif form == "value":
            values[each.name], text = draw(of_type(str(each.type).removeprefix("<class '").rstrip("'>"), is_number))
            texts.append((each.encode_name, text))
    unknown = draw(
        st.dictionaries(
            st.text(st.characters(codec="utf-8"), min_size=2, max_size=5),
            st.sampled_from(['"new"', "1.50000000000000000000000000001", '{"a": [1, null]}', "[]", "null", "true"]),
            max_size=3,
        )
    )
    body = [f"{json.dumps(name)}:{text}" for name, text in draw(st.permutations([*texts, *unknown.items()]))]
    return kind, ("{" + ",".join(body) + "}").encode(), values, unknown


@given(messages())
def test_every_form_of_a_value_decodes_to_that_value_and_nothing_is_lost(
    made: tuple[type[Struct], bytes, dict[str, Any], dict[str, str]],
) -> None:
    kind, data, values, unknown = made
    decode = AccountDecoder(kind)
    message, extra = decode(data)
    assert {each.name: getattr(message, each.name) for each in msgspec.structs.fields(kind)} == values
    kept = {} if extra is None else msgspec.json.decode(extra, type=dict[str, msgspec.Raw])
    assert {name: bytes(raw).decode() for name, raw in kept.items()} == unknown
    assert decode.unknown_fields == dict.fromkeys(unknown, 1)


def test_names_of_unknown_fields_are_bounded_and_all_fields_are_kept() -> None:
    decode = AccountDecoder(BalanceUpdate)
    for number in range(1_000):
        assert decode(b'{"a":"USDC","new%d":1}' % number)[1] == f'{{"new{number}":1}}'
    assert len(decode.unknown_fields) == MOST_FIELDS + 1
    assert decode.unknown_fields[OTHER_FIELDS] == 1_000 - MOST_FIELDS
    decode(b'{"new0":1}')
    assert decode.unknown_fields["new0"] == 2


def test_position_numbers_keep_every_digit_in_either_form() -> None:
    as_text, _ = AccountDecoder(PositionUpdate)(b'{"b":"4238.4790","i":5411399049,"q":"-0.0010"}')
    as_number, _ = AccountDecoder(PositionUpdate)(b'{"b":4238.4790,"i":"5411399049","q":-0.0010}')
    assert as_text == as_number
    assert Decimal(as_text.break_even_price or 0) == Decimal("4238.479")


@pytest.mark.parametrize("kind", KINDS)
def test_every_account_number_may_be_missing_and_no_name_is_a_number(kind: type[Struct]) -> None:
    numbers = optional_numbers(kind)
    for each in msgspec.structs.fields(kind):
        is_name = each.name.endswith(("_id", "_by")) and "int" not in str(each.type)
        assert not (is_name and each.encode_name in numbers), each.name
        named_so = (
            "price",
            "quantity",
            "notional",
            "fraction",
            "pnl",
            "fee",
            "_time",
            "_ms",
            "available",
            "locked",
            "staked",
        )
        assert not each.name.endswith(named_so) or each.encode_name in numbers, each.name


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"1",
        b'"x"',
        b"{",
        b'{"E":"soon"}',
        b'{"s":{"a":1}}',
        b'{"y":7}',
        '{"c":"\u0661"}'.encode(),
        b'{"zz":NaN}',
    ],
)
def test_nonsense_is_refused(data: bytes) -> None:
    with pytest.raises(UnreadableMessageError):
        AccountDecoder(OrderUpdate)(data)
