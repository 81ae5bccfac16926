from collections.abc import Sequence

import pytest

from backpack_streams.books.adoption import REST_OLD_SECONDS
from backpack_streams.books.market_book import MarketBook, Outcome, Root, Status
from backpack_streams.books.units import UNITS_PER_ONE

SECOND = 1_000_000
LIVE, STALE, SYNCING = Status.LIVE, Status.STALE, Status.SYNCING
REST_OLD = int(REST_OLD_SECONDS * SECOND)
Levels = Sequence[tuple[int, int]]


class Driver:
    """A book fed with whole numbers, one engine millisecond an id unless said."""

    def __init__(self, *, catching_up: bool = False, buffered_updates: int = 100) -> None:
        self.market = MarketBook("SOL_USDC", catching_up=catching_up, buffered_updates=buffered_updates)

    def update(
        self, first: int, last: int | None = None, *, bids: Levels = (), asks: Levels = (), at: int | None = None
    ) -> Outcome:
        last = first if last is None else last
        return self.market.on_update(first, last, last * 1000 if at is None else at, scaled(bids), scaled(asks))

    def seed(
        self,
        last: int,
        *,
        bids: Levels = ((9, 1),),
        asks: Levels = ((11, 1),),
        at: int | None = None,
        bids_complete: bool = True,
        asks_complete: bool = True,
        received: int | None = None,
    ) -> Outcome:
        at = last * 1000 if at is None else at
        return self.market.on_seed(
            last,
            at,
            scaled(bids),
            scaled(asks),
            bids_complete=bids_complete,
            asks_complete=asks_complete,
            root=Root(last, at, at if received is None else received),
        )

    def is_at(self, last: int | None, status: Status, reason: str = "") -> bool:
        found = (self.market.last_update_id, self.market.status, self.market.reason)
        assert found == (last, status, reason)
        return True

    def bids(self) -> list[tuple[str, str]]:
        return self.market.book.to_lines()[0]


def scaled(levels: Levels) -> list[tuple[int, int]]:
    return [(price * UNITS_PER_ONE, quantity * UNITS_PER_ONE) for price, quantity in levels]


def live_at(last: int) -> Driver:
    book = Driver()
    book.seed(last - 1)
    assert book.update(last) is Outcome.APPLIED
    return book


def test_without_a_seed_updates_wait() -> None:
    book = Driver()
    assert book.is_at(None, SYNCING, "no seed yet")
    assert book.update(5) is Outcome.BUFFERED
    assert book.is_at(None, SYNCING, "no seed yet")
    assert (book.market.buffered_updates, len(book.market.book)) == (1, 0)


def test_a_seed_takes_what_waited_and_follows() -> None:
    book = Driver()
    for update in [(1, 3), (4, 6), (7, 7)]:
        book.update(*update, bids=[(update[0], update[1])])
    assert book.seed(5, bids=[(4, 1), (1, 3)]) is Outcome.RESEEDED
    assert book.is_at(7, LIVE)
    assert book.bids() == [("7", "7"), ("4", "6"), ("1", "3")]
    assert book.update(8, bids=[(7, 0)]) is Outcome.APPLIED
    assert book.is_at(8, LIVE)
    assert (book.market.engine_time, book.market.since) == (8000, 5000)


def test_a_seed_behind_the_first_update_is_refused_and_a_later_one_taken() -> None:
    book = Driver()
    book.update(7)
    assert book.seed(5) is Outcome.REFUSED
    assert book.is_at(None, SYNCING, "seed 5 behind the first update 7")
    assert len(book.market.book) == 0
    assert book.seed(6) is Outcome.RESEEDED
    assert book.is_at(7, LIVE)


def test_a_seed_ahead_of_the_updates_is_right_at_once_and_the_next_update_must_connect() -> None:
    book = Driver()
    book.update(3)
    assert book.seed(10) is Outcome.RESEEDED
    assert book.is_at(10, LIVE)
    assert book.update(4, 10, bids=[(9, 7)]) is Outcome.DUPLICATE
    assert book.bids() == [("9", "1")]
    assert book.update(9, 11, bids=[(9, 7)]) is Outcome.APPLIED
    assert book.bids() == [("9", "7")]
    book = Driver()
    book.seed(10)
    assert book.update(12, bids=[(9, 7)]) is Outcome.BROKE
    assert book.is_at(10, STALE, "update 12 does not follow 10")


