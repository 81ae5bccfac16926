"""What the gateway reports about the plant, from the records that the plant writes about itself."""

from typing import Any

import pytest

from backpack_streams.gateway.plant import Plant

SECOND = 1_000_000
NOW = 1_796_000_000 * SECOND


def watermark(instance: str = "a", **changes: Any) -> dict[str, Any]:
    return {
        "service": "market-producer",
        "instance": instance,
        "published_time": NOW - SECOND,
        "complete_through": NOW - 2 * SECOND,
        "is_final": False,
        "coverage": [
            {"since": NOW - 60 * SECOND, "until": None, "streams": ["trade.A", "trade.B"]},
            {"since": None, "until": None, "streams": ["trade.C"]},
            {"since": NOW - 60 * SECOND, "until": NOW - SECOND, "streams": ["depth.A"]},
        ],
    } | changes


def gap(stream: str = "trade.A", reason: str = "SEQUENCE_BREAK", **changes: Any) -> dict[str, Any]:
    return {
        "stream": stream,
        "symbol": stream.partition(".")[2],
        "reason": reason,
        "last_id": None,
        "next_id": None,
        "last_time": None,
        "next_time": None,
        "lost_records": None,
        "service": "market-producer",
        "detected_time": NOW - 60 * SECOND,
    } | changes


def test_a_producer_has_covered_and_uncovered_streams() -> None:
    plant = Plant()
    plant.take_watermark(watermark())
    plant.take_watermark(watermark(coverage=None, published_time=NOW))
    [row] = plant.producers(NOW + SECOND)
    assert (row["covered_streams"], row["uncovered"]) == (2, ["depth.A", "trade.C"])
    assert (row["last_watermark"], row["age_ms"], row["complete_through"]) == (NOW, 1000, NOW - 2 * SECOND)


def test_a_producer_that_has_ended_covers_nothing_and_is_dropped_after_a_while() -> None:
    plant = Plant()
    plant.take_watermark(watermark(is_final=True))
    [row] = plant.producers(NOW)
    assert (row["is_final"], row["covered_streams"]) == (True, 0)
    assert plant.producers(NOW + 700 * SECOND) == []
    [service] = plant.services(NOW)
    assert (service["service"], service["has_ended"], service["heard_by"]) == ("market-producer", True, "watermark")


def test_a_gap_of_trades_is_open_until_it_is_refilled() -> None:
    plant = Plant()
    plant.take_gap(gap(last_id=5, next_id=9))
    plant.take_gap(gap(last_id=20, next_id=22))
    assert (plant.gaps(NOW)["open"], plant.gaps(NOW)["refilled"], plant.gaps(NOW)["last_hour"]) == (2, 0, 2)
    plant.take_gap(gap(reason="REFILLED", last_id=5, next_id=7))
    assert (plant.gaps(NOW)["open"], plant.gaps(NOW)["refilled"]) == (2, 0), "half of it"
    plant.take_gap(gap(reason="REFILLED", last_id=6, next_id=9))
    gaps = plant.gaps(NOW)
    assert (gaps["open"], gaps["refilled"]) == (1, 1)
    assert [(row["from"], row["to"], row["bounds"], row["refilled"]) for row in gaps["recent"]] == [
        (20, 22, "id", False),
        (5, 9, "id", True),
    ]


def test_a_gap_that_rest_cannot_fill_is_neither_open_nor_refilled() -> None:
    plant = Plant()
    plant.take_gap(gap(last_id=5, next_id=9))
    plant.take_gap(gap(reason="REFILL_INCOMPLETE", last_id=5, next_id=9))
    assert (plant.gaps(NOW)["open"], plant.gaps(NOW)["refilled"]) == (0, 0)


@pytest.mark.parametrize("reason", ["STREAM_START", "AUDIT_MISMATCH", "COVERAGE_DISPROVED"])
def test_a_gap_that_is_no_loss_is_listed_and_not_counted(reason: str) -> None:
    plant = Plant()
    plant.take_gap(gap("depth.A", reason))
    gaps = plant.gaps(NOW)
    assert (gaps["last_hour"], gaps["open"]) == (0, 0)
    assert [row["loss"] for row in gaps["recent"]] == [False]


def test_gaps_of_streams_without_ids_are_bounded_by_time() -> None:
    plant = Plant()
    plant.take_gap(gap("markPrice.A", "DISCONNECTED", last_time=NOW - 9, next_time=NOW - 3))
    [row] = plant.gaps(NOW)["recent"]
    assert (row["from"], row["to"], row["bounds"], row["loss"]) == (NOW - 9, NOW - 3, "time", True)
    assert plant.gaps(NOW + 3600 * SECOND)["last_hour"] == 0


def test_audits_are_counted_by_result() -> None:
    plant = Plant()
    for result in ("MATCH", "MATCH", "MISMATCH", "WANTED"):
        plant.take_audit(
            {
                "symbol": "A",
                "result": result,
                "reason": "",
                "update_id": 5,
                "compared_levels": 3,
                "different_levels": 0,
                "service": "book-builder",
                "audited_time": NOW,
            }
        )
    audits = plant.audits()
    assert (audits["matches"], audits["mismatches"]) == (2, 1)
    assert [row["result"] for row in audits["recent"]] == ["MISMATCH", "MATCH", "MATCH"]
    assert [row["service"] for row in plant.services(NOW)] == ["book-builder"]


def test_a_topic_has_a_rate_once_its_end_was_seen_twice() -> None:
    plant = Plant()
    plant.take_ends({"market.trade": 1_000}, 10.0)
    assert plant.topics(NOW, {})["market.trade"]["records_per_second"] is None
    for second in range(1, 30):
        plant.take_ends({"market.trade": 1_000 + 50 * second}, 10.0 + second)
    plant.take_stamp("market.trade", NOW // 1000 - 250)
    row = plant.topics(NOW, {"market.trade": NOW - 1, "perp.mark_price": None})
    assert row["market.trade"] == {
        "last_record_time": NOW - 250_000,
        "age_ms": 250,
        "records_per_second": 50,
        "complete_through": NOW - 1,
    }
    assert row["perp.mark_price"]["last_record_time"] is None


def test_a_recreated_topic_has_no_negative_rate() -> None:
    plant = Plant()
    plant.take_ends({"market.trade": 1_000}, 10.0)
    plant.take_ends({"market.trade": 3}, 11.0)
    assert plant.topics(NOW, {})["market.trade"]["records_per_second"] == 0
