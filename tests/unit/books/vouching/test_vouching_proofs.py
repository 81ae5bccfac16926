"""After coverage broke, an update, a snapshot or a checkpoint proves a book; a snapshot may also disprove what producers claim."""

from typing import Any

import pytest
from aiokafka import TopicPartition

from backpack_streams.books import watermark_intake
from backpack_streams.books.adoption import REST_OLD_SECONDS
from backpack_streams.books.market_book import MarketBook, Outcome, Status
from backpack_streams.bus.partitioner import partition_of
from vouched_plant import DEPTH, SECOND, SNAPSHOT, WALL_US, WATERMARK, Clock, Plant


def broken(plant: Plant) -> None:
    """The instance is killed, the market moves on unseen and then falls silent, a new instance starts."""
    plant.live()
    plant.pass_(10.0)
    plant.read()
    plant.read(plant.watermark("b", since=109.0))
    plant.pass_(1.0)
    plant.read(plant.watermark("b", since=109.0))


def test_a_book_is_stale_after_coverage_broke(plant: Plant) -> None:
    broken(plant)
    assert plant.book.status is Status.STALE
    assert plant.book.reason.startswith("coverage of depth.A broke after ")
    plant.pass_(300.0)
    plant.read(plant.watermark("b", since=109.0))
    assert plant.book.status is Status.STALE


def test_the_next_update_proves_it(plant: Plant) -> None:
    broken(plant)
    assert plant.read(plant.update()) == [Outcome.APPLIED, Outcome.VOUCHED]
    assert plant.book.status is Status.LIVE


def test_an_update_received_before_the_new_coverage_does_not_prove_it(plant: Plant) -> None:
    """Another producer received it before the new one covered anything, and wrote it to Kafka only now."""
    broken(plant)
    plant.read(plant.update(received=30.0))
    assert plant.book.status is Status.STALE
    plant.read(plant.update())
    assert plant.book.status is Status.LIVE


@pytest.mark.parametrize("ahead", [177.0, 300.0])
def test_a_late_update_of_a_producer_whose_clock_is_ahead_does_not_prove_it(plant: Plant, ahead: float) -> None:
    """Producer a is 180 s behind when b starts. What a has yet to write looks as if it was received after that."""

    def watermark(behind: float) -> Any:
        now = plant.clock.wall_us() + int(ahead * SECOND)
        since = WALL_US + int(ahead * SECOND)
        coverage = [{"since": since, "until": None, "streams": ["depth.A"]}]
        through = now - int(behind * SECOND)
        return plant.watermark("a", None, published_time=now, complete_through=through, coverage=coverage)

    for _ in range(2):
        plant.pass_(0.5)
        plant.read(watermark(0.0))
    plant.read(plant.snapshot(), watermark(0.0))
    assert plant.book.status is Status.LIVE
    for second in range(1, 181):
        plant.pass_(1.0)
        plant.read(watermark(float(second)))
    began = plant.clock.now
    for _ in range(3):
        plant.pass_(1.0)
        plant.read(watermark(180.0), plant.watermark("b", since=began))
    plant.read(plant.update(received=178.0 - ahead), plant.watermark("b", since=began))
    assert plant.book.status is Status.STALE
    plant.pass_(1.0)
    plant.read(watermark(0.0), plant.watermark("b", since=began))
    plant.read(plant.update(), watermark(0.0), plant.watermark("b", since=began))
    assert plant.book.status is Status.LIVE


def test_an_update_that_does_not_follow_breaks_it(plant: Plant) -> None:
    broken(plant)
    plant.read(plant.update(skips=3))
    assert not plant.book.is_whole
    plant.read(plant.snapshot())
    assert plant.book.status is Status.LIVE


def test_a_snapshot_at_the_same_id_proves_it(plant: Plant) -> None:
    broken(plant)
    assert Outcome.VOUCHED in plant.read(plant.snapshot())
    assert plant.book.status is Status.LIVE


def test_a_snapshot_from_before_the_new_coverage_does_not_prove_it(plant: Plant) -> None:
    plant.live()
    asked = plant.snapshot()
    plant.pass_(10.0)
    plant.read(plant.watermark("b", since=109.0))
    plant.read(asked)
    assert plant.book.status is Status.STALE


