"""Where a reader of records begins and ends in each partition, and what vouched for its topics when it came."""

import logging
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final, Literal

from backpack_streams.books.kafka_record import KafkaRecord
from backpack_streams.books.record_coverage import TopicCoverage
from backpack_streams.bus.codec import Codec
from backpack_streams.bus.partitioner import partition_of
from backpack_streams.bus.reader import Place, Reader
from backpack_streams.bus.stream_names import STREAMS_OF_TOPICS
from backpack_streams.bus.topics import Topic
from backpack_streams.errors import CodecError, UsageError

__all__ = ["Moment", "Start", "Until", "Watermarks", "check_range", "millis", "partitions_of", "starts_of", "stops_of"]

logger = logging.getLogger(__name__)

Moment = datetime | int
"""A time, without a zone UTC, or microseconds since the Unix epoch."""
Start = Literal["new", "beginning"] | Moment
"""`new`: what comes from now on. A moment: what Kafka has stamped at it or later."""
Until = Literal["end"] | Moment | None
"""`end`: what is there when the reader comes, and no more. A moment: what Kafka has stamped before it. None: no end."""

LATE_SECONDS: Final = 600.0
"""How far past a moment a partition is read on for records that came late: refills, and producers that are behind."""
_LOOKED_BACK: Final = 1_000
_LOOKED_BACK_AT_MOST: Final = 16_000
_GROWTH: Final = 4
_POLL_MILLIS: Final = 200
_FORGET_SECONDS: Final = 600.0
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def millis(moment: Moment) -> int:
    """The first whole millisecond since 1970 that is not before a moment: Kafka's timestamps are no finer."""
    if isinstance(moment, int):
        return -(-moment // 1000)
    return -((_EPOCH - (moment if moment.tzinfo else moment.replace(tzinfo=UTC))) // timedelta(milliseconds=1))


def check_range(start: Start, until: Until) -> None:
    """Refuse what cannot be.

    Raises:
        UsageError: a start or an end that is none, or an end that is not after the start.
    """
    if not isinstance(start, Moment) and start not in ("new", "beginning"):
        raise UsageError(
            f"{start!r} is no start: it is 'new', 'beginning', or a moment (a datetime, or an int of microseconds)"
        )
    if not isinstance(until, Moment) and until not in ("end", None):
        raise UsageError(f"{until!r} is no end: it is 'end', None, or a moment (a datetime, or an int of microseconds)")
    if isinstance(start, Moment) and isinstance(until, Moment) and millis(start) >= millis(until):
        raise UsageError(f"there is nothing from {start} until {until}: the end must be after the start")


async def partitions_of(reader: Reader, full_name: str, wanted: Collection[bytes] | None) -> tuple[list[Place], int]:
    """The partitions that hold the wanted keys (None: any), and how many the topic has.

    Raises:
        BusError: the topic does not exist, or Kafka does not answer.
    """
    places = await reader.places(full_name)
    if wanted is None:
        return places, len(places)
    partitions = {partition_of(key, len(places)) for key in wanted}
    return [place for place in places if place[1] in partitions], len(places)


async def starts_of(
    reader: Reader, start: Start, places: Sequence[Place], ends: Mapping[Place, int]
) -> Mapping[Place, int]:
    """The first offset to read of each partition.

    Raises:
        BusError: Kafka does not answer.
    """
    if start == "new":
        return ends
    if start == "beginning":
        return await reader.beginnings(places)
    assert isinstance(start, Moment)  # the names are dealt with
    found = {place: await reader.offset_at(place, millis(start)) for place in places}
    return {place: ends[place] if offset is None else offset for place, offset in found.items()}


async def stops_of(reader: Reader, until: Moment, places: Sequence[Place], late_seconds: float) -> dict[Place, int]:
    """The offset before which each partition holds what is stamped before a moment that has passed, late records among them.

    Raises:
        BusError: Kafka does not answer.
    """
    ends = await reader.ends(places)
    late_ms = millis(until) + int(late_seconds * 1000)
    found = {place: await reader.offset_at(place, late_ms) for place in places}
    return {place: end if (past := found[place]) is None else min(end, past) for place, end in ends.items()}


@dataclass
class Watermarks:
    """The watermarks of whoever publishes the topics that are read, by topic without the prefix."""

    place: Place
    codec: Codec
    by_topic: dict[str, TopicCoverage] = field(default_factory=dict)
    undecodable_records: int = 0
    _next_offset: int = 0
    _next_forgetting: float = 0.0

    def add(
        self, topic: Topic, full_name: str, ends: Mapping[Place, int], partitions: int, wanted: Iterable[str] | None
    ) -> None:
        """Look at one more topic, if streams fill it."""
        if topic.name in STREAMS_OF_TOPICS:
            self.by_topic[topic.name] = TopicCoverage(topic.name, full_name, self.place, ends, partitions, wanted)

    async def join(self, reader: Reader) -> dict[Place, int]:
        """Read those that are there, as far back as it takes to know what covers the streams. Assigns the reader anew.

        Returns where to read on; nothing where no topic is looked at, or where there are no watermarks.

        Raises:
            BusError: Kafka does not answer.
        """
        if not self.by_topic or not await reader.has(self.place[0]):
            return {}
        end = (await reader.ends([self.place]))[self.place]
        begin = (await reader.beginnings([self.place]))[self.place]
        back = _LOOKED_BACK
        while True:
            start = max(begin, end - back)
            await self._read(reader, start, end)
            is_enough = not any(each.is_incomplete() for each in self.by_topic.values())
            if is_enough or start == begin or back >= _LOOKED_BACK_AT_MOST:
                self._next_offset = end
                return {self.place: end}
            back = min(_GROWTH * back, _LOOKED_BACK_AT_MOST)

    async def _read(self, reader: Reader, start: int, end: int) -> None:
        if start >= end:
            return
        reader.assign({self.place: start})
        with reader.searching():
            while await reader.position(self.place) < end:
                for batch in (await reader.poll(_POLL_MILLIS)).values():
                    for record in batch:
                        if record.offset < end:
                            self.take(record, time.monotonic(), is_new=False)

    def take(self, record: KafkaRecord, now: float, *, is_new: bool = True) -> None:
        """Take a record of the watermarks' topic; `now` is in monotonic seconds. One from before the join says nothing new."""
        if is_new and record.offset < self._next_offset:
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
