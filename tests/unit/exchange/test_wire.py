"""Messages are read as loosely as the exchange writes them, and no digit is lost."""

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Raw, Struct
from msgspec.structs import astuple, fields

from backpack_streams.exchange.unknown_fields import MOST_FIELDS, OTHER_FIELDS
from backpack_streams.exchange.wire import (
    BookTicker,
    Depth,
    ExternalTicker,
    Kline,
    Liquidation,
    MarkPrice,
    NewEnvelopes,
    OpenInterest,
    StockPrice,
    Ticker,
    Trade,
    open_new_envelope,
)
from backpack_streams.exchange.wire_decoding import Decoder, parse_keeping_digits
from backpack_streams.exchange.wire_errors import UnreadableMessageError

KINDS: list[type[Struct]] = [
    BookTicker, Depth, ExternalTicker, Kline, Liquidation, MarkPrice, OpenInterest, StockPrice, Ticker, Trade,
]  # fmt: skip
DEPTH = b'{"E":5,"T":4,"s":"X","U":1,"u":2,"a":[["1.50","0.00"]],"b":[],"e":"depth"}'
EXPECTED: tuple[object, ...] = (5, 4, "X", 1, 2, [("1.50", "0.00")], [], "depth")
digits = st.from_regex(r"(0|[1-9][0-9]{0,30})(\.[0-9]{1,30})?([eE][+-]?[0-9]{1,2})?", fullmatch=True)


# ---- numbers


@given(digits, digits, st.booleans(), st.booleans())
def test_every_digit_of_a_number_is_kept_bare_or_as_text(
    price: str, size: str, price_bare: bool, size_bare: bool
) -> None:
    shown = [number if bare else f'"{number}"' for number, bare in ((price, price_bare), (size, size_bare))]
    message = Decoder(Depth)(f'{{"E":5,"s":"X","U":1,"u":2,"b":[[{shown[0]},{shown[1]}]]}}'.encode())
    assert message.bids == [(price, size)]


@given(st.integers(-(2**63), 2**63 - 1), st.booleans())
def test_a_whole_number_may_be_text(number: int, as_text: bool) -> None:
    shown = f'"{number}"' if as_text else str(number)
    message = Decoder(Depth)(f'{{"E":{shown},"T":{shown},"s":"X","U":{shown},"u":{shown}}}'.encode())
    assert (message.event_time, message.engine_time, message.first_update_id, message.last_update_id) == (number,) * 4


@pytest.mark.parametrize("shown", ["9007199254740993.0", '"9007199254740993.0"', '"9007199254740.993e3"'])
def test_a_whole_number_with_a_zero_fraction_is_exact(shown: str) -> None:
    assert Decoder(Trade)(f'{{"E":1,"s":"X","t":{shown},"p":"1","q":"1","m":true}}'.encode()).trade_id == 2**53 + 1


@pytest.mark.parametrize("shown", ["true", '"true"'])
def test_a_boolean_may_be_text(shown: str) -> None:
    message = Decoder(Trade)(f'{{"E":1,"s":"X","t":1,"p":"1","q":"1","m":{shown}}}'.encode())
    assert message.is_buyer_maker is True


def test_order_ids_may_be_numbers_of_any_length() -> None:
    message = Decoder(Trade)(
        b'{"E":1,"s":"X","t":1,"p":1,"q":1.50,"m":false,"b":113782701997686784,"a":99999999999999999999999}'
    )
    assert (message.buyer_order_id, message.seller_order_id) == ("113782701997686784", "99999999999999999999999")
    assert (message.price, message.quantity) == ("1", "1.50")


@given(digits)
def test_digits_survive_parsing(number: str) -> None:
    assert parse_keeping_digits(f'{{"n":[{number}]}}'.encode()) == {"n": [number]}


json_values = st.recursive(
    st.none() | st.booleans() | st.decimals(allow_nan=False, allow_infinity=False, places=3) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
)


@given(json_values)
def test_parsing_keeps_everything_else_as_in_json(value: Any) -> None:
    class Exact(json.JSONEncoder):
        def default(self, o: Any) -> Any:
            return f"\0{o}\0"

    def as_text(node: Any) -> Any:
        if isinstance(node, Decimal):
            return str(node)
        if isinstance(node, list):
            return [as_text(item) for item in node]
        return {key: as_text(item) for key, item in node.items()} if isinstance(node, dict) else node

    text = json.dumps(value, cls=Exact).replace('"\\u0000', "").replace('\\u0000"', "")
    if "\\u0000" not in json.dumps(as_text(value)):
        assert parse_keeping_digits(text.encode()) == as_text(value)


# ---- missing, new and unusual fields


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=25)
@given(data=st.data())
def test_null_and_absent_are_the_same_for_optional_fields(kind: type[Struct], data: st.DataObject) -> None:
    values = REQUIRED | ({"t": 7, "T": 5} if kind is not Kline else {})
    required = {
        field: value for field, value in values.items() if field in ENCODED[kind] and field not in OPTIONAL[kind]
    }
    chosen = data.draw(st.sets(st.sampled_from(sorted(OPTIONAL[kind]))))
    decode = Decoder(kind)
    with_nulls, without = json.dumps(required | dict.fromkeys(chosen)), json.dumps(required)
    assert astuple(decode(with_nulls.encode())) == astuple(decode(without.encode()))


