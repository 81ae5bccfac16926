"""Sequences that restart, and what other producers still publish of the one that ended."""

import time

import pytest

from backpack_streams.books.market_book import BaseSnapshot, Outcome
from unit.books.one_book import LIVE, REST_OLD, SECOND, STALE, Driver, live_at, scaled


def test_the_first_update_with_an_old_id_and_a_new_time_shows_a_restart() -> None:
    book = live_at(5000)
    assert book.update(4999) is Outcome.DUPLICATE
    later = 5000 * 1000
    assert book.update(1, at=later) is Outcome.DUPLICATE
    assert book.update(2, at=later + 1) is Outcome.BROKE
    assert book.is_at(5000, STALE, "sequence restarted: update 2 is later than update 5000")
    assert book.update(3, at=later + 2) is Outcome.BUFFERED
    assert book.load(1, at=later + 3) is Outcome.RESYNCED
    assert book.is_at(3, LIVE)


def test_before_any_update_a_restart_must_be_clearer_because_a_snapshots_clock_may_be_off() -> None:
    book = Driver()
    book.load(5000)
    later = 5000 * 1000 + 10 * SECOND
    assert book.update(1, at=later) is Outcome.DUPLICATE
    assert book.update(2, at=later + 1) is Outcome.BROKE


def test_snapshots_alone_show_a_restart_if_two_agree() -> None:
    book = live_at(5000)
    later = 5000 * 1000 + 10 * SECOND
    assert book.load(3, at=later) is Outcome.IGNORED
    assert book.load(2500, at=later + 1) is Outcome.IGNORED
    assert book.load(3, bids=[(2, 2)], at=later + 1) is Outcome.IGNORED
    assert book.is_at(5000, LIVE)
    assert book.load(3, bids=[(3, 3)], at=later + 1, received=later + 1 + REST_OLD) is Outcome.RESYNCED
    assert book.is_at(3, LIVE)
    assert book.bids() == [("3", "3")]
    assert book.market.breaks == 1
    assert book.update(4, at=later + 2) is Outcome.APPLIED


def test_snapshots_of_the_sequence_that_ended_are_refused() -> None:
    book = live_at(5000)
    restarted = 5000 * 1000 + 2 * SECOND
    book.load(6000)
    assert book.market.candidate_id == 6000
    book.update(1, at=restarted)
    assert book.market.candidate_id is None
    assert book.load(6000, at=restarted - 1) is Outcome.REFUSED
    assert book.is_at(5000, STALE, "snapshot 6000 is of the sequence that ended")
    assert book.load(1, at=restarted) is Outcome.RESYNCED


def test_a_late_snapshot_of_the_sequence_that_ended_is_not_kept_beside_a_live_book() -> None:
    book = live_at(5000)
    restarted = 5000 * 1000 + 15 * SECOND
    book.update(1, at=restarted)
    book.load(1, at=restarted)
    assert book.update(2, at=restarted + SECOND) is Outcome.APPLIED
    assert book.load(6000, at=restarted - 1) is Outcome.IGNORED
    assert book.market.candidate_id is None
    assert book.load(9, at=restarted + SECOND) is Outcome.PENDING
    assert book.is_at(2, LIVE)


