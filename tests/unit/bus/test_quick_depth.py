"""The quick writer writes the same bytes as the schema's engine, and refuses what the engine refuses."""

import json
from copy import deepcopy
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backpack_streams.bus import quick_depth
from backpack_streams.bus.codec import Codec
from backpack_streams.bus.decimals import DecimalBytes
from backpack_streams.bus.quick_depth import QuickEncoder, quick_depth_encoder
from backpack_streams.bus.schemas import own_schemas, parse_schema
from backpack_streams.errors import CodecError
from unit.bus.forced_engines import FRAMINGS, coding

Levels = list[tuple[str, str]]
DECIMALS = DecimalBytes()


@dataclass
class Update:
    event_time: int
    engine_time: int | None
    symbol: str
    first_update_id: int
    last_update_id: int
    bids: Levels | None
    asks: Levels | None

    def row(self, received_us: int) -> dict[str, Any]:
        sides = {
            name: [{"price": DECIMALS[price], "quantity": DECIMALS[quantity]} for price, quantity in levels or ()]
            for name, levels in (("bids", self.bids), ("asks", self.asks))
        }
        return vars(self) | sides | {"source": "WEBSOCKET", "received_time": received_us}


WAYS = ["python", "compiled"] if quick_depth.compiled else ["python"]


def quick(framing: str, way: str) -> QuickEncoder:
    with patch.object(quick_depth, "compiled", quick_depth.compiled if way == "compiled" else None):
        encode = quick_depth_encoder(coding("fastavro", framing).encode["DepthUpdate"], "WEBSOCKET")
    assert encode is not None
    return encode


QUICK = {(framing, way): quick(framing, way) for framing in FRAMINGS for way in WAYS}
every_way = pytest.mark.parametrize("encode", [QUICK["single-object", way] for way in WAYS], ids=WAYS)
edges = [0, 1, 63, 64, 2**13, 2**14, 2**27 - 1, 2**27, 2**28, 2**41, 2**42, 2**62, 2**63 - 1]
longs = st.one_of(
    st.integers(-(2**63), 2**63 - 1),
    st.integers(0, 2**53),
    st.sampled_from(edges),
    st.sampled_from(edges).map(lambda edge: -edge - 1),
)
symbols = st.text(st.characters(exclude_categories=["Cs"]), max_size=70)
numbers = st.one_of(
    st.decimals(-(10**20) + 1, 10**20 - 1, places=6).map(str),
    st.from_regex(r"[0-9]{0,20}(\.[0-9]{0,18})?", fullmatch=True).filter(lambda text: text.strip(".") != ""),
    st.sampled_from(
        ["1e3", "-0.0", "+5", "0" * 38, "000000000000000000001.5", "1.50000000000000000000", "9" * 20 + "." + "9" * 18]
    ),
)
levels = st.none() | st.lists(st.tuples(numbers, numbers), max_size=4)
updates = st.builds(Update, longs, st.none() | longs, symbols, longs, longs, levels, levels)


@settings(max_examples=100)
@given(updates, longs)
def test_every_update_has_the_engines_bytes(update: Update, received_us: int) -> None:
    for (framing, _), encode in QUICK.items():
        by_engine = coding("fastavro", framing).encode["DepthUpdate"](update.row(received_us))
        assert encode(update, received_us) == by_engine
        assert encode(update, received_us) == by_engine  # the second time from the cache


@every_way
@pytest.mark.parametrize("count", [0, 1, 63, 64, 4095, 4096, 9000])
def test_any_number_of_levels_has_the_engines_bytes(count: int, encode: QuickEncoder) -> None:
    update = Update(1, 2, "X", 3, 4, [(str(number), "1") for number in range(count)], None)
    assert encode(update, 5) == coding("fastavro", "single-object").encode["DepthUpdate"](update.row(5))


FIELDS = ("event_time", "engine_time", "first_update_id", "last_update_id")


@every_way
@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("number", [2**63, -(2**63) - 1, 2**80])
def test_a_number_beyond_a_long_is_refused_and_not_written_wrongly(
    field: str, number: int, encode: QuickEncoder
) -> None:
    update = Update(1, 2, "X", 3, 4, [], [])
    setattr(update, field, number)
    with pytest.raises(CodecError):
        encode(update, 5)


NO_NUMBERS = ["", ".", "abc", "\uff11\uff12", "\u0663", "-1.\u0966"]


@every_way
@pytest.mark.parametrize(
    "level", [("1" * 40, "1"), ("0.0000000000000000001", "1"), *((text, "1") for text in NO_NUMBERS), ("1", "\u0663")]
)
def test_a_number_that_does_not_fit_is_refused(level: tuple[str, str], encode: QuickEncoder) -> None:
    with pytest.raises(CodecError):
        encode(Update(1, 2, "X", 3, 4, [level], []), 5)


@every_way
def test_text_that_utf_8_cannot_encode_is_refused(encode: QuickEncoder) -> None:
    with pytest.raises(CodecError):
        encode(Update(1, 2, "\ud800", 3, 4, [], []), 5)


def test_a_changed_schema_is_left_to_its_engine() -> None:
    document = deepcopy(own_schemas()["DepthUpdate"].document)
    document["fields"].append({"name": "added", "type": ["null", "long"], "default": None, "doc": "New."})
    newer = Codec(schemas={"DepthUpdate": parse_schema(json.dumps(document))})
    encode = newer.encoder("DepthUpdate", "t")
    assert quick_depth_encoder(lambda row: encode({**row, "added": None}), "WEBSOCKET") is None
