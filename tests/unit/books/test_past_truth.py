"""Books as of a moment: LIVE only if a producer vouched for them then, whatever clocks show, and correct if they are."""

import asyncio
from collections.abc import Iterable
from itertools import count, groupby
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backpack_streams.books.intake import Intake
from backpack_streams.books.joining import read_listing
from backpack_streams.books.market_book import Status
from backpack_streams.books.past_reading import PastItem, PastReading
from backpack_streams.books.past_start import PastSpan, join_past
from backpack_streams.books.selection import Selection
from backpack_streams.bus.topic_ids import TopicRecreatedError
from backpack_streams.errors import BusError
from past_plant import DEPTH, PREFIX, SNAPSHOT, START_US, WATERMARK, Life, Logs, Shown, World, books_at
from vouched_plant import CODEC, SECOND

BUSY = [i * 0.41 for i in range(int(120 / 0.41))]
MAX_AGE = 5.0


def micros(seconds: float) -> int:
    return START_US + int(seconds * SECOND)


def statuses(world: World, seconds: float, **options: Any) -> dict[str, Status]:
    return {symbol: book.status for symbol, book in books_at(world.logs, micros(seconds), **options).items()}


def test_books_before_during_and_after_an_outage() -> None:
    world = World({"A": BUSY, "Q": [1.0]}, [Life(0, 50), Life(70, 200)])
    books = books_at(world.logs, micros(45))
    assert {each.status for each in books.values()} == {Status.LIVE}
    assert all(micros(44) - SECOND < (each.as_of or 0) <= micros(45) for each in books.values())
    for seconds in (56.0, 60.0, 69.0):
        books = books_at(world.logs, micros(seconds))
        assert {each.status for each in books.values()} == {Status.STALE}
        assert all("no producer has vouched for depth." in each.reason for each in books.values())
    assert statuses(world, 110) == {"A": Status.LIVE, "Q": Status.LIVE}


def test_a_quiet_market_that_moved_during_the_outage_is_not_live_before_the_next_snapshot() -> None:
    world = World({"A": BUSY, "Q": [1.0, 60.0]}, [Life(0, 50), Life(70, 200)], snapshots_every=118.0)
    books = books_at(world.logs, micros(110))
    assert books["Q"].status is Status.STALE
    assert "broke after" in books["Q"].reason


def test_a_recording_from_before_watermarks_existed_is_judged_by_its_sequence_alone() -> None:
    world = World({"A": BUSY}, [Life(0, 200)], publishes_watermarks=False)
    book = books_at(world.logs, micros(45))["A"]
    assert (book.status, book.as_of, book.reason) == (Status.LIVE, None, "")


def test_a_watermark_topic_that_begins_much_later_does_not_affect_an_earlier_recording() -> None:
    old = World({"A": BUSY}, [Life(0, 200)], publishes_watermarks=False)
    late = World({"A": BUSY}, [Life(0, 200, ahead=3600.0)])
    old.logs.topics["b.ops.watermark"] = late.logs.topics["b.ops.watermark"]
    assert statuses(old, 45) == {"A": Status.LIVE}


def test_with_max_age_none_no_producer_has_to_vouch() -> None:
    world = World({"A": BUSY}, [Life(0, 50), Life(70, 200)])
    book = books_at(world.logs, micros(60), max_age=None)["A"]
    assert book.status is Status.LIVE
    assert book.as_of is not None
    assert book.as_of < micros(50)


def test_before_the_first_producer_nothing_is_vouched_for() -> None:
    """A poller that started first has published snapshots, and no producer has published an update."""
    world = World({"A": BUSY}, [Life(100, 200)])
    assert statuses(world, 20) == {"A": Status.STALE}


def test_a_dead_producer_whose_clock_was_ahead_keeps_nothing_live() -> None:
    world = World({"A": BUSY, "Q": [1.0]}, [Life(0, 60, ahead=50.0)])
    assert statuses(world, 55) == {"A": Status.LIVE, "Q": Status.LIVE}
    for seconds in (67.0, 80.0, 105.0):
        assert statuses(world, seconds) == {"A": Status.STALE, "Q": Status.STALE}


def test_in_silence_a_clock_that_is_ahead_misleads_only_until_the_next_snapshot() -> None:
    world = World({"Q": [1.0]}, [Life(0, 60, ahead=50.0)])
    never_moves = World({"Q": []}, [Life(0, 60, ahead=50.0)])
    assert statuses(never_moves, 45) == {"Q": Status.LIVE}
    for seconds in (77.0, 80.0, 105.0):
        assert statuses(world, seconds) == {"Q": Status.STALE}


