"""The recent states of a book: every id between the oldest copy and the newest, exactly as it was."""

import pytest

from backpack_streams.books.order_book import OrderBook
from backpack_streams.books.recent_books import KEPT_COPIES, KEPT_MICROSECONDS, RecentBooks
from backpack_streams.books.update_buffer import Update
from backpack_streams.errors import BookError


def moved(recent: RecentBooks, updates: int, step_us: int = 1) -> OrderBook:
    """A book whose best bid's quantity is its update id."""
    book = OrderBook()
    book.load([(10, 100)], [(20, 1)])
    recent.restart(book, 100, 0)
    for update_id in range(101, 101 + updates):
        update = Update(update_id, update_id, (update_id - 100) * step_us, [(10, update_id)], [])
        book.apply(update.bids, update.asks)
        recent.append(book, update)
    return book


def quantity_at(recent: RecentBooks, update_id: int) -> int | None:
    past = recent.book_at(update_id)
    return None if past is None else past.book.depth_units()[0][0][1]


@pytest.mark.parametrize("updates_a_copy", [1, 2, 3, 50])
def test_every_kept_id_can_be_rebuilt(updates_a_copy: int) -> None:
    recent = RecentBooks(updates_a_copy)
    moved(recent, 20)
    first = recent.first_id
    assert first is not None
    assert [quantity_at(recent, each) for each in range(first, 121)] == list(range(first, 121))
    assert quantity_at(recent, first - 1) is None
    assert quantity_at(recent, 121) is None
    assert recent.last_id == 120


def test_rebuilding_an_old_state_changes_nothing() -> None:
    recent = RecentBooks(3)
    book = moved(recent, 10)
    past = recent.book_at(105)
    assert past is not None
    past.book.apply([(10, 0)], [])
    assert quantity_at(recent, 105) == 105
    assert book.depth_units()[0] == [(10, 110)]


def test_times_are_those_of_the_surrounding_updates() -> None:
    recent = RecentBooks(3)
    moved(recent, 10)
    for update_id in (101, 103, 109):
        past = recent.book_at(update_id)
        assert past is not None
        assert (past.engine_time, past.next_time) == (update_id - 100, update_id - 99)
    last = recent.book_at(110)
    assert last is not None
    assert (last.engine_time, last.next_time) == (10, None)


def test_kept_states_are_bounded_in_number_and_expire_by_time() -> None:
    busy = RecentBooks(2)
    moved(busy, 1000)
    assert len(busy) <= 2 * KEPT_COPIES
    slow = RecentBooks(2)
    moved(slow, 20, step_us=KEPT_MICROSECONDS // 4)
    assert len(slow) <= 8
    assert quantity_at(slow, 117) == 117


def test_before_a_restart_and_after_a_loss_nothing_is_known() -> None:
    recent = RecentBooks()
    book = OrderBook()
    recent.append(book, Update(1, 1, 1, [], []))
    assert (recent.first_id, recent.last_id, recent.book_at(1)) == (None, 0, None)
    moved(recent, 5)
    recent.forget()
    assert recent.book_at(103) is None
    with pytest.raises(BookError, match="cannot be made"):
        RecentBooks(0)


def test_an_update_that_does_not_follow_starts_again() -> None:
    recent = RecentBooks()
    book = moved(recent, 5)
    for update in (Update(107, 107, 7, [(10, 1)], []), Update(108, 108, 8, [(10, 2)], [])):
        book.apply(update.bids, update.asks)
        recent.append(book, update)
    assert (recent.first_id, recent.last_id) == (107, 108)
    assert quantity_at(recent, 107) == 1
