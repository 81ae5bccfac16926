"""A book is LIVE only while the watermark of a producer that covers its market is recent enough."""

from typing import Any

import pytest
from aiokafka import TopicPartition

from backpack_streams.books import watermark_intake
from backpack_streams.books.market_book import Outcome, Status
from backpack_streams.books.vouching import Vouching
from backpack_streams.bus.partitioner import partition_of
from backpack_streams.steady_clock import steady_seconds
from vouched_plant import CODEC, DEPTH, GAP, SECOND, WALL_US, WATERMARK, Clock, Plant, encoded


def test_without_watermarks_no_book_is_live(plant: Plant) -> None:
    plant.read(plant.snapshot(), plant.update())
    assert plant.book.is_whole
    assert plant.book.status is Status.STALE
    assert plant.book.reason == "no producer publishes watermarks"
    assert plant.book.as_of is None


def test_without_a_max_age_a_book_is_live_without_watermarks(clock: Clock) -> None:
    plant = Plant(clock, max_age=None)
    plant.read(plant.snapshot(), plant.update())
    assert plant.book.status is Status.LIVE
    plant.read(plant.watermark())
    assert plant.book.as_of == clock.wall_us()


def test_a_book_is_live_only_while_a_producer_vouches(plant: Plant) -> None:
    plant.live()
    as_of = plant.book.as_of
    assert as_of == plant.clock.wall_us()
    plant.pass_(4.0)
    assert plant.book.status is Status.LIVE
    plant.clock.now += 1.1  # status changes without a poll
    assert plant.book.status is Status.STALE
    assert plant.book.reason == "no producer has vouched for depth.A since 2027-01-15 08:01:41.000Z"
    assert plant.read() == [Outcome.UNVOUCHED]
    assert plant.read() == []
    assert plant.book.as_of == as_of
    plant.pass_(60.0)
    assert plant.read(plant.watermark()) == [Outcome.VOUCHED]  # of the same coverage: no snapshot is needed
    assert plant.book.status is Status.LIVE
    assert plant.book.as_of == plant.clock.wall_us()


def test_a_reader_that_was_away_trusts_no_watermark_that_may_be_as_old_as_its_absence(plant: Plant) -> None:
    plant.live()
    plant.clock.now += 60.0
    plant.read(plant.watermark())  # it may have arrived at any time within this minute
    assert plant.book.status is Status.STALE
    plant.clock.now += 0.2
    plant.read(plant.watermark())
    assert plant.book.status is Status.LIVE


def test_an_instance_whose_complete_through_stands_still_vouches_for_nothing(plant: Plant) -> None:
    plant.live()
    stands = plant.clock.wall_us()
    for _ in range(6):
        plant.pass_(1.0)
        plant.read(plant.watermark(complete_through=stands))
    assert plant.book.status is Status.STALE


def test_a_book_behind_what_the_producer_has_written_is_not_complete(plant: Plant) -> None:
    plant.live()
    plant.pass_(5.5)
    late = plant.update()
    plant.read(plant.watermark())
    assert plant.book.status is Status.STALE
    plant.pass_(0.2)
    plant.read(late)
    assert plant.book.status is Status.LIVE


def test_a_second_producer_is_noticed_whatever_clock_updates_wait_by(plant: Plant) -> None:
    """A reader that caught up from an earlier moment waits by seconds since the epoch."""
    plant.live()
    plant.pass_(0.5)
    plant.read(plant.watermark("b", since=100.0), plant.watermark())
    missing, early = plant.update(), plant.update()
    epoch_seconds = WALL_US / SECOND + plant.clock()
    depth = TopicPartition(*DEPTH)
    assert [told.outcome for told in plant.reader.take({depth: [early]}, epoch_seconds)] == []
    told = [each.outcome for each in plant.reader.take({depth: [missing]}, epoch_seconds + 0.1)]
    assert told == [Outcome.APPLIED, Outcome.APPLIED]
    assert plant.book.status is Status.LIVE


def test_coverage_that_restarted_within_one_instance_has_broken(plant: Plant) -> None:
    plant.live()
    plant.pass_(1.0)
    plant.read(plant.watermark(since=101.5))
    assert plant.book.status is Status.STALE


def test_an_instance_that_lost_its_subscription_takes_the_book_out_of_live(plant: Plant) -> None:
    plant.live()
    plant.pass_(1.0)
    plant.read(plant.watermark(since=None))
    assert plant.book.status is Status.STALE
    assert plant.book.reason.startswith("producer-a has not covered depth.A since ")