def test_a_snapshot_without_its_request_time_counts_from_when_it_was_read(plant: Plant) -> None:
    broken(plant)
    plant.pass_(1.0)
    plant.read(plant.watermark("b", since=109.0))
    plant.pass_(1.0)
    plant.read(plant.watermark("b", since=109.0), plant.snapshot(watermark_offset=None))
    assert plant.book.status is Status.LIVE


def test_an_answer_that_may_be_from_before_the_new_coverage_does_not_prove_it(clock: Clock) -> None:
    """Answers of the exchange may be `OLDEST_ANSWER_SECONDS` old. The market moved on unseen, and is silent."""
    plant = Plant(clock, interval_ms=1000)
    for _ in range(25):
        plant.read(plant.watermark())
        plant.pass_(1.0)
    plant.read(plant.snapshot(), plant.watermark())
    assert plant.book.status is Status.LIVE
    plant.pass_(10.0)
    for second in range(20):
        plant.read(plant.watermark("b", since=125.0), plant.snapshot())
        assert plant.book.status is Status.STALE, second
        plant.pass_(1.0)
    plant.read(plant.watermark("b", since=125.0), plant.snapshot())
    assert plant.book.status is Status.LIVE


def test_an_answer_that_may_be_old_is_better_than_an_unproven_book(clock: Clock) -> None:
    plant = Plant(clock, interval_ms=1000)
    plant.read(plant.snapshot(), plant.watermark())
    plant.pass_(1.0)
    plant.read(plant.snapshot(13), plant.watermark())
    assert (plant.book.status, plant.book.last_update_id) == (Status.SYNCING, 13)


def test_a_snapshot_ahead_replaces_an_unproven_book(plant: Plant) -> None:
    """Updates were missed between two instances in a market that is silent now."""
    broken(plant)
    assert Outcome.RESYNCED in plant.read(plant.snapshot(15))
    assert (plant.book.status, plant.book.last_update_id) == (Status.LIVE, 15)


def test_a_snapshot_behind_proves_nothing(plant: Plant) -> None:
    broken(plant)
    plant.read(plant.snapshot(8))
    assert plant.book.status is Status.STALE


@pytest.mark.parametrize("loss", ["retention", "unreadable"])
def test_a_reader_that_lost_updates_needs_a_proof_from_after_the_loss(plant: Plant, loss: str) -> None:
    plant.live()
    asked_before = plant.snapshot(14)
    if loss == "retention":
        assert [told.outcome for told in plant.reader.on_lost_records(DEPTH, 0, 4)] == [Outcome.BROKE]
    else:
        assert plant.read(plant.record(DEPTH, 3, b"{}")) == [Outcome.BROKE]
    plant.depth, plant.last_id = 4, 14
    plant.read(asked_before, plant.watermark())
    assert plant.book.is_whole
    assert plant.book.status is not Status.LIVE  # the lost updates may be from after its request
    plant.pass_(1.0)
    plant.read(plant.snapshot(), plant.watermark())
    assert plant.book.status is Status.LIVE


def test_a_book_replaced_within_one_poll_is_not_vouched_for_by_its_previous_state(plant: Plant) -> None:
    plant.last_id = 10_000
    plant.live()
    now_us = plant.clock.wall_us()
    new = {"engine_time": now_us + 60 * SECOND, "watermark_offset": 0}
    received = (now_us, now_us + int(REST_OLD_SECONDS * SECOND))
    records = {TopicPartition(*SNAPSHOT): [plant.snapshot(5, received_time=time, **new) for time in received]}
    *_, told = [(each.outcome, each.status) for each in plant.reader.take(records, plant.clock())]
    assert told == (Outcome.RESYNCED, Status.STALE)


def test_the_proof_of_a_sequence_does_not_prove_the_next(plant: Plant) -> None:
    plant.last_id = 10_000
    plant.live()
    plant.pass_(60.0)
    plant.last_id = 0
    old = plant.snapshot(5, watermark_offset=0)  # listed again, and the answer is from before all coverage
    plant.read(old, plant.watermark())
    assert plant.book.last_update_id == 5
    assert plant.book.status is not Status.LIVE
    plant.last_id = 5
    plant.read(plant.update())
    assert plant.book.status is Status.LIVE


# ---- a reader that starts later


