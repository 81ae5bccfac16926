"""Frames and coverage from the start of a producer: held in order, then reported; what pauses reading, and what is doubted."""

import json
from typing import Any

import pytest

from backpack_streams.exchange.session_actions import CoverageEvent, SocketProven, StreamsActive, StreamsInactive
from backpack_streams.feed.delivery import Delivery, LastPublished
from backpack_streams.feed.moments import Moment
from backpack_streams.feed.read_pause import KAFKA_BEHIND, START_HOLDS, ReadPause
from backpack_streams.feed.start import Start
from unit.feed.recorded_queues import Plant, depth_frame, liquidation_frame, ticker_frame, trade_frame

SECOND = 1_000_000


class Producer:
    """A producer's core without its shell, not covered by any socket yet."""

    def __init__(self, *streams: str, limit_bytes: int = 100_000) -> None:
        self.plant = Plant(streams, sockets=0)
        self.calls: list[str] = []
        self.pause = ReadPause(lambda: self.calls.append("pause"), lambda: self.calls.append("resume"))
        self.start = Start(0.0, limit_bytes)
        self.plant.coverage._earlier = None
        self.delivery = Delivery(self.plant.coverage, self.plant.router, self.pause, self.start)
        self.now = 0.0
        self.wall = 0.0
        """How far the wall clock is ahead."""

    @property
    def moment(self) -> Moment:
        return Moment(self.now, round((self.now + self.wall) * SECOND))

    def send(self, frame: Any, socket: int = 0) -> None:
        payload = frame if isinstance(frame, bytes) else json.dumps(frame).encode()
        if not self.start.is_over:
            self.tick(self.now)
        self.delivery.on_frame(socket, payload, self.moment.us)

    def take(self, event: CoverageEvent, now: float) -> None:
        self.now = now
        self.delivery.on_coverage(event, self.moment)

    def active(self, socket: int, now: float) -> None:
        self.take(StreamsActive(tuple(self.plant.router.feeds), socket, now), now)

    def inactive(self, socket: int, now: float) -> None:
        streams = tuple(feed.name for feed in self.plant.router._all())
        self.take(StreamsInactive(streams, socket, now, "DISCONNECTED"), now)

    def tick(self, now: float, share: float = 0.0) -> dict[str, str]:
        self.now = now
        return self.delivery.on_tick(self.moment, share)

    def resume(self, now: float, last: dict[str, LastPublished] | None = None, **covered: float | None) -> None:
        """What Kafka has is now known; `covered` by channel, in seconds."""
        self.now = now
        names = {feed.name.partition(".")[0]: feed.name for feed in self.plant.router._all()}
        earlier = {names[each]: None if until is None else round(until * SECOND) for each, until in covered.items()}
        self.delivery.resume(last or {}, earlier, self.moment)

    def gaps(self) -> list[tuple[str, str, int | None, int | None]]:
        return [
            (gap["stream"], gap["reason"], gap["last_id"], gap["next_id"]) for gap in self.plant.partition_queues.gaps
        ]

    def ids(self) -> list[int]:
        return [row["last_update_id"] for row in self.plant.partition_queues.of("market.depth")]


# ---- the start


def test_nothing_is_published_or_ticked_until_it_is_known_what_kafka_has() -> None:
    producer = Producer("depth.X", "liquidation")
    producer.active(0, 1.0)
    producer.send(depth_frame(1, 1, SECOND))
    for second in range(2, 60):
        assert producer.tick(second) == {}
    assert producer.plant.partition_queues.arrived == []


def test_a_stream_with_records_in_kafka_resumes_there() -> None:
    producer = Producer("depth.X")
    producer.active(0, 10.0)
    for each in (5, 6, 7, 8):
        producer.send(depth_frame(each, each, each * SECOND))
    producer.resume(12.0, {"depth.X": LastPublished(6, 6 * SECOND)}, depth=9.0)
    producer.tick(20.0)
    assert (producer.ids(), producer.gaps()) == ([7, 8], [])


def test_a_loss_is_reported_at_the_first_message_or_by_the_clock() -> None:
    producer = Producer("depth.X", "trade.X", "liquidation")
    producer.active(0, 10.0)
    producer.send(depth_frame(9, 9, 9 * SECOND))
    last = {"depth.X": LastPublished(6, SECOND), "trade.X": LastPublished(3, SECOND)}
    producer.resume(12.0, last, depth=9.0, trade=9.0, liquidation=9.0)
    producer.tick(20.0)
    assert producer.gaps() == [
        ("liquidation", "RESTART", None, None),
        ("depth.X", "RESTART", 6, 9),
        ("trade.X", "RESTART", 3, None),
    ]
    assert [(gap["last_time"], gap["next_time"]) for gap in producer.plant.partition_queues.gaps][::2] == [
        (9 * SECOND, 10 * SECOND)
    ] * 2


