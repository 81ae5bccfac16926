"""Finds where a reader of books starts: the newest snapshot of each market, and the offset to read each partition from."""

from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from math import gcd
from typing import Any, Final

from aiokafka.structs import ConsumerRecord

from backpack_streams.books.listing import Listed, Listing
from backpack_streams.books.newest_records import newest_records
from backpack_streams.bus.codec import Codec
from backpack_streams.bus.partitioner import partition_of
from backpack_streams.bus.reader import Reader
from backpack_streams.bus.topic_end import read_to_end
from backpack_streams.errors import CodecError
from backpack_streams.topic_partition import TopicPartition

__all__ = [
    "DEPTH_TOPIC",
    "GAPS_LOOKED_BACK",
    "GAP_TOPIC",
    "MARKET_TOPIC",
    "SNAPSHOT_TOPIC",
    "UPDATES_BEFORE_FIRST_SNAPSHOT",
    "Start",
    "look_round",
    "read_listing",
    "take_market",
]

DEPTH_TOPIC: Final = "market.depth"
SNAPSHOT_TOPIC: Final = "market.book_snapshot"
GAP_TOPIC: Final = "ops.gap"
MARKET_TOPIC: Final = "reference.market"
UPDATES_BEFORE_FIRST_SNAPSHOT: Final = 2_000
"""Minimum number of records to read back in a partition: the next snapshot may be a little behind the updates."""
GAPS_LOOKED_BACK: Final = 1_000
GAPS_LOOKED_BACK_AT_MOST: Final = 20_000
"""Gaps are read back to the oldest snapshot in use, within these bounds."""
GAPS_BEFORE_MILLIS: Final = 60_000
"""Margin before that snapshot, since clocks differ."""


@dataclass(frozen=True, slots=True)
class Start:
    """Result of a join.

    Attributes:
        offsets: the offset to read each partition from; depth, snapshot and gap topics.
        behind: depth partitions with records to catch up on, each with its end offset.
        snapshots: the newest usable snapshot record of each market, undecoded.
        depth_partitions: number of partitions of the depth topic.
    """

    offsets: dict[TopicPartition, int]
    behind: dict[TopicPartition, int]
    snapshots: list[ConsumerRecord]
    depth_partitions: int


async def look_round(
    reader: Reader,
    codec: Codec,
    prefix: str,
    wanted: frozenset[bytes] | None,
    *,
    partitions: frozenset[int] | None = None,
    listing: Listing | None = None,
) -> Start:
    """Find where to start reading live: a snapshot of each market, and the offset of each partition.

    The cost depends on the number of markets and on the age of their newest snapshots, not on the size of the topics.

    Args:
        reader: used for all requests; its assignment is replaced.
        codec: decodes the snapshots.
        prefix: prefix of every topic name.
        wanted: keys of the selected markets; None for all.
        partitions: the partitions of the depth topic to read; None for those of the keys.
        listing: the market list; None: read it if all markets are selected. It names the markets to look for if all are
            selected. If names are selected, the search does not go far back for names missing from it.

    Raises:
        BusError: Kafka is unreachable, a topic does not exist, or a partition could not be read.
    """
    depth_all = await reader.topic_partitions(prefix + DEPTH_TOPIC)
    snapshots_all = await reader.topic_partitions(prefix + SNAPSHOT_TOPIC)
    gaps = await reader.topic_partitions(prefix + GAP_TOPIC)
    if listing is None and wanted is None:
        listing = await read_listing(reader, codec, prefix)
    count = len(depth_all)
    expected = _expected(wanted, listing, partitions, count)
    depth = _of_keys(depth_all, wanted) if partitions is None else [each for each in depth_all if each[1] in partitions]
    of_snapshots = _of_keys(snapshots_all, wanted) if partitions is None else _beside(snapshots_all, partitions, count)
    topic_partitions = [*depth, *of_snapshots, *gaps]
    ends, beginnings = await reader.ends(topic_partitions), await reader.beginnings(topic_partitions)

    def wants(key: bytes) -> bool:
        return (wanted is None or key in wanted) and (partitions is None or partition_of(key, count) in partitions)

    snapshots = await newest_records(
        reader,
        {each: beginnings[each] for each in of_snapshots},
        ends,
        wants,
        expected=expected,
        partitions=len(snapshots_all),
        must_exist=wanted is not None
        and (wanted if not listing else {key for key in wanted if _is_listed(listing, key)}),
    )
    starts = {each: max(beginnings[each], ends[each] - UPDATES_BEFORE_FIRST_SNAPSHOT) for each in depth}
    usable = _usable(codec, snapshots, starts, beginnings, expected)
    offsets = starts | {each: ends[each] for each in of_snapshots}
    offsets |= await _gap_starts(reader, gaps, usable, beginnings, ends)
    behind = {each: ends[each] for each in depth if starts[each] < ends[each]}
    return Start(offsets, behind, usable, count)