def test_a_reader_that_starts_later_finds_the_proof_among_the_updates(plant: Plant) -> None:
    """The snapshot is from before any coverage of the stream, the market is quiet by now, and all updates arrive at once."""
    snapshot = plant.snapshot(watermark_offset=None)
    history = [plant.watermark("a"), plant.watermark("dead", since=50.0)]
    plant.clock.now += 1.0
    updates = [plant.update()]
    plant.clock.now += 10.0
    history += [plant.watermark("a"), plant.watermark("b", since=111.0)]
    plant.clock.now += 1.0
    updates.append(plant.update())
    history += [plant.watermark("b", since=111.0), plant.watermark("a", coverage=[], is_final=True)]
    reader = plant.reader = plant.new_reader()
    vouching = reader.vouching
    assert vouching is not None
    for _ in reader.take_snapshot(snapshot):
        pass
    vouching.take(history, plant.clock())
    vouching.expect_updates(reader.books.values())
    plant.read(*updates)
    assert plant.book.status is Status.LIVE, plant.book.reason


def cold(plant: Plant, snapshot: Any) -> MarketBook:
    """Starts another reader, which finds the last watermarks and this snapshot."""
    mark = plant.watermark()
    plant.reader = plant.new_reader()
    vouching = plant.reader.vouching
    assert vouching is not None
    vouching.watermarks.read_up_to(DEPTH, plant.depth)
    list(plant.reader.take_snapshot(snapshot))
    vouching.take([mark], plant.clock())
    plant.read()
    return plant.book


def test_a_checkpoint_proves_a_cold_readers_book_while_its_coverage_lasts(plant: Plant) -> None:
    plant.live()
    runs = [{"instance": "a", "since": WALL_US}]
    book = cold(plant, plant.snapshot(origin="CHECKPOINT", covered_by=runs, watermark_offset=None))
    assert book.status is Status.LIVE, book.reason


@pytest.mark.parametrize("runs", [[], [{"instance": "a", "since": WALL_US + 1}], [{"instance": "b", "since": WALL_US}]])
def test_a_checkpoint_of_other_coverage_does_not_prove_it(plant: Plant, runs: list[dict[str, Any]]) -> None:
    plant.live()
    book = cold(plant, plant.snapshot(origin="CHECKPOINT", covered_by=runs, watermark_offset=None))
    assert book.status is Status.SYNCING
    assert book.reason == "producer-a covers depth.A, but no update or snapshot from its time has proven the book"


def test_a_snapshot_from_before_every_known_watermark_does_not_prove_a_cold_readers_book(plant: Plant) -> None:
    plant.live()
    book = cold(plant, plant.snapshot())  # requested before the only watermark that was read
    assert book.status is Status.SYNCING
    plant.pass_(1.0)
    plant.read(plant.watermark())
    plant.read(plant.snapshot(), plant.watermark())
    assert book.status is Status.LIVE


