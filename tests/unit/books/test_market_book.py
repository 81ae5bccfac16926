"""The sequence of one book: which updates wait, what breaks and what restores it, and which snapshots it takes."""

from backpack_streams.books.market_book import MarketBook, Outcome
from unit.books.one_book import LIVE, STALE, SYNCING, Driver, Levels, live_at


def test_without_a_snapshot_updates_wait() -> None:
    book = Driver()
    assert book.is_at(None, SYNCING, "no snapshot yet")
    assert book.update(5) is Outcome.BUFFERED
    assert book.is_at(None, SYNCING, "no snapshot yet")
    assert (book.market.buffered_updates, len(book.market.book)) == (1, 0)


def test_a_snapshot_is_followed_by_the_updates_that_waited() -> None:
    book = Driver()
    for update in [(1, 3), (4, 6), (7, 7)]:
        book.update(*update, bids=[(update[0], update[1])])
    assert book.load(5, bids=[(4, 1), (1, 3)]) is Outcome.RESYNCED
    assert book.is_at(7, LIVE)
    assert book.bids() == [("7", "7"), ("4", "6"), ("1", "3")]
    assert book.update(8, bids=[(7, 0)]) is Outcome.APPLIED
    assert book.is_at(8, LIVE)
    assert (book.market.engine_time, book.market.since) == (8000, 5000)


def test_a_snapshot_behind_the_first_update_is_refused_and_a_later_one_taken() -> None:
    book = Driver()
    book.update(7)
    assert book.load(5) is Outcome.REFUSED
    assert book.is_at(None, SYNCING, "snapshot 5 behind the first update 7")
    assert len(book.market.book) == 0
    assert book.load(6) is Outcome.RESYNCED
    assert book.is_at(7, LIVE)


def test_a_snapshot_ahead_of_the_updates_is_live_at_once_and_the_next_update_must_continue_it() -> None:
    book = Driver()
    book.update(3)
    assert book.load(10) is Outcome.RESYNCED
    assert book.is_at(10, LIVE)
    assert book.update(4, 10, bids=[(9, 7)]) is Outcome.DUPLICATE
    assert book.bids() == [("9", "1")]
    assert book.update(9, 11, bids=[(9, 7)]) is Outcome.APPLIED
    assert book.bids() == [("9", "7")]
    book = Driver()
    book.load(10)
    assert book.update(12, bids=[(9, 7)]) is Outcome.BROKE
    assert book.is_at(10, STALE, "update 12 does not follow 10")


def test_a_gap_among_waiting_updates_is_found() -> None:
    book = Driver()
    book.update(6)
    book.update(8)
    assert book.load(5) is Outcome.BROKE
    assert book.is_at(6, STALE, "update 8 does not follow 6")
    assert book.load(6) is Outcome.REFUSED
    assert book.load(7) is Outcome.RESYNCED
    assert book.is_at(8, LIVE)


def test_a_broken_sequence_ends_live_before_any_value_changes_and_keeps_later_updates() -> None:
    book = live_at(5)
    assert book.update(7, bids=[(10, 5)]) is Outcome.BROKE
    assert book.is_at(5, STALE, "update 7 does not follow 5")
    assert book.bids() == [("9", "1")]
    assert book.update(8, bids=[(8, 5)]) is Outcome.BUFFERED
    assert book.bids() == [("9", "1")]
    assert (book.market.since, book.market.breaks) == (5000, 1)
    assert book.load(6, bids=[(9, 2)]) is Outcome.RESYNCED
    assert book.is_at(8, LIVE)
    assert book.bids() == [("10", "5"), ("9", "2"), ("8", "5")]


def test_a_sequence_resumes_when_all_missing_updates_arrive_late() -> None:
    book = live_at(5)
    book.update(8)
    book.update(10)
    assert book.update(7) is Outcome.BUFFERED
    assert book.update(6) is Outcome.BUFFERED
    assert book.is_at(5, STALE, "update 8 does not follow 5")
    assert book.update(9, bids=[(7, 7)]) is Outcome.RESUMED
    assert book.is_at(10, LIVE)
    assert book.bids() == [("9", "1"), ("7", "7")]
    assert (book.market.since, book.market.breaks, book.market.buffered_updates) == (5000, 1, 0)
    assert book.update(12) is Outcome.BROKE
    assert book.update(11) is Outcome.RESUMED


