"""What a reader of records wants, where it begins and ends in each partition, and the watermarks of its topics at the join."""

import logging
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final, Literal

from aiokafka.structs import ConsumerRecord

from backpack_streams.books.kafka_record import KafkaRecord
from backpack_streams.books.record_coverage import TopicCoverage
from backpack_streams.books.record_flow import PATIENCE_SECONDS
from backpack_streams.bus.codec import Codec
from backpack_streams.bus.offset_search import offsets_at
from backpack_streams.bus.partitioner import partition_of
from backpack_streams.bus.reader import Reader
from backpack_streams.bus.stream_names import STREAMS_OF_TOPICS
from backpack_streams.bus.topic_end import read_to_end
from backpack_streams.bus.topics import Topic
from backpack_streams.errors import CodecError, UsageError
from backpack_streams.topic_partition import TopicPartition

__all__ = [
    "LATE_SECONDS",
    "Moment",
    "Start",
    "Until",
    "Wanted",
    "Watermarks",
    "check_range",
    "millis",
    "partitions_of",
    "starts_of",
    "stops_of",
]

logger = logging.getLogger(__name__)

Moment = datetime | int
"""A `datetime` (UTC if it has no zone), or microseconds since the Unix epoch."""
Start = Literal["new", "beginning"] | Moment
"""`new`: records from now on. A moment: records with a Kafka timestamp at or after it."""
Until = Literal["end"] | Moment | None
"""`end`: the current end of each partition. A moment: records with a Kafka timestamp before it. None: no end."""

