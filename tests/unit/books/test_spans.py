"""Ranges of integers behave as the sets they stand for."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from backpack_streams.books.spans import Spans

BOUND = st.integers(0, 60)
STEPS = st.lists(st.tuples(st.booleans(), BOUND, BOUND), max_size=30)


@given(STEPS, BOUND, BOUND)
def test_ranges_are_the_set_of_what_was_put_in_and_not_taken_out(
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
    assert spans.covers(start, end) == (not missing)
    assert spans.first() == (ranges[0] if ranges else None)


@given(st.lists(BOUND, min_size=1))
def test_at_the_limit_nothing_inside_is_forgotten(numbers: list[int]) -> None:
    spans = Spans(most=3)
    for each in numbers:
        spans.add(each, each + 1)
        assert len(spans) <= 3
    assert all(each in spans for each in numbers)
