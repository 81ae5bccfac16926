"""The keeper with which most tests of the book builder start."""

import pytest

from backpack_streams.book_builder.keeper import BookKeeper
from unit.book_builder.fed_keeper import new_keeper, snapshot, take


@pytest.fixture
def keeper() -> BookKeeper:
    """One partition, caught up, with a book at update 100."""
    keeper = new_keeper()
    take(keeper, 0.0, snapshot(100))
    return keeper
