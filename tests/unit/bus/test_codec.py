"""Every record survives the round trip, with both engines and in both framings; any other bytes are a `CodecError`."""

import io
import json
from collections.abc import Callable
from copy import deepcopy
from decimal import Decimal
from functools import cache
from typing import Any

import fastavro
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backpack_streams.bus.avro import engine, without_logical_types
from backpack_streams.bus.codec import Codec, UnknownSchemaError
from backpack_streams.bus.schemas import Schema, own_schemas, parse_schema
from backpack_streams.errors import CodecError
from unit.bus.forced_engines import ENGINES, FRAMINGS, MemoryRegistry, coding, forced
from unit.bus.rows_of_schemas import plain_types, rows

RECORDS = sorted(own_schemas())
WAYS = [(engine_name, framing) for engine_name in ENGINES for framing in FRAMINGS]
every_record = pytest.mark.parametrize("record", RECORDS)
every_engine = pytest.mark.parametrize("engine_name", ENGINES)
fewer = settings(max_examples=6)

ROW_STRATEGIES = {name: rows(schema.document) for name, schema in own_schemas().items()}
TO_BYTES = {name: coding("fastavro", "single-object").codec.rows(name) for name in RECORDS}


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


def minimal_row(record: str) -> dict[str, Any]:
    def value_of(schema: Any) -> Any:
        if isinstance(schema, list):
            return None
        if schema == "string":
            return ""
        if schema == "boolean":
            return False
        if schema == "bytes" or (isinstance(schema, dict) and schema["type"] == "bytes"):
            return Decimal(0) if isinstance(schema, dict) else b""
        return [] if isinstance(schema, dict) and schema["type"] == "array" else 0

    return {field["name"]: value_of(field["type"]) for field in own_schemas()[record].document["fields"]}


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


# ---- bytes that are not a record

framed_garbage = st.one_of(
    st.binary(max_size=60),
    st.builds(lambda body: b"\xc3\x01" + body, st.binary(max_size=60)),
    st.builds(lambda body: b"\x00" + body, st.binary(max_size=60)),
    st.builds(
        lambda name, body: b"\xc3\x01" + own_schemas()[name].fingerprint + body,
        st.sampled_from(RECORDS),
        st.binary(max_size=80),
    ),
    st.builds(
        lambda index, body: b"\x00\0\0\0" + bytes([7 + index]) + body, st.integers(0, 20), st.binary(max_size=80)
    ),
)


@every_engine
@settings(max_examples=150)
@given(data=framed_garbage)
def test_garbage_is_a_codec_error_and_never_another_exception(engine_name: str, data: bytes) -> None:
    for framing in FRAMINGS:
        codec = coding(engine_name, framing).codec
        for way in (codec.decode, codec.read):
            try:
                name, record = way(data)
            except CodecError:
                continue
            assert name in RECORDS  # the bytes happened to be a record
            assert set(record) == {field["name"] for field in own_schemas()[name].document["fields"]}


@every_engine
@every_record
@fewer
@given(data=st.data())
def test_a_truncated_record_is_a_codec_error(engine_name: str, record: str, data: st.DataObject) -> None:
    codec, encode = coding(engine_name, "single-object")
    value = encode[record](TO_BYTES[record](data.draw(ROW_STRATEGIES[record])))
    with pytest.raises(CodecError):
        codec.decode(value[: data.draw(st.integers(0, len(value) - 1))])


# False lengths and counts: negative, beyond the end, beyond 64 bits, an array block of 2**60 items.
LIES = [
    "01",
    "0f",
    "feffffffffffffffff01",
    "ffffffffffffffffffff",
    "80808080808080808080808080",
    "ff" * 30,
    "80" * 30 + "01",
]


@every_engine
@pytest.mark.parametrize("lie", LIES)
def test_false_lengths_are_codec_errors(engine_name: str, lie: str) -> None:
    codec, encode = coding(engine_name, "single-object")
    for record in RECORDS:
        value = encode[record](TO_BYTES[record](minimal_row(record)))
        for place in range(10, len(value)):
            try:
                codec.read(value[:place] + bytes.fromhex(lie))
            except CodecError:
                continue


