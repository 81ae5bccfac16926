"""Topics are deleted and recreated while their records are read: everything known of their offsets is void at once."""

from dataclasses import replace
from typing import Any

import pytest

from backpack_streams.books import watermark_intake
from backpack_streams.books.market_book import Status
from vouched_plant import DEPTH, SECOND, WATERMARK, Plant

BASED_ON = {"seed_update_id": 5, "seed_engine_time": 1, "seed_received_time": 1}


@pytest.fixture
def live(plant: Plant) -> Plant:
    """A proven book whose partition was long when the reader joined."""
    plant.depth = 1_000
    plant.read(plant.update())
    plant.live()
    return plant


def of_another_market(plant: Plant) -> Any:
    last_id = plant.last_id
    record = replace(plant.update(), key=b"B")
    plant.last_id = last_id
    return record


def test_a_book_loses_its_proof_if_updates_may_have_gone_with_the_old_topic(live: Plant) -> None:
    for _ in range(3):
        live.update()  # acknowledged, not read yet
    live.depth = 0
    for _ in range(30):
        live.pass_(1.0)
        live.read(of_another_market(live), live.watermark())
        assert live.book.status is Status.STALE
    assert live.book.reason == (
        "offsets of b.market.depth/0 went back: it was recreated or truncated, so updates may be missing; "
        "an update or a snapshot has to prove the book"
    )


def test_a_partition_that_went_back_without_a_record_is_noticed(live: Plant) -> None:
    told = [each.outcome for each in live.reader.on_position(DEPTH, 0)]
    live.depth = 0
    live.pass_(1.0)
    live.read(live.watermark())
    assert (told, live.book.status) == ([], Status.STALE)


def test_the_next_update_in_sequence_proves_a_book_anew(live: Plant) -> None:
    live.depth = 0
    live.pass_(1.0)
    live.read(of_another_market(live), live.watermark())
    assert live.book.status is Status.STALE
    live.pass_(1.0)
    live.read(live.update(), live.watermark())
    assert (live.book.status, live.book.reason) == (Status.LIVE, "")


def test_a_snapshot_at_the_same_id_proves_a_book_anew(live: Plant) -> None:
    live.depth = 0
    live.pass_(1.0)
    live.read(of_another_market(live), live.watermark())
    live.pass_(1.0)
    live.read(live.snapshot(), live.watermark())
    assert live.book.status is Status.LIVE


def test_a_checkpoint_from_before_proves_nothing(live: Plant) -> None:
    runs = [{"instance": "a", "since": live.clock.wall_us() - int(live.clock.now * 1_000_000)}]
    checkpoint = live.snapshot(origin="CHECKPOINT", watermark_offset=None, covered_by=runs, **BASED_ON)
    live.depth = 0
    live.pass_(1.0)
    live.read(of_another_market(live), live.watermark(), checkpoint)
    assert live.book.status is Status.STALE


def test_without_watermarks_that_count_a_book_waits_for_an_update_or_a_snapshot(live: Plant) -> None:
    reader, vouching = live.reader, live.reader.vouching
    assert vouching is not None
    vouching.max_age = None
    live.depth = 0
    live.read(of_another_market(live))
    assert live.book.status is Status.STALE
    live.pass_(1.0)
    live.read(live.update())
    assert reader.books["A"].status is Status.LIVE


def joining(live: Plant, end: int, *snapshots: Any) -> Plant:
    """Replace the reader by one that joins now: the partition begins at 0 and ends at `end`."""
    live.depth = end
    live.reader = live.new_reader()
    live.reader.beginnings[DEPTH], live.reader.partitions.ends[DEPTH] = 0, end
    for record in snapshots:
        list(live.reader.take_snapshot(record))
    return live


def test_a_reader_that_joins_does_not_follow_a_snapshot_from_before(live: Plant) -> None:
    checkpoint = live.snapshot(origin="CHECKPOINT", watermark_offset=None, **BASED_ON)
    joining(live, 2, checkpoint)
    live.pass_(1.0)
    live.read(live.watermark())
    assert (live.book.status, live.book.reason) == (
        Status.SYNCING,
        "b.market.depth was recreated: the snapshot at update 11 begins at offset 1001 of b.market.depth/0, which ends at 2",
    )
    live.pass_(1.0)
    live.read(live.update(), live.watermark())
    assert (live.book.status, live.book.last_update_id) == (Status.LIVE, 12)


