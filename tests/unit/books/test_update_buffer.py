import pytest

from backpack_streams.books.update_buffer import Update, UpdateBuffer
from backpack_streams.errors import BookError


def update(first_id: int, last_id: int) -> Update:
    return Update(first_id, last_id, None, (), ())


def test_the_oldest_goes_first_and_is_counted() -> None:
    buffer = UpdateBuffer(2)
    assert [buffer.append(update(n, n)) for n in (1, 2, 3, 4)] == [None, None, update(1, 1), update(2, 2)]
    assert [kept.last_id for kept in buffer] == [3, 4]
    assert buffer.dropped == 2
    assert [kept.last_id for kept in buffer.take_all()] == [3, 4]
    assert (len(buffer), buffer.dropped) == (0, 0)


def test_the_first_after_a_seed_is_by_arrival_not_by_id() -> None:
    buffer = UpdateBuffer(9)
    for kept in (update(1, 3), update(7, 9), update(4, 6)):
        buffer.append(kept)
    assert buffer.first_after(2) == update(1, 3)
    assert buffer.first_after(3) == update(7, 9)
    assert buffer.first_after(9) is None


def test_a_buffer_that_holds_nothing_is_refused() -> None:
    with pytest.raises(BookError):
        UpdateBuffer(0)
