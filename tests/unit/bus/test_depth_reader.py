"""The quick reader reads the same as the schema's engine, whatever the bytes."""

import json
from copy import deepcopy
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backpack_streams.bus import depth_reader, quick_depth
from backpack_streams.bus.codec import Codec
from backpack_streams.bus.decimals import bytes_from_unscaled
from backpack_streams.bus.depth_reader import DepthReader
from backpack_streams.bus.schemas import own_schemas, parse_schema
from backpack_streams.errors import CodecError
from unit.bus.forced_engines import FRAMINGS, coding

needs_compiled = pytest.mark.skipif(quick_depth.compiled is None, reason="no compiled module in this installation")

longs = st.one_of(st.integers(-(2**63), 2**63 - 1), st.integers(0, 2**53))
numbers = st.one_of(
    st.integers(-(10**38) + 1, 10**38 - 1),
    st.sampled_from([0, 127, 128, -128, -129, 2**63 - 1, 2**63, -(2**63), -(2**63) - 1, 2**64]),
)
levels = st.lists(st.tuples(numbers, numbers), max_size=4)


def row(symbol: str, times: tuple[int | None, int | None, int], ids: tuple[int, int], sides: Any) -> dict[str, Any]:
    def side(pairs: list[tuple[int, int]]) -> list[dict[str, bytes]]:
        return [{"price": bytes_from_unscaled(price), "quantity": bytes_from_unscaled(size)} for price, size in pairs]

    return {
        "symbol": symbol,
        "source": "WEBSOCKET",
        "event_time": times[0],
        "engine_time": times[1],
        "received_time": times[2],
        "first_update_id": ids[0],
        "last_update_id": ids[1],
        "bids": side(sides[0]),
        "asks": side(sides[1]),
    }


rows = st.builds(
    row,
    st.text(st.characters(exclude_categories=["Cs"]), max_size=70),
    st.tuples(st.none() | longs, st.none() | longs, longs),
    st.tuples(longs, longs),
    st.tuples(levels, levels),
)


def by_hand(update: dict[str, Any]) -> Any:
    sides = [
        [
            tuple(int.from_bytes(level[part], "big", signed=True) for part in ("price", "quantity"))
            for level in update[side]
        ]
        for side in ("bids", "asks")
    ]
    return update["first_update_id"], update["last_update_id"], update["engine_time"], *sides


def python_reader(codec: Codec) -> DepthReader:
    with patch.object(depth_reader, "compiled", None):
        return DepthReader(codec)


READERS = {framing: DepthReader(coding("fastavro", framing).codec) for framing in FRAMINGS}
IN_PYTHON = {framing: python_reader(coding("fastavro", framing).codec) for framing in FRAMINGS}


@given(rows)
def test_every_update_is_read_as_it_was_written(update: dict[str, Any]) -> None:
    for framing in FRAMINGS:
        value = coding("fastavro", framing).encode["DepthUpdate"](update)
        assert READERS[framing].read(value) == IN_PYTHON[framing].read(value) == by_hand(update)


def outcome(reader: DepthReader, value: bytes) -> Any:
    try:
        return reader.read(value)
    except CodecError as error:
        return type(error)


@settings(max_examples=300)
@given(rows, st.data())
def test_both_readers_treat_broken_bytes_alike(update: dict[str, Any], data: st.DataObject) -> None:
    value = coding("fastavro", "single-object").encode["DepthUpdate"](update)
    cut = data.draw(st.integers(0, len(value)))
    flipped = data.draw(st.integers(0, len(value) - 1))
    changed = value[:flipped] + bytes((value[flipped] ^ data.draw(st.integers(1, 255)),)) + value[flipped + 1 :]
    for broken in (value[:cut], value + b"\x00", changed):
        assert outcome(READERS["single-object"], broken) == outcome(IN_PYTHON["single-object"], broken)


@needs_compiled
@given(st.binary(max_size=200), st.integers(0, 210))
def test_no_bytes_crash_the_compiled_reader(value: bytes, start: int) -> None:
    assert quick_depth.compiled is not None
    numbers = quick_depth.compiled.decode(value, start)
    assert numbers is None or (start < len(value) and len(numbers) == 5)


@needs_compiled
def test_the_compiled_reader_is_used_only_for_the_schema_it_knows() -> None:
    assert READERS["single-object"]._compiled is not None
    document = deepcopy(own_schemas()["DepthUpdate"].document)
    document["fields"].insert(0, {"name": "added", "type": ["null", "long"], "default": None, "doc": "New."})
    newer = Codec(schemas={"DepthUpdate": parse_schema(json.dumps(document))})
    reader = DepthReader(newer)
    assert reader._compiled is None
    update = row("X", (1, 2, 3), (4, 5), ([(6, 7)], []))
    assert reader.read(newer.encoder("DepthUpdate", "t")({**update, "added": None})) == by_hand(update)


def test_another_record_type_is_not_a_depth_update() -> None:
    trade = coding("fastavro", "single-object").encode["StreamStatus"]
    with pytest.raises(CodecError):
        READERS["single-object"].read(
            trade(
                Codec().rows("StreamStatus")(
                    {field["name"]: _some(field) for field in own_schemas()["StreamStatus"].document["fields"]}
                )
            )
        )


def _some(field: dict[str, Any]) -> Any:
    kind = field["type"]
    if isinstance(kind, list):
        return None
    return 1 if kind != "string" else "x"