def test_a_hole_in_what_waited_is_found() -> None:
    book = Driver()
    book.update(6)
    book.update(8)
    assert book.seed(5) is Outcome.BROKE
    assert book.is_at(6, STALE, "update 8 does not follow 6")
    assert book.seed(6) is Outcome.REFUSED
    assert book.seed(7) is Outcome.RESEEDED
    assert book.is_at(8, LIVE)


def test_a_broken_chain_ends_live_before_any_value_changes_and_keeps_what_comes() -> None:
    book = live_at(5)
    assert book.update(7, bids=[(10, 5)]) is Outcome.BROKE
    assert book.is_at(5, STALE, "update 7 does not follow 5")
    assert book.bids() == [("9", "1")]
    assert book.update(8, bids=[(8, 5)]) is Outcome.BUFFERED
    assert book.bids() == [("9", "1")]
    assert (book.market.since, book.market.breaks) == (5000, 1)
    assert book.seed(6, bids=[(9, 2)]) is Outcome.RESEEDED
    assert book.is_at(8, LIVE)
    assert book.bids() == [("10", "5"), ("9", "2"), ("8", "5")]


def test_all_that_was_missing_coming_late_mends_the_chain() -> None:
    book = live_at(5)
    book.update(8)
    book.update(10)
    assert book.update(7) is Outcome.BUFFERED
    assert book.update(6) is Outcome.BUFFERED
    assert book.is_at(5, STALE, "update 8 does not follow 5")
    assert book.update(9, bids=[(7, 7)]) is Outcome.MENDED
    assert book.is_at(10, LIVE)
    assert book.bids() == [("9", "1"), ("7", "7")]
    assert (book.market.since, book.market.breaks, book.market.buffered_updates) == (5000, 1, 0)
    assert book.update(12) is Outcome.BROKE
    assert book.update(11) is Outcome.MENDED


def test_a_hole_is_not_mended_where_something_else_is_wrong() -> None:
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


def test_what_mends_a_chain_may_break_it_again() -> None:
    book = live_at(5)
    book.update(7, bids=[(11, 1)])
    assert book.update(6) is Outcome.BROKE
    assert book.is_at(7, STALE, "crossed after update 7")
    assert book.market.breaks == 2


def test_after_a_loss_from_a_full_buffer_only_a_seed_helps() -> None:
    book = Driver(buffered_updates=2)
    book.seed(5)
    for update_id in (8, 7, 9, 6):
        book.update(update_id)
    assert book.market.status is STALE
    assert book.seed(7) is Outcome.REFUSED
    assert book.seed(8) is Outcome.RESEEDED
    assert book.is_at(9, LIVE)


def test_a_book_does_not_go_on_over_what_a_full_buffer_dropped() -> None:
    book = Driver(buffered_updates=2)
    book.seed(5)
    outcomes = [book.update(update_id) for update_id in (10, 6, 7, 8, 9, 10)]
    assert outcomes == [Outcome.BROKE] + [Outcome.BUFFERED] * 5
    assert book.is_at(5, STALE, "update 10 does not follow 5; buffer full, oldest updates dropped: 4")
    assert book.market.breaks == 1


def test_what_waits_is_taken_in_the_order_of_its_ids() -> None:
    book = Driver()
    for update_id in (8, 6, 7, 6):
        book.update(update_id, bids=[(update_id, 1)])
    assert book.seed(5, bids=[]) is Outcome.RESEEDED
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


def test_a_seed_kept_ahead_heals_a_break_at_once() -> None:
    book = live_at(5)
    assert book.seed(8, bids=[(8, 8)]) is Outcome.KEPT
    assert book.is_at(5, LIVE)
    assert book.market.candidate_id == 8
    assert book.update(6) is Outcome.APPLIED
    assert book.update(9, bids=[(7, 7)]) is Outcome.RESEEDED
    assert book.is_at(9, LIVE)
    assert book.bids() == [("8", "8"), ("7", "7")]
    assert (book.market.candidate_id, book.market.breaks) == (None, 1)


def test_a_kept_seed_the_chain_has_passed_is_of_no_use() -> None:
    book = live_at(5)
    book.seed(6)
    book.update(6)
    assert book.market.candidate_id is None
    book.update(7)
    assert book.update(9) is Outcome.BROKE
    assert book.is_at(7, STALE, "update 9 does not follow 7")