async def read_listing(reader: Reader, codec: Codec, prefix: str) -> Listing:
    """Return the market list from its topic, delisted markets included; empty if the topic does not exist.

    Records that cannot be decoded are skipped.

    Args:
        reader: used for all requests; its assignment is replaced.
        codec: decodes the records.
        prefix: prefix of the topic name.

    Raises:
        BusError: Kafka is unreachable, or the list could not be read to its end.
    """
    listing = Listing()
    if not await reader.has(prefix + MARKET_TOPIC):
        return listing
    topic_partitions = await reader.topic_partitions(prefix + MARKET_TOPIC)
    ends, beginnings = await reader.ends(topic_partitions), await reader.beginnings(topic_partitions)

    def take(_: TopicPartition, records: Sequence[ConsumerRecord]) -> None:
        for record in records:
            with suppress(CodecError, KeyError):
                take_market(listing, codec, record)

    with reader.searching():
        await read_to_end(reader, beginnings, ends, take)
    return listing


def take_market(listing: Listing, codec: Codec, record: ConsumerRecord) -> Listed:
    """Apply a record of the market list's topic; return the market's current state.

    Args:
        listing: the list to change.
        codec: decodes the record.
        record: a market, or a tombstone for a delisted one. Its timestamp (ms) is the time of the change.

    Raises:
        CodecError: the record has no key, or cannot be decoded.
        KeyError: the record is no market.
    """
    if record.key is None:
        raise CodecError("it has no key, so no market")
    row = None if record.value is None else codec.decode(record.value)[1]
    return listing.take(record.key.decode("utf-8", "replace"), row, record.timestamp * 1000)


def _is_listed(listing: Listing, key: bytes) -> bool:
    return listing.get(key.decode("utf-8", "replace")) is not None


async def _gap_starts(
    reader: Reader,
    gaps: list[TopicPartition],
    snapshots: Collection[ConsumerRecord],
    beginnings: dict[TopicPartition, int],
    ends: dict[TopicPartition, int],
) -> dict[TopicPartition, int]:
    """Return the offsets from which gaps matter for books of these snapshots: from shortly before the oldest of them."""
    least = {each: ends[each] - GAPS_LOOKED_BACK for each in gaps}
    oldest_ms = min((int(record.timestamp) for record in snapshots), default=None)
    if oldest_ms is not None:
        for topic_partition in [each for each in gaps if least[each] > beginnings[each]]:
            offset = await reader.offset_at(topic_partition, max(0, oldest_ms - GAPS_BEFORE_MILLIS))
            if offset is not None and offset < least[topic_partition]:
                least[topic_partition] = max(ends[topic_partition] - GAPS_LOOKED_BACK_AT_MOST, offset)
    return {each: max(beginnings[each], offset) for each, offset in least.items()}


def _expected(
    wanted: frozenset[bytes] | None, listing: Listing | None, partitions: frozenset[int] | None, count: int
) -> set[bytes] | None:
    """Return the keys that should have a snapshot; None if unknown."""
    if wanted is not None:
        keys = set(wanted)
    elif listing is None or not len(listing):
        return None
    else:
        open_markets = (each for each in listing if each.has_book and not each.why_closed)
        keys = {each.symbol.encode() for each in open_markets}
    return {key for key in keys if partitions is None or partition_of(key, count) in partitions}


def _of_keys(topic_partitions: list[TopicPartition], wanted: frozenset[bytes] | None) -> list[TopicPartition]:
    """Return the partitions that hold the keys, computed from the keys alone."""
    if wanted is None:
        return topic_partitions
    partitions = {partition_of(key, len(topic_partitions)) for key in wanted}
    return [each for each in topic_partitions if each[1] in partitions]


def _beside(topic_partitions: list[TopicPartition], partitions: frozenset[int], count: int) -> list[TopicPartition]:
    """Return the partitions of another topic that can hold the keys of `partitions` in a topic with `count` partitions.

    Both partition numbers are remainders of one hash, so they agree modulo every common divisor of the counts.
    """
    common = gcd(len(topic_partitions), count)
    remainders = {partition % common for partition in partitions}
    return [each for each in topic_partitions if each[1] % common in remainders]


def _usable(
    codec: Codec,
    snapshots: dict[bytes, ConsumerRecord],
    starts: dict[TopicPartition, int],
    beginnings: dict[TopicPartition, int],
    expected: Collection[bytes] | None,
) -> list[ConsumerRecord]:
    """Return the snapshots to start with; moves `starts` back to where they begin.

    An unlisted market does not extend the read through days of history: its snapshot is used only if it lies within the range that the
    other markets need, since the updates before that range are not read.
    """
    usable, unlisted = [], []
    for key, record in snapshots.items():
        topic_partition, offset = _topic_partition_of(codec, record)
        if expected is not None and key not in expected:
            unlisted.append((record, topic_partition, offset))
            continue
        usable.append(record)
        if topic_partition in starts:
            starts[topic_partition] = max(beginnings[topic_partition], min(starts[topic_partition], offset))
    return usable + [record for record, each, offset in unlisted if each not in starts or offset >= starts[each]]


def _topic_partition_of(codec: Codec, record: ConsumerRecord) -> tuple[Any, int]:
    try:
        _, snapshot = codec.decode(record.value)
        return (snapshot["delta_topic"], snapshot["delta_partition"]), snapshot["delta_offset"]
    except (CodecError, KeyError):  # logged and counted when the snapshot is taken
        return None, 0
