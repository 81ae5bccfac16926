"""Ranges of integers behave as the sets they represent."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backpack_streams.sequencing.spans import Spans

BOUND = st.integers(0, 16)
STEPS = st.lists(st.tuples(st.booleans(), BOUND, BOUND), max_size=30)


@given(STEPS, BOUND, BOUND)
def test_ranges_equal_the_set_of_what_was_added_and_not_removed(
    steps: list[tuple[bool, int, int]], start: int, end: int
) -> None:
    spans, model = Spans(), set[int]()
    for adds, first, last in steps:
        if adds:
            spans.add(first, last)
            model |= set(range(first, last))
        else:
            spans.remove(first, last)
            model -= set(range(first, last))
    ranges = list(spans)
    assert {each for first, last in ranges for each in range(first, last)} == model
    assert all(first < last for first, last in ranges)
    assert all(before[1] < after[0] for before, after in itertools.pairwise(ranges))
    assert {each for each in range(60) if each in spans} == {each for each in model if each < 60}
    missing = {each for first, last in spans.missing_in(start, end) for each in range(first, last)}
    assert missing == set(range(start, end)) - model
    assert all(first < last for first, last in spans.missing_in(start, end))
    assert spans.covers(start, end) == (not missing)
    assert spans.first() == (ranges[0] if ranges else None)


@given(st.lists(BOUND, min_size=1))
def test_at_the_limit_no_member_is_forgotten(numbers: list[int]) -> None:
    spans = Spans(most=3)
    for each in numbers:
        spans.add(each, each + 1)
        assert len(spans) <= 3
    assert all(each in spans for each in numbers)


def test_at_the_limit_the_two_lowest_ranges_merge() -> None:
    spans = Spans(most=3)
    for each in (30, 20, 10):
        spans.add(each, each + 1)
    assert list(spans) == [(10, 11), (20, 21), (30, 31)]
    spans.add(0, 1)
    assert list(spans) == [(0, 11), (20, 21), (30, 31)]


@pytest.mark.parametrize(
    ("start", "end", "left"),
    [
        (2, 4, [(10, 14), (20, 24)]),
        (8, 10, [(10, 14), (20, 24)]),
        (14, 20, [(10, 14), (20, 24)]),
        (10, 12, [(12, 14), (20, 24)]),
        (12, 14, [(10, 12), (20, 24)]),
        (11, 13, [(10, 11), (13, 14), (20, 24)]),
        (12, 21, [(10, 12), (21, 24)]),
        (10, 24, []),
        (12, 12, [(10, 14), (20, 24)]),
        (13, 11, [(10, 14), (20, 24)]),
    ],
)
def test_removing_a_range_cuts_the_ranges_it_overlaps(start: int, end: int, left: list[tuple[int, int]]) -> None:
    spans = Spans()
    spans.add(20, 24)
    spans.add(10, 14)
    spans.remove(start, end)
    assert list(spans) == left


def test_missing_ranges_are_never_empty() -> None:
    spans = Spans()
    spans.add(10, 14)
    spans.add(20, 24)
    assert spans.missing_in(8, 26) == [(8, 10), (14, 20), (24, 26)]
    assert spans.missing_in(10, 24) == [(14, 20)]
    assert spans.missing_in(14, 20) == [(14, 20)]
    assert spans.missing_in(10, 14) == spans.missing_in(12, 12) == []
    assert spans.covers(10, 14)
    assert not spans.covers(10, 15)
    assert spans.covers(15, 15)
    assert spans.first() == (10, 14)
    assert Spans().first() is None
