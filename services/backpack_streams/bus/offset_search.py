"""Where in Kafka's partitions a moment is, by the times of their records, though some records' times are absurd.

Kafka's own index gives the first record that is stamped at the moment or later (KIP-79), so a single record from before the moment with
a time in the far future hides all that follow on it.
"""

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from aiokafka.structs import ConsumerRecord

from backpack_streams.bus.reader import Place, Reader
from backpack_streams.bus.topic_end import read_to_end

__all__ = ["offsets_at"]

_LOOKED_AT: Final = 16
"""So many records from an offset on say what time it is there: most of them have to agree."""
_REACH: Final = 64
"""How many offsets are read for that at first; compaction leaves most of them empty."""
_REACH_GROWTH: Final = 16
_STEPS_AT_MOST: Final = 64


_Stamp = tuple[int, int]
"""An offset and the time of its record (ms)."""


class _Search(NamedTuple):
    """Of one partition: the moment lies in [low, high]; `probe` is looked at next."""

    low: int
    high: int
    probe: int


async def offsets_at(reader: Reader, moments_ms: Mapping[Place, int], ends: Mapping[Place, int]) -> dict[Place, int]:
    """Return by partition the first offset from which on records are stamped at the moment (ms) or later; its end where none is.

    A record counts only if most of the next ones bear it out. The reader is assigned anew.

    Raises:
        BusError: Kafka cannot be reached, or a partition could not be read.
    """
    found: dict[Place, int] = {}
    searches: dict[Place, _Search] = {}
    for place, moment_ms in moments_ms.items():
        offset = await reader.offset_at(place, max(0, moment_ms))
        end = ends[place]
        if offset is None or offset >= end:
            found[place] = end
        else:
            searches[place] = _Search(offset, end, offset)
    for _ in range(_STEPS_AT_MOST):
        if not searches:
            break
        stamps = await _stamps(reader, {place: each.probe for place, each in searches.items()}, ends)
        for place, search in list(searches.items()):
            narrowed = _narrow(search, stamps[place], moments_ms[place])
            if isinstance(narrowed, int):
                found[place] = narrowed
                del searches[place]
            else:
                searches[place] = narrowed
    return found | {place: each.low for place, each in searches.items()}


def _narrow(search: _Search, stamps: Sequence[_Stamp], moment_ms: int) -> _Search | int:
    """Halve what is left, or return the offset. The first probe is where Kafka's index points, which mostly is right."""
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
    """The offset before which the most records are from before the moment, and from which on the most are not."""
    misplaced = best = sum(stamp < moment_ms for _, stamp in stamps)
    border = stamps[0][0]
    for index, (offset, stamp) in enumerate(stamps):
        misplaced += 1 if stamp >= moment_ms else -1
        if misplaced <= best:
            best = misplaced
            border = stamps[index + 1][0] if index + 1 < len(stamps) else offset + 1
    return border


async def _stamps(reader: Reader, starts: Mapping[Place, int], ends: Mapping[Place, int]) -> dict[Place, list[_Stamp]]:
    """Offsets and times of the first records from these offsets on."""
    stamps: dict[Place, list[_Stamp]] = {place: [] for place in starts}

    def take(place: Place, records: Sequence[ConsumerRecord]) -> None:
        stamps[place] += [
            (record.offset, int(record.timestamp)) for record in records[: _LOOKED_AT - len(stamps[place])]
        ]

    left, reach = dict(starts), _REACH
    while left:
        until = {place: min(ends[place], start + reach) for place, start in left.items()}
        with reader.searching():
            await read_to_end(reader, left, until, take)
        left = {place: until[place] for place in left if len(stamps[place]) < _LOOKED_AT and until[place] < ends[place]}
        reach *= _REACH_GROWTH
    return stamps
