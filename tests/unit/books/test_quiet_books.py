"""A quiet market whose producers died, lost their sockets or missed updates: not LIVE at an old id, restored by the next snapshot."""

import pytest

from backpack_streams.books import watermark_intake
from backpack_streams.books.market_book import Outcome, Status
from vouched_plant import DEPTH, GAP, SECOND, Clock, Plant, encoded

MINUTES = 60.0
LONG = 40
"""Watermarks, one per second: after this many an answer cannot be from before a run."""


@pytest.fixture
def plant(monkeypatch: pytest.MonkeyPatch) -> Plant:
    clock = Clock()
    monkeypatch.setattr(watermark_intake.time, "time_ns", lambda: clock.wall_us() * 1000)
    plant = Plant(clock)
    plant.live()
    return plant


def outage(plant: Plant, offset: int = 0, *, reason: str = "DISCONNECTED") -> None:
    row = {
        "stream": "depth.A",
        "symbol": "A",
        "topic": "market.depth",
        "reason": reason,
        "last_id": plant.last_id,
        "next_id": None,
        "last_time": None,
        "next_time": None,
        "lost_records": None,
        "detail": "",
        "service": "producer-a",
        "detected_time": plant.clock.wall_us(),
    }
    plant.read(plant.record(GAP, offset, encoded("Gap", row)))


def lost(plant: Plant, offset: int = 0) -> None:
    """The producer received an update and could not publish it."""
    outage(plant, offset, reason="BUFFER_FULL")


def stand(plant: Plant, instance: str, since: float, watermarks: int = LONG) -> None:
    for _ in range(watermarks):
        plant.pass_(1.0)
        plant.read(plant.watermark(instance, since=since))


def test_with_all_producers_dead_a_book_follows_snapshots_ahead_and_stays_stale(plant: Plant) -> None:
    for number in range(1, 8):
        plant.pass_(9 * MINUTES)
        plant.read(plant.snapshot(10 + number * 50_000))
        assert plant.book.status is Status.STALE
        assert plant.book.last_update_id == 10 + number * 50_000
    assert plant.book.reason.startswith("no producer has vouched for depth.A since ")
    plant.last_id += 8 * 50_000
    since = plant.clock.now
    stand(plant, "b", since)
    assert plant.book.status is Status.STALE, "nothing has proven it in what the new producer covers"
    plant.read(plant.snapshot(), plant.watermark("b", since=since))
    assert (plant.book.status, plant.book.last_update_id) == (Status.LIVE, plant.last_id)


def test_without_a_max_age_a_book_follows_snapshots_ahead() -> None:
    plant = Plant(Clock(), max_age=None)
    plant.read(plant.snapshot(), plant.update())
    for number in range(1, 5):
        plant.pass_(9 * MINUTES)
        plant.read(plant.snapshot(10 + number * 50_000))
        assert plant.book.last_update_id == (11 if number == 1 else 10 + number // 2 * 100_000)


def test_a_crash_that_missed_updates_leaves_a_quiet_book_stale_until_a_snapshot(plant: Plant) -> None:
    """The new producer has a socket and receives nothing; the exchange's snapshots are three updates ahead."""
    plant.pass_(30.0)
    since = plant.clock.now
    stand(plant, "b", since)
    assert (plant.book.status, plant.book.last_update_id) == (Status.STALE, 10)
    plant.read(plant.snapshot(13), plant.watermark("b", since=since))
    assert (plant.book.status, plant.book.last_update_id) == (Status.LIVE, 13)


def test_updates_that_a_live_producer_misses_make_a_quiet_book_stale(plant: Plant) -> None:
    """It claims to cover the stream, and the exchange is ahead."""
    plant.read(plant.snapshot(13))
    for _ in range(6):
        plant.pass_(1.0)
        plant.read(plant.watermark())
    assert (plant.book.status, plant.book.last_update_id) == (Status.STALE, 13)
    assert "no producer brought what lies before" in plant.book.reason
    plant.last_id = 13
    plant.read(plant.update(), plant.watermark())
    assert plant.book.status is Status.LIVE


def test_a_producer_that_dies_in_an_outage_leaves_a_stale_book(plant: Plant) -> None:
    outage(plant)
    plant.pass_(10.0)
    plant.read()
    since = plant.clock.now
    stand(plant, "b", since)
    assert plant.book.status is Status.STALE
    plant.read(plant.snapshot(), plant.watermark("b", since=since))
    assert (plant.book.status, plant.book.last_update_id) == (Status.LIVE, 10)


def test_an_outage_of_one_of_two_producers_keeps_the_book_live(plant: Plant) -> None:
    for _ in range(4):
        plant.pass_(1.0)
        plant.read(plant.watermark("b", since=101.0), plant.watermark("a"))
    outage(plant)
    lost = {"coverage": [{"since": None, "until": None, "streams": ["depth.A"]}]}
    for number in range(5):
        plant.pass_(1.0)
        plant.read(plant.watermark("a", **lost), plant.watermark("b", since=101.0))
        assert plant.book.status is Status.LIVE, (number, plant.book.reason)
    assert Outcome.APPLIED in plant.read(plant.update())


def test_the_reason_of_an_unproven_book_names_its_stream_and_since_when(plant: Plant) -> None:
    as_of = plant.book.as_of
    assert as_of == plant.clock.wall_us()
    plant.pass_(60.0)
    assert plant.book.reason == "no producer has vouched for depth.A since 2027-01-15 08:01:41.000Z"


def test_a_recorded_loss_is_not_forgotten_while_no_producer_vouches(plant: Plant) -> None:
    plant.pass_(10.0)
    plant.read()
    assert plant.book.status is Status.STALE
    assert plant.book.is_whole
    lost(plant)
    plant.pass_(0.2)
    plant.read(plant.watermark())
    assert plant.book.status is Status.STALE
    assert plant.book.reason == "the producer lost what follows update 10"
    plant.read(plant.snapshot(11), plant.watermark())
    assert (plant.book.status, plant.book.last_update_id) == (Status.LIVE, 11)


def test_an_unreadable_record_costs_a_quiet_book_two_answers(plant: Plant) -> None:
    """The unreadable record may be the next update: one answer at the old id may be older than that, two of them are not."""
    assert plant.read(plant.record(DEPTH, plant.depth, b"garbage")) == [Outcome.BROKE]
    plant.depth += 1
    before = plant.clock.wall_us() - SECOND
    for received in (before, before + 30 * SECOND):  # by a clock that is behind
        assert Outcome.REFUSED in plant.read(plant.snapshot(received_time=min(received, before)), plant.watermark())
    plant.pass_(1.0)
    assert Outcome.REFUSED in plant.read(plant.snapshot(), plant.watermark())
    for _ in range(19):
        plant.pass_(1.0)
        plant.read(plant.watermark())
    assert Outcome.REFUSED in plant.read(plant.snapshot(), plant.watermark())
    plant.pass_(1.0)
    plant.read(plant.watermark())
    assert Outcome.RESYNCED in plant.read(plant.snapshot(), plant.watermark())
    for _ in range(LONG):
        plant.pass_(1.0)
        plant.read(plant.watermark())
    plant.read(plant.snapshot(), plant.watermark())
    assert (plant.book.status, plant.book.last_update_id) == (Status.LIVE, 10)
