"""Takes over partitions: determines where to read from, and loads the newest snapshots and tops of their books."""

import logging
import time
from collections.abc import Callable, Iterable

from aiokafka.structs import ConsumerRecord

from backpack_streams.book_builder.keeper import BookKeeper
from backpack_streams.book_builder.records import recalled_top
from backpack_streams.book_builder.writer import TOP_TOPIC
from backpack_streams.books.joining import (
    DEPTH_TOPIC,
    GAP_TOPIC,
    MARKET_TOPIC,
    look_round,
    read_listing,
)
from backpack_streams.books.newest_records import newest_records
from backpack_streams.books.watermark_history import read_watermarks
from backpack_streams.bus.codec import Codec
from backpack_streams.bus.reader import Reader
from backpack_streams.errors import CodecError

__all__ = ["TRADE_TOPIC", "Takeover"]

logger = logging.getLogger(__name__)

TRADE_TOPIC = "market.trade"
_WATERMARKS_LOOK_SECONDS = 5.0


class Takeover:
    """Opens partitions in a keeper and assigns the reader. Partitions that are read already keep their positions."""

    def __init__(self, reader: Reader, codec: Codec, prefix: str, keeper: BookKeeper) -> None:
        """Prepare.

        Args:
            reader: a connected reader.
            codec: decodes the records.
            prefix: the topic prefix.
            keeper: receives the partitions.
        """
        self._reader = reader
        self._codec = codec
        self._prefix = prefix
        self._keeper = keeper
        self._intake = keeper.intake
        self._positions = keeper.intake.partitions.positions
        self._next_look = 0.0

    async def take(self, assigned: frozenset[int], is_outdated: Callable[[], bool]) -> bool:
        """Take over the new ones among these partitions and read all of them. Returns False if the group rebalanced
        meanwhile.

        Args:
            assigned: all partitions assigned by the group.
            is_outdated: whether the group has rebalanced since the call.

        Raises:
            BusError: Kafka does not answer.
        """
        new = assigned - self._keeper.partitions
        if new and not await self._open(new, is_outdated):
            return False
        vouching = self._intake.vouching
        if vouching is not None and (new or vouching.watermarks.topic_partition not in self._positions):
            self._next_look = time.monotonic() + _WATERMARKS_LOOK_SECONDS
            self._positions.pop(vouching.watermarks.topic_partition, None)  # so that a failure is retried
            self._positions |= await read_watermarks(self._reader, vouching, self._intake.books.values())
            if is_outdated():
                return False
        self._reader.follow(self._positions if self._keeper.partitions else {}, (self._prefix + MARKET_TOPIC,))
        logger.info(
            "partitions taken over",
            extra={"partitions": sorted(assigned), "new": sorted(new), "books": len(self._intake.books)},
        )
        return True

    async def finds_watermarks(self) -> bool:
        """Whether the watermark topic now exists, which may be created after this service has started. Asks Kafka every
        few seconds.
        """
        vouching = self._intake.vouching
        if (
            vouching is None
            or vouching.watermarks.topic_partition in self._positions
            or time.monotonic() < self._next_look
        ):
            return False
        self._next_look = time.monotonic() + _WATERMARKS_LOOK_SECONDS
        return await self._reader.has(vouching.watermarks.topic_partition[0])

    async def _open(self, new: frozenset[int], is_outdated: Callable[[], bool]) -> bool:
        """Open new partitions at their newest snapshots. Asks Kafka for everything before it opens any, so that a failure
        can be retried.
        """
        reader, intake, prefix = self._reader, self._intake, self._prefix
        gaps = (prefix + GAP_TOPIC, 0)
        await self._read_market_list()
        start = await look_round(reader, self._codec, prefix, None, partitions=new, listing=intake.listing)
        depth = {(prefix + DEPTH_TOPIC, number) for number in new}
        ends = await reader.ends([gaps, *depth])
        trades = await reader.ends(await reader.topic_partitions(prefix + TRADE_TOPIC))
        tops = await self._newest_tops({record.key for record in start.snapshots})
        if is_outdated():
            return False
        if start.depth_partitions != intake.depth_partitions:
            had = self._keeper.partitions
            self._keeper.close(had)
            intake.depth_partitions = start.depth_partitions
            if had:  # markets have moved to other partitions: start over
                return False
        for number in new:
            topic_partition = prefix + DEPTH_TOPIC, number
            first = start.offsets[topic_partition]
            self._keeper.open(
                number, first, start.behind.get(topic_partition, first), (start.offsets[gaps], ends[gaps])
            )
        self._intake.partitions.ends |= {each: ends[each] for each in depth}
        self._keeper.begin(start.snapshots, time.monotonic())
        self._recall(tops)
        for topic_partition, offset in (start.offsets | trades).items():
            self._positions.setdefault(topic_partition, offset)
        return True

    async def _read_market_list(self) -> None:
        """Read the market list once, so that it can be followed from there. Without a poller there is none."""
        topic = self._prefix + MARKET_TOPIC
        if any(each[0] == topic for each in self._positions) or not await self._reader.has(topic):
            return
        ends = await self._reader.ends(await self._reader.topic_partitions(topic))
        self._intake.listing = await read_listing(self._reader, self._codec, self._prefix)
        self._positions |= ends

    async def _newest_tops(self, keys: set[bytes]) -> Iterable[ConsumerRecord]:
        """Return the newest tops of these books, so that unchanged ones are not written again."""
        topic_partitions = await self._reader.topic_partitions(self._prefix + TOP_TOPIC)
        starts, ends = await self._reader.beginnings(topic_partitions), await self._reader.ends(topic_partitions)
        tops = await newest_records(
            self._reader, starts, ends, keys.__contains__, expected=keys, partitions=len(topic_partitions)
        )
        return tops.values()

    def _recall(self, tops: Iterable[ConsumerRecord]) -> None:
        for record in tops:
            try:
                row = self._codec.decode(record.value)[1]
                self._keeper.recall_top(row["symbol"], recalled_top(row), row["last_update_id"], row["engine_time"])
            except (CodecError, KeyError) as error:
                logger.warning("a top of book cannot be read; writing a new one", extra={"error": str(error)})