def test_a_stream_without_records_in_kafka_starts_with_a_gap() -> None:
    producer = Producer("depth.X", "trade.X", "bookTicker.X")
    producer.active(0, 10.0)
    producer.send(depth_frame(9, 9, 9 * SECOND))
    producer.resume(12.0)
    producer.tick(20.0)
    assert sorted(producer.gaps(), key=str) == [
        ("bookTicker.X", "STREAM_START", None, None),
        ("depth.X", "STREAM_START", None, 9),
        ("trade.X", "STREAM_START", None, None),
    ]


def test_breaks_during_the_start_are_reported_in_order_among_the_frames() -> None:
    producer = Producer("depth.X", "liquidation")
    producer.active(0, 10.0)
    producer.send(depth_frame(1, 1, SECOND))
    producer.send(liquidation_frame(SECOND))
    producer.inactive(0, 12.0)
    producer.active(1, 14.0)
    producer.send(depth_frame(5, 5, 5 * SECOND), socket=1)
    producer.send(liquidation_frame(2 * SECOND), socket=1)
    producer.resume(20.0, {"depth.X": LastPublished(0, 0)}, depth=None, liquidation=None)
    producer.tick(30.0)
    assert producer.ids() == [1, 5]
    assert producer.gaps() == [("liquidation", "DISCONNECTED", None, None), ("depth.X", "DISCONNECTED", 1, 5)]
    topics = [
        each.topic for each in producer.plant.partition_queues.arrived if each.topic in ("perp.liquidation", "ops.gap")
    ]
    assert topics == ["perp.liquidation", "ops.gap", "ops.gap", "perp.liquidation"]
    assert producer.plant.coverage.statement()[0][0] == (14 * SECOND, None, True, None)


@pytest.mark.parametrize(("delivers", "covered_until"), [(False, 10.0), (True, 18.0)])
def test_a_socket_that_delivered_nothing_during_the_start_covered_nothing(delivers: bool, covered_until: float) -> None:
    """The exchange ignores the subscriptions of a market, and the socket goes before the start is over: its frames are unread by then."""
    book, ticker = "bookTicker.X", "ticker.X"
    producer = Producer(book, ticker)
    producer.delivery.existing.add(ticker)
    producer.active(0, 10.0)
    for second in range(10, 18):
        producer.now = float(second)
        name = ticker if delivers else "ticker.Y"
        producer.send(
            {"stream": name, "data": {"e": "ticker", "E": second * SECOND, "T": second * SECOND, "s": name[-1]}}
        )
    producer.inactive(0, 18.0)
    producer.active(1, 20.0)
    producer.resume(25.0, {}, bookTicker=None, ticker=None)
    producer.tick(40.0)
    [gap] = [gap for gap in producer.plant.partition_queues.gaps if gap["stream"] == book]
    assert (gap["reason"], gap["last_time"], gap["next_time"]) == ("DISCONNECTED", covered_until * SECOND, 20 * SECOND)


def test_a_socket_that_delivered_nothing_for_a_second_or_two_covered_nothing() -> None:
    """It was confirmed and ignored, and goes before a missing heartbeat could be noticed."""
    book, ticker = "bookTicker.X", "ticker.X"
    producer = Producer(book, ticker)
    producer.active(0, 1.0)
    producer.resume(2.0, {}, bookTicker=None, ticker=None)
    for second in (3.0, 4.0):
        producer.now = second
        producer.send({"stream": ticker, "data": {"e": "ticker", "E": 1, "T": round(second), "s": "X", "n": 1}})
        producer.tick(second)
    producer.inactive(0, 4.5)
    producer.active(1, 5.0)
    producer.tick(5.5)
    producer.inactive(1, 6.5)
    producer.active(2, 7.0)
    producer.tick(20.0)
    gaps = [gap for gap in producer.plant.partition_queues.gaps if gap["stream"] == book]
    assert [(gap["last_time"] / SECOND, gap["next_time"] / SECOND) for gap in gaps] == [(4.5, 5.0), (5.0, 7.0)]


def test_frames_held_at_the_start_prove_nothing_about_the_time_after_they_arrived() -> None:
    """A second socket ignores the subscriptions of a market; the start ends, and that socket goes before a missing heartbeat is noticed."""
    book, ticker = "bookTicker.X", "ticker.X"
    producer = Producer(book, ticker)
    producer.delivery.expect((ticker,))
    producer.active(0, 10.0)
    producer.now = 10.4
    producer.send(ticker_frame(7, 10 * SECOND))
    producer.send({"stream": ticker, "data": {"e": "ticker", "E": 1, "T": 10 * SECOND, "s": "X", "n": 1}})
    producer.inactive(0, 10.5)
    producer.active(1, 11.0)
    producer.resume(19.0, {}, bookTicker=None, ticker=None)
    producer.tick(19.1)
    producer.tick(20.1)
    producer.inactive(1, 21.0)
    producer.active(2, 22.0)
    producer.tick(40.0)
    for stream in (book, ticker):
        gaps = [gap for gap in producer.plant.partition_queues.gaps if gap["stream"] == stream]
        assert [(gap["last_time"] / SECOND, gap["next_time"] / SECOND) for gap in gaps][-1] == (11.0, 22.0)


