"""Where a reader of books starts: the newest seed of each market, and from which offset each partition is to be read."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from aiokafka.structs import ConsumerRecord

from backpack_streams.bus.codec import Codec
from backpack_streams.bus.partitioner import partition_of
from backpack_streams.bus.reader import Place, Reader
from backpack_streams.errors import CodecError

DEPTH_TOPIC: Final = "market.depth"
SNAPSHOT_TOPIC: Final = "market.book_snapshot"
GAP_TOPIC: Final = "ops.gap"
UPDATES_BEFORE_FIRST_SEED: Final = 2_000
"""How far back a partition is read at the least: a seed that comes soon may be a little behind the updates."""
GAPS_LOOKED_BACK: Final = 1_000
_POLL_MILLIS = 200


@dataclass(frozen=True, slots=True)
class Start:
    """What a join found. `behind`: partitions of updates with something to catch up on, each with where it ended."""

    offsets: dict[Place, int]
    behind: dict[Place, int]
    seeds: list[ConsumerRecord]
    depth_partitions: int


async def look_round(reader: Reader, codec: Codec, prefix: str, wanted: frozenset[bytes] | None) -> Start:
    """Finds out where to start for these keys (None: all).

    Raises:
        BusError: Kafka cannot be reached, or a topic does not exist.
    """
    depth_all = await reader.places(prefix + DEPTH_TOPIC)
    depth = _of_keys(depth_all, wanted)
    seed_places = _of_keys(await reader.places(prefix + SNAPSHOT_TOPIC), wanted)
    gaps = await reader.places(prefix + GAP_TOPIC)
    seed_ends = await reader.ends(seed_places)
    seeds = await _newest(
        reader, await reader.beginnings(seed_places), seed_ends, lambda key: wanted is None or key in wanted
    )
    ends, beginnings = await reader.ends([*depth, *gaps]), await reader.beginnings([*depth, *gaps])
    offsets = {place: max(beginnings[place], ends[place] - UPDATES_BEFORE_FIRST_SEED) for place in depth}
    for record in seeds.values():
        place, offset = _place_of(codec, record)
        if place in offsets:
            offsets[place] = max(beginnings[place], min(offsets[place], offset))
    behind = {place: ends[place] for place in depth if offsets[place] < ends[place]}
    offsets |= seed_ends
    offsets |= {place: max(beginnings[place], ends[place] - GAPS_LOOKED_BACK) for place in gaps}
    return Start(offsets, behind, list(seeds.values()), len(depth_all))


def _of_keys(places: list[Place], wanted: frozenset[bytes] | None) -> list[Place]:
    """The partitions that hold the wanted keys: where a key lies is known without asking."""
    if wanted is None:
        return places
    partitions = {partition_of(key, len(places)) for key in wanted}
    return [place for place in places if place[1] in partitions]


async def _newest(
    reader: Reader, starts: Mapping[Place, int], ends: Mapping[Place, int], wants: Callable[[bytes], bool]
) -> dict[bytes, ConsumerRecord]:
    """The last snapshot of each market; earlier ones are not even decoded."""
    newest: dict[bytes, ConsumerRecord] = {}
    waiting = {place for place in starts if starts[place] < ends[place]}
    if waiting:
        reader.assign({place: starts[place] for place in waiting})
    while waiting:
        for batch in (await reader.poll(_POLL_MILLIS)).values():
            for record in batch:
                if record.key is not None and record.value is not None and wants(record.key):
                    newest[record.key] = record
        for place in list(waiting):
            if await reader.position(place) >= ends[place]:
                waiting.discard(place)
    return newest


def _place_of(codec: Codec, record: ConsumerRecord) -> tuple[Place | None, int]:
    try:
        _, seed = codec.decode(record.value)
        return (seed["delta_topic"], seed["delta_partition"]), seed["delta_offset"]
    except (CodecError, KeyError):  # told and counted where the seed is taken
        return None, 0