@pytest.mark.parametrize("ahead", [-3600.0, -20.0, 3600.0])
def test_clocks_are_compared_however_little_kafka_returns_at_once(ahead: float) -> None:
    """Watermarks of a clock that is behind are read long before the updates that they name."""
    world = World({"A": BUSY, "Q": [1.0]}, [Life(0, 200, ahead=ahead)])
    world.logs.a_poll = 7
    for seconds in (45.0, 80.0):
        assert statuses(world, seconds) == {"A": Status.LIVE, "Q": Status.LIVE}


def test_a_clock_that_was_set_back_or_ahead_changes_nothing() -> None:
    for step in (-3600.0, -20.0, 20.0, 3600.0):
        world = World({"A": BUSY, "Q": [1.0]}, [Life(0, 80, steps_at=50.0, step=step)])
        for seconds in (49.0, 52.0, 70.0):
            assert statuses(world, seconds) == {"A": Status.LIVE, "Q": Status.LIVE}, (step, seconds)
        for seconds in (87.0, 110.0):
            assert statuses(world, seconds) == {"A": Status.STALE, "Q": Status.STALE}, (step, seconds)


def test_copies_that_a_second_producer_publishes_half_a_minute_late_change_nothing() -> None:
    world = World({"A": BUSY, "Q": [1.0, 30.0]}, [Life(0, 80), Life(0, 200, late=30.0)])
    for seconds in (40.0, 60.0, 79.0):
        for symbol, book in books_at(world.logs, micros(seconds)).items():
            assert book.status is Status.LIVE, book.reason
            assert {book.last_update_id} == world.ids_of(symbol, micros(seconds), micros(seconds))
    # Then only the late one is left: its coverage is half a minute old.
    assert statuses(world, 90) == {"A": Status.STALE, "Q": Status.STALE}


def test_going_forward_an_outage_is_shown() -> None:
    world = World({"A": BUSY, "Q": [1.0]}, [Life(0, 50), Life(70, 200)])
    shown: Shown = []
    books_at(world.logs, micros(40), until_us=micros(115), shown=shown)
    for symbol in ("A", "Q"):
        told = [status for name, status, _ in shown if name == symbol]
        assert [status for status, _ in groupby(told)] == ["LIVE", "STALE", "LIVE"]
    live_ids = [last_id for name, status, last_id in shown if (name, status) == ("A", "LIVE") and last_id]
    assert live_ids == sorted(live_ids)


