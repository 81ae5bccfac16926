"""Finds the last record of each stream among duplicates, foreign data and restarted sequences."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from backpack_streams.bus.schemas import own_schemas
from backpack_streams.bus.topics import topic
from backpack_streams.feed.tails import Last, _note, last_of
from unit.feed.recorded_queues import CODEC, encoder

LISTED = st.lists(st.integers(1, 9), min_size=1, max_size=9)


def depth_value(
    last_id: int, time_us: int | None, event_us: int | None = 0, symbol: str = "X", received_us: int = 9
) -> bytes:
    row: dict[str, Any] = {
        "symbol": symbol, "source": "WEBSOCKET", "event_time": event_us, "engine_time": time_us, "received_time": received_us,
        "first_update_id": last_id, "last_update_id": last_id, "bids": [], "asks": [],
    }  # fmt: skip
    return encoder("market.depth")(row)


def row_of(name: str, **values: Any) -> bytes:
    """A record of a topic; fields not given are null, zero or empty."""
    row: dict[str, Any] = {}
    for field in own_schemas()[topic(name).record].document["fields"]:
        kind = field["type"]
        if isinstance(kind, list):
            row[field["name"]] = None
        elif isinstance(kind, dict):
            row[field["name"]] = {"long": 0, "bytes": b"\x00", "array": []}[kind["type"]]
        else:
            row[field["name"]] = {"string": "", "boolean": False, "long": 0}[kind]
    return encoder(name)(row | values)


def noted(*values: bytes | None, name: str = "t") -> dict[tuple[str, str], Last]:
    found: dict[tuple[str, str], Last] = {}
    for value in values:
        _note(found, CODEC, name, value)
    return found


@given(LISTED)
def test_the_highest_id_is_the_last_in_any_order_of_duplicates(ids: list[int]) -> None:
    assert noted(*(depth_value(each, 100 + each) for each in ids)) == {("t", "X"): Last(max(ids), 100 + max(ids), 9)}


@given(st.permutations([(1000, 10), (1001, 11), (1, 20), (2, 21)]))
def test_after_a_restart_of_the_sequence_the_new_one_counts(records: list[tuple[int, int]]) -> None:
    assert noted(*(depth_value(*each) for each in records))["t", "X"] == Last(2, 21, 9)


def test_the_engine_time_counts_and_otherwise_the_event_time() -> None:
    assert noted(depth_value(1, 5, 6))["t", "X"].time_us == 5
    assert noted(depth_value(1, 0, 6))["t", "X"].time_us == 0
    assert noted(depth_value(1, None, 6))["t", "X"].time_us == 6
    assert noted(depth_value(1, None, None))["t", "X"].time_us == 0


def test_symbols_and_topics_are_kept_apart() -> None:
    found = noted(depth_value(1, 1, symbol="A"), depth_value(2, 2, symbol="B.C"))
    _note(found, CODEC, "other", depth_value(3, 3, symbol="A"))
    assert {key: last.last_id for key, last in found.items()} == {("t", "A"): 1, ("t", "B.C"): 2, ("other", "A"): 3}


def test_trades_are_ordered_by_id_and_other_records_by_event_time() -> None:
    assert noted(row_of("market.trade", symbol="X", trade_id=7, event_time=50))["t", "X"].last_id == 7
    assert noted(row_of("perp.mark_price", symbol="X", event_time=50))["t", "X"].last_id == 50


@given(st.binary(max_size=40))
def test_deletions_and_foreign_data_are_ignored(garbage: bytes) -> None:
    if garbage[:1] not in (b"\xc3", b"\x00"):
        assert noted(None, garbage, b"{}") == {}


def test_foreign_data_does_not_hide_our_records() -> None:
    assert noted(depth_value(1, 1), b"\xc3\x01 a newer schema", None)["t", "X"].last_id == 1


def test_for_a_stream_of_all_markets_the_last_record_of_any_market_counts() -> None:
    name = "perp.liquidation"
    rows = [row_of(name, symbol=symbol, received_time=at) for symbol, at in (("A", 5), ("B", 9), ("C", 7))]
    found = noted(*rows, name=name)
    _note(found, CODEC, "market.depth", depth_value(1, 1, received_us=99))
    last = last_of(found, name, "")
    assert last is not None
    assert last.received_us == 9
    assert last_of(found, name, "A") == Last(0, 0, 5)
    assert last_of(found, name, "D") is None
    assert last_of({}, name, "") is None
