"""The book that a reader maintains cannot be changed by users."""

import copy
import pickle

import pytest

from backpack_streams.books.followed_book import FollowedBook
from backpack_streams.books.order_book import OrderBook
from backpack_streams.errors import BookError


def followed() -> FollowedBook:
    book = FollowedBook()
    book.follow_snapshot([(100, 1), (99, 2)], [(101, 1)], bids_complete=False)
    assert book.follow_update([(98, 3)], [])
    return book


def test_users_cannot_change_it() -> None:
    book = followed()
    before = book.depth_units()
    for act in (
        lambda: book.apply([(1, 1)], []),
        lambda: book.apply_text([("1", "1")], []),
        lambda: book.load([], []),
    ):
        with pytest.raises(BookError, match=r"change a copy of it: book\.copy\(\)"):
            act()
    assert book.depth_units() == before


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_its_copies_are_plain_books(protocol: int) -> None:
    book = followed()
    for each in (book.copy(), copy.copy(book), copy.deepcopy(book), pickle.loads(pickle.dumps(book, protocol))):
        assert type(each) is OrderBook
        assert (each, each.coverage) == (book, book.coverage)
        assert each.apply([(97, 1)], [])
        assert each != book


def test_its_changes_can_be_followed() -> None:
    book = followed()
    follower = book.follow_changes()
    assert follower.take().is_reset
    book.follow_update([], [(105, 1)])
    assert follower.take().ask_units == [(105, 1, 0)]