def test_a_reader_that_joins_follows_a_snapshot_that_names_the_end(live: Plant) -> None:
    joining(live, 1_001, live.snapshot())
    live.read(live.watermark())
    live.pass_(1.0)
    live.read(live.update(), live.watermark())
    assert live.book.status is Status.LIVE


def test_a_running_reader_follows_a_snapshot_past_what_it_has_read(live: Plant) -> None:
    joining(live, 2)
    live.depth = 4
    live.read(live.snapshot())
    assert (live.book.is_whole, live.book.starts_at) == (True, 4)


def test_updates_of_the_new_topic_are_not_skipped_if_the_clock_behind_a_snapshot_was_ahead(plant: Plant) -> None:
    plant.depth = 100_000
    plant.read(plant.update(), plant.snapshot(received_time=plant.clock.wall_us() + 60 * SECOND))
    plant.read(plant.update())
    plant.depth = 0
    for _ in range(3):
        plant.pass_(1.0)
        plant.read(plant.update(), plant.watermark())
        assert plant.book.last_update_id == plant.last_id


def test_a_snapshot_in_the_new_topic_is_followed_although_retention_had_removed_the_beginning_of_the_old(
    live: Plant,
) -> None:
    live.reader.beginnings[DEPTH] = 900
    live.depth = 0
    live.pass_(1.0)
    live.read(live.update(), live.watermark())
    live.update()  # lost with the old topic
    live.depth = 1
    live.read(live.update())
    assert live.book.status is Status.STALE
    live.pass_(1.0)
    live.read(live.snapshot(), live.watermark())
    assert (live.book.status, live.book.reason) == (Status.LIVE, "")


def test_watermarks_of_a_recreated_topic_count_although_clocks_differ(
    plant: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    wall_us = plant.clock.wall_us
    monkeypatch.setattr(watermark_intake.time, "time_ns", lambda: wall_us() * 1_000 + 6 * SECOND * 1_000)
    plant.watermarks = 600_000
    plant.reader = plant.new_reader()
    plant.live()
    plant.watermarks = 0
    for _ in range(3):
        plant.pass_(1.0)
        plant.read(plant.update(), plant.watermark())
    assert (plant.book.status, plant.book.reason) == (Status.LIVE, "")


def test_a_snapshot_proves_a_book_that_lost_updates_before_the_watermarks_were_recreated(live: Plant) -> None:
    live.depth = 0
    live.pass_(1.0)
    live.read(of_another_market(live), live.watermark())
    live.watermarks = 0
    for _ in range(2):
        live.pass_(1.0)
        live.read(live.watermark())
    live.pass_(1.0)
    live.read(live.snapshot(), live.watermark())
    assert live.book.status is Status.LIVE


@pytest.mark.parametrize("is_quiet", [True, False])
@pytest.mark.parametrize("first", [DEPTH, WATERMARK])
def test_both_topics_are_recreated_in_either_order(plant: Plant, first: tuple[str, int], is_quiet: bool) -> None:
    """Offsets of the old watermarks, which had run for a week, are not waited for."""
    plant.depth, plant.watermarks = 1_000, 600_000
    plant.reader = plant.new_reader()
    plant.read(plant.update())
    plant.live()
    plant.depth = plant.watermarks = 0
    for topic_partition in (first, WATERMARK if first == DEPTH else DEPTH):
        list(plant.reader.on_position(topic_partition, 0))
    since = plant.clock.now
    for _ in range(3):
        plant.pass_(1.0)
        plant.read(plant.watermark(since=since))
        assert plant.book.status is not Status.LIVE
    plant.pass_(1.0)
    plant.read(plant.snapshot() if is_quiet else plant.update(), plant.watermark(since=since))
    assert (plant.book.status, plant.book.reason) == (Status.LIVE, "")


def test_a_snapshot_from_before_the_first_watermark_of_a_recreated_topic_proves_nothing_later(live: Plant) -> None:
    live.read(live.watermark(is_final=True))
    live.watermarks = 0
    list(live.reader.on_position(WATERMARK, 0))
    live.read(live.snapshot(watermark_offset=None))  # of a producer too old to say when it asked
    since = live.clock.now
    for _ in range(30):
        live.pass_(1.0)
        live.read(live.watermark("b", since=since))
        assert live.book.status is not Status.LIVE