@pytest.mark.parametrize("step", [3600.0, -3600.0])
def test_a_step_of_the_wall_clock_during_the_start_makes_no_held_frame_younger(step: float) -> None:
    book, ticker = "bookTicker.X", "ticker.X"
    producer = Producer(book, ticker)
    producer.delivery.expect((ticker,))
    producer.active(0, 10.0)
    producer.now = 10.4
    producer.send({"stream": ticker, "data": {"e": "ticker", "E": 1, "T": 10 * SECOND, "s": "X", "n": 1}})
    producer.inactive(0, 10.5)
    producer.active(1, 11.0)
    producer.wall = step
    producer.resume(19.0, {}, bookTicker=None, ticker=None)
    producer.tick(19.1)
    producer.inactive(1, 21.0)
    producer.active(2, 22.0)
    producer.tick(40.0)
    for stream in (book, ticker):
        gaps = [gap for gap in producer.plant.partition_queues.gaps if gap["stream"] == stream]
        assert gaps[-1]["last_time"] == min(11.0, 11.0 + step) * SECOND, "by the old and the new time"


def test_a_read_pause_does_not_make_earlier_frames_younger() -> None:
    book, ticker = "bookTicker.X", "ticker.X"
    producer = Producer(book, ticker)
    producer.active(0, 1.0)
    producer.resume(2.0, {}, bookTicker=None, ticker=None)
    for second in (3.0, 4.0):
        producer.now = second
        producer.send({"stream": ticker, "data": {"e": "ticker", "E": 1, "T": round(second), "s": "X", "n": 1}})
        producer.tick(second)
    for second in (4.5, 9.0):
        producer.tick(second, 1.0)
    assert producer.pause.reasons == (KAFKA_BEHIND,)
    for second in (10.0, 11.0):
        producer.tick(second, 0.0)
    assert not producer.pause.reasons
    producer.inactive(0, 11.5)  # nothing was read since the pause
    producer.active(1, 12.0)
    producer.tick(30.0)
    [gap] = [gap for gap in producer.plant.partition_queues.gaps if gap["stream"] == book]
    assert (gap["last_time"] / SECOND, gap["next_time"] / SECOND) == (4.0, 12.0)


def test_a_break_of_a_socket_without_messages_and_the_break_before_are_one() -> None:
    """Twice without a message: at the restart, and again during the start."""
    producer = Producer("depth.X")
    producer.active(0, 10.0)
    producer.inactive(0, 12.0)
    producer.send(depth_frame(9, 9, SECOND), socket=1)
    producer.active(1, 14.0)
    producer.resume(20.0, {"depth.X": LastPublished(4, 1)}, depth=5.0)
    for second in range(20, 30):
        producer.tick(second)
    assert producer.gaps() == [("depth.X", "RESTART", 4, 9)]
    assert producer.plant.coverage.statement()[0][0] == (14 * SECOND, None, True, None)


@pytest.mark.parametrize("stream", ["depth.X", "bookTicker.X"])
def test_a_message_still_held_after_the_start_counts_as_sent_after_the_coverage_began(
    stream: str,
) -> None:
    producer = Producer(stream)
    for socket in (0, 1):
        producer.active(socket, 10.0)
    producer.send(depth_frame(9, 9, 9 * SECOND) if stream == "depth.X" else ticker_frame(9, 9 * SECOND))
    for socket in (0, 1):
        producer.take(SocketProven(socket, 15.0), 15.0)
    names = stream.partition(".")[0]
    producer.resume(16.0, {"depth.X": LastPublished(6, 1)}, **{names: None})
    assert producer.plant.router.held_since() == 10.0
    producer.tick(17.0)
    assert producer.plant.router.held_since() is None


@pytest.mark.parametrize("stream", ["depth.X", "bookTicker.X"])
def test_messages_held_of_a_market_that_closes_during_the_start_are_published(stream: str) -> None:
    producer = Producer(stream)
    producer.active(0, 10.0)
    producer.send(depth_frame(7, 7, 9 * SECOND) if stream == "depth.X" else ticker_frame(7, 9 * SECOND))
    producer.plant.router.want(())
    producer.inactive(0, 12.0)
    producer.resume(16.0, {}, **{stream.partition(".")[0]: None})
    producer.tick(30.0)
    topic = "market.depth" if stream == "depth.X" else "market.book_ticker"
    assert len(producer.plant.partition_queues.of(topic)) == 1
    producer.send(depth_frame(8, 8, 9 * SECOND) if stream == "depth.X" else ticker_frame(8, 9 * SECOND))
    assert len(producer.plant.partition_queues.of(topic)) == 1, "it is not wanted now"


