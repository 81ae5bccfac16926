"""Every record survives the round trip, with both engines and in both framings; a row that does not fit is a `CodecError`."""

import io
import json
from collections.abc import Callable
from copy import deepcopy
from decimal import Decimal
from typing import Any

import fastavro
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backpack_streams.bus.codec import Codec
from backpack_streams.bus.schemas import own_schemas
from backpack_streams.errors import CodecError
from unit.bus.forced_engines import ENGINES, FRAMINGS, MemoryRegistry, coding
from unit.bus.rows_of_every_record import ROW_STRATEGIES, TO_BYTES, every_engine, every_record, fewer, minimal_row
from unit.bus.rows_of_schemas import plain_types

WAYS = [(engine_name, framing) for engine_name in ENGINES for framing in FRAMINGS]


def leaves(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [leaf for item in value.values() for leaf in leaves(item)]
    if isinstance(value, list):
        return [leaf for item in value for leaf in leaves(item)]
    return [value]


# ---- round trips


@every_record
@fewer
@given(st.data())
def test_every_record_survives_both_engines_and_both_framings(record: str, data: st.DataObject) -> None:
    row = data.draw(ROW_STRATEGIES[record])
    raw = TO_BYTES[record](row)
    bodies = set()
    for way in WAYS:
        codec, encode = coding(*way)
        value = encode[record](raw)
        assert codec.decode(value) == (record, raw)
        name, read = codec.read(value)
        assert (name, read) == (record, row)
        assert not any(isinstance(leaf, float) for leaf in leaves(read))
        bodies.add(value[10 if way[1] == "single-object" else 5 :])
    assert len(bodies) == 1  # engines agree to the byte, and the framing is only a header


@every_record
@fewer
@given(st.data())
def test_fastavro_decodes_a_value_with_the_schema_file_alone(record: str, data: st.DataObject) -> None:
    row = data.draw(ROW_STRATEGIES[record])
    schema = fastavro.parse_schema(json.loads(own_schemas()[record].text), {})
    for engine_name in ENGINES:
        value = coding(engine_name, "single-object").encode[record](TO_BYTES[record](row))
        assert plain_types(fastavro.schemaless_reader(io.BytesIO(value[10:]), schema, None)) == row


@every_record
def test_the_headers_are_those_of_the_two_framings(record: str) -> None:
    row = TO_BYTES[record](minimal_row(record))
    for engine_name in ENGINES:
        single = coding(engine_name, "single-object").encode[record](row)
        assert single[:10] == b"\xc3\x01" + own_schemas()[record].fingerprint
        confluent = coding(engine_name, "confluent").encode[record](row)
        assert confluent[:5] == b"\x00" + (MemoryRegistry.FIRST_ID + list(own_schemas()).index(record)).to_bytes(
            4, "big"
        )
        assert confluent[5:] == single[10:]


def test_the_subject_is_the_topics_value() -> None:
    registry = MemoryRegistry()
    encode = Codec(registry).encoder("Trade", "backpack.market.trade")
    assert not registry.subjects  # an encoder that is never used needs no registry
    encode(TO_BYTES["Trade"](minimal_row("Trade")))
    assert list(registry.subjects) == ["backpack.market.trade-value"]


def test_a_reader_with_a_registry_accepts_the_other_framing_too() -> None:
    row = TO_BYTES["Trade"](minimal_row("Trade"))
    value = coding("fastavro", "single-object").encode["Trade"](row)
    assert coding("fastavro", "confluent").codec.decode(value) == ("Trade", row)


def test_decode_returns_decimals_as_bytes_and_read_as_decimals() -> None:
    codec, encode = coding("fastavro", "single-object")
    row = minimal_row("Trade") | {"price": Decimal("86700.10"), "quantity": Decimal("1e-18")}
    value = encode["Trade"](TO_BYTES["Trade"](row))
    assert codec.decode(value)[1]["price"] == int(Decimal("86700.10").scaleb(18)).to_bytes(10, "big")
    assert codec.read(value)[1]["price"] == Decimal("86700.1")
    assert codec.read(value)[1]["quantity"] == Decimal("0.000000000000000001")


# ---- rows from Decimals, integers and text


@pytest.mark.parametrize("price", [Decimal("1.50"), "1.5", "15e-1", Decimal("0.15E1")])
def test_rows_take_decimals_and_text(price: Any) -> None:
    row = TO_BYTES["Trade"](minimal_row("Trade") | {"price": price, "quantity": 2})
    assert row["price"] == TO_BYTES["Trade"](minimal_row("Trade") | {"price": "1.5"})["price"]
    assert int.from_bytes(row["quantity"], "big") == 2 * 10**18


@pytest.mark.parametrize("price", ["abc", "", "1" * 40, "0.0000000000000000001", Decimal("NaN"), True, 0.1, 86700.0])
def test_rows_refuse_anything_but_an_exact_number_that_fits(price: Any) -> None:
    with pytest.raises(CodecError):
        TO_BYTES["Trade"](minimal_row("Trade") | {"price": price})


def test_rows_do_not_change_their_argument_and_keep_bytes() -> None:
    row = minimal_row("DepthUpdate") | {"bids": [{"price": "1", "quantity": b"\x05"}]}
    before = deepcopy(row)
    converted = TO_BYTES["DepthUpdate"](row)
    assert row == before
    assert converted["bids"][0]["quantity"] == b"\x05"


# ---- values that do not fit

BAD_CHANGES: list[Callable[[dict[str, Any]], Any]] = [
    lambda row: row.update(symbol=5),
    lambda row: row.update(symbol=None),
    lambda row: row.update(symbol="\ud800"),
    lambda row: row.update(trade_id=2**63),
    lambda row: row.update(trade_id=-(2**63) - 1),
    lambda row: row.update(trade_id="7"),
    lambda row: row.update(event_time=2**63),
    lambda row: row.update(engine_time=[]),
    lambda row: row.update(price=1.5),
    lambda row: row.update(price=15),
    lambda row: row.update(price=None),
    lambda row: row.pop("trade_id"),
    lambda row: row.update(a_field_that_is_not_there=1),
]


@every_engine
@pytest.mark.parametrize("change", BAD_CHANGES)
def test_a_row_that_does_not_fit_is_a_codec_error(engine_name: str, change: Callable[[dict[str, Any]], Any]) -> None:
    row = dict(TO_BYTES["Trade"](minimal_row("Trade")))
    change(row)
    with pytest.raises(CodecError, match="Trade"):
        coding(engine_name, "single-object").encode["Trade"](row)


def test_an_unknown_record_is_a_codec_error_that_names_the_known_ones() -> None:
    with pytest.raises(CodecError, match="DepthUpdate"):
        Codec().encoder("Nonsense", "topic")
    with pytest.raises(CodecError, match="Nonsense"):
        Codec().rows("Nonsense")
