"""Finds where a `BookStream` starts to read, live or in the past, and creates its books there."""

import math
import time
from collections.abc import Callable, Iterable

from aiokafka.structs import ConsumerRecord

from backpack_streams.books.book_position import BookPosition
from backpack_streams.books.following import Following, WatermarkSearch
from backpack_streams.books.intake import Intake
from backpack_streams.books.joining import (
    DEPTH_TOPIC,
    MARKET_TOPIC,
    Start,
    look_round,
    read_listing,
)
from backpack_streams.books.past_books import PastBooks
from backpack_streams.books.past_start import PastSpan, join_past
from backpack_streams.books.selection import Selection
from backpack_streams.books.vouching import Vouching
from backpack_streams.books.watermark_intake import WatermarkIntake
from backpack_streams.bus.codec import Codec
from backpack_streams.bus.partitioner import partition_of
from backpack_streams.bus.reader import Reader
from backpack_streams.topic_partition import TopicPartition

__all__ = ["LiveStart"]


class LiveStart:
    """Starts the reading of a `BookStream`; `LiveReading` goes on from there. `position` is that of the books."""

    def __init__(
        self, reader: Reader, codec: Codec, prefix: str, selection: Selection, intake: Intake, max_age: float | None
    ) -> None:
        """Prepare; nothing is read before `join` or `join_past`.

        Args:
            reader: for the requests of this object only; it is connected before `join`.
            codec: decodes the records.
            prefix: prefix of every topic name.
            selection: the selected markets.
            intake: takes the records and holds the books.
            max_age: maximum age of the newest watermark of a `LIVE` book, in seconds; None for any.
        """
        self.reader = reader
        self.codec = codec
        self.prefix = prefix
        self.selection = selection
        self.intake = intake
        self.vouching = Vouching(
            codec, WatermarkIntake(codec, prefix, prefix + DEPTH_TOPIC, self._topic_partition_of, max_age)
        )
        self.clock: Callable[[], float] = time.monotonic
        """Clock of the intake's `now`, in seconds."""
        self.position = BookPosition()
        self.following = Following(reader, (prefix + MARKET_TOPIC,))
        self.watermark_search = WatermarkSearch(reader, self.vouching)

    def _topic_partition_of(self, symbol: str) -> TopicPartition | None:
        key, intake = symbol.encode(), self.intake
        is_wanted = intake.depth_partitions and (key in intake.by_key or intake.wants(key))
        return intake.topic_partition(key) if is_wanted else None

    async def read_listing(self) -> dict[TopicPartition, int]:
        """Read the market list: closures, and the meaning of patterns and kinds.

        Returns:
            The offset to follow the list from, by partition; empty if its topic does not exist.

        Raises:
            BusError: Kafka is unreachable, or the list could not be read to its end.
        """
        topic = self.prefix + MARKET_TOPIC  # optional: books can be read without a market list
        topic_partitions = await self.reader.topic_partitions(topic) if await self.reader.has(topic) else []
        ends = await self.reader.ends(topic_partitions)
        self.intake.listing = await read_listing(self.reader, self.codec, self.prefix)
        return ends

    async def join(self, market_ends: dict[TopicPartition, int]) -> None:
        """Find where to start live, and start there.

        Args:
            market_ends: the offsets to follow the market list from, as `read_listing` returns them.

        Raises:
            BusError: Kafka is unreachable, a topic does not exist, or a partition could not be read.
        """
        self.intake.partitions.positions.clear()  # of an earlier attempt that failed
        start = await self.look_round()
        self.intake.depth_partitions = start.depth_partitions
        self.intake.behind = start.behind
        self.intake.vouching = self.vouching
        self.vouching.coverage.ends |= start.behind
        await self.begin(start.offsets | market_ends, start.snapshots)

    async def join_past(self, span: PastSpan) -> PastBooks:
        """Start in the past; live reading continues at the offsets that the past has reached.

        Args:
            span: the moment to start from, the end and the pace.

        Raises:
            BusError: Kafka is unreachable, a topic does not exist, or a partition could not be read.
        """
        began = time.time() - time.monotonic()
        # What waits at the end of the past waits on by this clock: it continues the past's times, and nobody can set it.
        self.clock = lambda: began + time.monotonic()
        past, offsets = await join_past(
            *(self.reader, self.codec, self.prefix, self.intake, self.selection, span),
            max_age=self.vouching.max_age,
            note=self.position.note,
        )
        await self.begin(offsets, ())
        return past

    async def look_round(self) -> Start:
        """Look up where to start. Names determine the partitions; patterns and kinds do so only with a market list."""
        keys, listing = self.selection.keys, self.intake.listing
        if keys is not None or self.selection.is_everything or not len(listing):
            return await look_round(self.reader, self.codec, self.prefix, keys, listing=listing)
        chosen = listing.only(self.selection.known_keys(self.intake.listing))
        count = len(await self.reader.topic_partitions(self.prefix + DEPTH_TOPIC))
        partitions = frozenset(partition_of(each.symbol.encode(), count) for each in chosen)
        return await look_round(self.reader, self.codec, self.prefix, None, partitions=partitions, listing=chosen)

    async def begin(self, offsets: dict[TopicPartition, int], snapshots: Iterable[ConsumerRecord]) -> None:
        """Read on from these offsets, and create books from these snapshots. The books include everything read before.

        Args:
            offsets: the next offset of each partition, for all topics.
            snapshots: records of the snapshot topic.

        Raises:
            BusError: Kafka does not answer.
        """
        intake, depth_topic = self.intake, self.prefix + DEPTH_TOPIC
        depth = {each: offset for each, offset in offsets.items() if each[0] == depth_topic}
        intake.beginnings |= await self.reader.beginnings(depth)
        intake.partitions.ends |= await self.reader.ends(depth)
        self.position.next_offsets |= depth
        intake.partitions.begin(offsets)
        for topic_partition, offset in depth.items():
            self.vouching.watermarks.read_up_to(topic_partition, offset)
        for name in self.selection.names:
            key = name.encode()
            if key not in intake.by_key and intake.wants(key):
                intake.add(key)
        for record in snapshots:
            for _ in intake.take_snapshot(record):
                pass
        if intake.vouching is not None:
            watermarks = await self.watermark_search.read(intake.books.values())
            intake.partitions.begin(watermarks)
            offsets = offsets | watermarks
        self.following.start(offsets)

    async def leave_the_past(self) -> None:
        """Switch to live reading once everything that Kafka held of the past has been given."""
        intake = self.intake
        intake.closed_until_us = math.inf
        intake.partitions.positions.clear()
        for topic_partition in self.position.next_offsets:
            self.position.next_offsets[topic_partition] = await self.reader.position(topic_partition)
        intake.vouching = self.vouching
        for market in intake.books.values():
            self.vouching.add(market)
        await self.begin(await self.following.positions(), ())
