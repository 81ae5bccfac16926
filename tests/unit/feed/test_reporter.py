"""Reports carry everything reported, have keys that readers can rely on, and wait if there is no room for them."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backpack_streams.bus.schemas import own_schemas
from backpack_streams.publishing import reporter as reporter_module
from backpack_streams.publishing import reports
from backpack_streams.publishing.reporter import Reporter
from unit.feed.recorded_queues import SERVICE, Queues, encoder

GAP: dict[str, Any] = {"stream": "depth.X", "symbol": "X", "topic": "market.depth", "detail": "said"}
LETTER: dict[str, Any] = {"origin": "depth.X", "symbol": "X", "detail": "said"}
maybe_longs = st.none() | st.integers(-(2**63), 2**63 - 1)


def reporter_and_queues(**options: int) -> tuple[Reporter, Queues]:
    partition_queues = Queues()
    return Reporter(SERVICE, partition_queues.partition_queue, encoder, **options), partition_queues


def fields(record: str) -> set[str]:
    return {field["name"] for field in own_schemas()[record].document["fields"]}


@given(maybe_longs, maybe_longs, maybe_longs, maybe_longs, maybe_longs)
def test_a_gap_states_its_bounds(
    last_id: int | None, next_id: int | None, last_us: int | None, next_us: int | None, lost: int | None
) -> None:
    reporter, partition_queues = reporter_and_queues()
    reporter.gap(
        reason=reports.SEQUENCE_BREAK, detected_us=5_999, last_id=last_id, next_id=next_id, last_time_us=last_us,
        next_time_us=next_us, lost_records=lost, **GAP,
    )  # fmt: skip
    [arrived] = partition_queues.arrived
    assert (arrived.topic, arrived.key, arrived.timestamp_ms) == ("ops.gap", b"X", 5)
    assert arrived.record == {
        "stream": "depth.X", "symbol": "X", "topic": "market.depth", "reason": "SEQUENCE_BREAK", "detail": "said", "service": SERVICE,
        "last_id": last_id, "next_id": next_id, "last_time": last_us, "next_time": next_us, "lost_records": lost, "detected_time": 5_999,
    }  # fmt: skip


@given(st.binary(max_size=50))
def test_a_dead_letter_holds_the_bytes(payload: bytes) -> None:
    reporter, partition_queues = reporter_and_queues()
    reporter.dead_letter(reason=reports.UNPARSABLE, payload=payload, received_us=7_000, **LETTER)
    [arrived] = partition_queues.arrived
    assert (arrived.topic, arrived.key, arrived.timestamp_ms) == ("ops.dead_letter", b"WEBSOCKET", 7)
    assert arrived.record["payload"] == payload
    assert arrived.record["payload_truncated"] is False


def test_a_dead_letter_is_keyed_by_its_source() -> None:
    reporter, partition_queues = reporter_and_queues()
    reporter.dead_letter(reason=reports.UNPARSABLE, payload=b"", received_us=7, source="REST", **LETTER)
    assert (partition_queues.arrived[0].key, partition_queues.arrived[0].record["source"]) == (b"REST", "REST")


def test_a_status_is_keyed_by_its_stream() -> None:
    reporter, partition_queues = reporter_and_queues()
    reporter.status(
        stream="ticker.X", symbol="X", status="SILENT", detail="d", changed_us=9_000, error_code=4006, last_id=5
    )
    [arrived] = partition_queues.arrived
    assert (arrived.topic, arrived.key) == ("ops.stream_status", b"ticker.X")
    assert arrived.record == {
        "stream": "ticker.X", "symbol": "X", "status": "SILENT", "detail": "d", "error_code": 4006, "last_id": 5,
        "last_received_time": None, "service": SERVICE, "changed_time": 9_000, "missing": [],
    }  # fmt: skip


def test_rows_have_exactly_the_fields_of_their_records() -> None:
    gap = reports.gap_row(reason="R", service="s", detected_us=1, **GAP)
    letter = reports.dead_letter_row(source="S", reason="R", payload=b"", service="s", received_us=1, **LETTER)
    status = reports.status_row(stream="s", symbol="", status="LIVE", detail="", service="s", changed_us=1)
    assert (set(gap), set(letter), set(status)) == (fields("Gap"), fields("DeadLetter"), fields("StreamStatus"))


def test_reports_are_counted_by_reason_and_gaps_by_channel_too() -> None:
    reporter, _ = reporter_and_queues()
    reporter.expect("depth", ["A", "C"])
    for reason in ("A", "B", "A"):
        reporter.gap(reason=reason, detected_us=1, **GAP)
        reporter.dead_letter(reason=reason, payload=b"", received_us=1, **LETTER)
    reporter.gap(reason="A", detected_us=1, **GAP | {"stream": "kline.1m.X"})
    reporter.expect("depth", ["A"])
    assert reporter.gaps == {("depth", "A"): 2, ("depth", "B"): 1, ("depth", "C"): 0, ("kline", "A"): 1}
    assert reporter.dead_letters == {"A": 2, "B": 1}


@pytest.mark.parametrize("stream", ["BTC_USDC", "", "market.book_top.BTC_USDC"])
def test_an_invalid_stream_name_creates_no_channel(stream: str) -> None:
    reporter, _ = reporter_and_queues()
    reporter.gap(reason="A", detected_us=1, **GAP | {"stream": stream})
    assert reporter.gaps == {("other", "A"): 1}


@pytest.mark.parametrize("reason", sorted(reports.CLOSING_REASONS))
def test_a_closing_reason_is_reported_and_not_counted_as_a_gap(reason: str) -> None:
    reporter, partition_queues = reporter_and_queues()
    reporter.gap(reason=reason, detected_us=1, **GAP)
    assert [gap["reason"] for gap in partition_queues.gaps] == [reason]
    assert reporter.gaps == {}


def test_text_that_utf_8_cannot_carry_is_replaced() -> None:
    reporter, partition_queues = reporter_and_queues()
    reporter.gap(reason="A", detected_us=1, **GAP | {"detail": "half \ud800", "symbol": "\udfff"})
    assert partition_queues.gaps[0]["detail"] == "half ?"


@given(st.lists(st.sampled_from(["report", "full", "room", "tick"]), max_size=30))
def test_reports_without_room_wait_and_are_sent_in_order(steps: list[str]) -> None:
    reporter, partition_queues = reporter_and_queues()
    number = 0
    for step in [*steps, "room", "tick"]:
        if step == "report":
            reporter.gap(reason="A", detected_us=number, **GAP)
            number += 1
        elif step == "tick":
            reporter.on_tick()
        else:
            partition_queues.room_for_reports = step == "room"
    assert [gap["detected_time"] for gap in partition_queues.gaps] == list(range(number))
    assert reporter.lost_reports == 0


def test_waiting_reports_are_bounded_in_bytes_too() -> None:
    reporter, partition_queues = reporter_and_queues(most_waiting_bytes=3000)
    partition_queues.room_for_reports = False
    letter: dict[str, Any] = {"reason": "R", "detail": "d", "origin": "o", "symbol": "S", "received_us": 1}
    for _ in range(2):
        reporter.dead_letter(payload=bytes(1000), **letter)
    assert reporter.lost_reports == 0
    reporter.dead_letter(payload=bytes(1000), **letter)
    assert (reporter.waiting_reports, reporter.lost_reports) == (2, 1)
    partition_queues.room_for_reports = True
    reporter.on_tick()
    partition_queues.room_for_reports = False
    for _ in range(2):
        reporter.dead_letter(payload=bytes(1000), **letter)
    assert (reporter.waiting_reports, reporter.lost_reports) == (2, 1), "what was handed over takes nothing any more"


def test_waiting_reports_are_bounded_and_the_lost_ones_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reporter_module, "WAITING_REPORTS", 3)
    reporter, partition_queues = reporter_and_queues()
    partition_queues.room_for_reports = False
    for number in range(5):
        reporter.gap(reason="A", detected_us=number, **GAP)
    partition_queues.room_for_reports = True
    reporter.on_tick()
    assert [gap["detected_time"] for gap in partition_queues.gaps] == [0, 1, 2]
    assert reporter.lost_reports == 2
