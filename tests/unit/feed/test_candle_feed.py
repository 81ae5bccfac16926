"""Candles in transit: a missing closed state is a gap with the times of its candles; open states may be lost."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backpack_streams.feed.moments import Break
from backpack_streams.feed.sequence import CLOSING_SECONDS, CandleChain
from backpack_streams.feed.tails import Last, _note, last_of
from backpack_streams.sequencing.candle_times import candle_end
from unit.feed.recorded_queues import CODEC, Plant, encoder

SECOND, MINUTE = 1_000_000, 60_000_000
STREAM = "kline.1m.X"


def iso(minute: int) -> str:
    return datetime.fromtimestamp(minute * 60, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def candle(minute: int, closed: bool, event_us: int) -> dict[str, Any]:
    data = {
        "e": "kline", "E": event_us, "s": "X", "t": iso(minute), "T": iso(minute + 1), "o": None, "c": None, "h": None, "l": None,
        "v": "0", "n": 0, "X": closed,
    }  # fmt: skip
    return {"stream": STREAM, "data": data}


def send(plant: Plant, minute: int, closed: bool, socket: int = 0, late_us: int = 0) -> None:
    """An open state halfway through the minute, or the closed one at its end."""
    at_us = (minute + 1) * MINUTE if closed else minute * MINUTE + 30 * SECOND
    plant.send(candle(minute, closed, at_us), socket, at_us + late_us)


def gaps(plant: Plant) -> list[tuple[str, int | None, int | None]]:
    """Reason, first missing minute, first minute present again."""
    bounds = [(gap["reason"], gap["last_time"], gap["next_time"]) for gap in plant.partition_queues.gaps]
    return [(reason, last and last // MINUTE, after and after // MINUTE) for reason, last, after in bounds]


def outage(plant: Plant, since: float, until: float) -> None:
    """The stream is uncovered for a while (seconds); then another socket covers it."""
    plant.tick(since)
    plant.uncover(0)
    plant.cover(1, at=until)


def test_consecutive_candles_leave_no_gap() -> None:
    plant = Plant([STREAM])
    for minute in range(3, 9):
        send(plant, minute, closed=False)
        send(plant, minute, closed=True)
    plant.tick(3600.0)
    assert gaps(plant) == []
    assert len(plant.partition_queues.of("market.kline")) == 12


def test_a_candle_whose_closed_state_was_lost_is_a_gap_even_if_it_was_seen_open() -> None:
    plant = Plant([STREAM])
    send(plant, 3, closed=True)
    send(plant, 4, closed=False)
    send(plant, 5, closed=True)
    assert gaps(plant) == [("SEQUENCE_BREAK", 4, 5)]


def test_the_first_candle_must_be_closed_too() -> None:
    plant = Plant([STREAM])
    send(plant, 4, closed=False)
    send(plant, 7, closed=True)
    assert gaps(plant) == [("SEQUENCE_BREAK", 4, 7)]


def test_an_outage_is_reported_with_the_candles_that_closed_meanwhile() -> None:
    plant = Plant([STREAM])
    send(plant, 3, closed=True)
    outage(plant, 250.0, 500.0)
    send(plant, 8, closed=False, socket=1)
    assert gaps(plant) == []  # the closed state of the previous one may still follow
    assert not plant.coverage.statement()[0][0].is_settled, "one that is killed now has told nobody"
    plant.tick(500.0 + CLOSING_SECONDS)
    assert gaps(plant) == [("DISCONNECTED", 4, 8)]
    assert plant.coverage.statement()[0][0].is_settled
    send(plant, 8, closed=True, socket=1)
    assert len(gaps(plant)) == 1


def test_a_late_closed_state_after_an_outage_shows_that_nothing_was_lost() -> None:
    plant = Plant([STREAM])
    send(plant, 3, closed=True)
    outage(plant, 250.0, 290.0)
    send(plant, 5, closed=False, socket=1)
    assert not plant.coverage.statement()[0][0].is_settled
    send(plant, 4, closed=True, socket=1)
    assert plant.coverage.statement()[0][0].is_settled
    plant.tick(3600.0)
    assert gaps(plant) == []


def test_an_outage_followed_by_silence_is_reported_by_the_clock() -> None:
    plant = Plant([STREAM])
    send(plant, 3, closed=True)
    outage(plant, 250.0, 500.0)
    assert plant.coverage.statement()[0][0] == (500 * SECOND, None, False, 250 * SECOND)
    plant.tick(500.0 + CLOSING_SECONDS - 0.01)
    assert gaps(plant) == []
    plant.tick(500.0 + CLOSING_SECONDS)
    plant.tick(3600.0)
    assert gaps(plant) == [("DISCONNECTED", 4, 8)]
    assert plant.coverage.statement()[0][0] == (500 * SECOND, None, True, None)


def test_a_break_while_the_clock_is_ahead_hides_no_later_loss() -> None:
    plant = Plant([STREAM])
    send(plant, 3, closed=True)
    plant.feed(STREAM).uncovered(Break(STREAM, "DISCONNECTED", "no socket was up", 245 * SECOND, 3847 * SECOND, 1))
    plant.tick(253.0)
    assert gaps(plant) == [("DISCONNECTED", 4, 64)]
    for minute in (4, 5):
        send(plant, minute, closed=True, socket=1)
    outage(plant, 365.0, 605.0)
    send(plant, 10, closed=True, socket=1)
    assert gaps(plant)[1:] == [("DISCONNECTED", 6, 10)]


def test_a_closed_candle_with_an_absurd_end_hides_no_later_loss() -> None:
    plant = Plant([STREAM])
    frame = candle(3, closed=True, event_us=4 * MINUTE)
    frame["data"]["T"] = iso(525_600)
    plant.send(frame, 0, 4 * MINUTE)
    assert plant.partition_queues.of("market.kline")[0]["end_time"] == 525_600 * MINUTE
    for minute in (4, 8):
        send(plant, minute, closed=True)
    assert gaps(plant) == [("SEQUENCE_BREAK", 5, 8)]


def test_the_first_coverage_of_candles_is_recorded() -> None:
    plant = Plant([STREAM], sockets=0)
    plant.coverage.resume({})
    plant.cover(0, at=250.0)
    [gap] = plant.partition_queues.gaps
    assert (gap["reason"], gap["last_time"], gap["next_time"]) == ("STREAM_START", None, 250 * SECOND)


def test_an_outage_in_which_no_candle_closed_leaves_no_gap() -> None:
    plant = Plant([STREAM])
    send(plant, 3, closed=True)
    outage(plant, 250.0, 280.0)
    send(plant, 4, closed=False, socket=1)
    send(plant, 4, closed=True, socket=1)
    send(plant, 6, closed=True, socket=1)  # much later, and for another reason
    assert gaps(plant) == [("SEQUENCE_BREAK", 5, 6)]


def test_a_closed_state_that_another_socket_delivers_late_still_counts() -> None:
    plant = Plant([STREAM], sockets=2)
    send(plant, 3, closed=True)
    send(plant, 5, closed=False, socket=0)
    send(plant, 4, closed=True, socket=1, late_us=30 * SECOND)
    plant.tick(3600.0)
    assert gaps(plant) == []
    closed = [row["start_time"] // MINUTE for row in plant.partition_queues.of("market.kline") if row["is_closed"]]
    assert closed == [3, 4]


def test_a_restart_resumes_after_the_last_closed_candle() -> None:
    def restarted() -> Plant:
        plant = Plant([STREAM], sockets=0)
        plant.feed(STREAM).resume(4 * MINUTE, 4 * MINUTE)
        plant.coverage.resume({STREAM: 4 * MINUTE})
        plant.cover(0, at=280.0)
        return plant

    plant = restarted()
    send(plant, 4, closed=True)
    plant.tick(290.0)
    assert gaps(plant) == []
    plant = restarted()
    send(plant, 9, closed=True)
    assert gaps(plant) == [("RESTART", 4, 9)]


def test_a_full_buffer_is_one_gap_however_long_it_lasts() -> None:
    plant = Plant([STREAM])
    send(plant, 3, closed=True)
    plant.partition_queues.room = False
    plant.router._has_room = lambda: plant.partition_queues.room
    for minute in range(4, 64):
        send(plant, minute, closed=False)
        send(plant, minute, closed=True)
        plant.tick((minute + 1) * 60 + 0.001)
    assert gaps(plant) == []
    plant.partition_queues.room = True
    plant.tick(64 * 60 + 0.002)
    assert gaps(plant) == [("BUFFER_FULL", 4, 64)]
    assert plant.partition_queues.gaps[0]["lost_records"] == 120
    send(plant, 64, closed=True)
    assert len(gaps(plant)) == 1


def test_trades_without_room_are_one_gap_too() -> None:
    plant = Plant(["trade.X"])
    data = {"e": "trade", "s": "X", "p": "1", "q": "1", "m": True}

    def trade(trade_id: int) -> None:
        plant.send({"stream": "trade.X", "data": data | {"E": trade_id, "T": trade_id, "t": trade_id}}, 0, trade_id)
        plant.tick(trade_id)

    trade(1)
    plant.partition_queues.room = False
    plant.router._has_room = lambda: plant.partition_queues.room
    for trade_id in range(2, 100):
        trade(trade_id)
    plant.partition_queues.room = True
    trade(100)
    [gap] = plant.partition_queues.gaps[1:]
    assert (gap["reason"], gap["last_id"], gap["next_id"], gap["lost_records"]) == ("BUFFER_FULL", 1, 100, 98)


@pytest.mark.parametrize("channel", ["ticker", "markPrice", "openInterest"])
def test_a_stream_of_last_values_reports_an_outage_as_soon_as_a_socket_is_back(channel: str) -> None:
    stream = f"{channel}.X"
    plant = Plant([stream])
    numbers = {"p": "1", "o": "1", "c": "1", "h": "1", "l": "1", "v": "1", "V": "1", "n": 1}
    message = {"e": channel, "E": 5, "T": 5, "s": "X", **numbers}
    plant.send(json.dumps({"stream": stream, "data": message}).encode(), 0, 5)
    assert plant.feed(stream).published == 1
    plant.tick(7.0)
    plant.uncover(0, through=5.0)
    plant.tick(8.0)
    assert plant.partition_queues.gaps == []
    plant.cover(1, at=9.0)
    [gap] = plant.partition_queues.gaps
    assert (gap["reason"], gap["last_time"], gap["next_time"]) == ("DISCONNECTED", 5 * SECOND, 9 * SECOND)


@given(st.lists(st.tuples(st.integers(0, 12), st.booleans(), st.integers(0, 3)), max_size=40))
def test_every_candle_is_closed_or_reported_missing(messages: list[tuple[int, bool, int]]) -> None:
    chain, now = CandleChain(), 0.0
    closed, told, first = set[int](), set[int](), None
    for start, is_closed, seconds in messages:
        now += seconds
        first = start if first is None else first
        lost = chain.took(start, start + 1, is_closed, now)
        closed |= {start} if is_closed else set()
        told |= set(range(*lost)) if lost else set()
    lost = chain.overdue(now + CLOSING_SECONDS)
    told |= set(range(*lost)) if lost else set()
    if first is not None and chain.until is not None:
        assert set(range(first, chain.until)) <= closed | told
        assert not told & set(range(chain.until, 13))
        assert chain.until >= max([start for start, _, _ in messages if start >= first], default=first)


# ---- the tail of the topic


def kline_value(minute: int, closed: bool, source: str = "WEBSOCKET", interval: str = "1m") -> bytes:
    row: dict[str, Any] = {
        "symbol": "X", "source": source, "event_time": None, "engine_time": None, "received_time": 9, "interval": interval,
        "start_time": minute * MINUTE, "end_time": candle_end(interval, minute * MINUTE), "open": None, "high": None, "low": None,
        "close": None, "base_volume": None, "quote_volume": None, "trades": None, "is_closed": closed,
    }  # fmt: skip
    return encoder("market.kline")(row)


def tail(*values: bytes, interval: str = "1m") -> int | None:
    found: dict[tuple[str, str], Last] = {}
    for value in values:
        _note(found, CODEC, "market.kline", value)
    last = last_of(found, "market.kline", "X", interval)
    return None if last is None else last.last_id // MINUTE


@given(st.permutations([(3, True), (4, True), (5, False), (6, False)]))
def test_the_last_closed_candle_counts_whatever_is_open(candles: list[tuple[int, bool]]) -> None:
    assert tail(*(kline_value(*each) for each in candles)) == 5


@given(st.permutations([4, 5, 6]))
def test_without_a_closed_candle_the_oldest_open_one_counts(minutes: list[int]) -> None:
    assert tail(*(kline_value(each, closed=False) for each in minutes)) == 4


def test_the_last_closed_candle_ends_by_its_interval_whatever_end_is_on_record() -> None:
    _, row = CODEC.decode(kline_value(3, True))
    assert tail(encoder("market.kline")({**row, "end_time": 525_600 * MINUTE})) == 4
    assert tail(kline_value(3, True, interval="7m"), interval="7m") is None  # a later version's


def test_intervals_are_separate_and_candles_from_rest_do_not_count() -> None:
    values = [kline_value(3, True), kline_value(9, True, "REST"), kline_value(7, True, interval="3m")]
    assert tail(*values) == 4
    assert tail(*values, interval="3m") == 10
    assert tail(*values, interval="1h") is None