REQUIRED = {
    "E": 1, "s": "X", "U": 1, "u": 1, "t": "2025-01-01T00:00:00", "T": "2025-01-01T00:01:00", "p": "1", "q": "1", "m": True, "X": False,
    "S": "Bid", "symbol": "X", "timestamp": 1_800_000_000_000,
}  # fmt: skip
ENCODED = {kind: set(kind.__struct_encode_fields__) for kind in KINDS}
OPTIONAL = {kind: {each.encode_name for each in fields(kind) if not each.required} for kind in KINDS}
REQUIRED_OF_TRADE = {"E": 1, "s": "X", "t": 7, "p": "1", "q": "1", "m": True}


@pytest.mark.parametrize("field", sorted(REQUIRED_OF_TRADE))
@pytest.mark.parametrize("how", ["missing", "null", "senseless"])
def test_a_missing_required_field_is_named(field: str, how: str) -> None:
    message: dict[str, Any] = dict(REQUIRED_OF_TRADE)
    if how == "missing":
        del message[field]
    else:
        message[field] = None if how == "null" else [1]
    with pytest.raises(UnreadableMessageError, match=rf"Trade.*[`.]{field}`"):
        Decoder(Trade)(json.dumps(message).encode())


@given(st.permutations(list(json.loads(DEPTH).items())))
def test_the_order_of_keys_does_not_matter(items: list[tuple[str, Any]]) -> None:
    assert astuple(Decoder(Depth)(json.dumps(dict(items)).encode())) == EXPECTED


def test_raw_data_is_read_like_bytes() -> None:
    for data in (DEPTH, DEPTH.replace(b'"E":5', b'"E":"5"')):
        assert astuple(Decoder(Depth)(Raw(data))) == EXPECTED


# ---- empty text for an optional number


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=25)
@given(data=st.data())
def test_an_optional_number_that_is_empty_text_is_absent(kind: type[Struct], data: st.DataObject) -> None:
    numbers = OPTIONAL[kind] - NO_NUMBERS.get(kind, {"e"})
    values = REQUIRED | {"timestamp": "1800000000000"} | ({"t": 7, "T": 5} if kind is not Kline else {})
    message = {name: value for name, value in values.items() if name in ENCODED[kind] and name not in OPTIONAL[kind]}
    chosen = data.draw(st.sets(st.sampled_from(sorted(numbers)), min_size=1)) if numbers else set()
    decode = Decoder(kind)
    with_empty = json.dumps(message | dict.fromkeys(chosen, "")).encode()
    assert astuple(decode(with_empty)) == astuple(decode(json.dumps(message).encode()))
    assert decode.unknown_fields == {}


NO_NUMBERS: dict[type[Struct], set[str]] = {
    Depth: {"e", "a", "b"},
    Trade: {"e", "a", "b"},
    StockPrice: {"e", "session"},
}


@pytest.mark.parametrize(
    ("kind", "field"),
    [
        *((Trade, name) for name in ("E", "t", "p", "q")),
        *((MarkPrice, name) for name in ("E", "p")),
        *((Liquidation, name) for name in ("E", "p", "q")),
        *((BookTicker, "u"), (Depth, "U"), (Depth, "u")),
    ],
)
def test_a_required_number_may_not_be_empty_text(kind: type[Struct], field: str) -> None:
    values = REQUIRED | {"t": 7, "T": 5}
    message = {name: value for name, value in values.items() if name in ENCODED[kind]}
    Decoder(kind)(json.dumps(message).encode())
    with pytest.raises(UnreadableMessageError, match=rf"{kind.__name__}.*\.{field}`"):
        Decoder(kind)(json.dumps(message | {field: ""}).encode())


# ---- levels with more than two parts


@given(st.lists(st.tuples(digits, digits, st.lists(json_values, max_size=2)), max_size=4), st.sampled_from("ab"))
def test_a_level_may_have_more_than_a_price_and_a_quantity(levels: list[tuple[str, str, list[Any]]], side: str) -> None:
    decode = Decoder(Depth)
    sent = [[price, quantity, *more] for price, quantity, more in levels]
    message = decode(json.dumps(json.loads(DEPTH) | {"a": [], "b": [], side: sent}, default=float).encode())
    taken = message.asks if side == "a" else message.bids
    assert taken == [(price, quantity) for price, quantity, _ in levels]
    assert decode.unknown_fields == ({f"{side}[]": 1} if any(more for *_, more in levels) else {})


# ---- envelopes


ENVELOPE = b'{"data":%s,"ts":1,"stream":"depth.X"}' % DEPTH


def test_an_envelope_with_a_new_field_is_opened_and_the_field_counted_by_sampling() -> None:
    opened = NewEnvelopes()
    for _ in range(NewEnvelopes.SAMPLE + 1):
        envelope = opened(ENVELOPE)
        assert envelope.stream == "depth.X"
        assert bytes(envelope.data) == DEPTH
    assert opened.unknown_fields == {"ts": 2}


