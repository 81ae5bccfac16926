"""Gaps in a stream of ids, and records that a full buffer did not take: recorded to the id, held no longer than allowed."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backpack_streams.feed import sequence
from backpack_streams.feed.sequence import HOLD_SECONDS
from unit.feed.recorded_queues import (
    Plant,
    depth_frame,
    liquidation_frame,
    ticker_frame,
    trade_frame,
)
from unit.feed.sequenced_plants import SECOND, bring, depth_ids, gaps, sequenced, trade_ids
from unit.feed.test_stream_feed_coverage import tell


def test_a_gap_on_the_only_socket_is_recorded_at_once() -> None:
    plant = sequenced(1, 2, 5)
    assert depth_ids(plant) == [(1, 1), (2, 2), (5, 5)]
    assert gaps(plant) == [("STREAM_START", None, 1), ("SEQUENCE_BREAK", 2, 5)]
    assert plant.partition_queues.gaps[1]["detected_time"] == 5 * SECOND


def test_a_gap_that_no_other_socket_fills_is_recorded_after_the_hold_time() -> None:
    plant = sequenced(1, 2, sockets=2)
    bring(plant, 5)
    plant.tick(HOLD_SECONDS - 0.01)
    assert depth_ids(plant) == [(1, 1), (2, 2)]
    plant.tick(HOLD_SECONDS)
    assert depth_ids(plant) == [(1, 1), (2, 2), (5, 5)]
    assert gaps(plant)[1:] == [("SEQUENCE_BREAK", 2, 5)]


def test_a_held_message_keeps_its_received_time() -> None:
    plant = sequenced(1, sockets=2)
    bring(plant, 3)
    plant.tick(9.0)
    assert plant.partition_queues.of("market.depth")[-1]["received_time"] == 3 * SECOND


def test_when_a_socket_goes_held_messages_are_published_before_new_ones() -> None:
    plant = sequenced(1, sockets=2)
    bring(plant, 3)
    plant.uncover(1)
    bring(plant, 4)
    assert depth_ids(plant) == [(1, 1), (3, 3), (4, 4)]
    assert gaps(plant)[1:] == [("SEQUENCE_BREAK", 1, 3)]


def test_when_a_socket_goes_a_tick_releases_held_messages() -> None:
    plant = sequenced(1, sockets=2)
    bring(plant, 3)
    plant.uncover(1)
    plant.tick(0.01)
    assert depth_ids(plant) == [(1, 1), (3, 3)]


def test_held_messages_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sequence, "HELD_AT_MOST", 10)
    plant = sequenced(1, sockets=2)
    for each in range(3, 40):
        plant.send(depth_frame(each, each, each * SECOND), 0, SECOND)
    assert depth_ids(plant) == [(1, 1), *((each, each) for each in range(3, 40))]
    assert gaps(plant)[1:] == [("SEQUENCE_BREAK", 1, 3)]


@settings(max_examples=40)
@given(st.permutations(range(2, 9)))
def test_two_sockets_that_deliver_everything_in_any_order_leave_no_gap(order: list[int]) -> None:
    plant = sequenced(1, sockets=2)
    for place, each in enumerate(order):
        plant.send(depth_frame(each, each, each * SECOND), place % 2, SECOND + place)
    assert depth_ids(plant) == [(each, each) for each in range(1, 9)]
    assert gaps(plant) == [("STREAM_START", None, 1)]


def test_trades_that_another_socket_delivers_shortly_after_the_first_are_not_lost_silently() -> None:
    plant = Plant(["trade.X"], sockets=2)
    plant.send(trade_frame(10, 10 * SECOND), 0, 10 * SECOND)
    plant.send(trade_frame(9, 9 * SECOND), 1, 10 * SECOND + 1)
    plant.send(trade_frame(10, 10 * SECOND), 1, 10 * SECOND + 2)
    plant.tick(20.0)
    on_record = {
        each for gap in plant.partition_queues.gaps for each in range(gap["last_id"] or 0, gap["next_id"] or 0)
    }
    assert 9 in trade_ids(plant) or 9 in on_record


@pytest.mark.parametrize("stream", ["depth.X", "trade.X"])
def test_a_first_message_that_overtook_one_of_another_socket_tells_where_the_stream_begins(stream: str) -> None:
    """The break before it was recorded already, since nothing had come for a while."""
    plant = Plant([stream], sockets=2)
    plant.tick(10.0)
    assert gaps(plant) == [("STREAM_START", None, None)]
    tell(plant, 12)
    tell(plant, 11, socket=0)
    plant.tick(20.0)
    assert gaps(plant)[1:] == [("STREAM_START", None, 12)]


def test_the_first_message_of_the_only_socket_follows_on_what_others_covered() -> None:
    plant = Plant(["trade.X"], sockets=0)
    plant.coverage.resume({"trade.X": None})
    plant.cover(0)
    tell(plant, 12, socket=0)
    plant.tick(20.0)
    assert gaps(plant) == []


def test_records_without_room_are_recorded_to_the_id_once_there_is_room() -> None:
    plant = sequenced(1, 2)
    plant.partition_queues.room = False
    bring(plant, 3, 4, 5)
    plant.partition_queues.room = True
    bring(plant, 6)
    assert depth_ids(plant) == [(1, 1), (2, 2), (6, 6)]
    assert gaps(plant)[1:] == [("BUFFER_FULL", 2, 6)]
    assert plant.partition_queues.gaps[1]["lost_records"] == 3


def test_records_without_room_are_recorded_after_a_tick_even_if_nothing_comes() -> None:
    plant = sequenced(1, 2)
    plant.partition_queues.room = False
    bring(plant, 3, 4)
    plant.tick(5.0)
    assert gaps(plant)[1:] == [("BUFFER_FULL", 2, 5)]
    plant.tick(6.0)
    assert len(plant.partition_queues.gaps) == 2


def test_the_times_of_records_without_room_hold_by_both_settings_of_the_clock() -> None:
    """The wall clock is set back by an hour while the buffer is full."""
    plant, hour_us = Plant(["bookTicker.X"]), 3600 * SECOND
    plant.partition_queues.room = False
    for number, at, back_us in ((1, 7000, 0), (2, 7060, hour_us)):
        plant.router.now = float(at)
        plant.send(ticker_frame(number, at * SECOND), 0, at * SECOND - back_us)
    plant.partition_queues.room = True
    plant.tick(7100.0)
    [gap] = plant.partition_queues.gaps
    assert (gap["last_time"], gap["next_time"]) == (7000 * SECOND - hour_us, 7060 * SECOND)


def test_a_gap_that_had_no_room_either_is_recorded_later() -> None:
    plant = sequenced(1, 2)
    plant.partition_queues.room = plant.partition_queues.room_for_reports = False
    bring(plant, 3)
    plant.tick(4.0)
    plant.partition_queues.room = plant.partition_queues.room_for_reports = True
    bring(plant, 4)
    plant.tick(5.0)
    missing = {each for gap in plant.partition_queues.gaps[1:] for each in range(gap["last_id"] + 1, gap["next_id"])}
    assert missing == {3}


@pytest.mark.parametrize(
    ("stream", "frame"), [("bookTicker.X", ticker_frame), ("liquidation", liquidation_frame)]
)  # fmt: skip
def test_unsequenced_streams_report_how_many_had_no_room(stream: str, frame: Callable[[int, int], Any]) -> None:
    plant = Plant([stream])
    plant.partition_queues.room = False
    for each in (1, 2, 3):
        plant.send(ticker_frame(each, each) if stream == "bookTicker.X" else liquidation_frame(each), 0, each)
    plant.tick(4.0)
    [gap] = plant.partition_queues.gaps
    assert (gap["reason"], gap["lost_records"], gap["last_id"], gap["next_id"]) == ("BUFFER_FULL", 3, None, None)
