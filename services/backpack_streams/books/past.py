"""Finds where a reader of books as of a past moment starts: each market's newest snapshot before it, and the offsets from there."""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from aiokafka.structs import ConsumerRecord

from backpack_streams.books.joining import DEPTH_TOPIC, GAP_TOPIC, SNAPSHOT_TOPIC, UPDATES_BEFORE_FIRST_SNAPSHOT
from backpack_streams.bus.codec import Codec
from backpack_streams.bus.offset_search import offsets_at
from backpack_streams.bus.partitioner import partition_of
from backpack_streams.bus.reader import Reader
from backpack_streams.bus.topic_end import read_to_end
from backpack_streams.errors import CodecError
from backpack_streams.topic_partition import TopicPartition

__all__ = ["LOOKED_BACK_MILLIS", "PastStart", "SnapshotSearch", "WantedKeys", "look_back"]

CLOCK_TOLERANCE_MILLIS: Final = 10_000
"""A snapshot carries the REST server's time, which may be off: one this much older than the moment is certainly from before it."""
LOOKED_BACK_MILLIS: Final = 24 * 60 * 60 * 1000
"""How far before the moment the search for snapshots goes."""
BYTES_WITHOUT_NEWS: Final = 256 * 1024 * 1024
"""The search ends after this many bytes, over all partitions, without the first snapshot of any further market."""
GAPS_BEFORE_MILLIS: Final = 60_000
_FIRST_STEP: Final = 100
_STEP_GROWTH: Final = 4
_LONGEST_STEP: Final = 6_400
_NEAR_STEP: Final = 400
"""Steps up to this size are always taken, since the market list may be late."""


@dataclass(frozen=True, slots=True)
class WantedKeys:
    """The selected markets: `wants` decides for any key; `known` lists known ones, all of them if `is_all`.

    `unlisted`: known keys that the market list does not have, for which the search does not go far back.
    """

    known: frozenset[bytes]
    is_all: bool
    wants: Callable[[bytes], bool]
    unlisted: frozenset[bytes] = frozenset()

    def topic_partitions(self, topic_partitions: list[TopicPartition]) -> list[TopicPartition]:
        """Return the partitions that hold these keys, computed from the keys alone."""
        if not self.is_all:
            return topic_partitions
        partitions = {partition_of(key, len(topic_partitions)) for key in self.known}
        return [each for each in topic_partitions if each[1] in partitions]


@dataclass(frozen=True, slots=True)
class PastStart:
    """Result of the search: snapshot records (`snapshots`) by offset, `offsets` to read from, current `ends` of those partitions.

    `first_ms`: timestamp of the oldest snapshot. `had_updates`: whether Kafka still holds updates from before the moment. `asked`: for
    each snapshot, the end offset of the watermarks' topic before the exchange was asked for it, and the time of the answer (µs).
    """

    snapshots: list[ConsumerRecord]
    offsets: dict[TopicPartition, int]
    ends: dict[TopicPartition, int]
    depth_partitions: int
    first_ms: int = 0
    had_updates: bool = True
    asked: tuple[tuple[int, int], ...] = ()


