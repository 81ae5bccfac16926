"""Unreadable records, outages and audits make a book doubtful; snapshots and updates prove it again."""

import pytest

from backpack_streams.books.market_book import BaseSnapshot, Outcome
from unit.books.one_book import LIVE, STALE, SYNCING, Driver, live_at, scaled


def test_an_unreadable_record_needs_a_snapshot_past_everything_seen() -> None:
    book = live_at(5)
    assert book.market.on_unreadable("record at 0:17 cannot be decoded") is Outcome.BROKE
    assert book.is_at(5, STALE, "record at 0:17 cannot be decoded")
    assert book.load(5) is Outcome.REFUSED
    assert book.market.reason == "snapshot 5 behind update 6"
    assert book.update(7) is Outcome.BUFFERED
    assert book.load(6) is Outcome.RESYNCED
    assert book.is_at(7, LIVE)


@pytest.mark.parametrize("records", [1, 3])
def test_an_update_that_continues_the_sequence_clears_an_unreadable_record(records: int) -> None:
    seeded = Driver()
    seeded.load(5)
    for book in (live_at(5), seeded):
        for number in range(records):
            outcome = book.market.on_unreadable("record at 0:17 cannot be decoded")
            assert outcome is (Outcome.BUFFERED if number else Outcome.BROKE)
            assert book.market.status is STALE
        assert book.update(6) is Outcome.RESUMED
        assert book.is_at(6, LIVE)


def test_a_gap_after_an_unreadable_record_is_a_gap() -> None:
    book = live_at(5)
    book.market.on_unreadable("record at 0:17 cannot be decoded")
    assert book.update(7) is Outcome.BUFFERED
    assert book.market.status is STALE
    assert book.update(6) is Outcome.RESUMED, "another producer's copy"
    assert book.is_at(7, LIVE)


def test_an_unreadable_record_among_waiting_updates_is_a_gap() -> None:
    book = Driver()
    book.update(5)
    book.update(6)
    assert book.market.on_unreadable("cannot be decoded") is Outcome.BUFFERED
    assert book.is_at(None, SYNCING, "cannot be decoded")
    assert book.market.buffered_updates == 0
    assert book.load(4) is Outcome.REFUSED
    assert book.load(6) is Outcome.REFUSED
    assert book.load(7) is Outcome.RESYNCED


def test_an_unreadable_record_before_anything_else_prevents_no_snapshot() -> None:
    book = Driver()
    book.market.on_unreadable("cannot be decoded")
    assert book.load(1) is Outcome.RESYNCED


def test_a_pending_snapshot_restores_the_book_after_an_unreadable_record() -> None:
    book = live_at(5)
    book.load(6)
    assert book.market.on_unreadable("cannot be decoded") is Outcome.RESYNCED
    assert book.is_at(6, LIVE)


def test_during_an_outage_no_snapshot_makes_a_book_live_and_after_it_one_at_the_same_id_does() -> None:
    book = live_at(5)
    assert book.market.on_outage("no socket") is Outcome.BROKE
    assert book.is_at(5, STALE, "no socket")
    assert book.load(9) is Outcome.REFUSED
    assert book.market.status is STALE
    assert book.market.on_outage_over("silent since") is Outcome.BUFFERED
    assert book.is_at(5, STALE, "silent since")
    assert book.load(4) is Outcome.REFUSED
    assert book.load(5) is Outcome.RESYNCED
    assert book.is_at(5, LIVE)


def test_an_update_ends_an_outage_and_then_a_snapshot_is_taken() -> None:
    book = live_at(5)
    book.market.on_outage("no socket")
    book.update(5)  # a copy of an earlier update proves nothing
    assert book.load(5) is Outcome.REFUSED
    book.update(6)
    assert book.market.status is STALE, "what came before it may have been missed"
    assert book.load(5) is Outcome.RESYNCED
    assert book.is_at(6, LIVE)


def test_a_snapshot_from_before_the_end_of_an_outage_does_not_hide_missed_updates() -> None:
    book = live_at(5)
    assert book.load(7) is Outcome.PENDING
    assert book.market.on_outage_over("silent since") is Outcome.BROKE
    assert book.is_at(5, STALE, "silent since")


def test_an_outage_before_anything_else_prevents_snapshots_until_it_is_over() -> None:
    book = Driver()
    assert book.market.on_outage("no socket") is Outcome.BUFFERED
    assert book.load(5) is Outcome.REFUSED
    book.market.on_outage_over("back")
    assert book.load(5) is Outcome.RESYNCED


def test_a_checkpoint_based_on_what_an_audit_found_wrong_neither_widens_a_book_nor_stays_pending() -> None:
    book = Driver()
    book.market.on_wrong(4, 4000, "audited")
    book.load(5, bids_complete=False)
    wrong = scaled([(9, 1), (8, 7)])
    for update_id in (5, 6):
        outcome = book.market.on_snapshot(update_id, 6000, wrong, scaled([(11, 1)]), base=BaseSnapshot(3, 3000))
        assert outcome is Outcome.IGNORED
    assert book.market.candidate_id is None
    assert book.market.on_snapshot(5, 5000, wrong, scaled([(11, 1)]), base=BaseSnapshot(4, 4000)) is Outcome.RESYNCED