def test_of_two_seeds_ahead_the_furthest_is_kept() -> None:
    book = live_at(5)
    assert book.seed(9) is Outcome.KEPT
    assert book.seed(7) is Outcome.IGNORED
    assert book.market.candidate_id == 9
    assert book.seed(12) is Outcome.KEPT
    assert book.market.candidate_id == 12


def test_a_live_book_ignores_seeds_behind_and_equal() -> None:
    book = live_at(5)
    assert book.seed(4, bids=[(1, 1)]) is Outcome.IGNORED
    assert book.seed(5, bids=[(1, 1)]) is Outcome.IGNORED
    assert book.bids() == [("9", "1")]
    assert book.is_at(5, LIVE)


def test_a_seed_of_the_same_update_widens_a_truncated_book() -> None:
    book = Driver()
    book.seed(5, bids_complete=False)
    deeper: Levels = [(9, 1), (8, 1)]
    assert book.seed(5, bids=[(20, 1)]) is Outcome.IGNORED  # crossed
    assert book.seed(5, bids=deeper, asks_complete=False) is Outcome.IGNORED  # wider here, narrower there
    assert book.market.book.coverage == (9, None)
    assert book.seed(5, bids=deeper, bids_complete=False) is Outcome.RESEEDED
    assert book.market.book.coverage == (8, None)
    assert book.seed(5, bids=deeper) is Outcome.RESEEDED
    assert book.market.book.coverage == (None, None)
    assert book.is_at(5, LIVE)


def test_a_crossed_seed_is_refused_and_the_last_good_book_stays() -> None:
    book = live_at(5)
    book.update(8)
    assert book.seed(7, bids=[(11, 1)]) is Outcome.REFUSED
    assert book.is_at(5, STALE, "seed 7 refused: crossed: best bid 11, best ask 11")
    assert book.bids() == [("9", "1")]


def test_an_update_that_crosses_the_book_makes_it_stale() -> None:
    book = live_at(5)
    assert book.update(6, bids=[(11, 1)]) is Outcome.BROKE
    assert book.is_at(6, STALE, "crossed after update 6")
    assert book.update(7, bids=[(11, 0)]) is Outcome.BUFFERED
    assert book.market.status is STALE
    assert book.seed(5) is Outcome.REFUSED
    assert book.seed(6) is Outcome.RESEEDED
    assert book.is_at(7, LIVE)


def test_a_frame_is_judged_whole() -> None:
    book = live_at(5)
    assert book.update(6, bids=[(11, 1)], asks=[(11, 0), (12, 1)]) is Outcome.APPLIED
    assert book.is_at(6, LIVE)


def test_a_truncated_side_that_runs_out_makes_the_book_stale() -> None:
    book = Driver()
    book.seed(5, bids=[(9, 1), (8, 1)], bids_complete=False)
    assert book.update(6, bids=[(9, 0), (7, 3)]) is Outcome.APPLIED
    assert book.update(7, bids=[(8, 0)]) is Outcome.BROKE
    assert book.is_at(7, STALE, "coverage exhausted after update 7")
    assert book.seed(6) is Outcome.REFUSED
    assert book.market.reason == "seed 6 behind update 7"
    assert book.seed(7, bids=[(7, 3)]) is Outcome.RESEEDED
    assert book.is_at(7, LIVE)


def test_an_unreadable_record_needs_a_seed_past_all_that_was_seen() -> None:
    book = live_at(5)
    assert book.market.on_unreadable("record at 0:17 cannot be decoded") is Outcome.BROKE
    assert book.is_at(5, STALE, "record at 0:17 cannot be decoded")
    assert book.seed(5) is Outcome.REFUSED
    assert book.market.reason == "seed 5 behind update 6"
    assert book.update(7) is Outcome.BUFFERED
    assert book.seed(6) is Outcome.RESEEDED
    assert book.is_at(7, LIVE)


@pytest.mark.parametrize("records", [1, 3])
def test_an_update_that_follows_shows_that_an_unreadable_record_was_none(records: int) -> None:
    seeded = Driver()
    seeded.seed(5)
    for book in (live_at(5), seeded):
        for number in range(records):
            outcome = book.market.on_unreadable("record at 0:17 cannot be decoded")
            assert outcome is (Outcome.BUFFERED if number else Outcome.BROKE)
            assert book.market.status is STALE
        assert book.update(6) is Outcome.MENDED
        assert book.is_at(6, LIVE)