@every_engine
@pytest.mark.parametrize("framing", FRAMINGS)
def test_an_unknown_schema_is_distinguished_from_garbage(engine_name: str, framing: str) -> None:
    codec = coding(engine_name, framing).codec
    with pytest.raises(UnknownSchemaError, match="0807060504030201"):
        codec.decode(b"\xc3\x01" + bytes(range(1, 9)) + b"rest")
    with pytest.raises(UnknownSchemaError, match="4242"):
        codec.decode(b"\x00" + (4242).to_bytes(4, "big") + b"rest")
    for garbage in (b"", b"\x00", b"\x00\0\0\0", b"\xc3", b"\xc3\x01", b"\xc3\x01" + bytes(7), b'{"json":1}'):
        with pytest.raises(CodecError, match="not framed") as error:
            codec.decode(garbage)
        assert not isinstance(error.value, UnknownSchemaError)


def test_without_a_registry_confluent_bytes_name_their_schema_id() -> None:
    with pytest.raises(UnknownSchemaError, match="schema id 7 "):
        Codec().decode(b"\x00\0\0\0\x07")


def test_a_registrys_new_schema_is_known_once_it_is_registered() -> None:
    registry = MemoryRegistry()
    codec = Codec(registry)
    header = b"\x00" + MemoryRegistry.FIRST_ID.to_bytes(4, "big")
    with pytest.raises(UnknownSchemaError):
        codec.decode(header)
    value = codec.encoder("Gap", "ops.gap")(TO_BYTES["Gap"](minimal_row("Gap")))
    assert codec.decode(value)[0] == "Gap"


# ---- evolution

NEW_FIELD = {"name": "added_later", "type": ["null", "string"], "default": None, "doc": "Not there yesterday."}


@cache
def newer(record: str) -> Schema:
    document = deepcopy(own_schemas()[record].document)
    document["fields"].append(NEW_FIELD)
    return parse_schema(json.dumps(document))


@every_engine
@every_record
@settings(max_examples=4)
@given(data=st.data())
def test_an_older_reader_reads_what_a_newer_writer_wrote(engine_name: str, record: str, data: st.DataObject) -> None:
    row = data.draw(ROW_STRATEGIES[record])
    with forced(engine_name):
        old, new = _old_and_new(engine_name, record)
        value = new.encoder(record, "topic")({**TO_BYTES[record](row), "added_later": "yes"})
        with pytest.raises(UnknownSchemaError):
            Codec(schemas={record: own_schemas()[record]}).decode(value)
        assert old.read(value) == (record, row)


@every_engine
@every_record
@settings(max_examples=4)
@given(data=st.data())
def test_a_newer_reader_reads_what_an_older_writer_wrote(engine_name: str, record: str, data: st.DataObject) -> None:
    row = data.draw(ROW_STRATEGIES[record])
    with forced(engine_name):
        _, new = _old_and_new(engine_name, record)
        value = coding(engine_name, "single-object").encode[record](TO_BYTES[record](row))
        assert new.read(value) == (record, row | {"added_later": None})


_pairs: dict[tuple[str, str], tuple[Codec, Codec]] = {}


def _old_and_new(engine_name: str, record: str) -> tuple[Codec, Codec]:
    """A codec of the current schema that has learned the newer one, and one of the newer schema that has learned the current one."""
    key = engine_name, record
    if key not in _pairs:
        old = Codec(schemas={record: own_schemas()[record]})
        old.learn(newer(record).text)
        new = Codec(schemas={record: newer(record)})
        new.learn(own_schemas()[record].text)
        _pairs[key] = old, new
    return _pairs[key]


@every_engine
@every_record
def test_the_registrys_newer_schema_is_resolved_into_ours(engine_name: str, record: str) -> None:
    registry = MemoryRegistry()
    with forced(engine_name):
        new = Codec(registry, {record: newer(record)})
        row = minimal_row(record)
        value = new.encoder(record, "topic")({**TO_BYTES[record](row), "added_later": None})
        assert Codec(registry).read(value) == (record, row)


