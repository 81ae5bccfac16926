"""Streams come and go, are refused and wanted again: what each missed is recorded."""

from typing import Any

import pytest

from backpack_streams.bus.topics import topic
from backpack_streams.feed import dropped_streams
from backpack_streams.feed.latest_feed import LatestFeed
from backpack_streams.sequencing.watermarks import Interval
from unit.feed.captured_frames import RECEIVED_US
from unit.feed.recorded_queues import STREAM_SPECS, Plant, depth_frame, liquidation_frame, ticker_frame, trade_frame


def test_streams_are_added_by_name_and_dropped_when_no_longer_wanted() -> None:
    unwanted: list[str] = []
    plant = Plant(["depth.X", "trade.X"], on_unwanted=unwanted.append)
    assert [feed.name for feed in plant.router.want(["trade.X", "kline.1m.AAPL.US_USDC_PERP"])] == [
        "kline.1m.AAPL.US_USDC_PERP"
    ]
    assert plant.feed("kline.1m.AAPL.US_USDC_PERP").symbol == "AAPL.US_USDC_PERP"
    plant.send(depth_frame(1, 1, 1))
    assert plant.partition_queues.dead_letters == [], "what was on its way when it was dropped is nobody's fault"
    assert (plant.router.unwanted, unwanted) == (1, ["depth.X"])
    plant.send(depth_frame(1, 1, 1, "depth.Y"))
    assert [letter["reason"] for letter in plant.partition_queues.dead_letters] == ["UNKNOWN_STREAM"]
    assert plant.partition_queues.dead_letters[0]["symbol"] == "Y"
    assert unwanted == ["depth.X"]


def test_a_stream_that_is_wanted_again_resumes_with_its_loss_recorded() -> None:
    plant = Plant(["depth.X", "bookTicker.X"])
    plant.send(depth_frame(1, 1, 1))
    plant.want(["bookTicker.X"])
    plant.uncover(0, "depth.X", through=10.0, cause="UNSUBSCRIBED")
    plant.send(depth_frame(2, 2, 2))  # was in flight
    plant.want(["bookTicker.X", "depth.X"])
    plant.cover(0, "depth.X", at=99.0)
    plant.send(depth_frame(7, 7, 7))
    plant.tick(120.0)
    assert [row["last_update_id"] for row in plant.partition_queues.of("market.depth")] == [1, 7]
    [gap] = plant.partition_queues.gaps[1:]
    assert (gap["reason"], gap["last_id"], gap["next_id"]) == ("NOT_SUBSCRIBED", 1, 7)
    assert gap["last_time"] == 10_000_000
    assert [row["status"] for row in plant.partition_queues.statuses] == ["LIVE", "LIVE"], (
        "it is news that it delivers again"
    )


def test_messages_before_a_stream_was_dropped_prove_nothing_about_the_time_until_it_is_wanted_again() -> None:
    """Its new socket had delivered messages, but was confirmed only after the stream was requested again."""
    plant = Plant(["depth.X", "bookTicker.X"])
    plant.send(depth_frame(1, 1, 1))
    plant.uncover(0, "depth.X", through=1.0)
    plant.send(depth_frame(2, 2, 2), socket=1)
    plant.want(["bookTicker.X"])
    plant.want(["bookTicker.X", "depth.X"])
    plant.cover(1, "depth.X", at=99.0)
    plant.tick(100.0)
    plant.tick(120.0)
    assert [(gap["reason"], gap["last_id"], gap["next_id"]) for gap in plant.partition_queues.gaps[1:]] == [
        ("DISCONNECTED", 2, None)
    ]


def test_a_dropped_stream_reports_its_earlier_losses() -> None:
    plant = Plant(["depth.X", "trade.X"])
    plant.send(depth_frame(1, 1, 1))
    plant.partition_queues.room = False
    plant.send(depth_frame(2, 2, 2))
    plant.want(["trade.X"])
    assert plant.router.owes_reports()
    plant.partition_queues.room = True
    plant.tick(1.0)
    assert [(gap["reason"], gap["last_id"], gap["next_id"]) for gap in plant.partition_queues.gaps[1:]] == [
        ("BUFFER_FULL", 1, 3)
    ]
    assert not plant.router.owes_reports()