def test_a_hole_beside_an_unreadable_record_is_one() -> None:
    book = live_at(5)
    book.market.on_unreadable("record at 0:17 cannot be decoded")
    assert book.update(7) is Outcome.BUFFERED
    assert book.market.status is STALE
    assert book.update(6) is Outcome.MENDED, "another producer's copy"
    assert book.is_at(7, LIVE)


def test_an_unreadable_record_among_what_waits_is_a_hole() -> None:
    book = Driver()
    book.update(5)
    book.update(6)
    assert book.market.on_unreadable("cannot be decoded") is Outcome.BUFFERED
    assert book.is_at(None, SYNCING, "cannot be decoded")
    assert book.market.buffered_updates == 0
    assert book.seed(4) is Outcome.REFUSED
    assert book.seed(6) is Outcome.REFUSED
    assert book.seed(7) is Outcome.RESEEDED


def test_an_unreadable_record_before_anything_else_bars_no_seed() -> None:
    book = Driver()
    book.market.on_unreadable("cannot be decoded")
    assert book.seed(1) is Outcome.RESEEDED


def test_an_unreadable_record_is_healed_by_a_seed_kept_ahead() -> None:
    book = live_at(5)
    book.seed(6)
    assert book.market.on_unreadable("cannot be decoded") is Outcome.RESEEDED
    assert book.is_at(6, LIVE)


def test_during_an_outage_no_seed_makes_a_book_live_and_after_it_one_at_the_same_id_does() -> None:
    book = live_at(5)
    assert book.market.on_outage("no socket") is Outcome.BROKE
    assert book.is_at(5, STALE, "no socket")
    assert book.seed(9) is Outcome.REFUSED
    assert book.market.status is STALE
    assert book.market.on_outage_over("silent since") is Outcome.BUFFERED
    assert book.is_at(5, STALE, "silent since")
    assert book.seed(4) is Outcome.REFUSED
    assert book.seed(5) is Outcome.RESEEDED
    assert book.is_at(5, LIVE)


def test_an_outage_is_over_when_an_update_comes_and_its_seed_is_taken() -> None:
    book = live_at(5)
    book.market.on_outage("no socket")
    book.update(5)  # a copy of what was there before proves nothing
    assert book.seed(5) is Outcome.REFUSED
    book.update(6)
    assert book.market.status is STALE, "what came before it may have been missed"
    assert book.seed(5) is Outcome.RESEEDED
    assert book.is_at(6, LIVE)


def test_a_seed_from_before_the_end_of_an_outage_does_not_hide_what_was_missed() -> None:
    book = live_at(5)
    assert book.seed(7) is Outcome.KEPT
    assert book.market.on_outage_over("silent since") is Outcome.BROKE
    assert book.is_at(5, STALE, "silent since")


def test_an_outage_before_anything_else_bars_seeds_until_it_is_over() -> None:
    book = Driver()
    assert book.market.on_outage("no socket") is Outcome.BUFFERED
    assert book.seed(5) is Outcome.REFUSED
    book.market.on_outage_over("back")
    assert book.seed(5) is Outcome.RESEEDED


def test_a_checkpoint_that_goes_back_to_what_an_audit_found_wrong_neither_widens_a_book_nor_waits_for_a_break() -> None:
    book = Driver()
    book.market.on_wrong(4, 4000, "audited")
    book.seed(5, bids_complete=False)
    wrong = scaled([(9, 1), (8, 7)])
    for update_id in (5, 6):
        outcome = book.market.on_seed(update_id, 6000, wrong, scaled([(11, 1)]), root=Root(3, 3000))
        assert outcome is Outcome.IGNORED
    assert book.market.candidate_id is None
    assert book.market.on_seed(5, 5000, wrong, scaled([(11, 1)]), root=Root(4, 4000)) is Outcome.RESEEDED


def test_an_update_with_a_negative_quantity_makes_the_book_stale() -> None:
    book = live_at(5)
    assert book.update(6, bids=[(9, -1)]) is Outcome.BROKE
    assert book.is_at(6, STALE, "update 6 cannot be applied: bid at 9 has the negative quantity -1")
    assert book.seed(5) is Outcome.REFUSED
    assert book.seed(6) is Outcome.RESEEDED