def test_a_cold_reader_with_a_wrong_clock_waits_for_the_next_watermark(
    plant: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant.live()
    monkeypatch.setattr(watermark_intake.time, "time_ns", lambda: (plant.clock.wall_us() + 3600 * SECOND) * 1000)
    runs = [{"instance": "a", "since": WALL_US}]
    book = cold(plant, plant.snapshot(origin="CHECKPOINT", covered_by=runs, watermark_offset=None))
    assert book.status is Status.STALE
    assert book.reason.startswith("no producer has vouched for depth.A since ")
    plant.pass_(1.0)
    plant.read(plant.watermark())
    assert book.status is Status.LIVE


# ---- snapshots that disprove what producers claim


def test_a_snapshot_that_stays_ahead_disproves_what_producers_claim(plant: Plant) -> None:
    plant.live()
    assert Outcome.PENDING in plant.read(plant.snapshot(13))
    for _ in range(3):
        plant.pass_(1.0)
        plant.read(plant.watermark())
        assert plant.book.last_update_id == 10
    plant.pass_(1.0)
    outcomes = plant.read(plant.watermark())
    assert Outcome.RESYNCED in outcomes
    assert (plant.book.status, plant.book.last_update_id) == (Status.STALE, 13)
    assert plant.book.reason.startswith(
        "what producers say of depth.A is disproved: the exchange's snapshot is at update 13"
    )
    vouching = plant.reader.vouching
    assert vouching is not None
    assert [each[:3] for each in vouching.take_disproofs()] == [("A", 10, 13)]
    assert vouching.take_disproofs() == []
    plant.pass_(1.0)
    plant.read(plant.snapshot(13), plant.watermark())
    assert plant.book.status is Status.STALE  # the exchange moves on, and a producer that missed updates is not trusted


def test_a_disproof_is_reported_even_if_watermarks_were_late_when_the_snapshot_arrived(plant: Plant) -> None:
    """A book that is not LIVE only because of that does not take the snapshot silently: its producer has to report what it missed."""
    plant.live()
    plant.pass_(9.0)
    plant.read(plant.snapshot(13))
    assert (plant.book.status, plant.book.last_update_id) == (Status.STALE, 10)
    plant.read(plant.watermark())
    assert (plant.book.status, plant.book.last_update_id) == (Status.LIVE, 10)  # the updates before 13 may still arrive
    for _ in range(4):
        plant.pass_(1.0)
        plant.read(plant.watermark())
    assert (plant.book.status, plant.book.last_update_id) == (Status.STALE, 13)
    vouching = plant.reader.vouching
    assert vouching is not None
    assert [each[:3] for each in vouching.take_disproofs()] == [("A", 10, 13)]


def test_a_snapshot_that_arrived_while_watermarks_were_late_is_taken_once_its_producer_is_gone(plant: Plant) -> None:
    plant.live()
    plant.pass_(9.0)
    plant.read(plant.snapshot(13))
    plant.pass_(30.0)
    plant.read()
    assert (plant.book.status, plant.book.last_update_id) == (Status.STALE, 13)


def disproved(plant: Plant) -> None:
    plant.live()
    plant.read(plant.snapshot(13))
    plant.pass_(4.0)
    plant.read(plant.watermark())
    assert (plant.book.status, plant.book.last_update_id) == (Status.STALE, 13)


def test_an_update_shows_that_the_producer_publishes_it_after_all(plant: Plant) -> None:
    disproved(plant)
    plant.last_id = 13
    plant.read(plant.update(), plant.watermark())
    assert plant.book.status is Status.LIVE


def test_a_renewed_subscription_is_trusted_again(plant: Plant) -> None:
    disproved(plant)
    for _ in range(2):
        plant.pass_(1.0)
        plant.read(plant.watermark(since=106.0))
        assert plant.book.status is Status.STALE
    plant.read(plant.snapshot(13))
    assert plant.book.status is Status.LIVE


def test_a_snapshot_that_the_updates_catch_up_with_disproves_nothing(plant: Plant) -> None:
    plant.live()
    plant.read(plant.snapshot(11))
    for _ in range(5):
        plant.pass_(1.0)
        assert Outcome.RESYNCED not in plant.read(plant.update(), plant.watermark())
    assert plant.book.status is Status.LIVE


@pytest.mark.parametrize("is_grown", [False, True])
def test_an_update_in_the_partition_of_an_older_count_proves_a_book_as_any_other(plant: Plant, is_grown: bool) -> None:
    plant.live()
    if is_grown:
        plant.reader.depth_partitions = next(count for count in range(2, 9) if partition_of(b"A", count))
    plant.read(plant.update(), plant.watermark())
    again = plant.clock.now + 1.0
    plant.pass_(1.0)
    plant.read(plant.watermark(since=again))
    assert plant.book.status is Status.STALE
    plant.pass_(1.0)
    plant.read(plant.update(), plant.watermark(since=again))
    assert (plant.book.status, plant.book.reason) == (Status.LIVE, "")


def test_an_update_in_another_partition_proves_nothing_of_a_producer_that_writes_elsewhere(plant: Plant) -> None:
    """Its offset says nothing about what that producer had sent before."""
    plant.live()
    count = plant.reader.depth_partitions = next(count for count in range(2, 9) if partition_of(b"A", count))
    new = {"topic": DEPTH[0], "next_offsets": [0 if each == partition_of(b"A", count) else -1 for each in range(count)]}
    again = plant.clock.now + 1.0
    for _ in range(3):
        plant.pass_(1.0)
        end = {"topic": WATERMARK[0], "next_offsets": [plant.watermarks]}
        plant.read(plant.watermark(since=again, offsets=[new, end]), plant.update())
    assert plant.book.status is Status.STALE