def test_messages_held_of_a_dropped_stream_are_published() -> None:
    plant = Plant(["depth.X", "trade.X"], sockets=2)
    plant.send(depth_frame(1, 1, 1))
    plant.tick(1.0)
    plant.send(depth_frame(3, 3, 3))
    plant.want(["trade.X"])
    assert plant.router.held_since() is not None
    plant.tick(2.0)
    assert [row["last_update_id"] for row in plant.partition_queues.of("market.depth")] == [1, 3]
    assert plant.router.held_since() is None


def test_of_a_stream_that_was_dropped_its_position_is_kept_and_not_its_last_messages() -> None:
    plant = Plant(["bookTicker.X", "trade.X"])
    for number in (1, 2, 3):
        plant.send(ticker_frame(number, number))
    plant.want(["trade.X"])
    dropped = plant.router.recall("bookTicker.X")
    assert isinstance(dropped, LatestFeed)
    assert (dropped._latest.recent, dropped.last_row, dropped.last_published_id) == ({}, None, 3)


def test_the_streams_that_were_dropped_first_are_forgotten_and_stay_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dropped_streams, "DROPPED_AT_MOST", 2)
    names = [f"depth.{number}" for number in range(6)]
    plant = Plant(names)
    for number, name in enumerate(names):
        plant.partition_queues.room = number > 0  # the first one has a loss to report
        plant.send(depth_frame(1, 1, 1, name, s=str(number)))
    for wanted in range(1, 6):
        plant.uncover(0, names[wanted - 1])
        plant.want(names[wanted:])
    assert [feed.name for feed in plant.router._dropped] == [names[0], names[4]]
    assert plant.router.totals("frames")["depth"] == 6
    plant.tick(1.0)
    assert [(gap["stream"], gap["reason"]) for gap in plant.partition_queues.gaps[6:]] == [(names[0], "BUFFER_FULL")]


@pytest.mark.parametrize(("kept", "reason"), [(1, "NOT_SUBSCRIBED"), (0, "STREAM_START")])
def test_a_forgotten_stream_that_is_wanted_again_starts_anew(
    monkeypatch: pytest.MonkeyPatch, kept: int, reason: str
) -> None:
    """Even if another instance covered it when this one started."""
    monkeypatch.setattr(dropped_streams, "DROPPED_AT_MOST", kept)
    plant = Plant(["bookTicker.X", "trade.X"])
    plant.uncover(0, "bookTicker.X", through=10.0, cause="UNSUBSCRIBED")
    plant.want(["trade.X"])
    plant.want(["bookTicker.X", "trade.X"])
    plant.cover(0, "bookTicker.X", at=99.0)
    [gap] = [gap for gap in plant.partition_queues.gaps if gap["stream"] == "bookTicker.X"]
    assert (gap["reason"], gap["last_time"]) == (reason, 10_000_000 if kept else None)


@pytest.mark.parametrize(
    "frame",
    [
        depth_frame(2, 2, 2, s="Y"),
        {"stream": "trade.X", "data": trade_frame(2, 2)["data"] | {"s": "Y"}},
        {"stream": "bookTicker.X", "data": {"e": "bookTicker", "E": 1, "T": 1, "s": "Y", "u": 1, "a": "1", "A": "1"}},
    ],
    ids=["depth", "trade", "bookTicker"],
)
def test_a_message_about_another_market_is_a_dead_letter(frame: dict[str, Any]) -> None:
    plant = Plant([frame["stream"]])
    plant.send(frame)
    [letter] = plant.partition_queues.dead_letters
    assert (letter["reason"], letter["origin"]) == ("UNPARSABLE", frame["stream"])
    assert "'Y'" in letter["detail"]
    assert all(each.topic.startswith("ops.") for each in plant.partition_queues.arrived)