class SnapshotSearch:
    """The newest snapshot of each market before a moment. Pieces of the topic come latest first, each in its own order.

    Memory: one record per market, two if it has one so close to the moment that clocks decide, however much is read.
    """

    def __init__(self, wants: Callable[[bytes], bool], moment_ms: int, most_bytes: int = BYTES_WITHOUT_NEWS) -> None:
        """Begin a search in one partition of the snapshot topic.

        Args:
            wants: returns whether a key is wanted.
            moment_ms: the moment; later records do not count (ms since the Unix epoch).
            most_bytes: the search ends after this many bytes without the first snapshot of any further market.
        """
        self._wants = wants
        self._moment_ms = moment_ms
        self._most_bytes = most_bytes
        self._sure: dict[bytes, ConsumerRecord] = {}
        self._close: dict[bytes, ConsumerRecord] = {}
        self._run = _Run()
        self._bytes_without_news = 0
        self._is_too_long_ago = False

    def take(self, records: Iterable[ConsumerRecord]) -> None:
        """Take the next records of the current piece."""
        run = self._run
        for record in records:
            run.records += 1
            run.old += self._moment_ms - record.timestamp > LOOKED_BACK_MILLIS
            run.bytes += len(record.value or b"")
            if record.key is None or record.value is None or record.timestamp > self._moment_ms:
                continue
            if self._wants(record.key):
                is_sure = record.timestamp <= self._moment_ms - CLOCK_TOLERANCE_MILLIS
                (run.sure if is_sure else run.close)[record.key] = record

    def end_run(self) -> None:
        """End the current piece; the next one lies before everything taken so far."""
        run, self._run = self._run, _Run()
        has_news = not (run.sure.keys() <= self._sure.keys() and run.close.keys() <= self._close.keys())
        self._bytes_without_news = 0 if has_news else self._bytes_without_news + run.bytes
        self._is_too_long_ago = bool(run.records) and run.old * 2 > run.records
        self._sure = run.sure | self._sure
        self._close = run.close | self._close

    def found(self) -> list[ConsumerRecord]:
        """Return the snapshots by offset; one so close to the moment that clocks may err only if there is no older one."""
        return sorted((self._close | self._sure).values(), key=lambda record: int(record.offset))

    def is_over(self, keys: Iterable[bytes] | None) -> bool:
        """Return whether the search is over: all `keys` were found (None: unknown which exist), the records are too old, or too much
        was read without a new market.
        """
        if self._is_too_long_ago or self._bytes_without_news >= self._most_bytes:
            return True
        return keys is not None and all(key in self._sure for key in keys)


@dataclass(slots=True)
class _Run:
    sure: dict[bytes, ConsumerRecord] = field(default_factory=dict)
    close: dict[bytes, ConsumerRecord] = field(default_factory=dict)
    records: int = 0
    old: int = 0
    bytes: int = 0


class _TopicPartitions(NamedTuple):
    """The partitions that matter, with their current bounds."""

    depth: list[TopicPartition]
    snapshots: list[TopicPartition]
    gaps: list[TopicPartition]
    depth_partitions: int
    snapshot_partitions: int
    beginnings: Mapping[TopicPartition, int]
    ends: dict[TopicPartition, int]


async def look_back(reader: Reader, codec: Codec, prefix: str, wanted: WantedKeys, moment_us: int) -> PastStart:
    """Find where to start for a moment. The reader's assignment is replaced.

    Args:
        reader: used for all requests.
        codec: decodes the snapshots.
        prefix: prefix of every topic name.
        wanted: the selected markets.
        moment_us: the moment (µs since the Unix epoch).

    Raises:
        BusError: Kafka is unreachable, a topic does not exist, or a partition could not be read.
    """
    moment_ms = moment_us // 1000
    topic_partitions = await _topic_partitions(reader, prefix, wanted)
    beginnings, ends = topic_partitions.beginnings, topic_partitions.ends
    at_moment = await offsets_at(
        reader,
        dict.fromkeys(topic_partitions.depth, moment_ms) | dict.fromkeys(topic_partitions.snapshots, moment_ms + 1),
        ends,
    )
    searches = await _search(reader, topic_partitions, wanted, moment_ms, at_moment)
    snapshots = [record for search in searches.values() for record in search.found()]
    offsets: dict[TopicPartition, int] = {}
    for topic_partition, search in searches.items():
        found = search.found()
        offsets[topic_partition] = found[0].offset if found else at_moment[topic_partition]
    first_ms = min([moment_ms, *(int(record.timestamp) for record in snapshots)])
    offsets |= await offsets_at(reader, dict.fromkeys(topic_partitions.gaps, first_ms - GAPS_BEFORE_MILLIS), ends)
    for topic_partition in topic_partitions.depth:
        offsets[topic_partition] = max(
            beginnings[topic_partition], at_moment[topic_partition] - UPDATES_BEFORE_FIRST_SNAPSHOT
        )
    asked: list[tuple[int, int]] = []
    for record in snapshots:
        snapshot = _decoded(codec, record)
        if snapshot is None:
            continue
        delta_partition, offset = (snapshot["delta_topic"], snapshot["delta_partition"]), snapshot["delta_offset"]
        if delta_partition in offsets:
            offsets[delta_partition] = max(beginnings[delta_partition], min(offsets[delta_partition], offset))
        if snapshot.get("watermark_offset") is not None:
            asked.append((snapshot["watermark_offset"], int(record.timestamp) * 1000))
    had_updates = any(at_moment[each] > beginnings[each] for each in topic_partitions.depth)
    return PastStart(
        snapshots, offsets, ends, topic_partitions.depth_partitions, first_ms, had_updates, tuple(sorted(asked))
    )