def test_a_full_buffer_drops_the_oldest_and_says_so() -> None:
    book = Driver(buffered_updates=3)
    for update_id in range(1, 6):
        book.update(update_id)
    assert book.is_at(None, SYNCING, "no seed yet; buffer full, oldest updates dropped: 2")
    assert (book.market.buffered_updates, book.market.dropped_updates) == (3, 2)
    assert book.seed(1) is Outcome.REFUSED
    assert book.seed(2) is Outcome.RESEEDED
    assert book.is_at(5, LIVE)
    assert book.market.dropped_updates == 2


def test_an_update_pushed_out_by_old_copies_is_not_forgotten() -> None:
    book = Driver(buffered_updates=2)
    for update_id in (6, 5, 5):
        book.update(update_id)
    assert book.seed(5) is Outcome.REFUSED
    assert book.market.reason == "seed 5 behind update 6; buffer full, oldest updates dropped: 1"
    assert book.seed(6) is Outcome.RESEEDED
    assert book.is_at(6, LIVE)


def test_a_held_book_shows_syncing_until_released() -> None:
    book = Driver(catching_up=True)
    assert book.is_at(None, SYNCING, "no seed yet")
    book.seed(5)
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


# A sequence that begins again ------------------------------------------------------------------------------------


def test_a_restart_is_seen_by_the_first_update_that_is_old_by_id_and_new_by_time() -> None:
    book = live_at(5000)
    assert book.update(4999) is Outcome.DUPLICATE
    later = 5000 * 1000
    assert book.update(1, at=later) is Outcome.DUPLICATE
    assert book.update(2, at=later + 1) is Outcome.BROKE
    assert book.is_at(5000, STALE, "sequence restarted: update 2 is later than update 5000")
    assert book.update(3, at=later + 2) is Outcome.BUFFERED
    assert book.seed(1, at=later + 3) is Outcome.RESEEDED
    assert book.is_at(3, LIVE)


def test_before_any_update_a_restart_must_be_clearer_since_a_seeds_clock_may_be_off() -> None:
    book = Driver()
    book.seed(5000)
    later = 5000 * 1000 + 10 * SECOND
    assert book.update(1, at=later) is Outcome.DUPLICATE
    assert book.update(2, at=later + 1) is Outcome.BROKE


def test_a_restart_is_seen_by_seeds_alone_if_two_agree() -> None:
    book = live_at(5000)
    later = 5000 * 1000 + 10 * SECOND
    assert book.seed(3, at=later) is Outcome.IGNORED
    assert book.seed(2500, at=later + 1) is Outcome.IGNORED
    assert book.seed(3, bids=[(2, 2)], at=later + 1) is Outcome.IGNORED
    assert book.is_at(5000, LIVE)
    assert book.seed(3, bids=[(3, 3)], at=later + 1, received=later + 1 + REST_OLD) is Outcome.RESEEDED
    assert book.is_at(3, LIVE)
    assert book.bids() == [("3", "3")]
    assert book.market.breaks == 1
    assert book.update(4, at=later + 2) is Outcome.APPLIED


def test_seeds_of_the_sequence_that_ended_are_refused() -> None:
    book = live_at(5000)
    restarted = 5000 * 1000 + 2 * SECOND
    book.seed(6000)
    assert book.market.candidate_id == 6000
    book.update(1, at=restarted)
    assert book.market.candidate_id is None
    assert book.seed(6000, at=restarted - 1) is Outcome.REFUSED
    assert book.is_at(5000, STALE, "seed 6000 is of the sequence that ended")
    assert book.seed(1, at=restarted) is Outcome.RESEEDED


def test_a_cold_reader_does_not_take_an_older_sequences_seed_for_one_ahead() -> None:
    book = Driver()
    book.update(7, at=60 * SECOND)
    assert book.seed(5000, at=50 * SECOND - 1) is Outcome.REFUSED
    assert book.market.reason == "seed 5000 is ahead of update 7 yet older: of a sequence that ended"
    assert book.seed(6, at=60 * SECOND) is Outcome.RESEEDED
    assert book.is_at(7, LIVE)


