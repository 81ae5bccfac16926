"""Tracks which depth partitions are read, how far, and which are still catching up. Sans I/O."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from backpack_streams.topic_partition import TopicPartition

__all__ = ["Partitions"]


class _Gaps(NamedTuple):
    """For one depth partition: gap records from `start` on are new to it, and it shows its books after those up to `end`."""

    start: int
    end: int


class Partitions:
    """Positions and states of the partitions; the reader reports what it opens, closes and reads."""

    def __init__(self, gap_topic: str) -> None:
        """Begin without partitions.

        Args:
            gap_topic: full name of the gap topic, whose partition 0 is read.
        """
        self.positions: dict[TopicPartition, int] = {}
        """Offset of the next record, by partition of any topic."""
        self.behind: dict[TopicPartition, int] = {}
        """Depth partitions that are still catching up, with the offset at which they have caught up."""
        self.beginnings: dict[TopicPartition, int] = {}
        """First offset of each depth partition from which all updates were read, or can be, with none missing."""
        self.ends: dict[TopicPartition, int] = {}
        """End offset of each depth partition, looked up after the snapshots to begin with were read."""
        self._gap_partition: TopicPartition = (gap_topic, 0)
        self._gaps: dict[TopicPartition, _Gaps] = {}

    def begin(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Note from where partitions are read. Those that are read already keep their positions, which show what was skipped."""
        for topic_partition, offset in offsets.items():
            self.positions.setdefault(topic_partition, offset)

    def open(self, topic_partition: TopicPartition, start: int, end: int, gaps: tuple[int, int]) -> None:
        """Read a partition from offset `start`.

        Args:
            topic_partition: the depth partition.
            start: offset of the first record to read.
            end: offset at which the partition has caught up.
            gaps: first and end offset of the records to read in the gap topic, which is read again from there.
        """
        gaps_start, gaps_end = gaps
        position = self.positions.get(self._gap_partition, gaps_start) if self._gaps else gaps_start
        for each, known in self._gaps.items():  # gap records read again for the new partition are not new to the others
            self._gaps[each] = _Gaps(max(known.start, position), known.end)
        self.positions[self._gap_partition] = min(position, gaps_start)
        self._gaps[topic_partition] = _Gaps(gaps_start, gaps_end)
        self.positions[topic_partition] = self.beginnings[topic_partition] = start
        self.behind[topic_partition] = end

    def follows(self, topic_partition: TopicPartition, offset: int, *, is_new: bool) -> bool:
        """Return whether all updates from an offset of a depth partition on were read or can be, if a snapshot names it.

        A snapshot that this reader began with (not `is_new`) and that names an offset past the end is from before the topic was
        recreated.
        """
        if not is_new and offset > self.ends.get(topic_partition, offset):
            return False
        return offset >= self.beginnings.get(topic_partition, 0)

    def begin_anew(self, topic_partition: TopicPartition, offset: int) -> None:
        """Read a partition from `offset`, which lies before its position: it was recreated, so what is known of its offsets is void."""
        self.positions[topic_partition] = offset
        if topic_partition in self.behind:
            self.behind[topic_partition] = offset
        if topic_partition in self.beginnings:
            self.beginnings[topic_partition] = offset
        if topic_partition == self._gap_partition:
            self._gaps = dict.fromkeys(self._gaps, _Gaps(offset, offset))

    def close(self, topic_partition: TopicPartition) -> None:
        """Forget a partition."""
        for of_partition in (self.positions, self.behind, self.beginnings, self.ends, self._gaps):
            of_partition.pop(topic_partition, None)

    @property
    def opened(self) -> frozenset[TopicPartition]:
        """The depth partitions that are open."""
        return frozenset(self._gaps)

    def is_open(self, topic_partition: TopicPartition) -> bool:
        """Return whether a depth partition is open."""
        return topic_partition in self._gaps

    def is_news(self, topic_partition: TopicPartition, gap_offset: int) -> bool:
        """Return whether a gap record is new to an open partition."""
        return topic_partition in self._gaps and gap_offset >= self._gaps[topic_partition].start

    def caught_up(self) -> Iterator[TopicPartition]:
        """Yield each partition that has caught up, once."""
        gaps_position = self.positions.get(self._gap_partition, 0)
        for topic_partition, end in list(self.behind.items()):
            gaps = self._gaps.get(topic_partition)
            if self.positions.get(topic_partition, 0) >= end and (gaps is None or gaps_position >= gaps.end):
                del self.behind[topic_partition]
                yield topic_partition
