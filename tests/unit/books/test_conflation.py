"""The latest update of each market, for slow consumers."""

import pytest

from backpack_streams.books.conflation import Latest


def test_the_latest_of_each_market_is_given_in_the_order_of_their_first_change() -> None:
    latest: Latest[int] = Latest()
    for symbol, number in (("A", 1), ("B", 2), ("A", 3)):
        latest.put(symbol, number)
    assert len(latest) == 2
    assert latest.replaced == 1
    assert [latest.take(), latest.take()] == [3, 2]
    with pytest.raises(KeyError):
        latest.take()


def test_it_never_holds_more_than_one_update_per_market() -> None:
    latest: Latest[int] = Latest()
    for number in range(10_000):
        latest.put(f"M{number % 7}", number)
    assert len(latest) == 7
    assert latest.replaced == 10_000 - 7
