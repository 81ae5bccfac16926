"""Takes the records of the watermarks' topic as a live reader meets them, and finds out when each was published. Sans I/O."""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from math import inf
from typing import Any, Final

from backpack_streams.books.kafka_record import KafkaRecord
from backpack_streams.books.unvouched import CHANNEL
from backpack_streams.bus.codec import Codec
from backpack_streams.bus.partitioner import partition_of
from backpack_streams.errors import CodecError
from backpack_streams.sequencing.coverage import CoverageView
from backpack_streams.sequencing.transit import Transits
from backpack_streams.topic_partition import TopicPartition

__all__ = ["MAX_AGE_SECONDS", "WATERMARK_TOPIC", "WatermarkIntake"]

logger = logging.getLogger(__name__)

WATERMARK_TOPIC: Final = "ops.watermark"
MAX_AGE_SECONDS: Final = 5.0
"""Default maximum age of the newest watermark of a LIVE book."""
CLOCKS_AGREE_SECONDS: Final = 5.0


class WatermarkIntake:
    """Turns watermarks into coverage. `now` is in seconds of the clock by which books are judged."""

    def __init__(
        self,
        codec: Codec,
        prefix: str,
        depth_topic: str,
        topic_partition_of: Callable[[str], TopicPartition | None],
        max_age: float | None = MAX_AGE_SECONDS,
    ) -> None:
        """Prepare without watermarks.

        Args:
            codec: decodes the records.
            prefix: prefix of every topic name.
            depth_topic: full name of the topic of updates.
            topic_partition_of: returns the partition of a market's updates, or None if the market is not selected.
            max_age: maximum age of the newest watermark of a `LIVE` book, in seconds; None for any.
        """
        self.topic_partition: TopicPartition = (prefix + WATERMARK_TOPIC, 0)
        self.max_age = max_age
        self.undecodable_records = 0
        self._codec = codec
        self._depth_topic = depth_topic
        self._topic_partition_of = topic_partition_of
        self.coverage = self._new_coverage()
        self._transits = Transits()
        self._heard = self._read_all_at = -inf
        self._end_at_join = 0
        self.seen_before = 0
        """The topic's next offset before the records taken last."""
        self._told_of_clocks = False

    def _new_coverage(self) -> CoverageView:
        believed = MAX_AGE_SECONDS if self.max_age is None else min(self.max_age, MAX_AGE_SECONDS)
        return CoverageView(self.topic_partition, self._depth_topic, self._partition_of_stream, believed)

    def _partition_of_stream(self, stream: str, partitions: int | None) -> TopicPartition | None:
        symbol = stream.removeprefix(CHANNEL)
        topic_partition = self._topic_partition_of(symbol) if stream.startswith(CHANNEL) else None
        return (
            topic_partition
            if topic_partition is None or not partitions
            else (topic_partition[0], partition_of(symbol.encode(), partitions))
        )

    def take_past(self, row: Mapping[str, Any], offset: int, made_at: float, now: float) -> None:
        """Take one watermark as of a past moment, at which it was published (seconds since the Unix epoch)."""
        try:
            self.coverage.take(row, offset, heard=made_at, now=now, wall_us=row["published_time"])
        except KeyError as error:
            self._refuse({"offset": offset}, error)

    def join(self, end: int, now: float) -> None:
        """Start over: `end` is the end offset of the watermarks' topic, looked up at `now`. Positions read stay known."""
        positions, ends = self.coverage.positions, self.coverage.ends
        self.coverage = self._new_coverage()
        self.coverage.positions, self.coverage.ends = positions, ends
        self._end_at_join = end
        self._heard = self._read_all_at = now

    def begin_anew(self) -> None:
        """Note that the topic was recreated: every record of it is younger than this reader."""
        self._end_at_join = self.seen_before = 0
        self.coverage.begin_anew()

    def polled(self, is_all: bool, now: float) -> None:
        """Record a poll of Kafka that returned all available records (`is_all`) or only some; the records taken next come from it.

        A watermark among them was written after the last complete answer, but its exact time is unknown.
        """
        self._heard = self._read_all_at
        if is_all:
            self._read_all_at = now

    def take(self, batch: Sequence[KafkaRecord], now: float) -> None:
        """Take records of the watermarks' topic, read at `now`.

        The first ones of an instance may have any age, as at the join: that other partitions had nothing more to read does not show that
        this one had not, if its leader did not answer. From the next answer on, the quickest one so far tells.
        """
        coverage, wall_us = self.coverage, time.time_ns() // 1000
        known = self._transits.instances if batch[0].offset >= coverage.next_offset else frozenset()
        self.seen_before = coverage.next_offset
        for record in batch:
            heard = None
            try:
                row = self._codec.decode(record.value or b"")[1]
                if record.offset >= self._end_at_join:
                    published_at = self._transits.published_at(row, now)
                    heard = min(self._heard, published_at) if row["instance"] in known else None
                else:
                    self._transits.recall(row, now)
                coverage.take(row, record.offset, heard=heard, now=now, wall_us=wall_us)
            except (CodecError, KeyError) as error:
                self._refuse({"topic": record.topic, "partition": record.partition, "offset": record.offset}, error)
        self._look_at_clocks()

    def _refuse(self, where: dict[str, Any], error: Exception) -> None:
        self.undecodable_records += 1
        logger.warning("a watermark cannot be read", extra=where | {"error": str(error)})

    def _look_at_clocks(self) -> None:
        difference = self.coverage.clock_difference_seconds
        is_off = abs(difference) > CLOCKS_AGREE_SECONDS
        if is_off and not self._told_of_clocks:
            logger.warning("this clock and a producer's differ", extra={"seconds": round(difference, 1)})
        self._told_of_clocks = is_off

    def read_up_to(self, topic_partition: TopicPartition, offset: int) -> None:
        """Record that all records of a depth partition below this offset were read."""
        self.coverage.read_up_to(topic_partition, offset)