@every_engine
@settings(max_examples=80)
@given(record=st.sampled_from(RECORDS), body=st.binary(max_size=60))
def test_garbage_of_a_newer_schema_is_a_codec_error(engine_name: str, record: str, body: bytes) -> None:
    with forced(engine_name):
        old, _ = _old_and_new(engine_name, record)
    try:
        old.read(b"\xc3\x01" + newer(record).fingerprint + body)
    except CodecError:
        return


def test_a_record_of_an_unknown_name_is_read_with_its_own_schema() -> None:
    text = json.dumps({"type": "record", "name": "Novelty", "fields": [
        {"name": "price", "type": {"type": "bytes", "logicalType": "decimal", "precision": 38, "scale": 2}},
        {"name": "again", "type": ["null", "Inner", {"type": "record", "name": "Inner", "fields": []}]},
    ]})  # fmt: skip
    text = text.replace('["null", "Inner", ', '["null", ')
    codec = Codec()
    codec.learn(text)
    novelty = parse_schema(text)
    value = Codec(schemas={"Novelty": novelty}).encoder("Novelty", "t")({"price": b"\x64", "again": None})
    assert codec.read(value) == ("Novelty", {"price": Decimal("1.00"), "again": None})


def test_a_schema_that_cannot_be_resolved_into_ours_is_a_codec_error() -> None:
    document = deepcopy(own_schemas()["Gap"].document)
    document["fields"] = [
        field for field in document["fields"] if field["name"] != "stream"
    ]  # ours has no default for it
    text = json.dumps(document)
    writer = engine(json.loads(text))
    row = {name: value for name, value in minimal_row("Gap").items() if name != "stream"}
    codec = Codec()
    codec.learn(text)
    with pytest.raises(CodecError):
        codec.decode(b"\xc3\x01" + parse_schema(text).fingerprint + writer.encode(row))


# ---- the engines themselves


@every_engine
@pytest.mark.parametrize("document", [{}, {"name": "X"}, {"name": "X", "type": "nonsense"}])
def test_an_invalid_schema_is_a_codec_error(engine_name: str, document: dict[str, Any]) -> None:
    with forced(engine_name), pytest.raises(CodecError):
        engine(document)


NEARLY_SCHEMAS = [
    {"type": "record", "name": "X"},
    {"type": "record", "name": "X", "fields": []},
    {"type": "record", "name": "X", "fields": [{"name": "a"}]},
    {"type": "record", "name": "X", "fields": [{"name": "a", "type": "Missing"}]},
    {"type": "record", "name": "X", "fields": [{"name": "a", "type": []}]},
    {"type": "record", "name": "X", "fields": [{"name": "a", "type": {"type": "array"}}]},
    {"type": "record", "name": "X", "fields": [{"name": "a", "type": {"type": "map", "values": "long"}}]},
    {"type": "record", "name": "X", "fields": [{"name": "a", "type": {"type": "enum", "name": "E", "symbols": ["B"]}}]},
    {"type": "record", "name": "X", "fields": [{"name": "a", "type": {"type": "fixed", "name": "F", "size": 2}}]},
    {"type": "record", "name": 5, "fields": []},
    {"type": "enum", "name": "X", "symbols": ["A"]},
    {"type": "array", "name": "X", "items": "long"},
    {"type": "string", "name": "X"},
]  # fmt: skip


@every_engine
@pytest.mark.parametrize("document", NEARLY_SCHEMAS, ids=json.dumps)
def test_a_foreign_schema_is_learned_or_a_codec_error(engine_name: str, document: dict[str, Any]) -> None:
    with forced(engine_name):
        codec = Codec()
        try:
            codec.learn(json.dumps(document))
            codec.read(b"\xc3\x01" + parse_schema(json.dumps(document)).fingerprint + bytes(20))
        except CodecError:
            return


def test_only_logical_types_are_removed_from_a_schema() -> None:
    for schema in own_schemas().values():
        bare = without_logical_types(schema.document)
        assert "logicalType" not in json.dumps(bare)
        assert [field["name"] for field in bare["fields"]] == [field["name"] for field in schema.document["fields"]]
        assert "logicalType" in schema.text  # the contract itself keeps them
