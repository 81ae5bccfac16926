"""Which partitions of updates are read, how far, and which of them are still in the past. Sans I/O."""

from collections.abc import Iterator
from typing import NamedTuple

from backpack_streams.bus.reader import Place

__all__ = ["Partitions"]


class _Gaps(NamedTuple):
    """For one partition of updates: gap records from `start` on are news to it, and those up to `end` are read before it is shown."""

    start: int
    end: int


class Partitions:
    """Told what is opened, closed and read."""

    def __init__(self, gap_topic: str) -> None:
        self.positions: dict[Place, int] = {}
        """By partition of any topic, the offset of the record that comes next."""
        self.behind: dict[Place, int] = {}
        """Partitions of updates that are still in the past, with the offset at which they no longer are."""
        self.beginnings: dict[Place, int] = {}
        """The offset from which on all updates of a partition were read, or can be, with none missing."""
        self._gap_place: Place = (gap_topic, 0)
        self._gaps: dict[Place, _Gaps] = {}

    def open(self, place: Place, start: int, end: int, gaps: tuple[int, int]) -> None:
        """Read a partition from `start` on; it ended at `end`. `gaps`: the same of their topic, which is read again from there."""
        gaps_start, gaps_end = gaps
        position = self.positions.get(self._gap_place, gaps_start) if self._gaps else gaps_start
        for each, known in self._gaps.items():  # what is read again for the new one is no news to the others
            self._gaps[each] = _Gaps(max(known.start, position), known.end)
        self.positions[self._gap_place] = min(position, gaps_start)
        self._gaps[place] = _Gaps(gaps_start, gaps_end)
        self.positions[place] = self.beginnings[place] = start
        self.behind[place] = end

    def close(self, place: Place) -> None:
        """Forget a partition."""
        for of_partition in (self.positions, self.behind, self.beginnings, self._gaps):
            of_partition.pop(place, None)

    @property
    def opened(self) -> frozenset[Place]:
        """The partitions of updates that were opened, and not closed."""
        return frozenset(self._gaps)

    def is_open(self, place: Place) -> bool:
        """Whether it was opened."""
        return place in self._gaps

    def is_news(self, place: Place, gap_offset: int) -> bool:
        """Whether a gap record of a market in this open partition was not told before."""
        return place in self._gaps and gap_offset >= self._gaps[place].start

    def caught_up(self) -> Iterator[Place]:
        """The partitions that are in the past no more, each once."""
        gaps_position = self.positions.get(self._gap_place, 0)
        for place, end in list(self.behind.items()):
            gaps = self._gaps.get(place)
            if self.positions.get(place, 0) >= end and (gaps is None or gaps_position >= gaps.end):
                del self.behind[place]
                yield place
