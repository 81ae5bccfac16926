"""One stream at a time: what goes out, what is dropped, and what is put on record, case by case."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backpack_streams.feed import sequence
from backpack_streams.feed.sequence import HOLD_MICROS
from unit.feed.recorded_lanes import (
    Plant,
    depth_frame,
    liquidation_frame,
    ticker_frame,
    trade_frame,
)

SECOND = 1_000_000


def depth_ids(plant: Plant, topic: str = "market.depth") -> list[tuple[int, int]]:
    return [(row["first_update_id"], row["last_update_id"]) for row in plant.lanes.of(topic)]


def trade_ids(plant: Plant) -> list[int]:
    return [row["trade_id"] for row in plant.lanes.of("market.trade")]


def gaps(plant: Plant) -> list[tuple[str, int | None, int | None]]:
    return [(gap["reason"], gap["last_id"], gap["next_id"]) for gap in plant.lanes.gaps]


def chained(*ids: int, links: int = 1, resumed: int | None = None) -> Plant:
    """A depth stream that has brought these ids, each a frame; engine time is a second an id."""
    plant = Plant(["depth.X"], links)
    if resumed is not None:
        plant.feed("depth.X").resume(resumed, resumed * SECOND, resumed * SECOND)
    else:
        plant = begun(depth_frame(ids[0], ids[0], ids[0] * SECOND), links, ids[0] * SECOND)
        ids = ids[1:]
    bring(plant, *ids)
    return plant


def begun(first: dict[str, Any], links: int, at_us: int) -> Plant:
    """A stream whose first message came when one socket was up, so that it waited for no other."""
    plant = Plant([first["stream"]])
    plant.send(first, 0, at_us)
    plant.router.set_links(links)
    return plant


def bring(plant: Plant, *ids: int, link: int = 0) -> None:
    for each in ids:
        plant.send(depth_frame(each, each, each * SECOND), link, each * SECOND)


# ---- start and restart


def test_the_first_message_of_a_book_s_stream_asks_for_a_seed() -> None:
    plant = chained(7, 8)
    assert gaps(plant) == [("STREAM_START", None, 7)]
    assert depth_ids(plant) == [(7, 7), (8, 8)]


@pytest.mark.parametrize("stream", ["trade.X", "depth.200ms.X"])
def test_streams_without_books_start_without_a_gap(stream: str) -> None:
    plant = Plant([stream])
    plant.send(trade_frame(7, 7) if stream == "trade.X" else depth_frame(7, 7, 7, stream))
    assert plant.lanes.gaps == []
    assert plant.feed(stream).published == 1


@pytest.mark.parametrize("links", [1, 2])
def test_a_restart_that_missed_nothing_records_no_gap(links: int) -> None:
    plant = chained(6, 7, links=links, resumed=5)
    assert depth_ids(plant) == [(6, 6), (7, 7)]
    assert gaps(plant) == []


@pytest.mark.parametrize("links", [1, 2])
def test_a_restart_repeats_nothing_that_the_topic_holds(links: int) -> None:
    plant = chained(3, 4, 5, 6, 7, links=links, resumed=5)
    assert depth_ids(plant) == [(6, 6), (7, 7)]
    assert gaps(plant) == []
    assert plant.feed("depth.X").duplicates == 3


def test_a_restart_that_missed_something_says_what() -> None:
    plant = chained(9, 10, resumed=5)
    assert depth_ids(plant) == [(9, 9), (10, 10)]
    assert gaps(plant) == [("RESTART", 5, 9)]


def test_a_restart_that_missed_something_waits_for_the_other_socket_first() -> None:
    plant = chained(9, links=2, resumed=5)
    assert depth_ids(plant) == []
    bring(plant, 6, 7, 8, link=1)
    assert depth_ids(plant) == [(6, 6), (7, 7), (8, 8), (9, 9)]
    assert gaps(plant) == []


def test_an_aggregated_stream_whose_windows_lie_otherwise_after_a_restart_has_lost_nothing() -> None:
    plant = Plant(["depth.200ms.X"])
    plant.feed("depth.200ms.X").resume(15, 15, 15)
    plant.send(depth_frame(12, 17, 20, "depth.200ms.X"), 0, 20)
    assert depth_ids(plant, "market.depth_200ms") == [(12, 17)]
    assert gaps(plant) == []


def test_an_update_of_a_book_that_overlaps_the_last_one_breaks_the_chain() -> None:
    plant = chained(1, 2, 3)
    plant.send(depth_frame(3, 5, 9 * SECOND), 0, 9 * SECOND)
    bring(plant, 6)
    assert depth_ids(plant)[-2:] == [(3, 5), (6, 6)]
    [(_, last_id, next_id)] = gaps(plant)[1:]
    assert last_id is not None
    assert next_id is not None
    assert last_id < next_id  # no bounds that contradict each other


# ---- holes


def test_a_hole_on_the_only_socket_is_on_record_at_once() -> None:
    plant = chained(1, 2, 5)
    assert depth_ids(plant) == [(1, 1), (2, 2), (5, 5)]
    assert gaps(plant) == [("STREAM_START", None, 1), ("SEQUENCE_BREAK", 2, 5)]
    assert plant.lanes.gaps[1]["detected_time"] == 5 * SECOND


def test_a_hole_that_no_other_socket_fills_is_on_record_after_the_hold_time() -> None:
    plant = chained(1, 2, links=2)
    bring(plant, 5)
    plant.router.on_tick(5 * SECOND + HOLD_MICROS - 1)
    assert depth_ids(plant) == [(1, 1), (2, 2)]
    plant.router.on_tick(5 * SECOND + HOLD_MICROS)
    assert depth_ids(plant) == [(1, 1), (2, 2), (5, 5)]
    assert gaps(plant)[1:] == [("SEQUENCE_BREAK", 2, 5)]


def test_what_was_held_keeps_the_time_it_was_received() -> None:
    plant = chained(1, links=2)
    bring(plant, 3)
    plant.router.on_tick(9 * SECOND)
    assert plant.lanes.of("market.depth")[-1]["received_time"] == 3 * SECOND


def test_when_a_socket_goes_what_was_held_goes_out_before_what_comes() -> None:
    plant = chained(1, links=2)
    bring(plant, 3)
    plant.router.set_links(1)
    bring(plant, 4)
    assert depth_ids(plant) == [(1, 1), (3, 3), (4, 4)]
    assert gaps(plant)[1:] == [("SEQUENCE_BREAK", 1, 3)]


def test_when_a_socket_goes_a_tick_lets_out_what_was_held() -> None:
    plant = chained(1, links=2)
    bring(plant, 3)
    plant.router.set_links(1)
    plant.router.on_tick(3 * SECOND + 1)
    assert depth_ids(plant) == [(1, 1), (3, 3)]


def test_held_messages_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sequence, "HELD_AT_MOST", 10)
    plant = chained(1, links=2)
    for each in range(3, 40):
        plant.send(depth_frame(each, each, each * SECOND), 0, SECOND)
    assert depth_ids(plant) == [(1, 1), *((each, each) for each in range(3, 40))]
    assert gaps(plant)[1:] == [("SEQUENCE_BREAK", 1, 3)]


@settings(max_examples=40)
@given(st.permutations(range(2, 9)))
def test_two_sockets_that_bring_everything_in_any_order_leave_no_gap(order: list[int]) -> None:
    plant = chained(1, links=2)
    for place, each in enumerate(order):
        plant.send(depth_frame(each, each, each * SECOND), place % 2, SECOND + place)
    assert depth_ids(plant) == [(each, each) for each in range(1, 9)]
    assert gaps(plant) == [("STREAM_START", None, 1)]


def test_trades_that_another_socket_brings_a_moment_after_the_first_are_not_lost_without_a_word() -> None:
    plant = Plant(["trade.X"], links=2)
    plant.send(trade_frame(10, 10 * SECOND), 0, 10 * SECOND)
    plant.send(trade_frame(9, 9 * SECOND), 1, 10 * SECOND + 1)
    plant.send(trade_frame(10, 10 * SECOND), 1, 10 * SECOND + 2)
    plant.router.on_tick(20 * SECOND)
    on_record = {each for gap in plant.lanes.gaps for each in range(gap["last_id"] or 0, gap["next_id"] or 0)}
    assert 9 in trade_ids(plant) or 9 in on_record


# ---- a sequence that begins anew


def test_a_sequence_that_begins_anew_is_no_duplicate() -> None:
    plant = chained(1000, 1001)
    plant.send(depth_frame(1, 1, 2000 * SECOND), 0, 2000 * SECOND)
    plant.send(depth_frame(2, 2, 2001 * SECOND), 0, 2001 * SECOND)
    assert depth_ids(plant) == [(1000, 1000), (1001, 1001), (1, 1), (2, 2)]
    assert gaps(plant)[1:] == [("SEQUENCE_RESTARTED", 1001, 1)]


def test_a_slower_socket_s_old_sequence_does_not_come_after_the_new_one() -> None:
    plant = begun(depth_frame(1000, 1000, 100), 2, 100)
    for frame, link in [
        ((1, 1, 200), 0),
        ((1000, 1000, 100), 1),
        ((1001, 1001, 101), 1),
        ((2, 2, 201), 0),
    ]:
        plant.send(depth_frame(*frame), link, frame[2])
    plant.router.on_tick(10 * SECOND)
    plant.send(depth_frame(3, 3, 202), 0, 10 * SECOND)
    assert depth_ids(plant) == [(1000, 1000), (1, 1), (2, 2), (3, 3)]
    assert gaps(plant) == [("STREAM_START", None, 1000), ("SEQUENCE_RESTARTED", 1000, 1)]


@pytest.mark.parametrize("back_us", [0, 1, 1000])
def test_an_engine_time_that_steps_back_makes_no_late_copy_a_new_sequence(back_us: int) -> None:
    plant = begun(depth_frame(10, 10, 5000), 2, 6000)
    frames = [(10, 10, 5000), (11, 11, 5000 - back_us), (12, 12, 5000 - back_us)]
    for link in (0, 1):
        for frame in frames:
            plant.send(depth_frame(*frame), link, 6000)
    assert depth_ids(plant) == [(10, 10), (11, 11), (12, 12)]
    assert gaps(plant) == [("STREAM_START", None, 10)]


def test_a_hole_is_on_record_though_the_engine_s_clock_was_set_back() -> None:
    plant = begun(depth_frame(1, 1, 10 * SECOND), 2, 10 * SECOND)
    plant.send(depth_frame(3, 3, 9 * SECOND), 0, 11 * SECOND)
    plant.router.on_tick(20 * SECOND)
    assert depth_ids(plant) == [(1, 1), (3, 3)]
    assert gaps(plant)[1:] == [("SEQUENCE_BREAK", 1, 3)]


def test_a_restart_of_the_sequence_while_the_producer_was_away_is_seen() -> None:
    plant = Plant(["depth.X"])
    plant.feed("depth.X").resume(1000, 100, 100)
    plant.send(depth_frame(1, 1, 200), 0, 200)
    assert depth_ids(plant) == [(1, 1)]
    assert gaps(plant) == [("SEQUENCE_RESTARTED", 1000, 1)]


def test_a_message_without_an_engine_time_counts_by_its_event_time() -> None:
    plant = chained(1000)
    plant.send(depth_frame(1, 1, 2000 * SECOND, T=None), 0, 2000 * SECOND)
    assert depth_ids(plant)[-1] == (1, 1)
    assert plant.lanes.of("market.depth")[-1]["engine_time"] is None


# ---- a buffer that is full


def test_what_had_no_room_is_on_record_to_the_id_once_there_is_room() -> None:
    plant = chained(1, 2)
    plant.lanes.room = False
    bring(plant, 3, 4, 5)
    plant.lanes.room = True
    bring(plant, 6)
    assert depth_ids(plant) == [(1, 1), (2, 2), (6, 6)]
    assert gaps(plant)[1:] == [("BUFFER_FULL", 2, 6)]
    assert plant.lanes.gaps[1]["lost_records"] == 3


def test_what_had_no_room_is_on_record_after_a_tick_though_nothing_comes() -> None:
    plant = chained(1, 2)
    plant.lanes.room = False
    bring(plant, 3, 4)
    plant.router.on_tick(5 * SECOND)
    assert gaps(plant)[1:] == [("BUFFER_FULL", 2, 5)]
    plant.router.on_tick(6 * SECOND)
    assert len(plant.lanes.gaps) == 2


def test_a_gap_that_had_no_room_either_is_on_record_later() -> None:
    plant = chained(1, 2)
    plant.lanes.room = plant.lanes.room_for_reports = False
    bring(plant, 3)
    plant.router.on_tick(4 * SECOND)
    plant.lanes.room = plant.lanes.room_for_reports = True
    bring(plant, 4)
    plant.router.on_tick(5 * SECOND)
    missing = {each for gap in plant.lanes.gaps[1:] for each in range(gap["last_id"] + 1, gap["next_id"])}
    assert missing == {3}


@pytest.mark.parametrize(
    ("stream", "frame"), [("bookTicker.X", ticker_frame), ("liquidation", liquidation_frame)]
)  # fmt: skip
def test_streams_without_a_chain_say_how_many_had_no_room(stream: str, frame: Callable[[int, int], Any]) -> None:
    plant = Plant([stream])
    plant.lanes.room = False
    for each in (1, 2, 3):
        plant.send(ticker_frame(each, each) if stream == "bookTicker.X" else liquidation_frame(each), 0, each)
    plant.router.on_tick(4)
    [gap] = plant.lanes.gaps
    assert (gap["reason"], gap["lost_records"], gap["last_id"], gap["next_id"]) == ("BUFFER_FULL", 3, None, None)


# ---- streams that are only ordered


def tickers(plant: Plant) -> list[int]:
    return [row["update_id"] for row in plant.lanes.of("market.book_ticker")]


def test_the_first_copy_of_two_sockets_wins() -> None:
    plant = Plant(["bookTicker.X"], links=2)
    for link in (0, 1):
        for each in (1, 2, 3):
            plant.send(ticker_frame(each, each), link, each)
    assert tickers(plant) == [1, 2, 3]
    assert plant.feed("bookTicker.X").duplicates == 3


@given(st.lists(st.integers(0, 1), max_size=30), st.integers(1, 8))
def test_two_sockets_together_give_the_order_and_no_copy(turns: list[int], count: int) -> None:
    plant = Plant(["bookTicker.X"], links=2)
    sent = [0, 0]
    for link in [*turns, *[0] * count, *[1] * count]:
        if sent[link] < count:
            sent[link] += 1
            plant.send(ticker_frame(sent[link], sent[link]), link, sent[link])
    assert tickers(plant) == list(range(1, count + 1))


def test_equal_ids_with_other_prices_are_no_copies() -> None:
    plant = Plant(["bookTicker.X"], links=2)
    plant.send(ticker_frame(5, 5, "1"), 0, 5)
    plant.send(ticker_frame(5, 5, "2"), 1, 6)
    assert len(tickers(plant)) == 2


def test_one_socket_s_messages_all_go_out() -> None:
    plant = Plant(["bookTicker.X"])
    for each in (5, 5, 4, 6):
        plant.send(ticker_frame(each, each), 0, each)
    assert tickers(plant) == [5, 5, 4, 6]


@pytest.mark.parametrize("links", [1, 2])
def test_ids_that_begin_anew_on_a_new_socket_are_no_late_copies(links: int) -> None:
    plant = Plant(["bookTicker.X"], links)
    plant.send(ticker_frame(1000, 10), 0, 10)
    plant.router.set_links(0)
    plant.router.set_links(links)
    for each in range(5, 10):
        plant.send(ticker_frame(each, 100 + each), 1, 100 + each)
    assert tickers(plant) == [1000, 5, 6, 7, 8, 9]


def test_the_slower_socket_of_a_sequence_that_began_anew_brings_copies() -> None:
    plant = Plant(["bookTicker.X"], links=2)
    for link in (0, 1):
        for each, time_us in ((1000, 10), (5, 105), (6, 106), (7, 107)):
            plant.send(ticker_frame(each, time_us), link, 200)
    assert tickers(plant) == [1000, 5, 6, 7]


def test_liquidations_of_one_moment_are_all_kept_and_copies_are_not() -> None:
    plant = Plant(["liquidation"], links=2)
    for link in (0, 1):
        plant.send(liquidation_frame(5, "A"), link, 6)
        plant.send(liquidation_frame(5, "B"), link, 7)
        plant.send(liquidation_frame(4, "C"), link, 8)  # older than the one before: counts all the same
    assert sorted(row["symbol"] for row in plant.lanes.of("perp.liquidation")) == ["A", "B", "C"]


def test_liquidations_are_keyed_by_their_own_symbol() -> None:
    plant = Plant(["liquidation"])
    plant.send(liquidation_frame(5000, "A"))
    plant.send(liquidation_frame(6000, "AAPL.US_USDC_PERP"))
    keys = [(each.key, each.timestamp_ms) for each in plant.lanes.arrived if each.topic == "perp.liquidation"]
    assert keys == [(b"A", 5), (b"AAPL.US_USDC_PERP", 6)]


def test_an_outage_of_all_sockets_is_on_record_where_nobody_can_tell_what_was_missed() -> None:
    plant = Plant(["liquidation", "bookTicker.X"], links=1)
    plant.send(liquidation_frame(5), 0, 5)
    plant.send(ticker_frame(5, 5), 0, 5)
    plant.router.set_links(0)
    plant.router.set_links(1)
    plant.send(liquidation_frame(9), 1, 9)
    plant.send(liquidation_frame(10), 1, 10)
    plant.send(ticker_frame(9, 9), 1, 9)
    [gap] = plant.lanes.gaps
    assert (gap["reason"], gap["stream"], gap["last_time"], gap["next_time"]) == ("DISCONNECTED", "liquidation", 5, 9)


def test_one_socket_of_two_that_goes_is_no_outage() -> None:
    plant = Plant(["liquidation"], links=2)
    plant.send(liquidation_frame(5), 0, 5)
    plant.router.set_links(1)
    plant.router.set_links(2)
    plant.send(liquidation_frame(9), 1, 9)
    assert plant.lanes.gaps == []


def test_liquidations_missed_while_the_producer_was_away_are_on_record() -> None:
    plant = Plant(["liquidation"])
    plant.feed("liquidation").resume(5, 5, 6)
    plant.send(liquidation_frame(9), 0, 10)
    [gap] = plant.lanes.gaps
    assert (gap["reason"], gap["last_time"], gap["next_time"]) == ("RESTART", 6, 10)


# ---- what every stream has


def test_a_stream_is_live_once_it_delivers() -> None:
    plant = Plant(["depth.X", "bookTicker.X"])
    bring(plant, 1, 2)
    plant.send(ticker_frame(1, 1), 0, 77)
    plant.send(ticker_frame(2, 2), 0, 78)
    assert [(row["stream"], row["status"], row["changed_time"]) for row in plant.lanes.statuses] == [
        ("depth.X", "LIVE", SECOND),
        ("bookTicker.X", "LIVE", 77),
    ]


def test_the_kafka_timestamp_is_the_engine_time_or_else_the_event_time() -> None:
    plant = Plant(["depth.X"])
    plant.send(depth_frame(1, 1, 5_500, E=9_000), 0, 77_000)
    plant.send(depth_frame(2, 2, 0, T=None, E=6_999), 0, 77_000)
    times = [each.timestamp_ms for each in plant.lanes.arrived if each.topic == "market.depth"]
    assert times == [5, 6]


def outage(streams: list[str], frame: Any) -> Plant:
    """A stream that has delivered, 1 s before its only socket went."""
    plant = Plant(streams)
    plant.send(frame, 0, SECOND)
    plant.router.on_tick(2 * SECOND)
    plant.router.set_links(0)
    return plant


def told(plant: Plant) -> list[tuple[int | None, int | None, bool]]:
    """The last id and the next of each outage on record, and whether it was over by then."""
    gaps = [gap for gap in plant.lanes.gaps if gap["reason"] == "DISCONNECTED"]
    return [(gap["last_id"], gap["next_id"], gap["next_time"] is not None) for gap in gaps]


def test_books_are_told_of_an_outage_that_lasts_and_again_when_it_is_over() -> None:
    plant = outage(["depth.X"], depth_frame(5, 6, SECOND))
    plant.router.on_tick(6 * SECOND)
    assert told(plant) == []
    plant.router.on_tick(7 * SECOND)
    plant.router.on_tick(3600 * SECOND)
    assert told(plant) == [(6, None, False)]
    plant.router.set_links(1)
    plant.send(depth_frame(7, 7, 3601 * SECOND), 1, 3601 * SECOND)
    plant.router.on_tick(3602 * SECOND)
    assert told(plant) == [(6, None, False)]
    for second in range(3603, 3610):
        plant.router.on_tick(second * SECOND)
    assert told(plant) == [(6, None, False), (7, None, True)], "nothing was missed, but the books do not know that"


def test_a_hole_after_an_outage_asks_for_the_seed_by_itself() -> None:
    plant = outage(["depth.X"], depth_frame(5, 6, SECOND))
    plant.router.on_tick(60 * SECOND)
    plant.router.set_links(1)
    plant.send(depth_frame(9, 9, 61 * SECOND), 1, 61 * SECOND)
    for second in range(62, 70):
        plant.router.on_tick(second * SECOND)
    assert told(plant) == [(6, None, False)]
    assert [gap["reason"] for gap in plant.lanes.gaps][-1] == "SEQUENCE_BREAK"


@pytest.mark.parametrize("silent", [True, False])
def test_a_short_outage_is_told_of_the_streams_that_stay_silent_after_it(silent: bool) -> None:
    plant = outage(["depth.X"], depth_frame(5, 6, SECOND))
    plant.router.on_tick(3 * SECOND)
    plant.router.set_links(1)
    if not silent:
        plant.send(depth_frame(7, 7, 4 * SECOND), 1, 4 * SECOND)
    plant.router.on_tick(int(5.9 * SECOND))
    assert told(plant) == []
    for second in range(6, 20):
        plant.router.on_tick(second * SECOND)
    assert told(plant) == ([(6, None, True)] if silent else [])


def test_an_outage_is_of_no_concern_to_streams_without_books_nor_to_one_that_never_delivered() -> None:
    plant = outage(["trade.X", "depth.200ms.X", "depth.X"], trade_frame(5, SECOND))
    for second in range(3, 20):
        plant.router.on_tick(second * SECOND)
    plant.router.set_links(1)
    for second in range(20, 30):
        plant.router.on_tick(second * SECOND)
    assert told(plant) == []