def test_a_sequence_does_not_resume_if_something_else_is_wrong() -> None:
    for what in (
        lambda book: book.market.on_unreadable("cannot be decoded"),
        lambda book: book.market.on_outage("no socket"),
        lambda book: book.market.on_outage_over("silent"),
        lambda book: book.market.on_wrong(5, 5000, "audited"),
    ):
        book = live_at(5)
        book.update(7)
        what(book)
        book.update(6)
        book.update(7)
        assert book.market.status is STALE


def test_an_update_that_resumes_a_sequence_may_break_it_again() -> None:
    book = live_at(5)
    book.update(7, bids=[(11, 1)])
    assert book.update(6) is Outcome.BROKE
    assert book.is_at(7, STALE, "crossed after update 7")
    assert book.market.breaks == 2


def test_after_a_full_buffer_dropped_updates_only_a_snapshot_restores_the_book() -> None:
    book = Driver(buffered_updates=2)
    book.load(5)
    for update_id in (8, 7, 9, 6):
        book.update(update_id)
    assert book.market.status is STALE
    assert book.load(7) is Outcome.REFUSED
    assert book.load(8) is Outcome.RESYNCED
    assert book.is_at(9, LIVE)


def test_a_book_does_not_continue_past_updates_that_a_full_buffer_dropped() -> None:
    book = Driver(buffered_updates=2)
    book.load(5)
    outcomes = [book.update(update_id) for update_id in (10, 6, 7, 8, 9, 10)]
    assert outcomes == [Outcome.BROKE] + [Outcome.BUFFERED] * 5
    assert book.is_at(5, STALE, "update 10 does not follow 5; buffer full, oldest updates dropped: 4")
    assert book.market.breaks == 1


def test_waiting_updates_are_taken_in_the_order_of_their_ids() -> None:
    book = Driver()
    for update_id in (8, 6, 7, 6):
        book.update(update_id, bids=[(update_id, 1)])
    assert book.load(5, bids=[]) is Outcome.RESYNCED
    assert book.is_at(8, LIVE)
    assert book.market.duplicates == 1


def test_duplicates_change_nothing() -> None:
    book = live_at(5)
    for update in [(5, 5), (1, 2), (3, 5)]:
        assert book.update(*update, bids=[(9, 8)]) is Outcome.DUPLICATE
    assert book.is_at(5, LIVE)
    assert book.bids() == [("9", "1")]
    assert book.market.duplicates == 3
    assert book.update(6) is Outcome.APPLIED


def test_a_pending_snapshot_restores_a_broken_book_at_once() -> None:
    book = live_at(5)
    assert book.load(8, bids=[(8, 8)]) is Outcome.PENDING
    assert book.is_at(5, LIVE)
    assert book.market.candidate_id == 8
    assert book.update(6) is Outcome.APPLIED
    assert book.update(9, bids=[(7, 7)]) is Outcome.RESYNCED
    assert book.is_at(9, LIVE)
    assert book.bids() == [("8", "8"), ("7", "7")]
    assert (book.market.candidate_id, book.market.breaks) == (None, 1)


def test_a_pending_snapshot_that_the_sequence_has_passed_is_not_used() -> None:
    book = live_at(5)
    book.load(6)
    book.update(6)
    assert book.market.candidate_id is None
    book.update(7)
    assert book.update(9) is Outcome.BROKE
    assert book.is_at(7, STALE, "update 9 does not follow 7")


def test_of_two_snapshots_ahead_the_furthest_is_kept() -> None:
    book = live_at(5)
    assert book.load(9) is Outcome.PENDING
    assert book.load(7) is Outcome.IGNORED
    assert book.market.candidate_id == 9
    assert book.load(12) is Outcome.PENDING
    assert book.market.candidate_id == 12


def test_a_live_book_ignores_snapshots_behind_it_or_equal_to_it() -> None:
    book = live_at(5)
    assert book.load(4, bids=[(1, 1)]) is Outcome.IGNORED
    assert book.load(5, bids=[(1, 1)]) is Outcome.IGNORED
    assert book.bids() == [("9", "1")]
    assert book.is_at(5, LIVE)


def test_a_snapshot_of_the_same_update_widens_a_truncated_book() -> None:
    book = Driver()
    book.load(5, bids_complete=False)
    deeper: Levels = [(9, 1), (8, 1)]
    assert book.load(5, bids=[(20, 1)]) is Outcome.IGNORED  # crossed
    assert book.load(5, bids=deeper, asks_complete=False) is Outcome.IGNORED  # wider here, narrower there
    assert book.market.book.coverage == (9, None)
    assert book.load(5, bids=deeper, bids_complete=False) is Outcome.RESYNCED
    assert book.market.book.coverage == (8, None)
    assert book.load(5, bids=deeper) is Outcome.RESYNCED
    assert book.market.book.coverage == (None, None)
    assert book.is_at(5, LIVE)