LATE_SECONDS: Final = 600.0
"""How far past `until` to read a partition for late records: refills, and producers that lag."""
_LOOKED_BACK: Final = 1_000
_LOOKED_BACK_AT_MOST: Final = 16_000
_GROWTH: Final = 4
_FORGET_SECONDS: Final = 600.0
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def millis(moment: Moment) -> int:
    """Return the first whole millisecond since the Unix epoch that is not before a moment: Kafka's timestamps are no finer.

    Args:
        moment: a `datetime`, in UTC if it has no zone, or microseconds since the Unix epoch.
    """
    if isinstance(moment, int):
        return -(-moment // 1000)
    return -((_EPOCH - (moment if moment.tzinfo else moment.replace(tzinfo=UTC))) // timedelta(milliseconds=1))


def check_range(start: Start, until: Until) -> None:
    """Check the start and the end.

    Raises:
        UsageError: the start or the end is invalid, or the end is not after the start.
    """
    if not isinstance(start, Moment) and start not in ("new", "beginning"):
        raise UsageError(
            f"{start!r} is no start: it is 'new', 'beginning', or a moment (a datetime, or an int of microseconds)"
        )
    if not isinstance(until, Moment) and until not in ("end", None):
        raise UsageError(f"{until!r} is no end: it is 'end', None, or a moment (a datetime, or an int of microseconds)")
    if isinstance(start, Moment) and isinstance(until, Moment) and millis(start) >= millis(until):
        raise UsageError(f"there is nothing from {start} until {until}: the end must be after the start")


@dataclass(frozen=True)
class Wanted:
    """What to read: topics by their full names, symbols (None: all), the range, and the order."""

    topics: Mapping[str, Topic]
    prefix: str
    symbols: frozenset[str] | None
    start: Start = "new"
    until: Until = None
    is_merged: bool = False
    patience_seconds: float = PATIENCE_SECONDS
    late_seconds: float = LATE_SECONDS

    @property
    def keys(self) -> frozenset[bytes] | None:
        """The symbols as Kafka keys."""
        return None if self.symbols is None else frozenset(symbol.encode() for symbol in self.symbols)

    @property
    def before_ms(self) -> int | None:
        """Exclusive upper bound of Kafka timestamps (ms); None without one."""
        return millis(self.until) if isinstance(self.until, Moment) else None

    @property
    def from_ms(self) -> int | None:
        """Inclusive lower bound of Kafka timestamps (ms): late copies with older timestamps lie among the records."""
        return millis(self.start) if isinstance(self.start, Moment) else None


async def partitions_of(
    reader: Reader, full_name: str, wanted: Collection[bytes] | None
) -> tuple[list[TopicPartition], int]:
    """Return the partitions that hold the keys (None: all), and the topic's partition count.

    Raises:
        BusError: the topic does not exist, or Kafka does not answer.
    """
    topic_partitions = await reader.topic_partitions(full_name)
    if wanted is None:
        return topic_partitions, len(topic_partitions)
    partitions = {partition_of(key, len(topic_partitions)) for key in wanted}
    return [each for each in topic_partitions if each[1] in partitions], len(topic_partitions)


async def starts_of(
    reader: Reader, start: Start, topic_partitions: Sequence[TopicPartition], ends: Mapping[TopicPartition, int]
) -> Mapping[TopicPartition, int]:
    """Return the first offset to read of each partition.

    Args:
        reader: asks Kafka.
        start: `new`, `beginning`, or a moment by Kafka's timestamps.
        topic_partitions: the partitions.
        ends: their current end offsets.

    Raises:
        BusError: Kafka does not answer.
    """
    if start == "new":
        return ends
    if start == "beginning":
        return await reader.beginnings(topic_partitions)
    assert isinstance(start, Moment)  # the named starts are handled above
    found = {each: await reader.offset_at(each, millis(start)) for each in topic_partitions}
    return {each: ends[each] if offset is None else offset for each, offset in found.items()}


async def stops_of(
    reader: Reader, until: Moment, topic_partitions: Sequence[TopicPartition], late_seconds: float
) -> dict[TopicPartition, int]:
    """Return, for each partition, the end of the records from before a past moment, late records included. The reader's assignment is
    replaced.

    Args:
        reader: asks Kafka.
        until: the moment, exclusive, by Kafka's timestamps.
        topic_partitions: the partitions.
        late_seconds: how far past the moment to read.

    Raises:
        BusError: Kafka does not answer.
    """
    late_ms = millis(until) + int(late_seconds * 1000)
    return await offsets_at(reader, dict.fromkeys(topic_partitions, late_ms), await reader.ends(topic_partitions))


@dataclass
class Watermarks:
    """The watermarks of the producers of the topics read, by topic without the prefix."""

    topic_partition: TopicPartition
    codec: Codec
    by_topic: dict[str, TopicCoverage] = field(default_factory=dict)
    undecodable_records: int = 0
    _next_offset: int = 0
    _newest_offset: int = 0
    _next_forgetting: float = 0.0

    def add(
        self,
        topic: Topic,
        full_name: str,
        ends: Mapping[TopicPartition, int],
        partitions: int,
        wanted: Iterable[str] | None,
    ) -> None:
        """Add a topic, if producer streams fill it."""
        if topic.name in STREAMS_OF_TOPICS:
            self.by_topic[topic.name] = TopicCoverage(
                topic.name, full_name, self.topic_partition, ends, partitions, wanted
            )

    async def join(self, reader: Reader) -> dict[TopicPartition, int]:
        """Read the existing watermarks, as far back as needed to know what covers the streams. The reader's assignment is replaced.

        Returns:
            The offset to read on from, by partition; empty if no producer stream fills the topics, or if there is no
            topic of watermarks.

        Raises:
            BusError: Kafka does not answer, or the topic could not be read to its end.
        """
        if not self.by_topic or not await reader.has(self.topic_partition[0]):
            return {}
        end = (await reader.ends([self.topic_partition]))[self.topic_partition]
        begin = (await reader.beginnings([self.topic_partition]))[self.topic_partition]
        back = _LOOKED_BACK
        while True:
            start = max(begin, end - back)
            with reader.searching():
                await read_to_end(reader, {self.topic_partition: start}, {self.topic_partition: end}, self._take_old)
            is_enough = not any(each.is_incomplete() for each in self.by_topic.values())
            if is_enough or start == begin or back >= _LOOKED_BACK_AT_MOST:
                self._next_offset = end
                return {self.topic_partition: end}
            back = min(_GROWTH * back, _LOOKED_BACK_AT_MOST)

    def _take_old(self, _: TopicPartition, records: Sequence[ConsumerRecord]) -> None:
        for record in records:
            self.take(record, time.monotonic(), is_new=False)

    def take(self, record: KafkaRecord, now: float, *, is_new: bool = True) -> None:
        """Take a record of the watermarks' topic; `now` in monotonic seconds. Ignores a new record from before the join."""
        if is_new:
            if record.offset < self._newest_offset:  # the topic was recreated
                self._next_offset = 0
            self._newest_offset = record.offset
            if record.offset < self._next_offset:
                return
        wall_us = time.time_ns() // 1000
        try:
            _, value = self.codec.decode(record.value or b"")
            for coverage in self.by_topic.values():
                coverage.take(value, record.offset, is_new=is_new, now=now, wall_us=wall_us)
        except (CodecError, KeyError) as error:
            self.undecodable_records += 1
            where = {"topic": record.topic, "partition": record.partition, "offset": record.offset}
            logger.warning("a watermark cannot be read", extra=where | {"error": str(error)})
        if now >= self._next_forgetting:
            self._next_forgetting = now + _FORGET_SECONDS
            for coverage in self.by_topic.values():
                coverage.forget_old(now)

    def on_lost(self, topic_partition: TopicPartition) -> None:
        """Note that some records of a partition are not given. It is complete again with the first watermark after this round."""
        for coverage in self.by_topic.values():
            coverage.on_lost(topic_partition)

    def end_round(self, position: Callable[[TopicPartition], int]) -> None:
        """Note that everything that a poll returned was taken; `position` returns the first offset of a partition that was not."""
        for coverage in self.by_topic.values():
            coverage.end_round(position)
