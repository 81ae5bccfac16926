import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backpack_streams.books.market_book import MarketBook, Outcome, Status
from backpack_streams.books.update_buffer import BOOK_BYTES, TOTAL_BYTES, BufferBudget, Update, UpdateBuffer
from backpack_streams.errors import BookError


def update(first_id: int, last_id: int) -> Update:
    return Update(first_id, last_id, None, (), ())


def test_the_oldest_update_is_dropped_first_and_counted() -> None:
    buffer = UpdateBuffer(2)
    for number in (2, 1, 3, 4):
        buffer.append(update(number, number))
    assert [kept.last_id for kept in buffer] == [3, 4]
    assert (buffer.dropped, buffer.dropped_to, buffer.dropped_ever) == (2, 2, 2)
    assert [kept.last_id for kept in buffer.take_all()] == [3, 4]
    assert (len(buffer), buffer.dropped, buffer.dropped_to, buffer.dropped_ever) == (0, 0, 0, 2)


def test_updates_are_ordered_by_id_and_not_by_arrival() -> None:
    buffer = UpdateBuffer(9)
    for kept in (update(7, 9), update(1, 3), update(4, 6), update(5, 6), update(1, 3)):
        buffer.append(kept)
    assert buffer.first_after(2) == update(1, 3)
    assert buffer.first_after(3) == update(4, 6)
    assert buffer.first_after(9) is None
    assert len(buffer) == 5
    taken = [update(1, 3), update(1, 3), update(4, 6), update(5, 6), update(7, 9)]
    assert list(buffer.take_all()) == taken


def test_reach_is_the_last_id_of_consecutive_updates() -> None:
    buffer = UpdateBuffer(3)
    assert buffer.reach(0) == 0
    for kept in (update(4, 6), update(1, 3), update(8, 9)):
        buffer.append(kept)
    assert [buffer.reach(last_id) for last_id in (0, 1, 3, 6, 7, 9)] == [6, 1, 6, 6, 9, 9]
    buffer.append(update(7, 7))  # which displaced 4 to 6
    assert [buffer.reach(last_id) for last_id in (0, 3, 6)] == [3, 3, 9]
    buffer.clear()
    assert buffer.reach(6) == 6
    buffer.append(update(1, 0))  # runs backwards: leads nowhere
    assert buffer.reach(0) == 0


def test_a_buffer_of_size_zero_is_refused() -> None:
    with pytest.raises(BookError):
        UpdateBuffer(0)


def full_update(number: int, levels: int = 2) -> Update:
    """As received: integers, with lists of its own."""
    side = [((86_700 + number + each) * 10**17, 123 * 10**15 + number + each) for each in range(levels)]
    return Update(
        number, number, 1_700_000_000_000_000 + number, side, [(price + 10**24, size) for price, size in side]
    )


def test_updates_come_out_unchanged() -> None:
    buffer = UpdateBuffer(9)
    kept = [full_update(1), Update(2, 3, None, (), [(10**40, -1)])]
    for each in kept:
        buffer.append(each)
    assert list(buffer.take_all()) == kept


def test_one_buffer_stays_within_its_bytes_whatever_the_size_of_an_update() -> None:
    budget = BufferBudget(total_bytes=1 << 20, book_bytes=64 << 10)
    buffer = UpdateBuffer(20_000, budget)
    for number in range(1, 1001):
        buffer.append(full_update(number))
        assert buffer.held_bytes <= 64 << 10
    assert 100 < len(buffer) < 1000
    assert buffer.dropped_to == 1000 - len(buffer)
    buffer.append(full_update(1001, levels=5000))  # more than the whole limit
    assert (len(buffer), buffer.held_bytes, buffer.dropped_to) == (0, 0, 1001)
    assert budget.dropped == buffer.dropped_ever == 1001


def test_beyond_the_total_the_oldest_updates_of_the_fullest_buffer_are_dropped() -> None:
    budget = BufferBudget(total_bytes=256 << 10)
    small, large = UpdateBuffer(20_000, budget), UpdateBuffer(20_000, budget)
    for number in range(1, 101):
        small.append(full_update(number))
    for number in range(1, 5001):
        large.append(full_update(number))
        assert budget.held_bytes <= budget.total_bytes
    assert (len(small), small.dropped) == (100, 0)
    assert large.dropped_to == large.dropped == 5000 - len(large)
    for number in range(101, 5001):
        small.append(full_update(number))
    assert 0.8 < len(small) / len(large) < 1.25


def test_a_dropped_book_frees_its_room_for_others() -> None:
    budget = BufferBudget(total_bytes=256 << 10)
    for _ in range(5):
        buffer = UpdateBuffer(20_000, budget)
        for number in range(1, 801):
            buffer.append(full_update(number))
        assert buffer.dropped == 0
        del buffer
    assert (budget.held_bytes, budget.dropped) == (0, 0)


STEPS = st.lists(
    st.tuples(st.integers(0, 2), st.sampled_from(["append"] * 6 + ["reach", "clear", "take"]), st.integers(0, 30)),
    max_size=120,
)


@given(steps=STEPS)
def test_counted_bytes_are_the_held_bytes(steps: list[tuple[int, str, int]]) -> None:
    """Against plain lists: the newest remain, in order; the limits hold after every step."""
    budget = BufferBudget(total_bytes=6_000, book_bytes=4_000)
    buffers = [UpdateBuffer(9, budget) for _ in range(3)]
    plain: list[list[Update]] = [[], [], []]
    for which, what, number in steps:
        buffer, kept = buffers[which], plain[which]
        if what == "append":
            buffer.append(full_update(number, levels=number % 4))
            kept.append(full_update(number, levels=number % 4))
        elif what == "reach":
            buffer.reach(number)
        elif what == "clear":
            buffer.clear()
        else:
            assert list(buffer.take_all()) == sorted(kept, key=lambda each: (each.last_id, each.first_id))
        if what in ("clear", "take"):
            kept.clear()
        for each, held in zip(buffers, plain, strict=True):
            gone = held[: len(held) - len(each)]
            del held[: len(held) - len(each)]
            assert list(each) == held
            assert each.dropped_to >= max((update.last_id for update in gone), default=0)
            assert each.held_bytes <= budget.book_bytes
        assert budget.held_bytes == sum(each.held_bytes for each in buffers) <= budget.total_bytes


def test_books_without_any_snapshot_stay_within_the_memory_limit() -> None:
    """Measured memory, except what other tests hold. Each book in turn gets more than its share."""
    budget = BufferBudget(total_bytes=4 << 20)
    books = [MarketBook(f"M{number}", budget=budget) for number in range(30)]
    tracemalloc.start()
    try:
        for number in range(1, 1_001):
            for book in books:
                book.on_update(*full_update(number))
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert budget.dropped > 0
    assert 0.6 < held / budget.total_bytes < 1
    assert all(book.status is Status.SYNCING and book.buffered_updates > 300 for book in books)
    first = 1_001 - books[0].buffered_updates
    assert books[0].reason == f"no snapshot yet; buffer full, oldest updates dropped: {first - 1}"
    assert books[0].on_snapshot(first - 2, None, [], []) is Outcome.REFUSED
    assert books[0].on_snapshot(first - 1, None, [], []) is Outcome.RESYNCED
    assert books[0].last_update_id == 1_000


def test_one_book_cannot_take_the_whole_limit() -> None:
    assert 4 * BOOK_BYTES < TOTAL_BYTES