def test_a_crossed_snapshot_is_refused_and_the_last_good_book_remains() -> None:
    book = live_at(5)
    book.update(8)
    assert book.load(7, bids=[(11, 1)]) is Outcome.REFUSED
    assert book.is_at(5, STALE, "snapshot 7 refused: crossed: best bid 11, best ask 11")
    assert book.bids() == [("9", "1")]


def test_an_update_that_crosses_the_book_makes_it_stale() -> None:
    book = live_at(5)
    assert book.update(6, bids=[(11, 1)]) is Outcome.BROKE
    assert book.is_at(6, STALE, "crossed after update 6")
    assert book.update(7, bids=[(11, 0)]) is Outcome.BUFFERED
    assert book.market.status is STALE
    assert book.load(5) is Outcome.REFUSED
    assert book.load(6) is Outcome.RESYNCED
    assert book.is_at(7, LIVE)


def test_an_update_is_judged_after_all_its_levels() -> None:
    book = live_at(5)
    assert book.update(6, bids=[(11, 1)], asks=[(11, 0), (12, 1)]) is Outcome.APPLIED
    assert book.is_at(6, LIVE)


def test_an_exhausted_truncated_side_makes_the_book_stale() -> None:
    book = Driver()
    book.load(5, bids=[(9, 1), (8, 1)], bids_complete=False)
    assert book.update(6, bids=[(9, 0), (7, 3)]) is Outcome.APPLIED
    assert book.update(7, bids=[(8, 0)]) is Outcome.BROKE
    assert book.is_at(7, STALE, "coverage exhausted after update 7")
    assert book.load(6) is Outcome.REFUSED
    assert book.market.reason == "snapshot 6 behind update 7"
    assert book.load(7, bids=[(7, 3)]) is Outcome.RESYNCED
    assert book.is_at(7, LIVE)


def test_an_update_with_a_negative_quantity_makes_the_book_stale() -> None:
    book = live_at(5)
    assert book.update(6, bids=[(9, -1)]) is Outcome.BROKE
    assert book.is_at(6, STALE, "update 6 cannot be applied: bid at 9 has the negative quantity -1")
    assert book.load(5) is Outcome.REFUSED
    assert book.load(6) is Outcome.RESYNCED


def test_a_full_buffer_drops_the_oldest_updates_and_says_so() -> None:
    book = Driver(buffered_updates=3)
    for update_id in range(1, 6):
        book.update(update_id)
    assert book.is_at(None, SYNCING, "no snapshot yet; buffer full, oldest updates dropped: 2")
    assert (book.market.buffered_updates, book.market.dropped_updates) == (3, 2)
    assert book.load(1) is Outcome.REFUSED
    assert book.load(2) is Outcome.RESYNCED
    assert book.is_at(5, LIVE)
    assert book.market.dropped_updates == 2


def test_an_update_displaced_by_old_copies_is_not_forgotten() -> None:
    book = Driver(buffered_updates=2)
    for update_id in (6, 5, 5):
        book.update(update_id)
    assert book.load(5) is Outcome.REFUSED
    assert book.market.reason == "snapshot 5 behind update 6; buffer full, oldest updates dropped: 1"
    assert book.load(6) is Outcome.RESYNCED
    assert book.is_at(6, LIVE)


def test_a_held_book_shows_syncing_until_released() -> None:
    book = Driver(catching_up=True)
    assert book.is_at(None, SYNCING, "no snapshot yet")
    book.load(5)
    assert book.is_at(5, SYNCING, "catching up")
    book.update(6)
    book.market.release()
    assert book.is_at(6, LIVE)
    assert book.market.since == 6000
    book.market.hold()
    assert book.is_at(6, SYNCING, "catching up")
    book.update(8)
    assert book.is_at(6, SYNCING, "update 8 does not follow 6")
    book.market.release()
    assert book.is_at(6, STALE, "update 8 does not follow 6")


def test_releasing_a_book_that_is_not_held_changes_nothing() -> None:
    book = live_at(5)
    book.update(6)
    book.market.release()
    assert book.market.since == 4000


def test_a_new_book_has_its_symbol_and_empty_counters() -> None:
    market = MarketBook("SOL_USDC")
    assert market.symbol == "SOL_USDC"
    assert (market.duplicates, market.breaks, market.dropped_updates, market.buffered_updates) == (0, 0, 0, 0)
    assert (market.engine_time, market.since, market.base, market.candidate_id, market.newest_id) == (None,) * 4 + (0,)
