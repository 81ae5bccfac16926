"""The compiled writer writes the same bytes as the schema's engine, and refuses what the engine refuses."""

from collections.abc import Callable
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backpack_streams.bus import quick_rows
from backpack_streams.bus.decimals import DecimalDoesNotFit, bytes_from_unscaled, unscaled_from_text
from backpack_streams.bus.quick_rows import RowEncoder, row_encoder
from backpack_streams.bus.schemas import own_schemas
from backpack_streams.errors import CodecError

needs_compiled = pytest.mark.skipif(quick_rows.compiled is None, reason="no C compiler was there at installation")
FLAT = sorted(
    name
    for name, schema in own_schemas().items()
    if not any(
        isinstance(part, dict) and "items" in part for field in schema.document["fields"] for part in [field["type"]]
    )
)


def both(record: str, header: bytes = b"") -> tuple[RowEncoder, RowEncoder]:
    document = own_schemas()[record].document
    with patch.object(quick_rows, "compiled", None):
        slow = row_encoder(document, header)
    return row_encoder(document, header), slow


def outcome(encode: RowEncoder, row: dict[str, Any]) -> bytes | str:
    try:
        return encode(row)
    except CodecError as error:
        return f"{type(error).__name__}: {error}"


digits = st.text("0123456789", max_size=42)
number_texts = st.one_of(
    st.builds(
        lambda sign, whole, point, part: sign + whole + point + part,
        st.sampled_from(["", "-"]),
        digits,
        st.sampled_from(["", "."]),
        digits,
    ),
    st.decimals(-(10**20) + 1, 10**20 - 1, places=9).map(str),
    st.sampled_from(
        [
            "1e3",
            "-0",
            "-0.000",
            "+5",
            "\uff11\uff12",
            "1.\u0663",
            "-",
            ".",
            "",
            " 1",
            "1_0",
            "1..2",
            "-.5",
            "5.",
            "NaN",
            "0" * 38,
            "9" * 20,
            "-128",
            "-129",
        ]
    ),
)
longs = st.integers(-(2**63), 2**63 - 1) | st.sampled_from([2**63, -(2**63) - 1, 2**31, 2**64])
ODD = st.sampled_from([None, 5, True, "x", b"\x01", 1.5, [], "\ud800", "ä" * 3])


def values(kind: Any) -> st.SearchStrategy[Any]:
    """Values that may and may not occur for a field of that type."""
    if isinstance(kind, list):
        return st.one_of(st.none(), *(values(each) for each in kind if each != "null"))
    if isinstance(kind, dict) and kind.get("logicalType") == "decimal":
        return number_texts | st.binary(min_size=1, max_size=17)
    base = kind["type"] if isinstance(kind, dict) else kind
    known: dict[str, st.SearchStrategy[Any]] = {
        "string": st.text(st.characters(exclude_categories=["Cs"]), max_size=40),
        "long": longs,
        "int": st.integers(-(2**31) - 1, 2**31),
        "boolean": st.booleans(),
    }
    return known.get(base, ODD)


@st.composite
def records(draw: Callable[..., Any]) -> tuple[str, dict[str, Any]]:
    name = draw(st.sampled_from(FLAT))
    fields = own_schemas()[name].document["fields"]
    row = {field["name"]: draw(values(field["type"])) for field in fields}
    if draw(st.integers(0, 9)) == 0:
        row[draw(st.sampled_from(list(row)))] = draw(ODD)
    if draw(st.integers(0, 19)) == 0:
        row.pop(draw(st.sampled_from(list(row))))
    if draw(st.integers(0, 19)) == 0:
        row["something_else"] = 1
    return name, row


@needs_compiled
@settings(max_examples=400)
@given(records(), st.binary(max_size=12))
def test_every_row_has_the_same_outcome_with_both_writers(record: tuple[str, dict[str, Any]], header: bytes) -> None:
    name, row = record
    quick, slow = both(name, header)
    before = dict(row)
    assert outcome(quick, row) == outcome(slow, row)
    assert row == before


@needs_compiled
@settings(max_examples=300)
@given(number_texts, st.sampled_from([("MarkPrice", "mark_price", 18), ("MarkPrice", "funding_rate", 30)]))
def test_a_number_is_written_as_its_text_says(text: str, where: tuple[str, str, int]) -> None:
    name, field, scale = where
    row = _mark_price() | {field: text}
    quick, _ = both(name)
    try:
        expected = bytes_from_unscaled(unscaled_from_text(text, scale))
    except DecimalDoesNotFit:
        with pytest.raises(DecimalDoesNotFit):
            quick(row)
    else:
        assert quick(row) == quick(row | {field: expected})


def _mark_price() -> dict[str, Any]:
    return {
        "symbol": "SOL_USDC_PERP",
        "source": "WEBSOCKET",
        "event_time": 1,
        "engine_time": None,
        "received_time": 2,
        "mark_price": "1.5",
        "index_price": None,
        "funding_rate": None,
        "next_funding_time": None,
        "cache_age_seconds": None,
    }


@needs_compiled
def test_the_usual_records_need_no_engine() -> None:
    """Otherwise the compiled writer would be correct and useless."""
    with patch.object(
        quick_rows, "_by_engine", lambda document, header: lambda row: pytest.fail("the engine was asked")
    ):
        encode = row_encoder(own_schemas()["MarkPrice"].document)
    assert encode(_mark_price() | {"funding_rate": "-0.0002438565367033305404731178", "cache_age_seconds": 7})


@needs_compiled
def test_a_record_longer_than_usual_is_written_correctly() -> None:
    quick, slow = both("MarkPrice")
    for size in range(1900, 2100):
        row = _mark_price() | {"symbol": "x" * size}
        assert quick(row) == slow(row)


def test_a_row_is_not_changed() -> None:
    row = _mark_price()
    with patch.object(quick_rows, "compiled", None):
        row_encoder(own_schemas()["MarkPrice"].document)(row)
    assert row["mark_price"] == "1.5"
