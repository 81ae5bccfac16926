"""Ids that restart, and impossible times: they lose no message, and none comes twice."""

import pytest

from unit.feed.recorded_queues import (
    Plant,
    depth_frame,
    trade_frame,
)
from unit.feed.sequenced_plants import SECOND, begun, depth_ids, gaps, sequenced, trade_ids


def test_a_restarted_sequence_is_no_duplicate() -> None:
    plant = sequenced(1000, 1001)
    plant.send(depth_frame(1, 1, 2000 * SECOND), 0, 2000 * SECOND)
    plant.send(depth_frame(2, 2, 2001 * SECOND), 0, 2001 * SECOND)
    assert depth_ids(plant) == [(1000, 1000), (1001, 1001), (1, 1), (2, 2)]
    assert gaps(plant)[1:] == [("SEQUENCE_RESTARTED", 1001, 1)]


def test_records_without_room_before_and_after_a_restart_are_two_gaps() -> None:
    plant = sequenced(10, 11)
    plant.partition_queues.room = False
    for number in (12, 13):
        plant.send(depth_frame(number, number, 1000 * SECOND), 0, 1000 * SECOND)
    for number in (1, 2):
        plant.send(depth_frame(number, number, 2000 * SECOND), 0, 2000 * SECOND)
    plant.partition_queues.room = True
    plant.send(depth_frame(3, 3, 2001 * SECOND), 0, 2001 * SECOND)
    told = [("BUFFER_FULL", 11, 14), ("SEQUENCE_RESTARTED", 13, 1), ("BUFFER_FULL", 0, 3)]
    assert gaps(plant)[1:] == told
    assert [gap["lost_records"] for gap in plant.partition_queues.gaps[1:]] == [2, None, 2]


def test_a_slower_socket_s_old_sequence_does_not_come_after_the_new_one() -> None:
    plant = begun(depth_frame(1000, 1000, 100), 2, 100)
    for frame, socket in [
        ((1, 1, 200), 0),
        ((1000, 1000, 100), 1),
        ((1001, 1001, 101), 1),
        ((2, 2, 201), 0),
    ]:
        plant.send(depth_frame(*frame), socket, frame[2])
    plant.tick(10.0)
    plant.send(depth_frame(3, 3, 202), 0, 10 * SECOND)
    assert depth_ids(plant) == [(1000, 1000), (1, 1), (2, 2), (3, 3)]
    assert gaps(plant) == [("STREAM_START", None, 1000), ("SEQUENCE_RESTARTED", 1000, 1)]


@pytest.mark.parametrize("back_us", [0, 1, 1000])
def test_an_engine_time_that_steps_back_makes_no_late_copy_a_new_sequence(back_us: int) -> None:
    plant = begun(depth_frame(10, 10, 5000), 2, 6000)
    frames = [(10, 10, 5000), (11, 11, 5000 - back_us), (12, 12, 5000 - back_us)]
    for socket in (0, 1):
        for frame in frames:
            plant.send(depth_frame(*frame), socket, 6000)
    assert depth_ids(plant) == [(10, 10), (11, 11), (12, 12)]
    assert gaps(plant) == [("STREAM_START", None, 10)]


def test_a_gap_is_recorded_even_if_the_engine_s_clock_was_set_back() -> None:
    plant = begun(depth_frame(1, 1, 10 * SECOND), 2, 10 * SECOND)
    plant.send(depth_frame(3, 3, 9 * SECOND), 0, 11 * SECOND)
    plant.tick(20.0)
    assert depth_ids(plant) == [(1, 1), (3, 3)]
    assert gaps(plant)[1:] == [("SEQUENCE_BREAK", 1, 3)]


def test_a_restart_of_the_sequence_while_the_producer_was_down_is_detected() -> None:
    plant = Plant(["depth.X"])
    plant.feed("depth.X").resume(1000, 100)
    plant.send(depth_frame(1, 1, 200), 0, 200)
    assert depth_ids(plant) == [(1, 1)]
    assert gaps(plant) == [("SEQUENCE_RESTARTED", 1000, 1)]


def test_without_an_engine_time_a_message_counts_by_its_event_time() -> None:
    plant = sequenced(1000)
    plant.send(depth_frame(1, 1, 2000 * SECOND, T=None), 0, 2000 * SECOND)
    assert depth_ids(plant)[-1] == (1, 1)
    assert plant.partition_queues.of("market.depth")[-1]["engine_time"] is None


def test_trade_ids_that_restart_on_two_sockets_are_one_gap() -> None:
    plant = Plant(["trade.X"], sockets=2)
    for socket in (0, 1):
        plant.send(trade_frame(5_000_000, SECOND), socket, SECOND)
    for each in range(1, 1001):
        for socket in (0, 1):
            plant.send(trade_frame(each, (1 + each) * SECOND), socket, (1 + each) * SECOND)
    assert trade_ids(plant) == [5_000_000, *range(1, 1001)]
    assert gaps(plant) == [("STREAM_START", None, 5_000_000), ("SEQUENCE_RESTARTED", 5_000_000, 1)]