def test_two_instances_side_by_side_hand_over_without_a_break(plant: Plant) -> None:
    plant.live()
    for _ in range(5):
        plant.pass_(1.0)
        plant.read(plant.watermark("b", since=101.5), plant.watermark("a"))
        assert plant.book.status is Status.LIVE
    plant.read(plant.watermark("a", is_final=True))
    for _ in range(20):
        plant.pass_(1.0)
        plant.read(plant.watermark("b", since=101.5))
        assert plant.book.status is Status.LIVE, plant.book.reason


def test_a_second_instance_that_starts_takes_no_book_out_of_live(plant: Plant) -> None:
    plant.live()
    plant.pass_(1.0)
    plant.read(plant.watermark("a"), plant.watermark("b", since=101.9))
    assert plant.book.status is Status.LIVE
    plant.read(plant.update())  # proves it in both
    plant.read(plant.watermark("a", since=None))
    assert plant.book.status is Status.LIVE


def test_a_gap_of_one_instance_does_not_count_while_another_vouches(plant: Plant) -> None:
    plant.live()
    row = {
        "stream": "depth.A",
        "symbol": "A",
        "topic": DEPTH[0],
        "reason": "DISCONNECTED",
        "last_id": 10,
        "next_id": None,
        "last_time": None,
        "next_time": None,
        "lost_records": None,
        "detail": "",
        "service": "producer-b",
        "detected_time": WALL_US,
    }
    plant.read(plant.record(GAP, 0, encoded("Gap", row)))
    assert plant.book.status is Status.LIVE
    plant.read(plant.record(GAP, 1, encoded("Gap", row | {"reason": "BUFFER_FULL"})))
    assert plant.book.status is Status.STALE  # that is lost, whichever instance covers it


def test_a_delayed_watermark_makes_no_book_live(plant: Plant) -> None:
    """Kafka was away: an earlier watermark arrives at last, and counts with its true age."""
    plant.live()
    held_up = plant.watermark()
    plant.pass_(9.0)
    plant.read(held_up)
    assert plant.book.status is Status.STALE
    plant.pass_(0.5)
    plant.read(plant.watermark())
    assert plant.book.status is Status.LIVE


def test_an_unreadable_watermark_is_counted(plant: Plant, caplog: pytest.LogCaptureFixture) -> None:
    plant.live()
    plant.read(plant.record(WATERMARK, plant.watermarks, b"{}"))
    assert plant.reader.vouching is not None
    assert plant.reader.vouching.watermarks.undecodable_records == 1
    assert "a watermark cannot be read" in caplog.text


def test_an_early_update_waits_if_two_instances_cover_its_market_even_without_copies(plant: Plant) -> None:
    plant.live()
    plant.read(plant.watermark("b"), plant.watermark())
    late = plant.update()
    assert plant.read(plant.update()) == []
    assert plant.book.status is Status.LIVE
    assert plant.read(late) == [Outcome.APPLIED, Outcome.APPLIED]


def test_a_producer_unaware_of_added_partitions_vouches_for_the_one_it_writes_to(plant: Plant) -> None:
    """Partitions were added: the market now belongs to another one, and the producer still writes to the old one."""
    plant.live()
    offsets = [
        {"topic": DEPTH[0], "next_offsets": [-1] * 7 + [plant.depth + 1]},
        {"topic": WATERMARK[0], "next_offsets": [plant.watermarks]},
    ]
    old = partition_of(b"A", 8)
    offsets[0]["next_offsets"] = [plant.depth + 1 if each == old else -1 for each in range(8)]
    for _ in range(3):
        plant.pass_(1.0)
        plant.read(plant.watermark("b", since=101.5, offsets=offsets))
    plant.pass_(3.0)
    plant.read(plant.watermark("b", since=101.5, offsets=offsets), plant.update())
    assert plant.book.status is not Status.LIVE
    vouching = plant.reader.vouching
    assert vouching is not None
    assert {run.topic_partition[1] for run in vouching.coverage.runs("depth.A") if run.key.instance == "b"} == {old}


def test_a_partition_that_is_opened_again_further_back_is_not_complete_before_its_end(plant: Plant) -> None:
    vouching = plant.reader.vouching
    assert vouching is not None
    vouching.watermarks.read_up_to(DEPTH, 1_000)
    plant.reader.open(DEPTH, 900, 1_100)
    assert vouching.coverage.ends[DEPTH] == 1_100


