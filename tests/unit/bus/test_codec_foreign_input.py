"""Bytes and schemas that are not ours of today are read as the records they hold; any others are a `CodecError`."""

import json
from copy import deepcopy
from decimal import Decimal
from functools import cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backpack_streams.bus.avro import engine, without_logical_types
from backpack_streams.bus.codec import Codec, UnknownSchemaError
from backpack_streams.bus.schemas import Schema, own_schemas, parse_schema
from backpack_streams.errors import CodecError
from unit.bus.forced_engines import FRAMINGS, MemoryRegistry, coding, forced
from unit.bus.rows_of_every_record import (
    RECORDS,
    ROW_STRATEGIES,
    TO_BYTES,
    every_engine,
    every_record,
    fewer,
    minimal_row,
)

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