def restarted(sockets: int = 2) -> Plant:
    """A stream whose ids were at 1003 when the exchange went down at second 3; ten minutes later they resumed at 951."""
    plant = Plant(["depth.X"], sockets)
    for each in (1001, 1002, 1003):
        plant.send(depth_frame(each, each, (each - 1000) * SECOND), 0, SECOND)
    plant.partition_queues.arrived.clear()
    for each in range(951, 1001):
        plant.send(depth_frame(each, each, (600 + each - 951) * SECOND), 0, 600 * SECOND)
    assert gaps(plant) == [("SEQUENCE_RESTARTED", 1003, 951)]
    return plant


@pytest.mark.parametrize("sockets", [1, 2])
def test_a_late_message_of_the_old_sequence_is_not_taken_for_the_new_one_even_if_its_id_follows(sockets: int) -> None:
    plant = restarted(sockets)
    plant.send(depth_frame(1001, 1001, SECOND), sockets - 1, 651 * SECOND)
    plant.send(depth_frame(1001, 1001, 650 * SECOND), 0, 651 * SECOND)
    assert [row["engine_time"] for row in plant.partition_queues.of("market.depth")][-2:] == [
        649 * SECOND,
        650 * SECOND,
    ]
    assert plant.feed("depth.X").duplicates == 1
    assert len(gaps(plant)) == 1


def test_a_clock_that_steps_back_after_a_restart_of_the_sequence_loses_nothing() -> None:
    plant = restarted()
    for each in range(1001, 1010):
        for socket in (0, 1):
            plant.send(depth_frame(each, each, (590 + each - 1000) * SECOND), socket, 660 * SECOND)
    assert depth_ids(plant)[-9:] == [(each, each) for each in range(1001, 1010)]
    assert len(gaps(plant)) == 1


def test_messages_held_when_the_sequence_restarts_are_published_before_it() -> None:
    plant = Plant(["depth.X"], sockets=2)
    for each in (1001, 1003, 1004):
        plant.send(depth_frame(each, each, (each - 1000) * SECOND), 0, SECOND)
    for each in (5, 6):
        plant.send(depth_frame(each, each, (600 + each) * SECOND), 0, 600 * SECOND)
    plant.tick(1.0)
    assert [each for each, _ in depth_ids(plant)] == [1001, 1003, 1004, 5, 6]
    assert gaps(plant)[1:] == [("SEQUENCE_BREAK", 1001, 1003), ("SEQUENCE_RESTARTED", 1004, 5)]


FAR_US = 3 * 365 * 86_400 * SECOND


@pytest.mark.parametrize("sockets", [1, 2])
@pytest.mark.parametrize("absurd_id", [900, 1004])
def test_one_message_with_an_absurd_time_loses_nothing_that_follows(sockets: int, absurd_id: int) -> None:
    plant = Plant(["depth.X"], sockets)
    for each in (1001, 1002, 1003):
        plant.send(depth_frame(each, each, each * SECOND), 0, each * SECOND)
    before = gaps(plant)
    plant.send(depth_frame(absurd_id, absurd_id, FAR_US), 0, 1004 * SECOND)
    following = range(max(absurd_id, 1003) + 1, 1100)
    for each in following:
        for socket in range(sockets):
            plant.send(depth_frame(each, each, each * SECOND), socket, each * SECOND)
    assert depth_ids(plant)[-len(following) :] == [(each, each) for each in following]
    assert gaps(plant) == before
    plant.send(depth_frame(1, 1, 1101 * SECOND), 0, 1101 * SECOND)
    assert depth_ids(plant)[-1] == (1, 1), "and a sequence that begins anew is seen as ever"


def test_a_slower_socket_s_copy_of_a_message_with_an_absurd_time_is_a_duplicate() -> None:
    plant = Plant(["depth.X"], sockets=2)
    for socket in (0, 1):
        for each in (1001, 1002, 1003, 1004, 1005):
            time_us = FAR_US if each in (1002, 1003) else each * SECOND
            plant.send(depth_frame(each, each, time_us), socket, each * SECOND)
    assert [each for each, _ in depth_ids(plant)] == [1001, 1002, 1003, 1004, 1005]
    assert plant.feed("depth.X").duplicates == 5


def test_with_a_clock_years_behind_a_restarted_sequence_is_detected_at_its_second_message() -> None:
    plant = Plant(["depth.X"], sockets=2)
    plant.send(depth_frame(1003, 1003, FAR_US), 0, SECOND)
    for each in (5, 6, 7):
        for socket in (0, 1):
            plant.send(depth_frame(each, each, FAR_US + each * SECOND), socket, SECOND)
    assert [each for each, _ in depth_ids(plant)] == [1003, 6, 7]
    assert gaps(plant)[1:] == [("SEQUENCE_RESTARTED", 1003, 6)]
