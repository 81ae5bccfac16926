"""Finds the offsets of a moment by the timestamps of records, even if some timestamps are absurd.

Kafka's index returns the first record stamped at or after the moment (KIP-79), so a single earlier record with a
timestamp in the far future hides all records after it.
"""

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from aiokafka.structs import ConsumerRecord

from backpack_streams.bus.reader import Reader
from backpack_streams.bus.topic_end import read_to_end
from backpack_streams.topic_partition import TopicPartition

__all__ = ["offsets_at"]

_LOOKED_AT: Final = 16
"""Number of consecutive records whose majority decides the time at an offset."""
_REACH: Final = 64
"""Number of offsets read at first to find them; compaction may have emptied most."""
_REACH_GROWTH: Final = 16
_STEPS_AT_MOST: Final = 64


_Stamp = tuple[int, int]
"""An offset and its record's timestamp (ms since the Unix epoch)."""


class _Search(NamedTuple):
    """The state of one partition's search: the result lies in [low, high], and `probe` is examined next."""

    low: int
    high: int
    probe: int


async def offsets_at(
    reader: Reader, moments_ms: Mapping[TopicPartition, int], ends: Mapping[TopicPartition, int]
) -> dict[TopicPartition, int]:
    """Return the first offset of each partition from which records are stamped at or after a moment; the partition's end
    if there is none.

    An out-of-place timestamp does not count unless most of the following records agree with it. Replaces the reader's
    assignment.

    Args:
        reader: a connected reader.
        moments_ms: the moment for each partition (ms since the Unix epoch).
        ends: the end offset of each partition.

    Raises:
        BusError: Kafka is unreachable, or a partition could not be read.
    """
    found: dict[TopicPartition, int] = {}
    searches: dict[TopicPartition, _Search] = {}
    for topic_partition, moment_ms in moments_ms.items():
        offset = await reader.offset_at(topic_partition, max(0, moment_ms))
        end = ends[topic_partition]
        if offset is None or offset >= end:
            found[topic_partition] = end
        else:
            searches[topic_partition] = _Search(offset, end, offset)
    for _ in range(_STEPS_AT_MOST):
        if not searches:
            break
        stamps = await _stamps(
            reader, {topic_partition: each.probe for topic_partition, each in searches.items()}, ends
        )
        for topic_partition, search in list(searches.items()):
            narrowed = _narrow(search, stamps[topic_partition], moments_ms[topic_partition])
            if isinstance(narrowed, int):
                found[topic_partition] = narrowed
                del searches[topic_partition]
            else:
                searches[topic_partition] = narrowed
    return found | {topic_partition: each.low for topic_partition, each in searches.items()}


def _narrow(search: _Search, stamps: Sequence[_Stamp], moment_ms: int) -> _Search | int:
    """Halve the range, or return the result. The first probe is the answer of Kafka's index, which is usually right."""
    low, high, probe = search
    later = sum(stamp >= moment_ms for _, stamp in stamps)
    if later * 2 < len(stamps):
        low = stamps[0][0] + 1
    elif later == len(stamps) and probe > low:
        high = probe
    else:
        return _border(stamps, moment_ms) if stamps else high
    return high if low >= high else _Search(low, high, (low + high) // 2)


def _border(stamps: Sequence[_Stamp], moment_ms: int) -> int:
    """Return the offset that best separates earlier records from later ones: the split with the fewest records on the wrong side."""
    misplaced = best = sum(stamp < moment_ms for _, stamp in stamps)
    border = stamps[0][0]
    for index, (offset, stamp) in enumerate(stamps):
        misplaced += 1 if stamp >= moment_ms else -1
        if misplaced <= best:
            best = misplaced
            border = stamps[index + 1][0] if index + 1 < len(stamps) else offset + 1
    return border


async def _stamps(
    reader: Reader, starts: Mapping[TopicPartition, int], ends: Mapping[TopicPartition, int]
) -> dict[TopicPartition, list[_Stamp]]:
    """Return offsets and timestamps of the first records at or after each start."""
    stamps: dict[TopicPartition, list[_Stamp]] = {each: [] for each in starts}

    def take(topic_partition: TopicPartition, records: Sequence[ConsumerRecord]) -> None:
        stamps[topic_partition] += [
            (record.offset, int(record.timestamp)) for record in records[: _LOOKED_AT - len(stamps[topic_partition])]
        ]

    left, reach = dict(starts), _REACH
    while left:
        until = {each: min(ends[each], start + reach) for each, start in left.items()}
        with reader.searching():
            await read_to_end(reader, left, until, take)
        left = {each: until[each] for each in left if len(stamps[each]) < _LOOKED_AT and until[each] < ends[each]}
        reach *= _REACH_GROWTH
    return stamps
