"""The newest record of each key of a topic, found from its end: what lies before is not read, however much it is."""

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from aiokafka.structs import ConsumerRecord

from backpack_streams.bus.partitioner import partition_of
from backpack_streams.bus.reader import Place, Reader
from backpack_streams.bus.topic_end import read_to_end

__all__ = ["newest_records"]

FIRST_STEP: Final = 64
STEP_GROWTH: Final = 4
LONGEST_STEP: Final = 16_384
RECORDS_WITHOUT_NEWS: Final = 1_000
"""A search for keys that need not exist ends with so many records in a row that brought none that is new."""
BYTES_WITHOUT_NEWS: Final = 256 * 1024 * 1024
"""A search for keys that are to be expected ends with so many bytes in a row, ..."""
LOOKED_BACK_MILLIS: Final = 24 * 60 * 60 * 1000
"""... or so long before the newest record: nobody starts with a snapshot that old."""


async def newest_records(
    reader: Reader,
    starts: Mapping[Place, int],
    ends: Mapping[Place, int],
    wants: Callable[[bytes], bool],
    *,
    expected: Collection[bytes] | None = None,
    partitions: int = 0,
    must_exist: Collection[bytes] | bool = False,
) -> dict[bytes, ConsumerRecord]:
    """Return the last record of each wanted key between `starts` and `ends`; the reader is assigned anew on the way.

    Reads in steps that grow, from the end backwards. `expected` are the keys (of a topic of `partitions` partitions) with which a
    partition is done. Else it is once `RECORDS_WITHOUT_NEWS` were read; for those that `must_exist` (True: all of them) once a day is
    behind, or `BYTES_WITHOUT_NEWS` were read.
    One record a key is held, however much is read.

    Raises:
        BusError: Kafka refuses, or a partition could not be read to its end.
    """
    found: dict[bytes, ConsumerRecord] = {}
    missing = _by_partition(expected, partitions)
    upper = {place: ends[place] for place in starts if starts[place] < ends[place]}
    sought = None if isinstance(must_exist, bool) else frozenset(must_exist)

    def goes_far(place: Place) -> bool:
        return bool(must_exist) if sought is None or missing is None else not sought.isdisjoint(missing[place[1]])

    quiet = {place: _Quiet() for place in upper}
    step = FIRST_STEP
    while upper:
        if missing is not None:
            upper = {place: end for place, end in upper.items() if missing[place[1]]}
        lower = {place: max(starts[place], end - step) for place, end in upper.items()}
        slices = await _read(reader, lower, upper, wants)
        for place, piece in slices.items():
            new = {key: record for key, record in piece.newest.items() if key not in found}
            found |= new
            if missing is not None:
                missing[place[1]].difference_update(new)
            quiet[place].saw(piece, upper[place] - lower[place], has_news=bool(new))
        upper = {
            place: offset
            for place, offset in lower.items()
            if offset > starts[place] and not quiet[place].is_in_vain(goes_far=goes_far(place))
        }
        step = min(step * STEP_GROWTH, LONGEST_STEP)
    return found


@dataclass(slots=True)
class _Piece:
    """What was read of a partition in one step."""

    newest: dict[bytes, ConsumerRecord] = field(default_factory=dict)
    bytes: int = 0
    stamps_ms: list[int] = field(default_factory=list)
    """Of some of the records."""


class _Quiet:
    """For how long a search has brought nothing new."""

    def __init__(self) -> None:
        self._newest_ms: int | None = None
        self._records = self._bytes = 0
        self._is_long_ago = False

    def saw(self, piece: _Piece, records: int, *, has_news: bool) -> None:
        self._records, self._bytes = (0, 0) if has_news else (self._records + records, self._bytes + piece.bytes)
        if piece.stamps_ms:
            middle_ms = sorted(piece.stamps_ms)[len(piece.stamps_ms) // 2]  # one absurd time says nothing
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
    reader: Reader, lower: Mapping[Place, int], upper: Mapping[Place, int], wants: Callable[[bytes], bool]
) -> dict[Place, _Piece]:
    """The last record of each key in `lower` to `upper`, by partition; others are not even decoded."""
    slices = {place: _Piece() for place in lower}

    def take(place: Place, records: Sequence[ConsumerRecord]) -> None:
        piece = slices[place]
        piece.stamps_ms += [int(record.timestamp) for record in (records[0], records[len(records) // 2], records[-1])]
        for record in records:
            piece.bytes += len(record.value or b"")
            if record.key and record.value is not None and wants(record.key):
                piece.newest[record.key] = record

    with reader.searching():
        await read_to_end(reader, lower, upper, take)
    return slices
