"""Rows on the wire become records according to the schemas: every value, however the exchange writes it, and nothing invented."""

import json
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from backpack_streams.bus.schemas import own_schemas, parse_schema
from backpack_streams.exchange.rest_decoding import decode_rows
from backpack_streams.exchange.wire_errors import UnreadableMessageError
from backpack_streams.rest_poller.publication import row_reader
from backpack_streams.rest_poller.row_reader import FILLED_IN, RowReader
from unit.rest_poller.polled_answers import CODEC, TABLE, Bus, answer, endpoint_of

fewer = settings(max_examples=10, phases=[Phase.explicit, Phase.generate])
numbers = st.decimals(-(10**9), 10**9, places=6).map(lambda number: format(number, "f"))
MOMENTS = {
    "2027-01-15T08:00:00.123456": 1_800_000_000_123_456,
    "2027-01-15 08:00:00": 1_800_000_000_000_000,
    "2027-01-15T08:00:00Z": 1_800_000_000_000_000,
    1_800_000_000_123: 1_800_000_000_123_000,
    "1800000000123": 1_800_000_000_123_000,
}
READABLE = sorted({each.record for each in TABLE})

SAMPLE = """{"type": "record", "name": "Sample", "namespace": "backpack_streams", "doc": "x", "fields": [
  {"name": "symbol", "type": "string"},
  {"name": "source", "type": "string"},
  {"name": "step_size", "type": ["null", {"type": "bytes", "logicalType": "decimal", "precision": 38, "scale": 18}], "default": null},
  {"name": "tick", "type": {"type": "bytes", "logicalType": "decimal", "precision": 38, "scale": 18}, "wire": "filters.price.tickSize"},
  {"name": "label", "type": "string", "wire": ["displayName", "names.short", "symbol"]},
  {"name": "at", "type": ["null", {"type": "long", "logicalType": "timestamp-micros"}], "default": null},
  {"name": "at_micros", "type": ["null", {"type": "long", "logicalType": "timestamp-micros"}], "default": null, "wire_unit": "micros"},
  {"name": "days", "type": ["null", "int"], "default": null},
  {"name": "curve", "type": ["null", {"type": "record", "name": "Curve", "fields": [{"name": "kind", "type": "string", "wire": "type"}]}],
    "default": null},
  {"name": "other_curve", "type": ["null", "Curve"], "default": null},
  {"name": "parts", "type": {"type": "array", "items": {"type": "record", "name": "Part", "fields": [
    {"name": "name", "type": "string"}, {"name": "is_new", "type": ["null", "boolean"], "default": null, "wire": "new"}]}}}
]}"""
LEAST = {"symbol": "A.B", "filters": {"price": {"tickSize": "0.10"}}}


def sample(row: Mapping[str, Any], given: tuple[str, ...] = ()) -> dict[str, Any]:
    return RowReader(parse_schema(SAMPLE).document, given)(json.dumps(row).encode())[0]


def test_a_row_with_little_more_than_a_name_is_a_valid_record() -> None:
    nothing = dict.fromkeys(("step_size", "at", "at_micros", "days", "curve", "other_curve"))
    assert sample(LEAST) == {"symbol": "A.B", "tick": "0.10", "label": "A.B", "parts": [], **nothing}
    nulls = {
        "stepSize": None,
        "at": None,
        "days": None,
        "curve": None,
        "parts": None,
        "displayName": None,
        "names": None,
    }
    assert sample(LEAST | nulls) == sample(LEAST)
    assert sample(LEAST | {"stepSize": "N/A"}) == sample(LEAST)


def test_names_paths_parts_and_the_first_name_present() -> None:
    row = LEAST | {"names": {"short": "ab"}, "curve": {"type": "sqrt"}, "otherCurve": {"type": "new"}}
    record = sample(row | {"parts": [{"name": "x", "new": "true"}, {"name": 7}]})
    assert record["label"] == "ab"
    assert (record["curve"], record["other_curve"]) == ({"kind": "sqrt"}, {"kind": "new"})
    assert record["parts"] == [{"name": "x", "is_new": True}, {"name": "7", "is_new": None}]
    assert sample(row | {"displayName": "best"})["label"] == "best"


