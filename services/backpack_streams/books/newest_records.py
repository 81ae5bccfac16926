"""The newest record of each key of a topic, found from its end: what lies before is not read, however much it is."""

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Final

from aiokafka.structs import ConsumerRecord

from backpack_streams.bus.partitioner import partition_of
from backpack_streams.bus.reader import Place, Reader
from backpack_streams.bus.topic_end import read_to_end

__all__ = ["newest_records"]

FIRST_STEP: Final = 64
STEP_GROWTH: Final = 4
RECORDS_WITHOUT_NEWS: Final = 1_000
"""A search for keys that need not exist ends with so many records in a row that brought none that is new."""


async def newest_records(
    reader: Reader,
    starts: Mapping[Place, int],
    ends: Mapping[Place, int],
    wants: Callable[[bytes], bool],
    *,
    expected: Collection[bytes] | None = None,
    partitions: int = 0,
    must_exist: bool = False,
) -> dict[bytes, ConsumerRecord]:
    """Return the last record of each wanted key between `starts` and `ends`; the reader is assigned anew on the way.

    Reads in steps that grow, from the end backwards. `expected` are the keys (of a topic of `partitions` partitions) with which a
    partition is done; with `must_exist` it is read to its start for them, else until `RECORDS_WITHOUT_NEWS`.

    Raises:
        BusError: Kafka refuses, or a partition could not be read to its end.
    """
    found: dict[bytes, ConsumerRecord] = {}
    missing = _by_partition(expected, partitions)
    upper = {place: ends[place] for place in starts if starts[place] < ends[place]}
    step, quiet = FIRST_STEP, dict.fromkeys(upper, 0)
    while upper:
        if missing is not None:
            upper = {place: end for place, end in upper.items() if missing[place[1]]}
        lower = {place: max(starts[place], end - step) for place, end in upper.items()}
        slices = await _read(reader, lower, upper, wants)
        for place, records in slices.items():
            new = {key: record for key, record in records.items() if key not in found}
            found |= new
            if missing is not None:
                missing[place[1]].difference_update(new)
            quiet[place] = 0 if new else quiet[place] + upper[place] - lower[place]
        upper = {
            place: offset
            for place, offset in lower.items()
            if offset > starts[place] and (must_exist or quiet[place] < RECORDS_WITHOUT_NEWS)
        }
        step *= STEP_GROWTH
    return found


def _by_partition(keys: Collection[bytes] | None, partitions: int) -> defaultdict[int, set[bytes]] | None:
    if keys is None:
        return None
    by_partition: defaultdict[int, set[bytes]] = defaultdict(set)
    for key in keys:
        by_partition[partition_of(key, partitions)].add(key)
    return by_partition


async def _read(
    reader: Reader, lower: Mapping[Place, int], upper: Mapping[Place, int], wants: Callable[[bytes], bool]
) -> dict[Place, dict[bytes, ConsumerRecord]]:
    """The last record of each key in `lower` to `upper`, by partition; others are not even decoded."""
    slices: dict[Place, dict[bytes, ConsumerRecord]] = {place: {} for place in lower}

    def take(place: Place, records: Sequence[ConsumerRecord]) -> None:
        newest = slices[place]
        for record in records:
            if record.key and record.value is not None and wants(record.key):
                newest[record.key] = record

    with reader.searching():
        await read_to_end(reader, lower, upper, take)
    return slices
