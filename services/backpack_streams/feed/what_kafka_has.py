"""What a starting producer reads from Kafka: the last record of each of its streams, and what other instances covered."""

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from aiokafka.structs import ConsumerRecord

from backpack_streams.bus.reader import Reader
from backpack_streams.bus.topic_end import read_to_end
from backpack_streams.errors import CodecError
from backpack_streams.feed.delivery import LastPublished
from backpack_streams.feed.handover import Handover
from backpack_streams.feed.overlap import Overlap
from backpack_streams.feed.stream_feed import StreamFeed
from backpack_streams.feed.tails import Last, TailReader, last_of
from backpack_streams.feed.untold import Span
from backpack_streams.feed.watermarks import WATERMARK
from backpack_streams.publishing.publishing import Publishing
from backpack_streams.topic_partition import TopicPartition

GAPS = "ops.gap"
WATERMARKS_LOOKED_AT = 5_000
"""How many watermarks are read back, of all instances together; each instance writes about one a second."""
_LOOK_SECONDS = 0.1


class Abandoned(NamedTuple):
    """Until when a stream was covered (µs), and the last id of it in Kafka, if it has ids."""

    until_us: int
    last_id: int | None


class WhatKafkaHas(NamedTuple):
    """By stream, the last record, and until when others covered it (see `Coverage.resume`); by partition, where it ended.

    `others`: the instances that cover streams of ours past our start. `abandoned`: streams of markets that are gone and that an earlier
    instance wanted to the end. `last` and `covered` include these, since the next market list may bring a market back.
    """

    last: dict[str, LastPublished]
    covered: dict[str, int | None]
    ends: dict[TopicPartition, int]
    others: frozenset[str]
    abandoned: dict[str, Abandoned]


class KafkaLook:
    """Reads Kafka once, in the order that makes the answer safe: first the coverage of others, then the ends of the topics."""

    def __init__(self, publishing: Publishing, feed_of: Callable[[str], StreamFeed | None]) -> None:
        """Prepare.

        Args:
            publishing: the connection, the codec and the topic prefix.
            feed_of: the feed of a stream, wanted now or not; None for a stream that is not ours.
        """
        self._connection = publishing.connection
        self._codec = publishing.codec
        self._prefix = publishing.prefix
        self._feed_of = feed_of

    async def look(self, feeds: Sequence[StreamFeed], is_covered: Callable[[str], bool]) -> WhatKafkaHas:
        """Read what Kafka has. Call it once our subscriptions are confirmed.

        If others cover a stream that we do not cover (`is_covered`), the result says how far they have come.

        Raises:
            BusError: Kafka did not answer, or a topic could not be read to its end.
        """
        ours = {feed.name for feed in feeds if is_covered(feed.name)}
        handover = await self._handover([feed.name for feed in feeds])
        gone = handover.abandoned(lambda stream: self._feed_of(stream) is not None)
        covered = handover.covered(ours.__contains__) | gone
        known_feeds = [*feeds, *filter(None, map(self._feed_of, gone))]
        topics = {GAPS, *(feed.topic for feed in known_feeds)}
        async with TailReader(self._connection, self._codec, map(self._prefix.__add__, topics)) as tails:
            found = {feed.name: self._last(tails, feed) for feed in known_feeds}
            untold = {feed.name: self._untold(tails, feed, covered.get(feed.name)) for feed in known_feeds}
            # A gap record outlives the start that reported it, so a later start must not report it again.
            nobody_told = {stream: until for stream, until in gone.items() if not tails.untold.tells_of(stream, until)}
            ends = dict(tails.ends)
        sequenced = {feed.name for feed in known_feeds if feed.spec.sequenced}
        abandoned = {
            stream: Abandoned(until, last.last_id if stream in sequenced and (last := found[stream]) else None)
            for stream, until in nobody_told.items()
        }
        for name, last in found.items():
            if last is not None and name not in covered and last.received_us:
                # The producer wrote no watermarks, or too long ago. The message after its last one may have been sent before the last one
                # was received.
                covered[name] = min(last.received_us, last.time_us or last.received_us)
        known = {
            name: LastPublished(last.last_id, last.time_us, untold[name])
            for name, last in found.items()
            if last is not None
        }
        return WhatKafkaHas(known, covered, ends, handover.others(), abandoned)

    async def until_known(self, others: Iterable[str], first_offset: int) -> None:
        """Wait until `others` have gone on past our first watermark, or it is clear that they will not.

        Args:
            others: ids of producer instances.
            first_offset: the offset of our first watermark.

        Raises:
            BusError: Kafka did not answer.
        """
        topic_partition = self._prefix + WATERMARK, 0
        overlap = Overlap(others, topic_partition, first_offset, time.monotonic())
        async with Reader(self._connection, self._codec) as reader:
            await reader.topic_partitions(topic_partition[0])
            start = {topic_partition: first_offset}
            with reader.searching():
                while overlap.waits(time.monotonic()):
                    ends = await reader.ends([topic_partition])
                    await read_to_end(reader, start, ends, self._takes(lambda row: overlap.take(row, time.monotonic())))
                    start = ends
                    await asyncio.sleep(_LOOK_SECONDS)

    def _last(self, tails: TailReader, feed: StreamFeed) -> Last | None:
        interval = feed.kind.parameter if feed.spec.candles else None
        return last_of(tails.found, self._prefix + feed.topic, feed.symbol, interval)

    def _untold(self, tails: TailReader, feed: StreamFeed, covered_until_us: int | None) -> Sequence[Span]:
        interval = feed.kind.parameter if feed.spec.candles else None
        return tails.untold.of(feed.name, self._prefix + feed.topic, feed.symbol, interval, covered_until_us)

    async def _handover(self, streams: Iterable[str]) -> Handover:
        topic_partition = self._prefix + WATERMARK, 0
        handover = Handover(streams, topic_partition)
        take = self._takes(handover.take)
        async with Reader(self._connection, self._codec) as reader:
            topic_partitions = await reader.topic_partitions(self._prefix + WATERMARK)
            beginnings, ends = await reader.beginnings(topic_partitions), await reader.ends(topic_partitions)
            starts = {each: max(beginnings[each], ends[each] - WATERMARKS_LOOKED_AT) for each in topic_partitions}
            with reader.searching():
                await read_to_end(reader, starts, ends, take)
                handover.begin(time.monotonic(), ends.get(topic_partition, 0))
                while handover.waits(time.monotonic()):
                    await asyncio.sleep(_LOOK_SECONDS)
                    starts, ends = ends, await reader.ends(topic_partitions)
                    await read_to_end(reader, starts, ends, take)
        return handover

    def _takes(
        self, take: Callable[[Mapping[str, Any]], None]
    ) -> Callable[[TopicPartition, Sequence[ConsumerRecord]], None]:
        def take_all(_: TopicPartition, records: Sequence[ConsumerRecord]) -> None:
            for record in records:
                row = self._watermark(record.value)
                if row is not None:
                    take(row)

        return take_all

    def _watermark(self, value: bytes | None) -> Mapping[str, Any] | None:
        if value is None:
            return None
        try:
            name, row = self._codec.decode(value)
        except CodecError:
            return None  # a foreign record says nothing about our streams
        return row if name == "Watermark" else None
