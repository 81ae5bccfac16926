"""Where a reader of books as of a past moment starts: each market's newest snapshot from before it, and the offsets from there."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from aiokafka.structs import ConsumerRecord

from backpack_streams.books.joining import DEPTH_TOPIC, GAP_TOPIC, SNAPSHOT_TOPIC, UPDATES_BEFORE_FIRST_SEED
from backpack_streams.bus.codec import Codec
from backpack_streams.bus.partitioner import partition_of
from backpack_streams.bus.reader import Place, Reader
from backpack_streams.bus.topic_end import read_to_end
from backpack_streams.errors import CodecError

__all__ = ["LOOKED_BACK_MILLIS", "PastStart", "SnapshotSearch", "WantedKeys", "look_back"]

CLOCK_TOLERANCE_MILLIS: Final = 10_000
"""A snapshot carries the time of the REST server, which may be off: one so much older than the moment is from before it for sure."""
LOOKED_BACK_MILLIS: Final = 24 * 60 * 60 * 1000
"""How far before the moment a snapshot is looked for."""
GAPS_BEFORE_MILLIS: Final = 60_000
_FIRST_STEP = 100
_STEP_GROWTH = 4


@dataclass(frozen=True, slots=True)
class WantedKeys:
    """Whose books: `wants` tells of any key; `known` are the wanted ones that are known, all of them if `is_all`."""

    known: frozenset[bytes]
    is_all: bool
    wants: Callable[[bytes], bool]

    def places(self, places: list[Place]) -> list[Place]:
        """The partitions that hold them: where a key lies is known without asking."""
        if not self.is_all:
            return places
        partitions = {partition_of(key, len(places)) for key in self.known}
        return [place for place in places if place[1] in partitions]


@dataclass(frozen=True, slots=True)
class PastStart:
    """What was found: `seeds` by offset, `offsets` to read on from, `ends` of those partitions as they are now."""

    seeds: list[ConsumerRecord]
    offsets: dict[Place, int]
    ends: dict[Place, int]
    depth_partitions: int


class SnapshotSearch:
    """The newest snapshot of each market from before a moment. Runs of records come latest first, each run in its own order."""

    def __init__(self, wants: Callable[[bytes], bool], moment_ms: int) -> None:
        self._wants = wants
        self._moment_ms = moment_ms
        self._sure: dict[bytes, ConsumerRecord] = {}
        self._close: dict[bytes, ConsumerRecord] = {}
        self._oldest_ms = moment_ms

    def take_run(self, records: Iterable[ConsumerRecord]) -> None:
        """Take what stands before everything taken so far."""
        sure: dict[bytes, ConsumerRecord] = {}
        close: dict[bytes, ConsumerRecord] = {}
        for record in records:
            self._oldest_ms = min(self._oldest_ms, record.timestamp)
            if record.key is None or record.value is None or record.timestamp > self._moment_ms:
                continue
            if self._wants(record.key):
                is_sure = record.timestamp <= self._moment_ms - CLOCK_TOLERANCE_MILLIS
                (sure if is_sure else close)[record.key] = record
        self._sure = sure | self._sure
        self._close = close | self._close

    def found(self) -> list[ConsumerRecord]:
        """By offset; one so close to the moment that clocks may err, only where there is no older one."""
        return sorted((self._close | self._sure).values(), key=lambda record: int(record.offset))

    def is_over(self, keys: Iterable[bytes]) -> bool:
        """Whether nothing more is to be looked for: all of these were found, or it is too long ago."""
        return self._moment_ms - self._oldest_ms > LOOKED_BACK_MILLIS or all(key in self._sure for key in keys)


async def look_back(reader: Reader, codec: Codec, prefix: str, wanted: WantedKeys, moment_us: int) -> PastStart:
    """Finds out where to start for a moment (µs).

    Raises:
        BusError: Kafka cannot be reached, a topic does not exist, or what lies in one could not be read.
    """
    moment_ms = moment_us // 1000
    depth_all = await reader.places(prefix + DEPTH_TOPIC)
    snapshots_all = await reader.places(prefix + SNAPSHOT_TOPIC)
    gaps = await reader.places(prefix + GAP_TOPIC)
    depth, snapshots = wanted.places(depth_all), wanted.places(snapshots_all)
    everything = [*depth, *snapshots, *gaps]
    ends, beginnings = await reader.ends(everything), await reader.beginnings(everything)
    seeds: list[ConsumerRecord] = []
    offsets: dict[Place, int] = {}
    for place in snapshots:
        keys = [key for key in wanted.known if partition_of(key, len(snapshots_all)) == place[1]]
        search = SnapshotSearch(wanted.wants, moment_ms)
        end = await _offset_at(reader, place, moment_ms + 1, ends[place])
        await _step_back(reader, place, search, keys if keys or wanted.is_all else None, beginnings[place], end)
        found = search.found()
        offsets[place] = found[0].offset if found else end
        seeds += found
    first_ms = min([moment_ms, *(int(record.timestamp) for record in seeds)])
    for place in gaps:
        offsets[place] = await _offset_at(reader, place, first_ms - GAPS_BEFORE_MILLIS, ends[place])
    for place in depth:
        at_moment = await _offset_at(reader, place, moment_ms, ends[place])
        offsets[place] = max(beginnings[place], at_moment - UPDATES_BEFORE_FIRST_SEED)
    for record in seeds:
        delta_place, offset = _delta_place(codec, record)
        if delta_place in offsets:
            offsets[delta_place] = max(beginnings[delta_place], min(offsets[delta_place], offset))
    return PastStart(seeds, offsets, ends, len(depth_all))


async def _offset_at(reader: Reader, place: Place, timestamp_ms: int, end: int) -> int:
    found = await reader.offset_at(place, max(0, timestamp_ms))
    return end if found is None else found


async def _step_back(
    reader: Reader, place: Place, search: SnapshotSearch, keys: list[bytes] | None, beginning: int, end: int
) -> None:
    """Reads pieces before `end` that grow, until everything was found (`keys` None: nobody knows what there is)."""
    step = _FIRST_STEP
    while end > beginning and not search.is_over(keys or ([b""] if keys is None else [])):
        start = max(beginning, end - step)
        search.take_run(await _piece(reader, place, start, end))
        end, step = start, step * _STEP_GROWTH


async def _piece(reader: Reader, place: Place, start: int, end: int) -> list[ConsumerRecord]:
    records: list[ConsumerRecord] = []
    await read_to_end(reader, {place: start}, {place: end}, lambda _, batch: records.extend(batch))
    return records


def _delta_place(codec: Codec, record: ConsumerRecord) -> tuple[Place | None, int]:
    try:
        _, seed = codec.decode(record.value)
        return (seed["delta_topic"], seed["delta_partition"]), seed["delta_offset"]
    except (CodecError, KeyError):  # told and counted where the seed is taken
        return None, 0