@pytest.mark.parametrize("is_seeded", [True, False])
def test_what_another_producer_still_brings_of_the_sequence_that_ended_changes_nothing(is_seeded: bool) -> None:
    book = live_at(5000)
    restarted = 5000 * 1000 + 3 * SECOND
    book.update(1, at=restarted)
    if is_seeded:
        book.seed(0, at=restarted)
    found = book.market.status, book.market.buffered_updates
    assert book.update(5001, at=5001 * 1000) is Outcome.DUPLICATE
    assert (book.market.status, book.market.buffered_updates) == found
    assert book.market.duplicates == 1
    assert book.update(5002, at=restarted) is (Outcome.BROKE if is_seeded else Outcome.BUFFERED)


@pytest.mark.parametrize("was_live", [True, False])
def test_after_a_small_rollback_a_late_update_of_before_is_not_applied_and_a_clock_that_steps_back_loses_none(
    was_live: bool,
) -> None:
    book = live_at(5000) if was_live else Driver()
    book.update(5001, at=6 * SECOND)
    book.update(4990, at=600 * SECOND)
    assert book.update(5002, at=7 * SECOND) is Outcome.DUPLICATE, (
        "while nothing is known of the new one but its first update"
    )
    book.seed(4990, at=601 * SECOND)
    for each in range(4991, 5001):
        assert book.update(each, at=590 * SECOND + each) is Outcome.APPLIED
    assert book.update(5001, at=7 * SECOND) is Outcome.DUPLICATE, "though it would be the next"
    assert book.is_at(5000, LIVE)
    assert book.update(5001, at=591 * SECOND) is Outcome.APPLIED


def test_after_a_step_of_the_clock_what_another_producer_brings_again_is_no_restart() -> None:
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


def test_what_waited_from_before_a_restart_is_forgotten() -> None:
    book = Driver()
    book.update(5000, at=SECOND)
    book.update(5001, at=SECOND)
    book.update(1, at=2 * SECOND + 1)
    book.update(2, at=2 * SECOND + 1)
    assert book.market.buffered_updates == 2
    assert book.seed(0, at=2 * SECOND + 1) is Outcome.RESEEDED
    assert book.is_at(2, LIVE)


def test_a_restart_lifts_the_floor_of_the_sequence_before() -> None:
    book = live_at(5000)
    book.market.on_unreadable("cannot be decoded")
    later = 5000 * 1000 + 11 * SECOND
    assert book.seed(2, at=later) is Outcome.RESEEDED
    assert book.is_at(2, LIVE)


@pytest.mark.parametrize("at", [0, 10**12])
def test_without_engine_times_nothing_is_taken_for_a_restart(at: int) -> None:
    book = Driver()
    book.market.on_seed(5000, None, scaled([(9, 1)]), scaled([(11, 1)]))
    assert book.update(1, at=at) is Outcome.DUPLICATE
    assert book.seed(2, at=at) is Outcome.IGNORED
    assert book.is_at(5000, LIVE)


@pytest.mark.parametrize(
    ("snapshot", "root"),
    [
        (
            {"origin": "SEED", "last_update_id": 5, "engine_time": None, "received_time": 6, "seed_update_id": 7},
            Root(5, None, 6),
        ),
        ({"origin": "CHECKPOINT", "seed_update_id": 7, "seed_engine_time": 8}, Root(7, 8)),
        ({"origin": "CHECKPOINT", "seed_update_id": 7, "seed_engine_time": 8, "seed_received_time": 9}, Root(7, 8, 9)),
        ({"origin": "CHECKPOINT", "seed_update_id": None, "seed_engine_time": None}, Root(0, None)),
        ({"origin": "SOMETHING_NEW"}, Root(0, None)),
    ],
)
def test_a_record_says_to_which_snapshot_of_the_exchange_it_goes_back(snapshot: dict[str, object], root: Root) -> None:
    assert Root.of_record(snapshot) == root


def test_a_book_says_whose_it_is_and_begins_with_nothing() -> None:
    market = MarketBook("SOL_USDC")
    assert market.symbol == "SOL_USDC"
    assert (market.duplicates, market.breaks, market.dropped_updates, market.buffered_updates) == (0, 0, 0, 0)
    assert (market.engine_time, market.since, market.root, market.candidate_id, market.newest_id) == (None,) * 4 + (0,)
