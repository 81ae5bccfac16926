"""The schemas document every field, and their fingerprints follow the Avro specification."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backpack_streams.bus.schemas import NAMESPACE, Schema, own_schemas, parse_schema
from backpack_streams.bus.topics import TOPICS
from backpack_streams.errors import CodecError
from unit.bus.rows_of_schemas import every

FILES = sorted((Path(__file__).parents[3] / "schemas").glob("*.avsc"))
EMPTY = 0xC15D213AA4D7A795
PRIMITIVES = {"null", "boolean", "int", "long", "float", "double", "bytes", "string"}
FRACTIONS = {
    "funding_rate", "borrow_interest_rate", "lend_interest_rate", "borrow_rate", "lend_rate", "staking_rate", "dilution_factor",
    "utilization", "maximum_utilization", "optimal_utilization", "throttle_utilization_threshold", "throttle_utilization_bound",
    "throttle_update_fraction", "fee_fraction", "haircut_weight", "haircut_base", "haircut_positive_curve_penalty", "base", "factor",
    "net_asset_value",
}  # fmt: skip
TIMES_OF_A_RECORD = ("event_time", "engine_time", "received_time")

every_schema = pytest.mark.parametrize("schema", own_schemas().values(), ids=lambda schema: schema.name)


def crc_64_avro(data: bytes) -> int:
    """CRC-64-AVRO, bit by bit (Avro specification, "Schema Fingerprints")."""
    result = EMPTY
    for byte in data:
        result ^= byte
        for _ in range(8):
            result = (result >> 1) ^ (EMPTY if result & 1 else 0)
    return result


def canonical(schema: Any, namespace: str = "") -> str:
    """Parsing Canonical Form (Avro specification): full names, no docs, defaults or logical types, fields in order."""
    if isinstance(schema, str):
        return json.dumps(schema if schema in PRIMITIVES or "." in schema or not namespace else f"{namespace}.{schema}")
    if isinstance(schema, list):
        return "[" + ",".join(canonical(branch, namespace) for branch in schema) + "]"
    kind = schema["type"]
    if kind == "record":
        namespace = schema.get("namespace", namespace)
        name = schema["name"] if "." in schema["name"] or not namespace else f"{namespace}.{schema['name']}"
        fields = (
            f'{{"name":{json.dumps(field["name"])},"type":{canonical(field["type"], namespace)}}}'
            for field in schema["fields"]
        )
        return f'{{"name":{json.dumps(name)},"type":"record","fields":[{",".join(fields)}]}}'
    if kind == "array":
        return f'{{"type":"array","items":{canonical(schema["items"], namespace)}}}'
    return canonical(kind, namespace)


def test_this_tests_fingerprint_follows_the_specification() -> None:
    assert crc_64_avro(canonical("string").encode()) == 0x8F014872634503C7
    assert crc_64_avro(canonical("int").encode()) == 0x7275D51A3F395C8F


@every_schema
def test_fingerprints_follow_the_specification_and_are_little_endian(schema: Schema) -> None:
    assert schema.fingerprint == crc_64_avro(canonical(schema.document).encode()).to_bytes(8, "little")


def test_no_two_records_share_a_fingerprint() -> None:
    assert len({schema.fingerprint for schema in own_schemas().values()}) == len(own_schemas())


def test_each_file_has_one_record_of_its_name() -> None:
    assert {file.stem for file in FILES} == set(own_schemas())
    for file in FILES:
        assert json.loads(file.read_text("utf-8"))["name"] == file.stem


@every_schema
def test_every_record_and_every_field_has_a_doc(schema: Schema) -> None:
    silent: list[str] = []

    def visit(node: Any) -> None:
        if not str(node.get("doc", "")).strip():
            silent.append(node["name"])

    every(schema.document, visit)
    assert silent == []


@every_schema
def test_field_names_are_words_and_records_are_in_our_namespace(schema: Schema) -> None:
    assert schema.document["namespace"] == NAMESPACE
    names: list[str] = []
    every(schema.document, lambda node: names.append(node["name"]) if node.get("type") != "record" else None)
    assert all(name == name.lower() and len(name) > 2 for name in names)


@every_schema
def test_every_nullable_field_defaults_to_null_so_that_schemas_can_evolve(schema: Schema) -> None:
    def visit(node: Any) -> None:
        if isinstance(node["type"], list) and "null" in node["type"]:
            assert node["type"][0] == "null", node["name"]
            assert "default" in node, node["name"]
            assert node["default"] is None, node["name"]

    every(schema.document, visit)


@every_schema
def test_decimals_have_38_digits_and_the_promised_scales(schema: Schema) -> None:
    def visit(node: Any) -> None:
        branches = node["type"] if isinstance(node["type"], list) else [node["type"]]
        for branch in branches:
            if isinstance(branch, dict) and branch.get("logicalType") == "decimal":
                scale = 30 if node["name"] in FRACTIONS else 18
                assert (branch["type"], branch["precision"], branch["scale"]) == ("bytes", 38, scale), node["name"]

    every(schema.document, visit)


@every_schema
def test_no_field_is_a_binary_float(schema: Schema) -> None:
    assert '"float"' not in schema.text
    assert '"double"' not in schema.text


@pytest.mark.parametrize(
    "record", sorted(set(own_schemas()) - {"BookAudit", "Gap", "StreamStatus", "DeadLetter", "Watermark"})
)
def test_data_records_have_their_key_source_and_three_times(record: str) -> None:
    fields = {field["name"]: field["type"] for field in own_schemas()[record].document["fields"]}
    assert fields["source"] == "string"
    for each in TOPICS:
        if each.record == record:
            keys = each.key.split("/")
            assert {fields[name] for name in keys if name in fields} <= {"string", "long"}
            assert set(keys) <= fields.keys() or fields["symbol"] == "string"
    for name in TIMES_OF_A_RECORD:
        branch = fields[name][-1] if isinstance(fields[name], list) else fields[name]
        assert branch == {"type": "long", "logicalType": "timestamp-micros"}


@every_schema
def test_a_schema_is_parsed_from_its_text_alone(schema: Schema) -> None:
    assert parse_schema(schema.text) == schema
    relaid = json.dumps(json.loads(schema.text), indent=7)
    assert parse_schema(relaid).fingerprint == schema.fingerprint


words = st.sampled_from(["type", "name", "fields", "items", "symbols", "namespace"]) | st.text(max_size=5)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=4),
    max_leaves=8,
)


@given(json_values)
def test_any_json_is_a_schema_or_a_codec_error(value: Any) -> None:
    try:
        parse_schema(json.dumps(value))
    except CodecError:
        return


@given(st.text(max_size=20))
def test_any_text_is_a_schema_or_a_codec_error(text: str) -> None:
    try:
        parse_schema(text)
    except CodecError:
        return