@given(st.dictionaries(st.text(max_size=4), json_values, max_size=3))
def test_an_envelope_with_any_new_fields_is_opened(new: dict[str, Any]) -> None:
    new = {name: value for name, value in new.items() if name not in ("stream", "data", "error")}
    envelope = open_new_envelope(json.dumps(new | {"stream": "s", "data": {"x": 1}}, default=float).encode())
    assert (envelope.stream, bytes(envelope.data)) == ("s", b'{"x": 1}')


@pytest.mark.parametrize(
    "payload",
    [
        *(b"", b"{", b"[]", b"null", b"5", b"\xff", b"[" * 100_000, b'{"stream":"s","x":' + b"[" * 100_000),
        *(b'{"stream":"s"}', b'{"data":{}}', b'{"stream":5,"data":{}}', b'{"stream":"\xff","data":{}}'),
        *(b'{"id":null,"error":{"code":4006}}', b'{"stream":"s","data":{},"error":{"code":4006}}'),
    ],
)
def test_anything_but_an_envelope_is_reported_as_such(payload: bytes) -> None:
    with pytest.raises(UnreadableMessageError) as refused:
        open_new_envelope(payload)
    assert len(str(refused.value)) < 400


# ---- unknown fields


def with_new(*names: str) -> bytes:
    return json.dumps(json.loads(DEPTH) | dict.fromkeys(names, 1)).encode()


def test_unknown_fields_are_counted_by_name_and_the_rest_is_kept() -> None:
    decode = Decoder(Depth)
    assert astuple(decode(with_new("zz", "yy"))) == EXPECTED
    assert decode.unknown_fields == {"zz": 1, "yy": 1}


def test_names_of_new_fields_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Decoder, "SAMPLE", 1)
    monkeypatch.setattr(NewEnvelopes, "SAMPLE", 1)
    decode, opened = Decoder(Depth), NewEnvelopes()
    for number in range(1_000):
        decode(with_new(f"new{number}"))
        opened(ENVELOPE.replace(b"ts", b"ts%d" % number))
    for counted in (decode.unknown_fields, opened.unknown_fields):
        assert len(counted) == MOST_FIELDS + 1
        assert counted[OTHER_FIELDS] == sum(counted.values()) - MOST_FIELDS > 100


def test_known_messages_count_nothing() -> None:
    decode = Decoder(Depth)
    for _ in range(3):
        decode(DEPTH)
        decode(DEPTH.replace(b'"E":5', b'"E":"5"'))
    assert decode.unknown_fields == {}


def test_once_a_field_is_new_one_message_per_sample_is_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Decoder, "SAMPLE", 10)
    decode = Decoder(Depth)
    for _ in range(101):
        assert astuple(decode(with_new("zz"))) == EXPECTED
    assert decode.unknown_fields == {"zz": 11}
    for _ in range(10):
        assert astuple(decode(with_new("another"))) == EXPECTED
    assert decode.unknown_fields == {"zz": 11, "another": 1}


def test_loose_numbers_are_still_read_once_a_field_is_new() -> None:
    decode = Decoder(Depth)
    decode(with_new("zz"))
    assert decode(b'{"E":"5","s":"X","U":"1","u":2,"b":[[1.10,"2"]],"zz":{}}').bids == [("1.10", "2")]


# ---- invalid messages


@pytest.mark.parametrize(
    "data",
    [
        *(b"", b"{", b"null", b"[]", b'"x"', b"5", b"\xff", b"[" * 100_000, b'{"E":' + b"[" * 100_000, b"NaN"),
        *(b'{"new":"\xff"}', b'{"s":"X\xff"}'),
    ],
)
@pytest.mark.parametrize("kind", [Depth, Kline])
def test_an_invalid_message_is_unreadable(kind: type[Struct], data: bytes) -> None:
    with pytest.raises(UnreadableMessageError) as refused:
        Decoder(kind)(data)
    assert len(str(refused.value)) < 400


@pytest.mark.parametrize(
    "change",
    [
        *({"U": "abc"}, {"U": ""}, {"U": 1.5}, {"U": None}, {"E": {}}, {"s": None}),
        *(
            {"a": {}},
            {"a": [["1"]]},
            {"a": [["1", "2"], {}]},
            {"U": "\uff11"},
            {"u": "\u0661"},
            {"E": "\u06f5"},
            {"a": [[None, "1"]]},
        ),
        *({"b": "x"}, {"b": [5]}, {"b": [[["1"], "1"]]}),
    ],
)
def test_nonsense_is_unreadable(change: dict[str, Any]) -> None:
    with pytest.raises(UnreadableMessageError, match="Depth"):
        Decoder(Depth)(json.dumps(json.loads(DEPTH) | change).encode())


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=25)
@given(data=st.binary(max_size=20) | json_values.map(lambda value: json.dumps(value, default=float).encode()))
def test_any_bytes_are_a_message_or_unreadable(kind: type[Struct], data: bytes) -> None:
    try:
        Decoder(kind)(data)
    except UnreadableMessageError:
        return