@given(numbers, st.sampled_from([str, float]))
def test_decimals_keep_every_digit_as_text_and_as_a_number(number: str, form: Callable[[str], Any]) -> None:
    body = json.dumps(LEAST | {"stepSize": "here"}).replace('"here"', number if form is float else f'"{number}"')
    record, _ = RowReader(parse_schema(SAMPLE).document)(body.encode())
    assert Decimal(record["step_size"]) == Decimal(number)


@pytest.mark.parametrize(("sent", "expected"), MOMENTS.items())
def test_a_time_is_iso_text_without_a_zone_or_a_number_in_its_unit(sent: Any, expected: int) -> None:
    assert sample(LEAST | {"at": sent})["at"] == expected
    micros = sent if isinstance(sent, str) and "T" in sent else expected
    assert sample(LEAST | {"atMicros": micros})["at_micros"] == expected


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"filters": {}}, "tickSize"),
        ({"filters": {"price": {"tickSize": "N/A"}}}, "tickSize"),
        ({"symbol": None}, "displayName|symbol"),
        ({"stepSize": "abc"}, "stepSize"),
        ({"days": 2**31}, "32-bit"),
        ({"days": 1.5}, "days"),
        ({"at": "yesterday"}, "at"),
        ({"at": 2**62}, "64-bit"),
        ({"parts": {"name": "x"}}, "parts"),
        ({"parts": [{}]}, "name"),
        ({"curve": "sqrt"}, "curve"),
        ({"curve": {}}, "type"),
    ],
)
def test_a_value_of_another_type_is_refused_by_name(change: dict[str, Any], reason: str) -> None:
    with pytest.raises(UnreadableMessageError, match=reason):
        sample(LEAST | change)


def test_unknown_fields_are_counted_at_any_depth_and_fields_of_the_request_are_known() -> None:
    row = {
        "symbol": "X",
        "new": 1,
        "filters": {"price": {"tickSize": "1", "newer": {}}},
        "parts": [{"name": "x", "newest": []}],
    }
    reader = RowReader(parse_schema(SAMPLE).document, ("symbol",))
    rows = decode_rows(json.dumps([row, row]).encode(), reader)
    assert rows.unknown_fields == {"new": 2, "filters.price.newer": 2, "parts.newest": 2}
    assert "symbol" not in rows.rows[0]


# ---- the schemas of the table


@pytest.mark.parametrize("record", READABLE)
def test_every_record_of_the_table_names_the_source_of_its_fields(record: str) -> None:
    known = {"name", "type", "default", "doc", "wire", "wire_unit"}

    def visit(node: Any) -> None:
        if isinstance(node, Mapping):
            assert node.get("logicalType") or node["type"] in ("record", "array") or set(node) <= known, node
            assert node.get("wire_unit", "millis") in ("millis", "micros")
            for value in node.values():
                visit(value)
        elif isinstance(node, list):
            for item in node:
                visit(item)

    visit(own_schemas()[record].document["fields"])
    assert RowReader(own_schemas()[record].document)


TEXTS = st.text(
    st.characters(exclude_categories=["Cs"]), max_size=5
)  # with half a surrogate pair the whole answer is not JSON
values = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**70), 2**70), numbers, TEXTS, st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from(["N/A", "2027-01-15T08:00:00", "true", "1e400"]), st.lists(st.none() | st.integers(), max_size=2),
    st.dictionaries(st.sampled_from(["type", "base", "price", "symbol"]), TEXTS | st.none(), max_size=3),
)  # fmt: skip


def wire_names(document: Mapping[str, Any]) -> list[str]:
    names = []
    for field in document["fields"]:
        wire = field.get(
            "wire",
            field["name"].split("_")[0] + field["name"].title().replace("_", "")[len(field["name"].split("_")[0]) :],
        )
        names += [path.split(".")[0] for path in ([wire] if isinstance(wire, str) else wire)]
    return sorted(set(names))