def test_a_held_frame_that_cannot_be_read_costs_none_of_those_after_it() -> None:
    producer = Producer("depth.X")
    producer.active(1, 1.0)
    producer.send(depth_frame(1, 1, 1))
    producer.send(json.dumps(depth_frame(2, 2, 2)).encode().replace(b'"s": "X"', b'"s": "X\xff"'))
    producer.send(depth_frame(3, 3, 3))
    producer.resume(2.0)
    producer.tick(20.0)
    assert producer.ids() == [1, 3]
    assert ("depth.X", "UNREADABLE_FRAME", 1, None) in producer.gaps()


def test_an_answer_to_a_subscription_is_not_held() -> None:
    """It belongs to the subscription whose Pong comes next."""
    producer = Producer("depth.X")
    producer.send({"id": None, "error": {"code": 4006, "message": "Invalid stream"}}, socket=3)
    assert producer.plant.error_frames == [(3, 4006, "Invalid stream")]
    producer.send({"stream": "depth.X", "data": {"error": 1}})
    producer.send({"error": "x", "stream": "depth.X"})
    assert len(producer.plant.error_frames) == 1
    assert producer.start.held_bytes > 0


# ---- what pauses reading


def test_frames_held_at_the_start_pause_reading_and_its_end_resumes_it() -> None:
    producer = Producer("depth.X", limit_bytes=10_000)
    producer.active(0, 10.0)
    sent = 0
    while not producer.pause.reasons:
        sent += 1
        producer.send(depth_frame(sent, sent, sent * SECOND))
    assert (producer.calls, producer.pause.reasons) == (["pause"], (START_HOLDS,))
    producer.resume(12.0)
    assert (producer.calls, producer.pause.reasons) == (["pause", "resume"], ())
    assert producer.ids() == list(range(1, sent + 1))


def test_the_end_of_the_start_does_not_resume_reading_paused_by_a_full_buffer() -> None:
    producer = Producer("depth.X", limit_bytes=1)
    producer.send(depth_frame(1, 1, SECOND))
    producer.tick(1.0, share=0.9)
    assert producer.pause.reasons == (START_HOLDS, KAFKA_BEHIND)
    producer.resume(2.0)
    assert (producer.calls, producer.pause.reasons) == (["pause"], (KAFKA_BEHIND,))
    producer.tick(3.0, share=0.1)
    assert producer.calls == ["pause", "resume"]


# ---- doubts


def doubtful() -> Producer:
    producer = Producer("depth.X", "bookTicker.X")
    producer.active(0, 1.0)
    producer.resume(2.0, depth=None, bookTicker=None)
    producer.send(depth_frame(1, 1, SECOND))
    producer.send(ticker_frame(1, SECOND))
    assert producer.tick(3.0) == {}
    producer.send(ticker_frame(2, 2 * SECOND))
    return producer


def test_a_stream_that_stays_behind_its_sibling_is_doubted_once() -> None:
    producer = doubtful()
    found = [producer.tick(4.0 + step / 4) for step in range(80)]
    assert [each.keys() for each in found if each] == [{"depth.X"}]
    assert producer.delivery.doubts == 1


def test_nothing_is_doubted_while_nothing_is_read() -> None:
    producer = doubtful()
    assert [producer.tick(4.0 + second, share=0.9) for second in range(10)] == [{}] * 10


# ---- the wall clock


@pytest.mark.parametrize("hours", [-1, 0, 1])
def test_after_the_start_frames_and_breaks_are_handled_as_they_come(hours: int) -> None:
    producer = Producer("trade.X")
    producer.active(0, 10.0)
    producer.resume(11.0, {"trade.X": LastPublished(4, 1)}, trade=None)
    producer.send(trade_frame(5, 2))
    producer.inactive(0, 12.0)
    step = round((60 + 3600 * hours) * SECOND)
    producer.delivery.on_coverage(StreamsActive(("trade.X",), 1, 60.0), Moment(60.0, step))
    producer.delivery.on_coverage(SocketProven(1, 60.0), Moment(60.0, step))
    producer.delivery.on_tick(Moment(62.9, step), 0.0)
    assert producer.gaps() == []
    producer.delivery.on_tick(Moment(63.0, step), 0.0)
    assert producer.gaps() == [("trade.X", "DISCONNECTED", 5, None)]
