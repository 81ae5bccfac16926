"""The types of records match what the codec returns, for every schema."""

from decimal import Decimal
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints, is_typeddict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rows_of_schemas import rows

from backpack_streams.books import records
from backpack_streams.bus.codec import Codec
from backpack_streams.bus.schemas import own_schemas
from backpack_streams.bus.topics import COMPACT, TOPICS, Topic
from contract.__main__ import RECORDS
from contract.typed_records import typed_records

CODEC = Codec()


@pytest.mark.parametrize("name", sorted(typed_records()))
def test_the_modules_are_generated_from_the_schemas(name: str) -> None:
    assert (RECORDS / name).read_text("utf-8") == typed_records()[name], f"{name} is of an earlier day: run make docs"
    assert {path.name for path in RECORDS.glob("*.py")} == set(typed_records())


def fits(value: Any, hint: Any) -> bool:
    if is_typeddict(hint):
        hints = get_type_hints(hint)
        if not isinstance(value, dict) or value.keys() != hints.keys():
            return False
        return all(fits(value[name], each) for name, each in hints.items())
    if get_origin(hint) is list:
        return isinstance(value, list) and all(fits(item, get_args(hint)[0]) for item in value)
    if get_origin(hint) is dict:
        return isinstance(value, dict) and all(fits(item, get_args(hint)[1]) for item in value.values())
    if get_origin(hint) in (UnionType, Union):
        return any(fits(value, each) for each in get_args(hint))
    if hint is int:
        return type(value) is int
    assert hint in (str, bool, bytes, float, Decimal, NoneType), hint
    return isinstance(value, hint)


@pytest.mark.parametrize("name", sorted(own_schemas()))
@settings(max_examples=8)
@given(st.data())
def test_a_record_read_by_the_codec_fits_its_type(name: str, data: st.DataObject) -> None:
    row = data.draw(rows(own_schemas()[name].document))
    _, value = CODEC.read(CODEC.encoder(name, "any")(CODEC.rows(name)(row)))
    assert fits(value, getattr(records, name))


@pytest.mark.parametrize("topic", TOPICS, ids=lambda topic: topic.name)
def test_every_topic_has_a_constant_with_its_type(topic: Topic) -> None:
    constant = getattr(records, topic.name.upper().replace(".", "_"))
    assert constant == topic.name
    [value] = get_args(constant.__orig_class__) if hasattr(constant, "__orig_class__") else [None]
    record = getattr(records, topic.record)
    assert value in (None, record | None if COMPACT in topic.cleanup else record)