@pytest.mark.parametrize("each", TABLE, ids=lambda each: f"{each.topic} {each.name[-12:]}")
@fewer
@given(st.data())
def test_any_row_is_a_record_or_a_dead_letter(each: Any, data: st.DataObject) -> None:
    """Whatever the exchange sends, the poller neither fails nor loses the row."""
    names = wire_names(own_schemas()[each.record].document)
    row = data.draw(st.dictionaries(st.sampled_from(names) | TEXTS, values, max_size=len(names)))
    body: Any = row if each.shape.is_one_object else [row]
    if each.shape.array_in is not None:
        body = {each.shape.array_in: body}
    bus = Bus()
    polled = answer(each, body)
    bus.publication(table=(each,)).publish(each, polled)
    held_back = not polled.bad_rows and each.publish == "once settled"
    assert len(bus.sent) + len(bus.letters) == 1 or held_back


def test_a_complete_market() -> None:
    markets = endpoint_of("reference.market")
    row = {
        "symbol": "kSHIB_USDC_PERP", "baseSymbol": "kSHIB", "quoteSymbol": "USDC", "marketType": "PERP",
        "filters": {
            "price": {"minPrice": "0.000001", "maxPrice": None, "tickSize": "1e-7", "maxMultiplier": "1.25",
                      "meanMarkPriceBand": {"maxMultiplier": "1.1", "minMultiplier": 0.9}, "meanPremiumBand": {"tolerancePct": "0.05"}},
            "quantity": {"minQuantity": "1", "stepSize": 1},
        },
        "imfFunction": {"type": "sqrt", "base": "0.02", "factor": "0.00006"}, "fundingInterval": "3600000",
        "fundingRateUpperBound": "100", "fundingRateLowerBound": -100, "openInterestLimit": "4000000000",
        "orderBookState": "Dreaming", "createdAt": "2025-01-21T06:34:54.691858", "visible": True, "brandNew": {"a": [1.50]},
    }  # fmt: skip
    bus = Bus()
    bus.publication().publish(markets, answer(markets, [row]))
    record = bus.sent[0].record
    assert record is not None
    assert (record["symbol"], record["market_type"], record["order_book_state"]) == (
        "kSHIB_USDC_PERP",
        "PERP",
        "Dreaming",
    )
    assert (record["created_time"], record["is_visible"], record["funding_interval_millis"]) == (
        1_737_441_294_691_858,
        True,
        3_600_000,
    )
    assert (record["tick_size"], record["minimum_price"], record["maximum_price"]) == (
        Decimal("1e-7"),
        Decimal("0.000001"),
        None,
    )
    assert (record["step_size"], record["minimum_quantity"], record["maximum_quantity"]) == (1, 1, None)
    assert (record["maximum_multiplier"], record["mean_mark_price_minimum_multiplier"]) == (
        Decimal("1.25"),
        Decimal("0.9"),
    )
    assert (record["mean_premium_tolerance"], record["funding_rate_lower_bound"]) == (Decimal("0.05"), -100)
    assert record["initial_margin_function"] == {"kind": "sqrt", "base": Decimal("0.02"), "factor": Decimal("0.00006")}
    assert record["maintenance_margin_function"] is None
    assert json.loads(record["raw"]) == row
    assert (record["source"], record["event_time"], record["engine_time"]) == ("REST", None, None)


def test_rows_inside_an_object_and_an_object_as_the_row() -> None:
    bus = Bus()
    publication = bus.publication()
    body = {"borrowLend": [{"symbol": "SOL", "borrowRate": "0.0546715848413526889541193488"}], "staking": []}
    for topic in ("reference.borrow_lend_apy", "reference.staking_apy"):
        publication.publish(endpoint_of(topic), answer(endpoint_of(topic), body))
    status = endpoint_of("reference.system_status")
    publication.publish(status, answer(status, {"status": "Dreaming", "message": None}))
    first, second = (each.record for each in bus.sent)
    assert first is not None
    assert first["borrow_rate"] == Decimal("0.0546715848413526889541193488")
    assert second is not None
    assert (bus.sent[1].key, second["status"], second["message"]) == ("exchange", "Dreaming", None)


def test_fields_that_the_poller_fills_in_are_not_taken_from_the_row() -> None:
    reader = row_reader(endpoint_of("perp.open_interest"), CODEC)
    body = b'[{"symbol":"X","openInterest":"1","timestamp":1800000000123,"source":"FORGED","raw":"x"}]'
    [row] = decode_rows(body, reader).rows
    assert row.fields == {"symbol": "X", "open_interest": "1", "event_time": 1_800_000_000_123_000}
    assert {"source", "received_time", "raw"} <= FILLED_IN
