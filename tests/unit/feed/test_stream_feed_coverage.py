"""Uncovered times of streams whose ids tell what was missed; the wall clock may step."""

import pytest

from backpack_streams.exchange.session_actions import StreamsActive
from backpack_streams.feed.moments import Moment
from backpack_streams.feed.sequenced_feed import RESUMED_SECONDS
from unit.feed.recorded_queues import (
    Plant,
    depth_frame,
    trade_frame,
)
from unit.feed.sequenced_plants import SECOND, bring, depth_ids, gaps


def outage(stream: str = "depth.X", cause: str = "DISCONNECTED") -> Plant:
    """A stream that has delivered the ids 1 to 9, and was not covered from second 2 until second 60."""
    plant = Plant([stream])
    plant.send(depth_frame(1, 9, SECOND) if stream == "depth.X" else trade_frame(9, SECOND), 0, SECOND)
    plant.partition_queues.arrived.clear()
    plant.tick(2.0)
    plant.uncover(0, cause=cause)
    plant.tick(30.0)
    assert plant.partition_queues.gaps == []
    plant.cover(1, at=60.0)
    return plant


def tell(plant: Plant, trade_id: int, socket: int = 1) -> None:
    [stream] = plant.router.feeds
    at = trade_id * SECOND if trade_id > 9 else SECOND
    plant.send(depth_frame(trade_id, trade_id, at) if stream == "depth.X" else trade_frame(trade_id, at), socket, at)


def ticks(plant: Plant) -> None:
    for second in range(60, 70):
        plant.tick(second)


@pytest.mark.parametrize("stream", ["depth.X", "trade.X"])
@pytest.mark.parametrize(
    ("cause", "reason"),
    [
        ("DISCONNECTED", "DISCONNECTED"),
        ("REFUSED", "SUBSCRIPTION_REFUSED"),
        ("SILENT", "SUBSCRIPTION_SILENT"),
        ("UNSUBSCRIBED", "NOT_SUBSCRIBED"),
    ],
)
def test_the_first_message_after_an_outage_gives_the_loss_and_its_reason(stream: str, cause: str, reason: str) -> None:
    plant = outage(stream, cause)
    tell(plant, 15)
    ticks(plant)
    assert gaps(plant) == [(reason, 9, 15)]
    assert plant.partition_queues.gaps[0]["last_time"] == 2 * SECOND


@pytest.mark.parametrize("stream", ["depth.X", "trade.X"])
@pytest.mark.parametrize("first_id", [10, 9, 5])
def test_a_message_that_follows_or_is_known_shows_that_nothing_was_missed(stream: str, first_id: int) -> None:
    plant = outage(stream)
    tell(plant, first_id)
    ticks(plant)
    assert gaps(plant) == []
    assert [interval for interval, _ in plant.coverage.statement()] == [(60 * SECOND, None, True, None)]


@pytest.mark.parametrize("stream", ["depth.X", "trade.X"])
def test_a_market_that_stays_silent_after_an_outage_is_a_gap_since_the_last_id(stream: str) -> None:
    plant = outage(stream)
    plant.tick(60.0 + RESUMED_SECONDS - 0.01)
    assert gaps(plant) == []
    assert plant.coverage.statement()[0][0] == (60 * SECOND, None, False, 2 * SECOND), (
        "it is not on record what it cost"
    )
    ticks(plant)
    [gap] = plant.partition_queues.gaps
    assert gaps(plant) == [("DISCONNECTED", 9, None)]
    assert (gap["last_time"], gap["next_time"]) == (2 * SECOND, 60 * SECOND)
    assert plant.coverage.statement()[0][0] == (60 * SECOND, None, True, None)


def test_a_message_of_another_socket_proves_nothing() -> None:
    plant = outage()
    tell(plant, 10, socket=7)
    ticks(plant)
    assert gaps(plant) == [("DISCONNECTED", 10, None)]


def test_two_breaks_without_a_message_between_them_are_one() -> None:
    plant = outage()
    plant.uncover(1, cause="REFUSED")
    plant.cover(2, at=61.0)
    tell(plant, 15, socket=2)
    ticks(plant)
    assert gaps(plant) == [("DISCONNECTED", 9, 15)]
    assert plant.partition_queues.gaps[0]["last_time"] == 2 * SECOND


def test_a_message_of_a_new_socket_before_its_confirmation_counts() -> None:
    plant = outage()
    plant.uncover(1)
    tell(plant, 15, socket=2)
    plant.cover(2, at=61.0)
    ticks(plant)
    assert gaps(plant) == [("DISCONNECTED", 9, 15)], "once"
    assert plant.coverage.statement()[0][0] == (61 * SECOND, None, True, None)


@pytest.mark.parametrize("first", [2, None])
def test_an_earlier_message_of_the_same_socket_does_not_count(first: int | None) -> None:
    plant = Plant(["depth.X"])
    bring(plant, 1, 2)
    plant.uncover(0, through=3.0, cause="SILENT")
    if first is not None:  # another socket covers it in between, and delivers nothing
        plant.cover(first, at=3.0)
        plant.uncover(first, through=5.0)
    plant.cover(0, at=60.0)
    ticks(plant)
    assert gaps(plant)[1:] == [("DISCONNECTED" if first else "SUBSCRIPTION_SILENT", 2, None)]


def test_a_gap_while_the_stream_is_uncovered_has_the_reason_for_that() -> None:
    plant = outage()
    plant.uncover(1, cause="REFUSED")
    tell(plant, 10)
    tell(plant, 15)
    assert gaps(plant) == [("SUBSCRIPTION_REFUSED", 10, 15)]


@pytest.mark.parametrize("hours", [-1, 1])
def test_a_step_of_the_wall_clock_changes_only_recorded_times(hours: int) -> None:
    plant = Plant(["depth.X"], sockets=2)
    bring(plant, 1, 3)  # 2 is lost: 3 waits for the other socket
    step_us = hours * 3600 * SECOND
    for number in range(4, 300):
        plant.router.on_tick(number * 0.01, step_us + number * SECOND // 100)
        plant.send(depth_frame(number, number, number * SECOND), 0, step_us + number * SECOND // 100)
    assert depth_ids(plant) == [(1, 1), *((each, each) for each in range(3, 300))]
    assert gaps(plant)[1:] == [("SEQUENCE_BREAK", 1, 3)]


@pytest.mark.parametrize("hours", [-1, 1])
def test_a_step_of_the_wall_clock_while_the_stream_is_uncovered_hides_nothing(hours: int) -> None:
    plant = Plant(["depth.X"])
    bring(plant, 1)
    plant.uncover(0, through=2.0)
    step = Moment(60.0, round((60 + hours * 3600) * SECOND))
    for gap in plant.coverage.take(StreamsActive(("depth.X",), 1, 60.0), step):
        plant.router.on_break(gap)
    plant.router.on_tick(*step)
    plant.router.on_tick(60.0 + RESUMED_SECONDS, step.us)
    assert gaps(plant)[1:] == [("DISCONNECTED", 1, None)]
    bounds = 2 * SECOND + min(hours, 0) * 3600 * SECOND, max(step.us, 60 * SECOND)
    assert (plant.partition_queues.gaps[1]["last_time"], plant.partition_queues.gaps[1]["next_time"]) == bounds, (
        "by whichever clock"
    )
