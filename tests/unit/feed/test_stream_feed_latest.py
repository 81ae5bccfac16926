"""Streams that are only ordered, on one socket and on two: no message goes back in time or comes twice."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unit.feed.recorded_queues import (
    Plant,
    liquidation_frame,
    ticker_frame,
)
from unit.feed.sequenced_plants import SECOND
from unit.feed.test_stream_feed import FIRST_FRAMES


def tickers(plant: Plant) -> list[int]:
    return [row["update_id"] for row in plant.partition_queues.of("market.book_ticker")]


def test_the_first_copy_of_two_sockets_wins() -> None:
    plant = Plant(["bookTicker.X"], sockets=2)
    for socket in (0, 1):
        for each in (1, 2, 3):
            plant.send(ticker_frame(each, each), socket, each)
    assert tickers(plant) == [1, 2, 3]
    assert plant.feed("bookTicker.X").duplicates == 3


@given(st.lists(st.integers(0, 1), max_size=30), st.integers(1, 8))
def test_two_sockets_together_give_the_order_and_no_copy(turns: list[int], count: int) -> None:
    plant = Plant(["bookTicker.X"], sockets=2)
    sent = [0, 0]
    for socket in [*turns, *[0] * count, *[1] * count]:
        if sent[socket] < count:
            sent[socket] += 1
            plant.send(ticker_frame(sent[socket], sent[socket]), socket, sent[socket])
    assert tickers(plant) == list(range(1, count + 1))


def test_equal_ids_with_other_prices_are_no_copies() -> None:
    plant = Plant(["bookTicker.X"], sockets=2)
    plant.send(ticker_frame(5, 5, "1"), 0, 5)
    plant.send(ticker_frame(5, 5, "2"), 1, 6)
    plant.tick(1.0)
    assert len(tickers(plant)) == 2


def test_all_messages_of_one_socket_are_published() -> None:
    plant = Plant(["bookTicker.X"])
    for each in (5, 5, 4, 6):
        plant.send(ticker_frame(each, each), 0, each)
    assert tickers(plant) == [5, 5, 4, 6]


@pytest.mark.parametrize("sockets", [1, 2])
def test_ids_that_restart_on_a_new_socket_are_no_late_copies(sockets: int) -> None:
    plant = Plant(["bookTicker.X"], sockets)
    plant.send(ticker_frame(1000, 10), 0, 10)
    for socket in range(sockets):
        plant.uncover(socket)
        plant.cover(2 + socket)
    for each in range(5, 10):
        plant.send(ticker_frame(each, 100 + each), 2, 100 + each)
    plant.tick(1.0)
    assert tickers(plant) == [1000, 5, 6, 7, 8, 9]


def test_the_first_messages_of_a_new_socket_do_not_overtake_the_other_one() -> None:
    plant = Plant(["bookTicker.X"])
    for each in (1, 2):
        plant.send(ticker_frame(each, each), 0, each)
    plant.cover(1, at=5.0)
    plant.send(ticker_frame(5, 5), 1, 5)
    assert plant.router.held_since() is not None
    for each in (3, 4, 5):
        plant.send(ticker_frame(each, each), 0, each)
    plant.send(ticker_frame(6, 6), 1, 6)
    assert tickers(plant) == [1, 2, 3, 4, 5, 6]
    assert plant.router.held_since() is None
    assert plant.feed("bookTicker.X").duplicates == 1


def test_the_slower_socket_of_a_restarted_sequence_delivers_copies() -> None:
    plant = Plant(["bookTicker.X"], sockets=2)
    for socket in (0, 1):
        for each, time_us in ((1000, 10), (5, 105), (6, 106), (7, 107)):
            plant.send(ticker_frame(each, time_us), socket, 200)
    assert tickers(plant) == [1000, 5, 6, 7]


def test_simultaneous_liquidations_are_all_kept_and_copies_are_dropped() -> None:
    plant = Plant(["liquidation"], sockets=2)
    for socket in (0, 1):
        plant.send(liquidation_frame(5, "A"), socket, 6)
        plant.send(liquidation_frame(5, "B"), socket, 7)
        plant.send(liquidation_frame(4, "C"), socket, 8)  # older than the previous one: counts as well
    assert sorted(row["symbol"] for row in plant.partition_queues.of("perp.liquidation")) == ["A", "B", "C"]


def test_liquidations_are_keyed_by_their_own_symbol() -> None:
    plant = Plant(["liquidation"])
    plant.send(liquidation_frame(5000, "A"))
    plant.send(liquidation_frame(6000, "AAPL.US_USDC_PERP"))
    keys = [
        (each.key, each.timestamp_ms) for each in plant.partition_queues.arrived if each.topic == "perp.liquidation"
    ]
    assert keys == [(b"A", 5), (b"AAPL.US_USDC_PERP", 6)]


@pytest.mark.parametrize("stream", ["liquidation", "bookTicker.X"])
def test_an_outage_is_recorded_at_once_if_no_message_can_tell_what_was_missed(stream: str) -> None:
    plant = Plant([stream])
    plant.send(FIRST_FRAMES[stream], 0, 5)
    plant.uncover(0, through=5.0)
    plant.tick(3600.0)
    assert plant.partition_queues.gaps == [], "while it lasts the watermarks tell"
    plant.cover(1, at=3601.0)
    [gap] = plant.partition_queues.gaps
    assert (gap["reason"], gap["last_time"], gap["next_time"]) == ("DISCONNECTED", 5 * SECOND, 3601 * SECOND)
    assert plant.coverage.statement()[0][0].since == 3601 * SECOND


def test_losing_one_of_two_sockets_is_no_outage() -> None:
    plant = Plant(["liquidation"], sockets=2)
    plant.send(liquidation_frame(5), 0, 5)
    plant.uncover(0)
    plant.cover(2)
    plant.send(liquidation_frame(9), 2, 9)
    assert plant.partition_queues.gaps == []


def test_a_second_socket_that_came_after_the_first_had_gone_silent_leaves_a_gap() -> None:
    plant = Plant(["liquidation"])
    plant.prove(0, at=5.0)
    plant.cover(1, at=9.0)
    plant.uncover(0, through=5.0)
    [gap] = plant.partition_queues.gaps
    assert (gap["reason"], gap["last_time"], gap["next_time"]) == ("DISCONNECTED", 5 * SECOND, 9 * SECOND)


def test_liquidations_missed_while_the_producer_was_down_are_recorded() -> None:
    plant = Plant(["liquidation"], sockets=0)
    plant.feed("liquidation").resume(5, 5)
    plant.coverage.resume({"liquidation": 6})
    plant.cover(0, at=10.0)
    plant.send(liquidation_frame(9), 0, 10)
    [gap] = plant.partition_queues.gaps
    assert (gap["reason"], gap["last_time"], gap["next_time"]) == ("RESTART", 6, 10 * SECOND)


def test_a_message_an_hour_ahead_loses_nothing_that_a_new_socket_delivers() -> None:
    plant = Plant(["bookTicker.X"])
    plant.send(ticker_frame(1, SECOND), 0, SECOND)
    plant.send(ticker_frame(2, 3602 * SECOND), 0, 2 * SECOND)
    plant.uncover(0, through=2.0)
    plant.cover(1, at=3.0)
    for each in range(3, 3603):
        plant.send(ticker_frame(each, each * SECOND), 1, each * SECOND)
    assert tickers(plant) == list(range(1, 3603))


def test_a_message_an_hour_ahead_loses_nothing_while_its_dead_socket_still_counts() -> None:
    plant = Plant(["bookTicker.X"], sockets=2)
    plant.send(ticker_frame(1, SECOND), 0, SECOND)
    plant.send(ticker_frame(2, 3602 * SECOND), 0, 2 * SECOND)
    for each in range(3, 20):
        plant.send(ticker_frame(each, each * SECOND), 1, each * SECOND)
    plant.tick(1.0)
    assert sorted(tickers(plant)) == list(range(1, 20))