async def _topic_partitions(reader: Reader, prefix: str, wanted: WantedKeys) -> _TopicPartitions:
    depth_all = await reader.topic_partitions(prefix + DEPTH_TOPIC)
    snapshots_all = await reader.topic_partitions(prefix + SNAPSHOT_TOPIC)
    gaps = await reader.topic_partitions(prefix + GAP_TOPIC)
    depth, snapshots = wanted.topic_partitions(depth_all), wanted.topic_partitions(snapshots_all)
    everything = [*depth, *snapshots, *gaps]
    ends, beginnings = await reader.ends(everything), await reader.beginnings(everything)
    return _TopicPartitions(depth, snapshots, gaps, len(depth_all), len(snapshots_all), beginnings, ends)


async def _search(
    reader: Reader,
    topic_partitions: _TopicPartitions,
    wanted: WantedKeys,
    moment_ms: int,
    at_moment: Mapping[TopicPartition, int],
) -> dict[TopicPartition, SnapshotSearch]:
    """Read pieces of growing size before the moment, all partitions at a time, until each search is over."""
    most_bytes = BYTES_WITHOUT_NEWS // max(1, len(topic_partitions.snapshots))
    searches = {each: SnapshotSearch(wanted.wants, moment_ms, most_bytes) for each in topic_partitions.snapshots}
    keys = _keys_by_partition(wanted, topic_partitions)
    upper = {each: at_moment[each] for each in topic_partitions.snapshots}
    step = _FIRST_STEP
    while True:
        is_near = step <= _NEAR_STEP
        upper = {
            each: end
            for each, end in upper.items()
            if end > topic_partitions.beginnings[each]
            and ((is_near and not keys[each]) or not searches[each].is_over(keys[each]))
        }
        if not upper:
            return searches
        lower = {each: max(topic_partitions.beginnings[each], end - step) for each, end in upper.items()}
        with reader.searching():
            await read_to_end(
                reader, lower, upper, lambda topic_partition, batch: searches[topic_partition].take(batch)
            )
        for topic_partition in lower:
            searches[topic_partition].end_run()
        upper, step = lower, min(step * _STEP_GROWTH, _LONGEST_STEP)


def _keys_by_partition(
    wanted: WantedKeys, topic_partitions: _TopicPartitions
) -> dict[TopicPartition, Collection[bytes] | None]:
    """Return the keys to find in each partition of the snapshot topic; None if unknown."""
    if not wanted.known and not wanted.is_all:
        return dict.fromkeys(topic_partitions.snapshots)
    keys: dict[TopicPartition, list[bytes]] = {each: [] for each in topic_partitions.snapshots}
    for key in wanted.known - wanted.unlisted:
        topic_partition = (topic_partitions.snapshots[0][0], partition_of(key, topic_partitions.snapshot_partitions))
        if topic_partition in keys:
            keys[topic_partition].append(key)
    return dict(keys)


def _decoded(codec: Codec, record: ConsumerRecord) -> Mapping[str, Any] | None:
    try:
        _, snapshot = codec.decode(record.value)
        return snapshot if snapshot.keys() >= {"delta_topic", "delta_partition", "delta_offset"} else None
    except CodecError:  # logged and counted when the snapshot is taken
        return None
