"""One stream at a time: what goes out, what is dropped, and what is put on record, case by case."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backpack_streams.exchange.session_actions import StreamsActive
from backpack_streams.feed import sequence
from backpack_streams.feed.chained_feed import RESUMED_SECONDS
from backpack_streams.feed.coverage import Moment
from backpack_streams.feed.sequence import HOLD_SECONDS
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
    """A depth stream that has brought these ids, each a frame; engine time is a second an id.

    With `resumed` it is known where an earlier run ended, and from then until second 8 nobody covered it.
    """
    if resumed is not None:
        plant = Plant(["depth.X"], 0)
        plant.feed("depth.X").resume(resumed, resumed * SECOND)
        plant.coverage.resume({"depth.X": resumed * SECOND})
        for link in range(links):
            plant.cover(link, at=8.0)
    else:
        plant = begun(depth_frame(ids[0], ids[0], ids[0] * SECOND), links, ids[0] * SECOND)
        ids = ids[1:]
    bring(plant, *ids)
    return plant


def begun(first: dict[str, Any], links: int, at_us: int) -> Plant:
    """A stream whose first message came when one socket was up, so that it waited for no other."""
    plant = Plant([first["stream"]])
    plant.send(first, 0, at_us)
    for link in range(1, links):
        plant.cover(link)
    return plant


def bring(plant: Plant, *ids: int, link: int = 0) -> None:
    for each in ids:
        plant.send(depth_frame(each, each, each * SECOND), link, each * SECOND)


# ---- start and restart


def test_the_first_message_of_a_book_s_stream_asks_for_a_seed() -> None:
    plant = chained(7, 8)
    assert gaps(plant) == [("STREAM_START", None, 7)]
    assert depth_ids(plant) == [(7, 7), (8, 8)]


FIRST_FRAMES = {
    "depth.X": depth_frame(7, 9, 7),
    "depth.200ms.X": depth_frame(7, 9, 7, "depth.200ms.X"),
    "trade.X": trade_frame(7, 7),
    "bookTicker.X": ticker_frame(7, 7),
    "liquidation": liquidation_frame(7),
}
CHAINED = ["depth.X", "depth.200ms.X", "trade.X"]


def unknown(streams: list[str]) -> Plant:
    """Streams that nobody has ever covered, until second 5."""
    plant = Plant(streams, links=0)
    plant.coverage.resume({})
    plant.cover(0, at=5.0)
    return plant


@pytest.mark.parametrize("stream", FIRST_FRAMES)
def test_the_first_coverage_of_every_stream_is_on_record(stream: str) -> None:
    plant = unknown([stream])
    plant.send(FIRST_FRAMES[stream], 0, 6 * SECOND)
    plant.tick(20.0)
    assert gaps(plant) == [("STREAM_START", None, 7 if stream in CHAINED else None)]
    assert plant.lanes.gaps[0]["last_time"] is None
    assert plant.feed(stream).published == 1


@pytest.mark.parametrize("stream", FIRST_FRAMES)
def test_the_first_coverage_of_a_market_that_says_nothing_is_on_record_too(stream: str) -> None:
    plant = unknown([stream])
    plant.tick(5.0 + RESUMED_SECONDS - 0.01)
    assert (gaps(plant) == []) is (stream in CHAINED), "where ids tell, they are waited for"
    plant.tick(5.0 + RESUMED_SECONDS)
    plant.tick(20.0)
    assert gaps(plant) == [("STREAM_START", None, None)]
    assert plant.lanes.gaps[0]["next_time"] == 5 * SECOND


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
    assert plant.lanes.gaps[0]["last_time"] == 5 * SECOND


def test_a_restart_after_which_the_market_says_nothing_is_on_record() -> None:
    plant = chained(resumed=5)
    plant.tick(8.0 + RESUMED_SECONDS)
    assert gaps(plant) == [("RESTART", 5, None)]
    assert (plant.lanes.gaps[0]["last_time"], plant.lanes.gaps[0]["next_time"]) == (5 * SECOND, 8 * SECOND)


def test_a_restart_that_missed_something_waits_for_the_other_socket_first() -> None:
    plant = chained(9, links=2, resumed=5)
    assert depth_ids(plant) == []
    bring(plant, 6, 7, 8, link=1)
    assert depth_ids(plant) == [(6, 6), (7, 7), (8, 8), (9, 9)]
    assert gaps(plant) == []


def test_an_aggregated_stream_whose_windows_lie_otherwise_after_a_restart_has_lost_nothing() -> None:
    plant = Plant(["depth.200ms.X"])
    plant.feed("depth.200ms.X").resume(15, 15)
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
    plant.tick(HOLD_SECONDS - 0.01)
    assert depth_ids(plant) == [(1, 1), (2, 2)]
    plant.tick(HOLD_SECONDS)
    assert depth_ids(plant) == [(1, 1), (2, 2), (5, 5)]
    assert gaps(plant)[1:] == [("SEQUENCE_BREAK", 2, 5)]


def test_what_was_held_keeps_the_time_it_was_received() -> None:
    plant = chained(1, links=2)
    bring(plant, 3)
    plant.tick(9.0)
    assert plant.lanes.of("market.depth")[-1]["received_time"] == 3 * SECOND


def test_when_a_socket_goes_what_was_held_goes_out_before_what_comes() -> None:
    plant = chained(1, links=2)
    bring(plant, 3)
    plant.uncover(1)
    bring(plant, 4)
    assert depth_ids(plant) == [(1, 1), (3, 3), (4, 4)]
    assert gaps(plant)[1:] == [("SEQUENCE_BREAK", 1, 3)]


def test_when_a_socket_goes_a_tick_lets_out_what_was_held() -> None:
    plant = chained(1, links=2)
    bring(plant, 3)
    plant.uncover(1)
    plant.tick(0.01)
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
    plant.tick(20.0)
    on_record = {each for gap in plant.lanes.gaps for each in range(gap["last_id"] or 0, gap["next_id"] or 0)}
    assert 9 in trade_ids(plant) or 9 in on_record


@pytest.mark.parametrize("stream", ["depth.X", "trade.X"])
def test_a_first_message_that_overtook_one_of_another_socket_says_where_the_stream_begins(stream: str) -> None:
    """The break before it was on record already, since nothing had come for a while."""
    plant = Plant([stream], links=2)
    plant.tick(10.0)
    assert gaps(plant) == [("STREAM_START", None, None)]
    tell(plant, 12)
    tell(plant, 11, link=0)
    plant.tick(20.0)
    assert gaps(plant)[1:] == [("STREAM_START", None, 12)]


def test_a_first_message_of_the_only_socket_follows_on_what_others_covered() -> None:
    plant = Plant(["trade.X"], links=0)
    plant.coverage.resume({"trade.X": None})
    plant.cover(0)
    tell(plant, 12, link=0)
    plant.tick(20.0)
    assert gaps(plant) == []


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
    plant.tick(10.0)
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
    plant.tick(20.0)
    assert depth_ids(plant) == [(1, 1), (3, 3)]
    assert gaps(plant)[1:] == [("SEQUENCE_BREAK", 1, 3)]


def test_a_restart_of_the_sequence_while_the_producer_was_away_is_seen() -> None:
    plant = Plant(["depth.X"])
    plant.feed("depth.X").resume(1000, 100)
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
    plant.tick(5.0)
    assert gaps(plant)[1:] == [("BUFFER_FULL", 2, 5)]
    plant.tick(6.0)
    assert len(plant.lanes.gaps) == 2


def test_a_gap_that_had_no_room_either_is_on_record_later() -> None:
    plant = chained(1, 2)
    plant.lanes.room = plant.lanes.room_for_reports = False
    bring(plant, 3)
    plant.tick(4.0)
    plant.lanes.room = plant.lanes.room_for_reports = True
    bring(plant, 4)
    plant.tick(5.0)
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
    plant.tick(4.0)
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
    plant.tick(1.0)
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
    for link in range(links):
        plant.uncover(link)
        plant.cover(2 + link)
    for each in range(5, 10):
        plant.send(ticker_frame(each, 100 + each), 2, 100 + each)
    plant.tick(1.0)
    assert tickers(plant) == [1000, 5, 6, 7, 8, 9]


def test_what_a_new_socket_brings_first_does_not_overtake_the_other_one() -> None:
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


@pytest.mark.parametrize("stream", ["liquidation", "bookTicker.X"])
def test_a_time_without_coverage_is_on_record_at_once_where_no_message_tells_what_was_missed(stream: str) -> None:
    plant = Plant([stream])
    plant.send(FIRST_FRAMES[stream], 0, 5)
    plant.uncover(0, through=5.0)
    plant.tick(3600.0)
    assert plant.lanes.gaps == [], "while it lasts the watermarks tell"
    plant.cover(1, at=3601.0)
    [gap] = plant.lanes.gaps
    assert (gap["reason"], gap["last_time"], gap["next_time"]) == ("DISCONNECTED", 5 * SECOND, 3601 * SECOND)
    assert plant.coverage.statement()[0][0].since == 3601 * SECOND


def test_one_socket_of_two_that_goes_is_no_outage() -> None:
    plant = Plant(["liquidation"], links=2)
    plant.send(liquidation_frame(5), 0, 5)
    plant.uncover(0)
    plant.cover(2)
    plant.send(liquidation_frame(9), 2, 9)
    assert plant.lanes.gaps == []


def test_a_second_socket_that_came_after_the_first_had_gone_silent_leaves_a_gap() -> None:
    plant = Plant(["liquidation"])
    plant.prove(0, at=5.0)
    plant.cover(1, at=9.0)
    plant.uncover(0, through=5.0)
    [gap] = plant.lanes.gaps
    assert (gap["reason"], gap["last_time"], gap["next_time"]) == ("DISCONNECTED", 5 * SECOND, 9 * SECOND)


def test_liquidations_missed_while_the_producer_was_away_are_on_record() -> None:
    plant = Plant(["liquidation"], links=0)
    plant.feed("liquidation").resume(5, 5)
    plant.coverage.resume({"liquidation": 6})
    plant.cover(0, at=10.0)
    plant.send(liquidation_frame(9), 0, 10)
    [gap] = plant.lanes.gaps
    assert (gap["reason"], gap["last_time"], gap["next_time"]) == ("RESTART", 6, 10 * SECOND)


def test_a_message_an_hour_ahead_costs_nothing_of_what_a_new_socket_brings() -> None:
    plant = Plant(["bookTicker.X"])
    plant.send(ticker_frame(1, SECOND), 0, SECOND)
    plant.send(ticker_frame(2, 3602 * SECOND), 0, 2 * SECOND)
    plant.uncover(0, through=2.0)
    plant.cover(1, at=3.0)
    for each in range(3, 3603):
        plant.send(ticker_frame(each, each * SECOND), 1, each * SECOND)
    assert tickers(plant) == list(range(1, 3603))


def test_a_message_an_hour_ahead_costs_nothing_while_its_dead_socket_still_counts() -> None:
    plant = Plant(["bookTicker.X"], links=2)
    plant.send(ticker_frame(1, SECOND), 0, SECOND)
    plant.send(ticker_frame(2, 3602 * SECOND), 0, 2 * SECOND)
    for each in range(3, 20):
        plant.send(ticker_frame(each, each * SECOND), 1, each * SECOND)
    plant.tick(1.0)
    assert sorted(tickers(plant)) == list(range(1, 20))


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


# ---- times that nobody covered, of streams whose ids tell


def outage(stream: str = "depth.X", cause: str = "DISCONNECTED") -> Plant:
    """A stream that has brought the ids 1 to 9, and was covered by nobody from second 2 until second 60."""
    plant = Plant([stream])
    plant.send(depth_frame(1, 9, SECOND) if stream == "depth.X" else trade_frame(9, SECOND), 0, SECOND)
    plant.lanes.arrived.clear()
    plant.tick(2.0)
    plant.uncover(0, cause=cause)
    plant.tick(30.0)
    assert plant.lanes.gaps == []
    plant.cover(1, at=60.0)
    return plant


def tell(plant: Plant, trade_id: int, link: int = 1) -> None:
    [stream] = plant.router.feeds
    at = trade_id * SECOND if trade_id > 9 else SECOND
    plant.send(depth_frame(trade_id, trade_id, at) if stream == "depth.X" else trade_frame(trade_id, at), link, at)


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
def test_the_first_message_after_it_tells_what_was_missed_and_why(stream: str, cause: str, reason: str) -> None:
    plant = outage(stream, cause)
    tell(plant, 15)
    ticks(plant)
    assert gaps(plant) == [(reason, 9, 15)]
    assert plant.lanes.gaps[0]["last_time"] == 2 * SECOND


@pytest.mark.parametrize("stream", ["depth.X", "trade.X"])
@pytest.mark.parametrize("first_id", [10, 9, 5])
def test_a_message_that_follows_or_is_known_tells_that_nothing_was_missed(stream: str, first_id: int) -> None:
    plant = outage(stream)
    tell(plant, first_id)
    ticks(plant)
    assert gaps(plant) == []
    assert [interval for interval, _ in plant.coverage.statement()] == [(60 * SECOND, None, True, None)]


@pytest.mark.parametrize("stream", ["depth.X", "trade.X"])
def test_a_market_that_says_nothing_after_it_is_a_gap_from_the_last_id_on(stream: str) -> None:
    plant = outage(stream)
    plant.tick(60.0 + RESUMED_SECONDS - 0.01)
    assert gaps(plant) == []
    assert plant.coverage.statement()[0][0] == (60 * SECOND, None, False, 2 * SECOND), (
        "it is not on record what it cost"
    )
    ticks(plant)
    [gap] = plant.lanes.gaps
    assert gaps(plant) == [("DISCONNECTED", 9, None)]
    assert (gap["last_time"], gap["next_time"]) == (2 * SECOND, 60 * SECOND)
    assert plant.coverage.statement()[0][0] == (60 * SECOND, None, True, None)


def test_a_message_of_another_socket_does_not_tell() -> None:
    plant = outage()
    tell(plant, 10, link=7)
    ticks(plant)
    assert gaps(plant) == [("DISCONNECTED", 10, None)]


def test_two_breaks_without_a_message_between_them_are_one() -> None:
    plant = outage()
    plant.uncover(1, cause="REFUSED")
    plant.cover(2, at=61.0)
    tell(plant, 15, link=2)
    ticks(plant)
    assert gaps(plant) == [("DISCONNECTED", 9, 15)]
    assert plant.lanes.gaps[0]["last_time"] == 2 * SECOND


def test_what_a_new_socket_brought_before_it_was_confirmed_has_told() -> None:
    plant = outage()
    plant.uncover(1)
    tell(plant, 15, link=2)
    plant.cover(2, at=61.0)
    ticks(plant)
    assert gaps(plant) == [("DISCONNECTED", 9, 15)], "once"
    assert plant.coverage.statement()[0][0] == (61 * SECOND, None, True, None)


@pytest.mark.parametrize("first", [2, None])
def test_what_the_same_socket_brought_before_has_not_told(first: int | None) -> None:
    plant = Plant(["depth.X"])
    bring(plant, 1, 2)
    plant.uncover(0, through=3.0, cause="SILENT")
    if first is not None:  # another socket covers it in between, and brings nothing
        plant.cover(first, at=3.0)
        plant.uncover(first, through=5.0)
    plant.cover(0, at=60.0)
    ticks(plant)
    assert gaps(plant)[1:] == [("DISCONNECTED" if first else "SUBSCRIPTION_SILENT", 2, None)]


def test_a_hole_while_nobody_covers_the_stream_has_the_reason_for_that() -> None:
    plant = outage()
    plant.uncover(1, cause="REFUSED")
    tell(plant, 10)
    tell(plant, 15)
    assert gaps(plant) == [("SUBSCRIPTION_REFUSED", 10, 15)]


# ---- the wall clock may step


@pytest.mark.parametrize("hours", [-1, 1])
def test_a_step_of_the_wall_clock_changes_nothing_but_recorded_times(hours: int) -> None:
    plant = Plant(["depth.X"], links=2)
    bring(plant, 1, 3)  # 2 is lost: 3 waits for the other socket
    step_us = hours * 3600 * SECOND
    for number in range(4, 300):
        plant.router.on_tick(number * 0.01, step_us + number * SECOND // 100)
        plant.send(depth_frame(number, number, number * SECOND), 0, step_us + number * SECOND // 100)
    assert depth_ids(plant) == [(1, 1), *((each, each) for each in range(3, 300))]
    assert gaps(plant)[1:] == [("SEQUENCE_BREAK", 1, 3)]


@pytest.mark.parametrize("hours", [-1, 1])
def test_a_step_of_the_wall_clock_while_nobody_covers_the_stream_hides_nothing(hours: int) -> None:
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
    assert (plant.lanes.gaps[1]["last_time"], plant.lanes.gaps[1]["next_time"]) == bounds, "by whichever clock"


# ---- sequences that begin anew, on two sockets


def test_ids_of_trades_that_begin_anew_on_two_sockets_are_one_gap() -> None:
    plant = Plant(["trade.X"], links=2)
    for link in (0, 1):
        plant.send(trade_frame(5_000_000, SECOND), link, SECOND)
    for each in range(1, 1001):
        for link in (0, 1):
            plant.send(trade_frame(each, (1 + each) * SECOND), link, (1 + each) * SECOND)
    assert trade_ids(plant) == [5_000_000, *range(1, 1001)]
    assert gaps(plant) == [("STREAM_START", None, 5_000_000), ("SEQUENCE_RESTARTED", 5_000_000, 1)]


def restarted(links: int = 2) -> Plant:
    """A stream whose ids were at 1003 when the exchange went away at second 3; ten minutes later they went on at 951."""
    plant = Plant(["depth.X"], links)
    for each in (1001, 1002, 1003):
        plant.send(depth_frame(each, each, (each - 1000) * SECOND), 0, SECOND)
    plant.lanes.arrived.clear()
    for each in range(951, 1001):
        plant.send(depth_frame(each, each, (600 + each - 951) * SECOND), 0, 600 * SECOND)
    assert gaps(plant) == [("SEQUENCE_RESTARTED", 1003, 951)]
    return plant


@pytest.mark.parametrize("links", [1, 2])
def test_a_late_message_of_the_sequence_that_ended_is_none_of_the_new_one_though_its_id_follows(links: int) -> None:
    plant = restarted(links)
    plant.send(depth_frame(1001, 1001, SECOND), links - 1, 651 * SECOND)
    plant.send(depth_frame(1001, 1001, 650 * SECOND), 0, 651 * SECOND)
    assert [row["engine_time"] for row in plant.lanes.of("market.depth")][-2:] == [649 * SECOND, 650 * SECOND]
    assert plant.feed("depth.X").duplicates == 1
    assert len(gaps(plant)) == 1


def test_a_clock_that_steps_back_after_a_restart_of_the_sequence_costs_nothing() -> None:
    plant = restarted()
    for each in range(1001, 1010):
        for link in (0, 1):
            plant.send(depth_frame(each, each, (590 + each - 1000) * SECOND), link, 660 * SECOND)
    assert depth_ids(plant)[-9:] == [(each, each) for each in range(1001, 1010)]
    assert len(gaps(plant)) == 1


def test_what_waits_when_the_sequence_begins_anew_goes_out_before_it() -> None:
    plant = Plant(["depth.X"], links=2)
    for each in (1001, 1003, 1004):
        plant.send(depth_frame(each, each, (each - 1000) * SECOND), 0, SECOND)
    for each in (5, 6):
        plant.send(depth_frame(each, each, (600 + each) * SECOND), 0, 600 * SECOND)
    plant.tick(1.0)
    assert [each for each, _ in depth_ids(plant)] == [1001, 1003, 1004, 5, 6]
    assert gaps(plant)[1:] == [("SEQUENCE_BREAK", 1001, 1003), ("SEQUENCE_RESTARTED", 1004, 5)]


FAR_US = 3 * 365 * 86_400 * SECOND


@pytest.mark.parametrize("links", [1, 2])
@pytest.mark.parametrize("absurd_id", [900, 1004])
def test_one_message_with_an_absurd_time_costs_nothing_that_follows(links: int, absurd_id: int) -> None:
    plant = Plant(["depth.X"], links)
    for each in (1001, 1002, 1003):
        plant.send(depth_frame(each, each, each * SECOND), 0, each * SECOND)
    before = gaps(plant)
    plant.send(depth_frame(absurd_id, absurd_id, FAR_US), 0, 1004 * SECOND)
    following = range(max(absurd_id, 1003) + 1, 1100)
    for each in following:
        for link in range(links):
            plant.send(depth_frame(each, each, each * SECOND), link, each * SECOND)
    assert depth_ids(plant)[-len(following) :] == [(each, each) for each in following]
    assert gaps(plant) == before
    plant.send(depth_frame(1, 1, 1101 * SECOND), 0, 1101 * SECOND)
    assert depth_ids(plant)[-1] == (1, 1), "and a sequence that begins anew is seen as ever"


def test_a_slower_socket_s_copy_of_a_message_with_an_absurd_time_is_a_duplicate() -> None:
    plant = Plant(["depth.X"], links=2)
    for link in (0, 1):
        for each in (1001, 1002, 1003, 1004, 1005):
            time_us = FAR_US if each in (1002, 1003) else each * SECOND
            plant.send(depth_frame(each, each, time_us), link, each * SECOND)
    assert [each for each, _ in depth_ids(plant)] == [1001, 1002, 1003, 1004, 1005]
    assert plant.feed("depth.X").duplicates == 5


def test_with_a_clock_that_is_years_behind_a_sequence_that_begins_anew_is_seen_by_its_second_message() -> None:
    plant = Plant(["depth.X"], links=2)
    plant.send(depth_frame(1003, 1003, FAR_US), 0, SECOND)
    for each in (5, 6, 7):
        for link in (0, 1):
            plant.send(depth_frame(each, each, FAR_US + each * SECOND), link, SECOND)
    assert [each for each, _ in depth_ids(plant)] == [1003, 6, 7]
    assert gaps(plant)[1:] == [("SEQUENCE_RESTARTED", 1003, 6)]
