"""Where a stream resumes at the start and after a restart: it repeats nothing that the topic holds, and losses are recorded."""

import pytest

from backpack_streams.feed.sequenced_feed import RESUMED_SECONDS
from unit.feed.recorded_queues import (
    Plant,
    depth_frame,
    liquidation_frame,
    ticker_frame,
    trade_frame,
)
from unit.feed.sequenced_plants import SECOND, bring, depth_ids, gaps, sequenced


def test_the_first_message_of_a_depth_stream_is_preceded_by_a_gap() -> None:
    plant = sequenced(7, 8)
    assert gaps(plant) == [("STREAM_START", None, 7)]
    assert depth_ids(plant) == [(7, 7), (8, 8)]


FIRST_FRAMES = {
    "depth.X": depth_frame(7, 9, 7),
    "depth.200ms.X": depth_frame(7, 9, 7, "depth.200ms.X"),
    "trade.X": trade_frame(7, 7),
    "bookTicker.X": ticker_frame(7, 7),
    "liquidation": liquidation_frame(7),
}

SEQUENCED = ["depth.X", "depth.200ms.X", "trade.X"]


def unknown(streams: list[str]) -> Plant:
    """Streams that were not covered before second 5."""
    plant = Plant(streams, sockets=0)
    plant.coverage.resume({})
    plant.cover(0, at=5.0)
    return plant


@pytest.mark.parametrize("stream", FIRST_FRAMES)
def test_the_first_coverage_of_every_stream_is_recorded(stream: str) -> None:
    plant = unknown([stream])
    plant.send(FIRST_FRAMES[stream], 0, 6 * SECOND)
    plant.tick(20.0)
    assert gaps(plant) == [("STREAM_START", None, 7 if stream in SEQUENCED else None)]
    assert plant.partition_queues.gaps[0]["last_time"] is None
    assert plant.feed(stream).published == 1


@pytest.mark.parametrize("stream", FIRST_FRAMES)
def test_the_first_coverage_of_a_silent_market_is_recorded_too(stream: str) -> None:
    plant = unknown([stream])
    plant.tick(5.0 + RESUMED_SECONDS - 0.01)
    assert (gaps(plant) == []) is (stream in SEQUENCED), "where ids tell, they are waited for"
    plant.tick(5.0 + RESUMED_SECONDS)
    plant.tick(20.0)
    assert gaps(plant) == [("STREAM_START", None, None)]
    assert plant.partition_queues.gaps[0]["next_time"] == 5 * SECOND


@pytest.mark.parametrize("sockets", [1, 2])
def test_a_restart_that_missed_nothing_records_no_gap(sockets: int) -> None:
    plant = sequenced(6, 7, sockets=sockets, resumed=5)
    assert depth_ids(plant) == [(6, 6), (7, 7)]
    assert gaps(plant) == []


@pytest.mark.parametrize("sockets", [1, 2])
def test_a_restart_repeats_nothing_that_the_topic_holds(sockets: int) -> None:
    plant = sequenced(3, 4, 5, 6, 7, sockets=sockets, resumed=5)
    assert depth_ids(plant) == [(6, 6), (7, 7)]
    assert gaps(plant) == []
    assert plant.feed("depth.X").duplicates == 3


def test_a_restart_that_missed_something_reports_what() -> None:
    plant = sequenced(9, 10, resumed=5)
    assert depth_ids(plant) == [(9, 9), (10, 10)]
    assert gaps(plant) == [("RESTART", 5, 9)]
    assert plant.partition_queues.gaps[0]["last_time"] == 5 * SECOND


def test_a_restart_followed_by_silence_is_recorded() -> None:
    plant = sequenced(resumed=5)
    plant.tick(8.0 + RESUMED_SECONDS)
    assert gaps(plant) == [("RESTART", 5, None)]
    assert (plant.partition_queues.gaps[0]["last_time"], plant.partition_queues.gaps[0]["next_time"]) == (
        5 * SECOND,
        8 * SECOND,
    )


def test_a_restart_that_missed_something_waits_for_the_other_socket_first() -> None:
    plant = sequenced(9, sockets=2, resumed=5)
    assert depth_ids(plant) == []
    bring(plant, 6, 7, 8, socket=1)
    assert depth_ids(plant) == [(6, 6), (7, 7), (8, 8), (9, 9)]
    assert gaps(plant) == []


def test_an_aggregated_stream_with_shifted_windows_after_a_restart_has_lost_nothing() -> None:
    plant = Plant(["depth.200ms.X"])
    plant.feed("depth.200ms.X").resume(15, 15)
    plant.send(depth_frame(12, 17, 20, "depth.200ms.X"), 0, 20)
    assert depth_ids(plant, "market.depth_200ms") == [(12, 17)]
    assert gaps(plant) == []


def test_a_book_update_that_overlaps_the_last_one_breaks_the_sequence() -> None:
    plant = sequenced(1, 2, 3)
    plant.send(depth_frame(3, 5, 9 * SECOND), 0, 9 * SECOND)
    bring(plant, 6)
    assert depth_ids(plant)[-2:] == [(3, 5), (6, 6)]
    [(_, last_id, next_id)] = gaps(plant)[1:]
    assert last_id is not None
    assert next_id is not None
    assert last_id < next_id  # the bounds do not contradict each other


def test_a_stream_is_live_once_it_delivers() -> None:
    plant = Plant(["depth.X", "bookTicker.X"])
    bring(plant, 1, 2)
    plant.send(ticker_frame(1, 1), 0, 77)
    plant.send(ticker_frame(2, 2), 0, 78)
    assert [(row["stream"], row["status"], row["changed_time"]) for row in plant.partition_queues.statuses] == [
        ("depth.X", "LIVE", SECOND),
        ("bookTicker.X", "LIVE", 77),
    ]


def test_the_kafka_timestamp_is_the_engine_time_or_otherwise_the_event_time() -> None:
    plant = Plant(["depth.X"])
    plant.send(depth_frame(1, 1, 5_500, E=9_000), 0, 77_000)
    plant.send(depth_frame(2, 2, 0, T=None, E=6_999), 0, 77_000)
    times = [each.timestamp_ms for each in plant.partition_queues.arrived if each.topic == "market.depth"]
    assert times == [5, 6]
