"""The task that reads the topics of the read model other than books, and the topics in which the plant reports on itself."""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from aiokafka.structs import ConsumerRecord

from backpack_streams.backoff import Backoff
from backpack_streams.books.newest_records import newest_records
from backpack_streams.books.record_join import Watermarks
from backpack_streams.bus.codec import Codec
from backpack_streams.bus.connection import KafkaConnection
from backpack_streams.bus.reader import Reader
from backpack_streams.bus.topic_end import read_to_end
from backpack_streams.bus.topics import DELETE, topic
from backpack_streams.errors import BusError
from backpack_streams.gateway.market_data import MarketData
from backpack_streams.gateway.plant import Plant
from backpack_streams.gateway.record_intake import RecordIntake, Take, symbol_of
from backpack_streams.gateway.rows import market_row
from backpack_streams.gateway.topic_names import (
    KLINE_TOPIC,
    LIQUIDATION_TOPIC,
    MARK_PRICE_TOPIC,
    MARKET_TOPIC,
    OPEN_INTEREST_TOPIC,
    TICKER_TOPIC,
    TRADE_TOPIC,
)
from backpack_streams.topic_partition import TopicPartition

__all__ = ["RecordFeed"]

logger = logging.getLogger(__name__)

PART = "records"
WATERMARK_TOPIC: Final = "ops.watermark"
GAP_TOPIC: Final = "ops.gap"
AUDIT_TOPIC: Final = "ops.book_audit"
STATUS_TOPIC: Final = "ops.stream_status"
NEWEST_TOPICS: Final = (OPEN_INTEREST_TOPIC, TICKER_TOPIC, MARK_PRICE_TOPIC)
"""Topics of which the newest record of each market is needed, however long ago it was written."""
TAILS: Final[Mapping[str, int]] = {
    TRADE_TOPIC: 20_000,
    KLINE_TOPIC: 20_000,
    LIQUIDATION_TOPIC: 5_000,
    GAP_TOPIC: 2_000,
    AUDIT_TOPIC: 2_000,
    STATUS_TOPIC: 5_000,
}
"""Topics that are read from near their end, and how many records of each partition are read at the start."""
IN_WINDOWS: Final = tuple(name for name in TAILS if not name.startswith("ops."))
"""Those of them whose rows the windows of the read model keep."""
_WATERMARKS_LOOKED_BACK: Final = 2_000
"""Watermarks read at the start, to learn of producers: each writes one a second."""
_POLL_MILLIS: Final = 100
_RECORDS_A_POLL: Final = 500
"""Records processed before other tasks get their turn."""
_FIRST_RETRY_SECONDS, _LONGEST_RETRY_SECONDS = 0.5, 5.0
_LOOK_SECONDS: Final = 10.0
"""Time between two checks whether missing topics exist by now."""


