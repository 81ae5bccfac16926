"""Finds the newest record of each key of a topic, backwards from its end, without reading older records."""

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from aiokafka.structs import ConsumerRecord

from backpack_streams.bus.partitioner import partition_of
from backpack_streams.bus.reader import Reader
from backpack_streams.bus.topic_end import read_to_end
from backpack_streams.topic_partition import TopicPartition

__all__ = ["newest_records"]

FIRST_STEP: Final = 64
STEP_GROWTH: Final = 4
LONGEST_STEP: Final = 16_384
RECORDS_WITHOUT_NEWS: Final = 1_000
"""A search for optional keys ends after this many records without a new key."""
BYTES_WITHOUT_NEWS: Final = 256 * 1024 * 1024
"""A search for keys that must exist ends after this many bytes without a new key, ..."""
LOOKED_BACK_MILLIS: Final = 24 * 60 * 60 * 1000
"""... or at this age relative to the newest record: a snapshot that old is of no use."""


async def newest_records(
    reader: Reader,
    starts: Mapping[TopicPartition, int],
    ends: Mapping[TopicPartition, int],
    wants: Callable[[bytes], bool],
    *,
    expected: Collection[bytes] | None = None,
    partitions: int = 0,
    must_exist: Collection[bytes] | bool = False,
) -> dict[bytes, ConsumerRecord]:
    """Return the newest record of each wanted key, undecoded; tombstones do not count. The reader's assignment is replaced.

    Reads backwards from the end in growing steps. A partition is done once all its `expected` keys were found, or once
    `RECORDS_WITHOUT_NEWS` records brought no new key; while a key that `must_exist` is missing, only once these records
    reach back a day, or after `BYTES_WITHOUT_NEWS`. Memory: one record per key, however much is read.

    Args:
        reader: reads the partitions.
        starts: the lowest offset to read, by partition.
        ends: the end offset, by partition.
        wants: returns whether a key is wanted.
        expected: keys that should have a record; None if unknown.
        partitions: number of partitions of the topic, which determines the partition of an expected key.
        must_exist: keys for which the search goes far back; True for any key.

    Raises:
        BusError: Kafka refuses, or a partition could not be read to its end.
    """
    found: dict[bytes, ConsumerRecord] = {}
    missing = _by_partition(expected, partitions)
    upper = {each: ends[each] for each in starts if starts[each] < ends[each]}
    sought = None if isinstance(must_exist, bool) else frozenset(must_exist)

    def goes_far(topic_partition: TopicPartition) -> bool:
        return (
            bool(must_exist)
            if sought is None or missing is None
            else not sought.isdisjoint(missing[topic_partition[1]])
        )

    quiet = {each: _Quiet() for each in upper}
    step = FIRST_STEP
    while upper:
        if missing is not None:
            upper = {each: end for each, end in upper.items() if missing[each[1]]}
        lower = {each: max(starts[each], end - step) for each, end in upper.items()}
        slices = await _read(reader, lower, upper, wants)
        for topic_partition, piece in slices.items():
            new = {key: record for key, record in piece.newest.items() if key not in found}
            found |= new
            if missing is not None:
                missing[topic_partition[1]].difference_update(new)
            quiet[topic_partition].saw(piece, upper[topic_partition] - lower[topic_partition], has_news=bool(new))
        upper = {
            each: offset
            for each, offset in lower.items()
            if offset > starts[each] and not quiet[each].is_in_vain(goes_far=goes_far(each))
        }
        step = min(step * STEP_GROWTH, LONGEST_STEP)
    return found


@dataclass(slots=True)
class _Piece:
    """Result of one step in one partition."""

    newest: dict[bytes, ConsumerRecord] = field(default_factory=dict)
    bytes: int = 0
    stamps_ms: list[int] = field(default_factory=list)
    """Timestamps of some of the records (ms)."""


class _Quiet:
    """Tracks how long a search has found no new key."""

    def __init__(self) -> None:
        self._newest_ms: int | None = None
        self._records = self._bytes = 0
        self._is_long_ago = False

    def saw(self, piece: _Piece, records: int, *, has_news: bool) -> None:
        self._records, self._bytes = (0, 0) if has_news else (self._records + records, self._bytes + piece.bytes)
        if piece.stamps_ms:
            middle_ms = sorted(piece.stamps_ms)[len(piece.stamps_ms) // 2]  # the median ignores one absurd time
            self._newest_ms = middle_ms if self._newest_ms is None else self._newest_ms
            self._is_long_ago = self._newest_ms - middle_ms > LOOKED_BACK_MILLIS

    def is_in_vain(self, *, goes_far: bool) -> bool:
        if not goes_far:
            return self._records >= RECORDS_WITHOUT_NEWS
        return self._bytes >= BYTES_WITHOUT_NEWS or (self._is_long_ago and self._records >= RECORDS_WITHOUT_NEWS)


def _by_partition(keys: Collection[bytes] | None, partitions: int) -> defaultdict[int, set[bytes]] | None:
    if keys is None:
        return None
    by_partition: defaultdict[int, set[bytes]] = defaultdict(set)
    for key in keys:
        by_partition[partition_of(key, partitions)].add(key)
    return by_partition


async def _read(
    reader: Reader,
    lower: Mapping[TopicPartition, int],
    upper: Mapping[TopicPartition, int],
    wants: Callable[[bytes], bool],
) -> dict[TopicPartition, _Piece]:
    """Return the last record of each wanted key in `lower` to `upper`, by partition; values are not decoded."""
    slices = {each: _Piece() for each in lower}

    def take(topic_partition: TopicPartition, records: Sequence[ConsumerRecord]) -> None:
        piece = slices[topic_partition]
        piece.stamps_ms += [int(record.timestamp) for record in (records[0], records[len(records) // 2], records[-1])]
        for record in records:
            piece.bytes += len(record.value or b"")
            if record.key and record.value is not None and wants(record.key):
                piece.newest[record.key] = record

    with reader.searching():
        await read_to_end(reader, lower, upper, take)
    return slices