def test_recreated_topics_are_not_taken_for_the_old_ones() -> None:
    """Snapshots and watermarks name offsets of deleted topics, higher than any in the new ones."""
    moves = {"A": BUSY, "Q": [1.0]}
    for topics in ([DEPTH], [WATERMARK], [DEPTH, WATERMARK], [DEPTH, WATERMARK, SNAPSHOT]):
        world = World(moves, [Life(0, 200)])
        for topic in topics:
            kept = [each for each in world.logs.topics[topic] if each.timestamp > micros(35) // 1000]
            world.logs.topics[topic] = []
            for each in kept:
                world.logs.append(topic, each.key.decode(), each.value, each.timestamp * 1000)
        for seconds in (38, 45, 60, 110):
            for symbol, book in books_at(world.logs, micros(seconds)).items():
                if book.status is Status.LIVE:
                    right = world.ids_of(symbol, micros(seconds - MAX_AGE - 1.2), micros(seconds))
                    assert book.last_update_id in right, (topics, seconds, symbol)


class Recreated(Logs):
    """Topics one of which is recreated after some polls; a follower begins again at its beginning."""

    def __init__(self, logs: Logs, topic: str, polls: int, kept: int) -> None:
        super().__init__()
        self.__dict__ |= logs.__dict__
        self.topic, self.polls_left, self.kept = topic, polls, kept

    async def poll(self, _: int, most: int = 10_000, only: Iterable[tuple[str, int]] = ()) -> dict[Any, list[Any]]:
        self.polls_left -= 1
        if self.polls_left == 0:
            self.topics = {**self.topics, self.topic: self.topics[self.topic][: self.kept]}
            self.positions[self.topic] = 0
        return await super().poll(_, most, only)


@pytest.mark.parametrize("kept", [0, 60])
@pytest.mark.parametrize("topic", [DEPTH, WATERMARK])
def test_a_topic_that_is_recreated_while_the_past_is_read_is_an_error(topic: str, kept: int) -> None:
    world = World({"A": BUSY}, [Life(0, 200)])
    world.logs.a_poll = 20
    logs = Recreated(world.logs, topic, 10**9, kept)

    async def read() -> None:
        selection = Selection(None)
        intake = Intake(CODEC, PREFIX, selection)
        reader: Any = logs
        intake.listing = await read_listing(reader, CODEC, PREFIX)
        span = PastSpan(micros(20), micros(100), None)
        books, offsets = await join_past(
            *(reader, CODEC, PREFIX, intake, selection, span), max_age=5.0, note=lambda *_: None
        )
        logs.assign(offsets)
        logs.polls_left = 3

        async def read_on() -> None:
            async for updates in books.rounds():
                list(updates)

        for _ in range(3):
            with pytest.raises(TopicRecreatedError):
                await read_on()

    asyncio.run(read())


def test_a_first_producer_whose_clock_is_far_ahead_is_not_taken_for_a_later_one() -> None:
    """All watermarks claim to be from after the moment, but a snapshot from before it knew their topic."""
    world = World({"A": BUSY, "R": [1.0]}, [Life(1.0, 6.0, ahead=3600.0)], snapshots_every=37.0)
    for seconds in (12.0, 25.0, 36.0):
        assert statuses(world, seconds) == {"A": Status.STALE, "R": Status.SYNCING}


@st.composite
def worlds(draw: st.DrawFn) -> tuple[World, float]:
    ahead = st.sampled_from([0.0, 0.0, -3600.0, -30.0, -2.0, 2.0, 30.0, 3600.0])
    lives = []
    begins = draw(st.floats(0, 20))
    for _ in range(draw(st.integers(1, 3))):
        ends = begins + draw(st.floats(5, 80))
        steps_at, step, late = (
            draw(st.floats(begins, ends)),
            draw(ahead),
            draw(st.sampled_from([0.0, 0.0, 0.0, 4.0, 20.0])),
        )
        lives.append(Life(begins, ends, draw(ahead), steps_at, step, late))
        begins = draw(st.floats(max(begins, ends - 15), ends + 25))
    silent = draw(st.lists(st.floats(0, 120), max_size=6).map(sorted))
    moves = {"A": BUSY, "Q": silent, "R": draw(st.lists(st.floats(0, 120), max_size=40).map(sorted))}
    every = draw(st.sampled_from([3.0, 10.0, 37.0]))
    world = World(moves, lives, snapshots_every=every)
    world.logs.a_poll = draw(st.sampled_from([500, 20]))
    return world, draw(st.floats(25, 119))


def test_an_error_right_after_the_moment_loses_no_update(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kafka refuses every second request."""
    items, requests = PastReading.items, count()

    async def flaky(reading: PastReading, limit_us: int | None) -> list[PastItem]:
        if next(requests) % 2:
            raise BusError("refused")
        return await items(reading, limit_us)

    monkeypatch.setattr(PastReading, "items", flaky)
    world = World({"A": [5.0, 45.3], "B": BUSY[3:]}, [Life(0, 200)], snapshots_every=118.0)
    for a_poll in (40, 41):
        world.logs.a_poll = a_poll
        books = books_at(world.logs, micros(45), until_us=micros(100))
        for symbol, book in books.items():
            assert (book.status, book.reason) == (Status.LIVE, "")
            assert book.last_update_id in world.ids_of(symbol, micros(100), micros(100))


@given(worlds())
@settings(max_examples=60, deadline=None)
def test_a_live_book_is_correct(case: tuple[World, float]) -> None:
    world, seconds = case
    for symbol, book in books_at(world.logs, micros(seconds)).items():
        if book.status is Status.LIVE:
            right = world.ids_of(symbol, micros(seconds - MAX_AGE - 1.2), micros(seconds))
            assert book.last_update_id in right, (symbol, world.lives, seconds)
            bids, _ = book.book.to_lines()
            assert bids == [("1", str(book.last_update_id))]


@given(worlds())
@settings(max_examples=60, deadline=None)
def test_a_book_that_one_producer_covered_for_long_is_live(case: tuple[World, float]) -> None:
    world, seconds = case
    world = World(world.moves, [Life(0, 200, world.lives[0].ahead)], snapshots_every=10.0)
    books = books_at(world.logs, micros(max(seconds, 45)))
    assert {symbol: (book.status, book.reason) for symbol, book in books.items()} == dict.fromkeys(
        books, (Status.LIVE, "")
    )