class RecordFeed:
    """Reads the records, and starts again if that fails.

    Attributes:
        records: records read since the start.
    """

    def __init__(
        self,
        connection: KafkaConnection,
        codec: Codec,
        prefix: str,
        data: MarketData,
        plant: Plant,
        tails: Mapping[str, int] = TAILS,
    ) -> None:
        """Prepare; `run` connects.

        Args:
            connection: how to reach Kafka.
            codec: decodes the records.
            prefix: the prefix of the topics.
            data: the read model, which gets the records of markets. Its completeness comes from here.
            plant: gets the records of `ops.*`.
            tails: the topics to read from near their end, as in `TAILS`; those left out are not read.
        """
        self._connection = connection
        self._codec = codec
        self._prefix = prefix
        self._data = data
        self._plant = plant
        self._tails = tails
        self._watermarks = Watermarks((prefix + WATERMARK_TOPIC, 0), codec)
        self._next: dict[TopicPartition, int] = {}
        """By partition, the offset after the last record that was processed."""
        self._behind: dict[TopicPartition, int] = {}
        self._missing: set[str] = set()
        self.tails: dict[TopicPartition, int] = {}
        """By partition, the offset from which its records were read."""
        self._intake = RecordIntake(codec, prefix)
        self.records = 0
        self._has_joined = False
        data.set_completeness(self.complete_through)
        self._takers: dict[str, Take] = {
            prefix + MARKET_TOPIC: self._take_market,
            prefix + WATERMARK_TOPIC: self._take_watermark,
            prefix + GAP_TOPIC: _into(plant.take_gap),
            prefix + AUDIT_TOPIC: _into(plant.take_audit),
            prefix + STATUS_TOPIC: _into(plant.take_status),
        }

    @property
    def undecodable_records(self) -> int:
        """Number of records that could not be read; the log has the reason for each."""
        return self._intake.unreadable_records

    @property
    def is_caught_up(self) -> bool:
        """Whether everything that Kafka held when the feed connected was read."""
        return self._has_joined and not self._behind

    def complete_through(self, name: str, stream: str | None = None) -> int | None:
        """Return the time (µs, by a producer's clock) up to which everything was read; None while a stream is not covered.

        Args:
            name: the topic, without prefix.
            stream: one stream of the topic, such as `trade.SOL_USDC`; None for all.
        """
        coverage = self._watermarks.by_topic.get(name)
        if coverage is None:
            return None
        if stream is not None:
            return coverage.stream_complete_through(self._position, stream)
        return coverage.complete_through(self._position)

    def _position(self, topic_partition: TopicPartition) -> int:
        return self._next.get(topic_partition, 0)

    async def run(self) -> None:
        """Read until cancelled. Failures are logged, reported to the read model and retried."""
        backoff = Backoff(_FIRST_RETRY_SECONDS, _LONGEST_RETRY_SECONDS)
        self._data.set_unavailable(PART, "the records are being read from Kafka")
        while True:
            try:
                async with Reader(self._connection, self._codec) as reader:
                    offsets = await self._join(reader)
                    self._data.set_unavailable(PART, "")
                    backoff.reset()
                    await self._follow(reader, offsets)
            except BusError as error:
                logger.warning("the records cannot be read; trying again", extra={"error": str(error)})
                self._data.set_unavailable(PART, str(error))
            await asyncio.sleep(backoff.next_delay_seconds())

    # Start ----------------------------------------------------------------------------------------------------

    async def _join(self, reader: Reader) -> dict[TopicPartition, int]:
        """Fill the read model from what Kafka holds. Returns the offset from which to follow each partition."""
        names = (MARKET_TOPIC, *NEWEST_TOPICS, *self._tails, WATERMARK_TOPIC)
        found = await reader.existing_topic_partitions(self._prefix + name for name in names)
        topic_partitions = {name.removeprefix(self._prefix): each for name, each in found.items()}
        self._missing = set(names) - topic_partitions.keys()
        everywhere = [topic_partition for each in topic_partitions.values() for topic_partition in each]
        ends, begins = await reader.ends(everywhere), await reader.beginnings(everywhere)
        self._watermarks = Watermarks((self._prefix + WATERMARK_TOPIC, 0), self._codec)
        watermarks = topic_partitions.pop(WATERMARK_TOPIC, [])  # this topic may exist before any topic that it is about
        for topic_partition in watermarks:
            await self._read_watermarks(reader, topic_partition, begins[topic_partition], ends[topic_partition])
        for name, wanted in topic_partitions.items():
            topic_ends = {each: ends[each] for each in wanted}
            self._watermarks.add(topic(name), self._prefix + name, topic_ends, len(wanted), None)
        offsets = {each: ends[each] for each in watermarks} | await self._watermarks.join(reader)
        if MARKET_TOPIC in topic_partitions:
            await self._read_markets(reader, {each: begins[each] for each in topic_partitions[MARKET_TOPIC]}, ends)
        for name in NEWEST_TOPICS:
            if name in topic_partitions:
                await self._read_newest(reader, {each: begins[each] for each in topic_partitions[name]}, ends)
        in_windows = [each for name in IN_WINDOWS for each in topic_partitions.get(name, ())]
        if any(each in self._next and not begins[each] <= self._next[each] <= ends[each] for each in in_windows):
            logger.warning("records have left Kafka before they were read; the gateway starts over with what is there")
            self._next = {each: offset for each, offset in self._next.items() if each not in in_windows}
            self._data.start_over()
        for name, wanted in topic_partitions.items():
            for each in wanted:
                offsets[each] = self._start(name, each, begins[each], ends[each])
        self._next = dict(offsets)
        self._behind = {each: ends[each] for each in everywhere if offsets[each] < ends[each]}
        self._has_joined = True
        return offsets

    def _start(self, name: str, topic_partition: TopicPartition, begin: int, end: int) -> int:
        """Return the offset from which to follow a partition: where the last connection ended, or as far before the end as is kept.

        Nothing between is left out, however much there is: clients of streams would miss it without knowing.
        """
        tail = self._tails.get(name)
        if tail is None:
            return end
        reached = self._next.get(topic_partition, -1)
        if begin <= reached <= end:
            return reached
        first = self.tails[topic_partition] = max(begin, end - tail)
        return first

    async def _read_watermarks(self, reader: Reader, topic_partition: TopicPartition, begin: int, end: int) -> None:
        """Read the newest watermarks. They tell of producers that have stopped, and of coverage, which is only written when it changes."""

        def take(_: TopicPartition, records: Sequence[ConsumerRecord]) -> None:
            for record in records:
                self._intake.take(record, _into(self._plant.take_watermark))

        await read_to_end(
            reader, {topic_partition: max(begin, end - _WATERMARKS_LOOKED_BACK)}, {topic_partition: end}, take
        )

    async def _read_markets(
        self, reader: Reader, begins: Mapping[TopicPartition, int], ends: Mapping[TopicPartition, int]
    ) -> None:
        rows: dict[str, Any] = {}

        def take_market(record: ConsumerRecord, value: Mapping[str, Any] | None) -> None:
            if value is None:
                rows.pop(symbol_of(record), None)
            else:
                rows[symbol_of(record)] = market_row(value)

        def take(_: TopicPartition, records: Sequence[ConsumerRecord]) -> None:
            for record in records:
                self._intake.take(record, take_market)

        await read_to_end(reader, begins, ends, take)
        self._data.set_markets(rows)

    async def _read_newest(
        self, reader: Reader, begins: Mapping[TopicPartition, int], ends: Mapping[TopicPartition, int]
    ) -> None:
        found = await newest_records(
            reader,
            begins,
            ends,
            lambda key: True,
            expected=[symbol.encode() for symbol in self._data.markets()],
            partitions=len(begins),
        )
        for record in found.values():
            self._intake.take(record, self._take_data)

    # Reading --------------------------------------------------------------------------------------------------

    async def _follow(self, reader: Reader, offsets: Mapping[TopicPartition, int]) -> None:
        reader.follow(offsets)
        look_at = time.monotonic() + _LOOK_SECONDS
        while True:
            batches = await reader.poll(_POLL_MILLIS, _RECORDS_A_POLL)
            if await self._has_lost(
                reader, {(each.topic, each.partition): batch[0].offset for each, batch in batches.items()}
            ):
                return
            unreadable = self._intake.unreadable_records
            for partition, batch in batches.items():
                self._take_batch((partition.topic, partition.partition), batch)
            if self._intake.unreadable_records > unreadable:
                self._watermarks.end_round(self._position)
            for topic_partition in [each for each, end in self._behind.items() if (reader.reached(each) or 0) >= end]:
                del self._behind[topic_partition]
            if self._missing and time.monotonic() >= look_at:
                look_at = time.monotonic() + _LOOK_SECONDS
                if await reader.existing_topic_partitions(self._prefix + name for name in self._missing):
                    return
            await asyncio.sleep(0)

    async def _has_lost(self, reader: Reader, firsts: Mapping[TopicPartition, int]) -> bool:
        """Return whether records left Kafka before they were read, given the first offset that each partition delivered. If so, the caller
        has to join again. Offsets of transactions are missing, too, so the beginning of the partition decides.
        """
        recreated = [each for each, first in firsts.items() if first < self._position(each)]
        self._next |= dict.fromkeys(recreated, -1)  # an offset of the former topic, even if this one is as long by now
        skipped = [each for each, first in firsts.items() if first > self._position(each) and self._is_whole(each[0])]
        if not skipped or recreated:
            return bool(recreated)
        beginnings = await reader.beginnings(skipped)
        return any(beginnings[each] > self._position(each) for each in skipped)

    def _is_whole(self, full_name: str) -> bool:
        """Return whether a topic keeps every record until it is too old."""
        return topic(full_name.removeprefix(self._prefix)).cleanup == DELETE

    def _take_batch(self, topic_partition: TopicPartition, batch: Sequence[ConsumerRecord]) -> None:
        name = topic_partition[0]
        take = self._takers.get(name, self._take_data)
        for record in batch:
            if not self._intake.take(record, take):
                self._watermarks.on_lost(topic_partition)
        self.records += len(batch)
        self._plant.take_stamp(name.removeprefix(self._prefix), batch[-1].timestamp)
        self._next[topic_partition] = batch[-1].offset + 1

    def _take_data(self, record: ConsumerRecord, value: Mapping[str, Any] | None) -> None:
        if value is not None:
            self._data.take(record.topic.removeprefix(self._prefix), symbol_of(record), value, record.offset)

    def _take_market(self, record: ConsumerRecord, value: Mapping[str, Any] | None) -> None:
        self._data.take_market(symbol_of(record), value, record.offset)

    def _take_watermark(self, record: ConsumerRecord, value: Mapping[str, Any] | None) -> None:
        if value is not None:
            self._watermarks.take(record, time.monotonic())
            self._plant.take_watermark(value)
            self._data.clock_offsets.take(value, time.time_ns() // 1000)


def _into(take: Callable[[Mapping[str, Any]], None]) -> Take:
    def take_value(_: ConsumerRecord, value: Mapping[str, Any] | None) -> None:
        if value is not None:
            take(value)

    return take_value