def test_wanting_a_stream_again_keeps_its_sequence() -> None:
    plant = Plant(["depth.X"])
    plant.send(depth_frame(1, 1, 1))
    assert plant.router.want(["depth.X"]) == []
    plant.send(depth_frame(2, 2, 2))
    assert [gap["reason"] for gap in plant.partition_queues.gaps] == ["STREAM_START"]


def test_a_record_is_traced_to_its_stream_by_its_interval_too() -> None:
    plant = Plant(["kline.1d.X", "kline.1m.X", "trade.X", "liquidation"])
    assert plant.router.stream_of("market.kline", "X", {"interval": "1m"}) == "kline.1m.X"
    assert plant.router.stream_of("market.kline", "X", {"interval": "1h"}) == ""
    assert plant.router.stream_of("perp.liquidation", "Y", {}) == "liquidation"
    plant.want(["liquidation"])
    assert plant.router.stream_of("market.trade", "X", {}) == "trade.X", "it may be refused once the market is closed"


def test_counts_outlive_their_streams() -> None:
    plant = Plant(["depth.X", "depth.Y"])
    plant.send(depth_frame(1, 1, 1))
    plant.send(depth_frame(1, 1, 1))
    plant.router.want(["depth.Y"])
    assert plant.router.totals("frames")["depth"] == 2
    assert plant.router.totals("published")["depth"] == 1
    assert plant.router.totals("duplicates")["depth"] == 1
    assert plant.router.totals("frames")["trade"] == 0


def test_every_topic_of_a_stream_spec_carries_its_record() -> None:
    for spec in STREAM_SPECS:
        for name in spec.topics.values():
            assert topic(name).record == spec.record


def test_a_stock_price_is_keyed_by_its_ticker_and_stamped_with_the_provider_s_time() -> None:
    plant = Plant(["stockPrice.BRK.B"])
    quote = {"symbol": "BRK.B", "bid": "1", "ask": "2", "mid": "1.5", "timestamp": 1790134357267, "session": "X"}
    plant.send({"stream": "stockPrice.BRK.B", "data": quote}, 0, RECEIVED_US)
    [arrived] = [each for each in plant.partition_queues.arrived if each.topic == "market.stock_price"]
    assert (arrived.key, arrived.timestamp_ms) == (b"BRK.B", 1790134357267)


def test_of_a_stream_of_all_markets_every_message_is_published() -> None:
    """Its coverage speaks of all of them."""
    plant = Plant(["liquidation"])
    for symbol in ("B", "A", "C", "A"):
        plant.send(liquidation_frame(5, symbol), 0, 6)
    assert [row["symbol"] for row in plant.partition_queues.of("perp.liquidation")] == ["B", "A", "C", "A"]
    assert plant.router.totals("published")["liquidation"] == 4
    assert plant.partition_queues.dead_letters == []


def test_a_refused_stream_that_delivers_again_is_live_again() -> None:
    plant = Plant(["depth.X", "bookTicker.X"])
    for number in (1, 2):
        plant.send(depth_frame(number, number, number))
        plant.send(ticker_frame(number, number))
    for stream in ("depth.X", "bookTicker.X"):
        plant.feed(stream).amiss()
    for number in (3, 4):
        plant.send(depth_frame(number, number, number))
        plant.send(ticker_frame(number, number))
    assert [row["stream"] for row in plant.partition_queues.statuses] == ["depth.X", "bookTicker.X"] * 2
    assert {row["status"] for row in plant.partition_queues.statuses} == {"LIVE"}


