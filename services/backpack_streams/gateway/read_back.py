"""Reads older records from Kafka into the read model, if a request needs records from before its windows begin."""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from typing import Any, Final

from aiokafka.structs import ConsumerRecord

from backpack_streams.bus.codec import Codec
from backpack_streams.bus.connection import KafkaConnection
from backpack_streams.bus.partitioner import partition_of
from backpack_streams.bus.reader import Reader
from backpack_streams.bus.topic_end import read_to_end
from backpack_streams.errors import BusError
from backpack_streams.gateway.market_data import MarketData
from backpack_streams.gateway.record_intake import RecordIntake, symbol_of
from backpack_streams.topic_partition import TopicPartition

__all__ = ["ReadBack"]

STEP_RECORDS: Final = 20_000
MOST_RECORDS: Final = 200_000
"""Limit of how far a partition is read back from where its windows began, over all requests."""
_PATIENCE_SECONDS: Final = 5.0
_DECODED_AT_ONCE: Final = 200
"""Records decoded before other tasks get their turn."""


class ReadBack:
    """Reads each record once, whichever request needs it: it goes into the windows of its market."""

    def __init__(
        self,
        connection: KafkaConnection,
        codec: Codec,
        prefix: str,
        data: MarketData,
        tails: Mapping[TopicPartition, int],
        most_records: int = MOST_RECORDS,
    ) -> None:
        """Prepare; the first `further` connects.

        Args:
            connection: how to reach Kafka.
            codec: decodes the records.
            prefix: the prefix of the topics.
            data: the read model, which gets the records.
            tails: by partition, the offset from which its records were read at the start; a live view.
            most_records: limit of how many records before that offset are read.
        """
        self._connection = connection
        self._codec = codec
        self._prefix = prefix
        self._data = data
        self._tails = tails
        self._most = most_records
        self._from: dict[TopicPartition, tuple[tuple[int, int], int]] = {}
        """By partition, the start that this is about, and the offset from which its records were read back."""
        self._intake = RecordIntake(codec, prefix)
        self._lock = asyncio.Lock()
        self._connections = AsyncExitStack()
        self._reader: Reader | None = None
        self.records = 0
        """Records read back so far."""

    @property
    def undecodable_records(self) -> int:
        """Number of older records that could not be read; the log has the reason for each."""
        return self._intake.unreadable_records

    async def close(self) -> None:
        """Close the connection; the next `further` opens another one."""
        self._reader = None
        await self._connections.aclose()

    async def further(self, topic: str, symbol: str) -> bool:
        """Read the next older records of a market's partition, up to 20,000.

        Args:
            topic: the topic, without prefix.
            symbol: the market.

        Returns:
            Whether there were any within the limit.

        Raises:
            BusError: Kafka does not answer.
        """
        topic_partition = self._topic_partition(topic, symbol)
        if topic_partition is None:
            return False
        asked_from = self._reached(topic_partition)
        async with self._lock:
            if self._reached(topic_partition) < asked_from:
                return True  # another request has read them meanwhile
            try:
                return await self._read(topic_partition)
            except BusError:
                await self.close()
                raise

    def _topic_partition(self, topic: str, symbol: str) -> TopicPartition | None:
        name = self._prefix + topic
        count = sum(each[0] == name for each in self._tails)
        return (name, partition_of(symbol.encode(), count)) if count else None

    def _reached(self, topic_partition: TopicPartition) -> int:
        start = self._start(topic_partition)
        of_start, reached = self._from.get(topic_partition, (start, start[0]))
        return reached if of_start == start else start[0]

    def _start(self, topic_partition: TopicPartition) -> tuple[int, int]:
        """Return where the windows of a partition began, and how often they began anew before that."""
        return self._tails[topic_partition], self._data.starts

    async def _read(self, topic_partition: TopicPartition) -> bool:
        if self._reader is None:
            self._reader = await self._connections.enter_async_context(Reader(self._connection, self._codec))
        end, start = self._reached(topic_partition), self._start(topic_partition)
        begin = max(
            (await self._reader.beginnings([topic_partition]))[topic_partition],
            start[0] - self._most,
            end - STEP_RECORDS,
        )
        if begin >= end:
            return False
        found: list[ConsumerRecord] = []
        with self._reader.searching():
            await read_to_end(
                self._reader,
                {topic_partition: begin},
                {topic_partition: end},
                lambda _, records: found.extend(records),
                patience_seconds=_PATIENCE_SECONDS,
            )
        if self._start(topic_partition) == start:
            await self._take(found)
            self._from[topic_partition] = start, begin
        return True

    async def _take(self, records: Sequence[ConsumerRecord]) -> None:
        # The newest ones first, so that windows never have a gap that would close only with the last record.
        for index, record in enumerate(reversed(records)):
            if index % _DECODED_AT_ONCE == 0:
                await asyncio.sleep(0)
            self._intake.take(record, self._take_data)
        self.records += len(records)

    def _take_data(self, record: ConsumerRecord, value: Mapping[str, Any] | None) -> None:
        if value is not None:
            name = record.topic.removeprefix(self._prefix)
            self._data.take(name, symbol_of(record), value, record.offset, is_news=False)