def test_a_time_in_the_future_makes_no_snapshot_look_like_one_of_a_sequence_that_ended() -> None:
    book = live_at(5000)
    book.update(5001, at=time.time_ns() // 1000 + 3600 * SECOND)
    assert book.load(5002) is Outcome.PENDING


def test_a_cold_reader_does_not_take_a_snapshot_of_an_older_sequence_for_one_ahead() -> None:
    book = Driver()
    book.update(7, at=60 * SECOND)
    assert book.load(5000, at=50 * SECOND - 1) is Outcome.REFUSED
    assert book.market.reason == "snapshot 5000 is ahead of update 7 yet older: of a sequence that ended"
    assert book.load(6, at=60 * SECOND) is Outcome.RESYNCED
    assert book.is_at(7, LIVE)


@pytest.mark.parametrize("is_seeded", [True, False])
def test_late_updates_of_the_sequence_that_ended_change_nothing(is_seeded: bool) -> None:
    book = live_at(5000)
    restarted = 5000 * 1000 + 3 * SECOND
    book.update(1, at=restarted)
    if is_seeded:
        book.load(0, at=restarted)
    found = book.market.status, book.market.buffered_updates
    assert book.update(5001, at=5001 * 1000) is Outcome.DUPLICATE
    assert (book.market.status, book.market.buffered_updates) == found
    assert book.market.duplicates == 1
    assert book.update(5002, at=restarted) is (Outcome.BROKE if is_seeded else Outcome.BUFFERED)


@pytest.mark.parametrize("was_live", [True, False])
def test_after_a_small_rollback_old_late_updates_are_skipped_and_a_clock_step_back_loses_none(
    was_live: bool,
) -> None:
    book = live_at(5000) if was_live else Driver()
    book.update(5001, at=6 * SECOND)
    book.update(4990, at=600 * SECOND)
    assert book.update(5002, at=7 * SECOND) is Outcome.DUPLICATE, (
        "while nothing is known of the new one but its first update"
    )
    book.load(4990, at=601 * SECOND)
    for each in range(4991, 5001):
        assert book.update(each, at=590 * SECOND + each) is Outcome.APPLIED
    assert book.update(5001, at=7 * SECOND) is Outcome.DUPLICATE, "though it would be the next"
    assert book.is_at(5000, LIVE)
    assert book.update(5001, at=591 * SECOND) is Outcome.APPLIED


def test_after_a_clock_step_another_producers_copy_is_not_a_restart() -> None:
    book = live_at(5000)
    book.update(5001, at=100 * SECOND)
    book.update(5002, at=70 * SECOND)
    assert book.update(5001, at=100 * SECOND) is Outcome.DUPLICATE
    assert book.is_at(5002, LIVE)
    book.update(5003, at=10**15)
    book.update(5004, at=71 * SECOND)
    assert book.update(5003, at=10**15) is Outcome.DUPLICATE, "nor after an absurd time"
    assert book.is_at(5004, LIVE)
    assert book.update(1, at=72 * SECOND) is Outcome.BROKE


def test_updates_that_waited_from_before_a_restart_are_forgotten() -> None:
    book = Driver()
    book.update(5000, at=SECOND)
    book.update(5001, at=SECOND)
    book.update(1, at=2 * SECOND + 1)
    book.update(2, at=2 * SECOND + 1)
    assert book.market.buffered_updates == 2
    assert book.load(0, at=2 * SECOND + 1) is Outcome.RESYNCED
    assert book.is_at(2, LIVE)


def test_a_restart_lifts_the_minimum_id_of_the_previous_sequence() -> None:
    book = live_at(5000)
    book.market.on_unreadable("cannot be decoded")
    later = 5000 * 1000 + 11 * SECOND
    assert book.load(2, at=later) is Outcome.RESYNCED
    assert book.is_at(2, LIVE)


@pytest.mark.parametrize("at", [0, 10**12])
def test_without_engine_times_nothing_counts_as_a_restart(at: int) -> None:
    book = Driver()
    book.market.on_snapshot(5000, None, scaled([(9, 1)]), scaled([(11, 1)]))
    assert book.update(1, at=at) is Outcome.DUPLICATE
    assert book.load(2, at=at) is Outcome.IGNORED
    assert book.is_at(5000, LIVE)


@pytest.mark.parametrize(
    ("snapshot", "base"),
    [
        (
            {"origin": "SEED", "last_update_id": 5, "engine_time": None, "received_time": 6, "seed_update_id": 7},
            BaseSnapshot(5, None, 6),
        ),
        ({"origin": "CHECKPOINT", "seed_update_id": 7, "seed_engine_time": 8}, BaseSnapshot(7, 8)),
        (
            {"origin": "CHECKPOINT", "seed_update_id": 7, "seed_engine_time": 8, "seed_received_time": 9},
            BaseSnapshot(7, 8, 9),
        ),
        ({"origin": "CHECKPOINT", "seed_update_id": None, "seed_engine_time": None}, BaseSnapshot(0, None)),
        ({"origin": "SOMETHING_NEW"}, BaseSnapshot(0, None)),
    ],
)
def test_a_record_names_its_base_snapshot(snapshot: dict[str, object], base: BaseSnapshot) -> None:
    assert BaseSnapshot.of_record(snapshot) == base