def test_streams_refused_after_a_reconnect_are_uncovered_until_they_are_a_gap() -> None:
    streams = ["depth.X", "trade.X", "liquidation", "kline.1m.X"]
    plant = Plant(streams)
    plant.send(depth_frame(10, 10, 1))
    plant.send(trade_frame(7, 1))
    plant.send(liquidation_frame(1))
    plant.tick(2.0)
    plant.partition_queues.arrived.clear()
    plant.uncover(0)
    for stream in streams:  # another socket is up, and its subscriptions are refused for 15 minutes
        plant.coverage.refused(stream)
    plant.prove(1, at=900.0)
    plant.tick(900.0)
    assert plant.coverage.uncovered() == set(streams)
    assert all(interval.until == 2_000_000 for interval, _ in plant.coverage.statement())
    assert plant.partition_queues.gaps == [], "while it lasts the watermarks tell"
    plant.cover(1, at=901.0)
    plant.tick(902.0)
    plant.tick(910.0)
    gaps = {
        gap["stream"]: (gap["reason"], gap["last_id"], gap["last_time"], gap["next_time"])
        for gap in plant.partition_queues.gaps
    }
    times = 2_000_000, 901_000_000
    assert gaps == {
        "depth.X": ("SUBSCRIPTION_REFUSED", 10, *times),
        "trade.X": ("SUBSCRIPTION_REFUSED", 7, *times),
        "liquidation": ("SUBSCRIPTION_REFUSED", None, *times),
        "kline.1m.X": ("SUBSCRIPTION_REFUSED", None, *times),
    }


def test_a_new_socket_confirmed_after_the_old_one_went_leaves_a_gap() -> None:
    plant = Plant(["depth.X", "liquidation"])
    plant.send(depth_frame(10, 10, 1))
    plant.tick(2.0)
    plant.partition_queues.arrived.clear()
    plant.prove(1)
    plant.uncover(0)
    plant.prove(1, at=12.0)
    assert plant.coverage.uncovered() == {"depth.X", "liquidation"}
    plant.cover(1)
    plant.tick(12.0)
    plant.tick(20.0)
    assert [
        (gap["stream"], gap["reason"], gap["last_time"], gap["next_time"]) for gap in plant.partition_queues.gaps
    ] == [
        ("liquidation", "DISCONNECTED", 2_000_000, 12_000_000),
        ("depth.X", "DISCONNECTED", 2_000_000, 12_000_000),
    ]


def test_text_that_is_not_json_is_an_error_without_a_code() -> None:
    """A proxy may answer instead of the exchange; the subscriber must know that its request was not accepted."""
    plant = Plant(["depth.X"])
    plant.send(b"Bad gateway", 3)
    [(socket, code, message)] = plant.error_frames
    assert (socket, code) == (3, 0)
    assert "Bad gateway" in message
    assert [letter["reason"] for letter in plant.partition_queues.dead_letters] == ["UNPARSABLE"]


def test_a_topic_that_lost_its_records_breaks_the_coverage_of_its_streams() -> None:
    plant = Plant(["depth.X", "depth.Y", "trade.X"])
    plant.send(depth_frame(1, 1, 1))
    plant.prove(0, at=50.0)
    before = dict(interval_of_each(plant))
    plant.router.on_deleted("market.depth", plant.moment)
    gaps = [gap for gap in plant.partition_queues.gaps if gap["reason"] == "RECORDS_DELETED"]
    assert [(gap["stream"], gap["last_id"], gap["next_time"]) for gap in gaps] == [
        ("depth.X", None, 50_000_000),
        ("depth.Y", None, 50_000_000),
    ]
    after = interval_of_each(plant)
    assert {name: interval.since for name, interval in after.items()} == {
        "depth.X": 50_000_000,
        "depth.Y": 50_000_000,
        "trade.X": before["trade.X"].since,
    }
    plant.send(depth_frame(2, 2, 2))
    assert [row["last_update_id"] for row in plant.partition_queues.of("market.depth")] == [1, 2], (
        "nothing else is missing"
    )
    assert plant.coverage.complete_through(plant.moment).seconds == 50.0


def test_a_topic_that_lost_its_records_while_no_socket_covers_it_has_a_gap_of_each() -> None:
    plant = Plant(["depth.X"])
    plant.send(depth_frame(1, 1, 1))
    plant.uncover(0, "depth.X")
    plant.router.on_deleted("market.depth", plant.moment)
    plant.cover(1, "depth.X", at=9.0)
    plant.tick(99.0)
    assert [gap["reason"] for gap in plant.partition_queues.gaps[1:]] == ["RECORDS_DELETED", "DISCONNECTED"]


def interval_of_each(plant: Plant) -> dict[str, Interval]:
    return {name: interval for interval, names in plant.coverage.statement() for name in names}
