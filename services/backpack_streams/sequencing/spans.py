"""Ranges of integers: compact sets of ids or times that are mostly contiguous. Sans I/O."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator

__all__ = ["Span", "Spans"]

Span = tuple[int, int]
"""From the first integer (inclusive) to the end (exclusive)."""


class Spans:
    """A set of integers, stored as disjoint, non-adjacent ranges in ascending order.

    Above `most` ranges, the two lowest are merged; the integers between them then count as inside.
    """

    __slots__ = ("_ends", "_most", "_starts")

    def __init__(self, most: int = 1 << 16) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []
        self._most = most

    def __iter__(self) -> Iterator[Span]:
        return iter(list(zip(self._starts, self._ends, strict=True)))

    def __len__(self) -> int:
        return len(self._starts)

    def __contains__(self, number: int) -> bool:
        at = bisect_right(self._starts, number) - 1
        return at >= 0 and number < self._ends[at]

    def covers(self, start: int, end: int) -> bool:
        """Whether the set contains all of `start` (inclusive) to `end` (exclusive)."""
        at = bisect_right(self._starts, start) - 1
        return start >= end or (at >= 0 and end <= self._ends[at])

    def add(self, start: int, end: int) -> None:
        """Add all integers from `start` (inclusive) to `end` (exclusive)."""
        if start >= end:
            return
        ends = self._ends
        if ends and start == ends[-1]:  # the usual case: the next id
            ends[-1] = end
            return
        low, high = bisect_left(ends, start), bisect_right(self._starts, end)
        if low < high:
            start, end = min(start, self._starts[low]), max(end, ends[high - 1])
        self._starts[low:high], ends[low:high] = [start], [end]
        if len(ends) > self._most:
            del self._starts[1], ends[0]

    def remove(self, start: int, end: int) -> None:
        """Remove all integers from `start` (inclusive) to `end` (exclusive)."""
        if start >= end:
            return
        low, high = bisect_right(self._ends, start), bisect_left(self._starts, end)
        if low >= high:
            return
        pieces = [(self._starts[low], start), (end, self._ends[high - 1])]
        kept = [(first, last) for first, last in pieces if first < last]
        self._starts[low:high], self._ends[low:high] = [each[0] for each in kept], [each[1] for each in kept]

    def first(self) -> Span | None:
        """The lowest range; None if the set is empty."""
        return (self._starts[0], self._ends[0]) if self._starts else None

    def missing_in(self, start: int, end: int) -> list[Span]:
        """The ranges of `start` (inclusive) to `end` (exclusive) that are not in the set."""
        gaps = []
        for inside_start, inside_end in self:
            if inside_end <= start:
                continue
            if inside_start >= end:
                break
            if inside_start > start:
                gaps.append((start, inside_start))
            start = inside_end
        if start < end:
            gaps.append((start, end))
        return gaps
