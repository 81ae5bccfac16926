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


def test_ids_tell_what_comes_first_not_the_arrival() -> None:
    buffer = UpdateBuffer(9)
    for kept in (update(7, 9), update(1, 3), update(4, 6), update(5, 6), update(1, 3)):
        buffer.append(kept)
    assert buffer.first_after(2) == update(1, 3)
    assert buffer.first_after(3) == update(4, 6)
    assert buffer.first_after(9) is None
    assert len(buffer) == 5
    taken = [update(1, 3), update(1, 3), update(4, 6), update(5, 6), update(7, 9)]
    assert buffer.take_all() == taken


def test_how_far_updates_follow_on_each_other_is_known() -> None:
    buffer = UpdateBuffer(3)
    assert buffer.reach(0) == 0
    for kept in (update(4, 6), update(1, 3), update(8, 9)):
        buffer.append(kept)
    assert [buffer.reach(last_id) for last_id in (0, 1, 3, 6, 7, 9)] == [6, 1, 6, 6, 9, 9]
    buffer.append(update(7, 7))  # and 4 to 6 went for it
    assert [buffer.reach(last_id) for last_id in (0, 3, 6)] == [3, 3, 9]
    buffer.clear()
    assert buffer.reach(6) == 6
    buffer.append(update(1, 0))  # runs backwards: leads nowhere
    assert buffer.reach(0) == 0


def test_a_buffer_that_holds_nothing_is_refused() -> None:
    with pytest.raises(BookError):
        UpdateBuffer(0)
    assert UpdateBuffer(1).append(update(1, 1)) is None