def test_watermarks_that_kafka_holds_up_by_the_same_time_for_minutes_make_no_book_live(plant: Plant) -> None:
    plant.live()
    held = []
    for _ in range(200):
        plant.pass_(1.0)
        held.append(plant.watermark())
        plant.read(*([held.pop(0)] if len(held) > 30 else []))
        assert plant.book.status is Status.STALE or plant.clock.wall_us() - (plant.book.as_of or 0) <= 5 * SECOND
    assert plant.book.status is Status.STALE


@pytest.mark.parametrize("reason", ["DISCONNECTED", "RESTART"])
def test_without_a_maximum_age_a_gap_that_says_that_nobody_covered_a_market_counts(clock: Clock, reason: str) -> None:
    plant = Plant(clock, max_age=None)
    plant.read(plant.snapshot(), plant.watermark())
    plant.read(plant.update())
    assert plant.book.status is Status.LIVE
    plant.read(gap(plant, reason))
    plant.pass_(2.0)
    plant.read()
    assert plant.book.status is Status.STALE


def test_with_a_maximum_age_watermarks_tell_whether_another_producer_covered_the_market(plant: Plant) -> None:
    plant.live()
    plant.read(gap(plant, "DISCONNECTED"))
    plant.pass_(2.0)
    plant.read()
    assert plant.book.status is Status.LIVE


def gap(plant: Plant, reason: str) -> Any:
    row = {
        "stream": "depth.A",
        "symbol": "A",
        "topic": DEPTH[0],
        "reason": reason,
        "detail": "",
        "service": "p",
        "detected_time": plant.clock.wall_us(),
        "last_id": plant.last_id,
        "next_id": None,
    }
    return plant.record(GAP, 0, encoded("Gap", row))


def test_what_kafka_held_up_of_an_instance_that_came_and_went_meanwhile_makes_no_book_live(plant: Plant) -> None:
    plant.live()
    plant.interval_ms = 1_000
    began, held = plant.clock.now, []
    for second in range(30):  # other partitions answer, so polls seem complete
        plant.pass_(1.0)
        plant.read(plant.update())
        if second < 8:
            held.append(plant.watermark("a", is_final=second == 7))
        held.append(plant.watermark("b", since=began))
    plant.pass_(40.0)
    plant.read()
    plant.read(*held)
    assert plant.book.status is Status.STALE
    plant.pass_(1.0)
    plant.read(plant.watermark("b", since=began))
    assert plant.book.status is Status.LIVE, "it lives after all"


@pytest.mark.parametrize("ahead", [-60, 60])
def test_a_new_instance_is_believed_from_its_second_answer_on_though_clocks_differ(
    plant: Plant, ahead: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    wall_us = plant.clock.wall_us
    plant.live()
    monkeypatch.setattr(watermark_intake.time, "time_ns", lambda: (wall_us() + ahead * SECOND) * 1_000)
    began = plant.clock.now
    for _ in range(3):
        plant.pass_(1.0)
        plant.read(plant.watermark(), plant.watermark("b", since=began))
    plant.read(plant.watermark(is_final=True))
    for _ in range(10):
        plant.pass_(1.0)
        plant.read(plant.watermark("b", since=began))
        assert plant.book.status is Status.LIVE


def test_what_kafka_held_up_of_an_instance_known_from_the_join_makes_no_book_live(plant: Plant) -> None:
    plant.interval_ms = 1_000
    there = []
    for _ in range(30):
        plant.pass_(1.0)
        there.append(plant.watermark())
    reader = plant.reader = plant.new_reader()
    assert reader.vouching is not None
    reader.vouching.take(there, plant.clock())
    plant.read(plant.snapshot())
    held = []
    for _ in range(20):
        plant.pass_(1.0)
        plant.read(plant.update())
        held.append(plant.watermark())
    plant.pass_(40.0)
    plant.read(*held)
    assert plant.book.status is Status.STALE


def test_books_get_older_while_the_host_is_suspended() -> None:
    """A monotonic clock stands still then, and would show a book LIVE as of the time before."""
    watermarks = watermark_intake.WatermarkIntake(CODEC, "b.", DEPTH[0], lambda symbol: None)
    assert Vouching(CODEC, watermarks).clock is steady_seconds
