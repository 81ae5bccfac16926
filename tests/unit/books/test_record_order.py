"""Whatever comes how often and in which order: each record once, memory bounded."""

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backpack_streams.books.record_order import CandleOrder, Recent, identity_of

MINUTE = 60_000_000


def states(order: CandleOrder, *candles: tuple[int, int, bool]) -> list[tuple[int, int, bool]]:
    """Those of `candles` (minute, event time, closed) that are given."""
    return [
        each for each in candles if order.offer(each[0] * MINUTE, (each[0] + 1) * MINUTE, each[1], each[2]) is not None
    ]


def test_a_candle_is_given_closed_once_and_open_states_only_before_that() -> None:
    order = CandleOrder()
    assert states(order, (1, 5, False), (1, 5, False), (1, 7, False), (1, 6, False)) == [(1, 5, False), (1, 7, False)]
    assert states(order, (1, 9, True), (1, 0, True), (1, 10, False)) == [(1, 9, True)]
    assert states(order, (3, 20, False), (2, 0, True), (3, 21, False)) == [(3, 20, False), (2, 0, True), (3, 21, False)]
    assert order.duplicates == 4


@given(st.lists(st.tuples(st.integers(0, 8), st.integers(0, 5), st.booleans())))
def test_no_closed_candle_twice_in_any_order(candles: list[tuple[int, int, bool]]) -> None:
    got = states(CandleOrder(), *candles)
    closed = [each[0] for each in got if each[2]]
    assert sorted(closed) == sorted({each[0] for each in candles if each[2]})
    assert len(got) == len(set(got)) or len(closed) == len(set(closed))
    for at, each in enumerate(got):
        assert each[2] or all(other[0] != each[0] or not other[2] for other in got[:at])


@pytest.mark.parametrize(
    ("name", "one", "other", "same"),
    [
        ("Liquidation", {"event_time": 1, "price": 2, "received_time": 3}, {"received_time": 9}, True),
        ("Liquidation", {"event_time": 1, "price": 2, "received_time": 3}, {"price": 4}, False),
        ("Ticker", {"event_time": None, "engine_time": None, "received_time": 3}, {"received_time": 4}, False),
        ("Ticker", {"event_time": 5, "engine_time": None, "received_time": 3}, {"received_time": 4}, True),
        ("FundingRate", {"interval_end_time": 1, "is_settled": True, "funding_rate": 1}, {"received_time": 4}, True),
        ("Market", {"event_time": None, "raw": "{}", "received_time": 3}, {"received_time": 4}, True),
    ],
)
def test_copies_of_a_record_are_told_by_what_it_says(
    name: str, one: dict[str, Any], other: dict[str, Any], same: bool
) -> None:
    assert (identity_of(name, one) == identity_of(name, one | other)) is same


@given(st.lists(st.integers(0, 20)), st.integers(1, 5))
def test_only_so_many_records_are_remembered(identities: list[int], most: int) -> None:
    recent = Recent(most)
    fresh = [each for each in identities if recent.offer(each)]
    assert len(recent._seen) <= most
    assert recent.duplicates + len(fresh) == len(identities)
    assert set(fresh) == set(identities)
    assert all(a != b for a, b in itertools.pairwise(fresh))
