"""What a live reader of books follows in Kafka, and up to where it has read each partition."""

import logging
import time
from collections.abc import Collection
from typing import Final

from backpack_streams.books.market_book import MarketBook
from backpack_streams.books.read_positions import ReadPositions
from backpack_streams.books.vouching import Vouching
from backpack_streams.books.watermark_history import read_watermarks
from backpack_streams.bus.reader import Reader, Records
from backpack_streams.errors import BusError
from backpack_streams.topic_partition import TopicPartition

__all__ = ["Following", "WatermarkSearch"]

logger = logging.getLogger(__name__)

_LOOK_SECONDS: Final = 5.0


class Following:
    """The followed partitions, each with the offset of the next record to hand out."""

    def __init__(self, reader: Reader, topics: tuple[str, ...]) -> None:
        """Prepare; nothing is followed yet.

        Args:
            reader: its partitions are assigned.
            topics: topics whose added partitions the reader follows itself.
        """
        self._reader = reader
        self._topics = topics
        self._read = ReadPositions()

    def start(self, offsets: dict[TopicPartition, int]) -> None:
        """Read these partitions only, each from its offset."""
        self._reader.follow(offsets, self._topics)
        self._read.offsets = dict(offsets)

    def resume(self) -> None:
        """Resume after an error, right after the last records handed out."""
        self._reader.follow(self._read.offsets, self._topics)

    def note(self, records: Records) -> list[tuple[TopicPartition, int]]:
        """Take one answer of Kafka. Returns the partitions that went back without a record, with their positions: recreated ones."""
        return self._read.note(records, self._reader.reached)

    async def positions(self) -> dict[TopicPartition, int]:
        """Return the next offset of each followed partition, from the reader."""
        return {each: await self._reader.position(each) for each in self._read.offsets}


class WatermarkSearch:
    """Finds the topic of watermarks, which may be created after the reading has started."""

    def __init__(self, reader: Reader, vouching: Vouching) -> None:
        """Prepare; nothing is asked yet.

        Args:
            reader: asks Kafka.
            vouching: takes the watermarks.
        """
        self._reader = reader
        self._vouching = vouching
        self._next_look = 0.0
        self.is_over = False
        """Whether the watermarks are read."""
        self.has_appeared = False
        """Whether the topic exists by now, and is not read yet."""

    async def read(self, markets: Collection[MarketBook]) -> dict[TopicPartition, int]:
        """Read the existing watermarks; return where to continue. Empty if the topic does not exist, or if they are read already.

        Raises:
            BusError: Kafka does not answer.
        """
        if self.is_over:
            return {}
        self._next_look = time.monotonic() + _LOOK_SECONDS
        offsets = await read_watermarks(self._reader, self._vouching, markets)
        self.is_over, self.has_appeared = bool(offsets), False
        return offsets

    async def look(self) -> None:
        """Check every few seconds whether the topic exists by now."""
        if self.is_over or time.monotonic() < self._next_look:
            return
        self._next_look = time.monotonic() + _LOOK_SECONDS
        try:
            self.has_appeared = await self._reader.has(self._vouching.watermarks.topic_partition[0])
        except BusError as error:  # not fatal: the next poll reports a lasting failure
            logger.info("kafka does not say which topics it has", extra={"error": str(error)})
