"""Reads the last record of each stream from the tails of the topics, so that a restart without a loss records no gap."""

import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, NamedTuple, Self

from aiokafka.structs import ConsumerRecord

from backpack_streams.bus.codec import Codec
from backpack_streams.bus.connection import KafkaConnection
from backpack_streams.bus.reader import Reader
from backpack_streams.bus.topic_end import read_to_end
from backpack_streams.errors import CodecError
from backpack_streams.exchange.streams import KLINE_INTERVALS
from backpack_streams.feed.untold import Untold
from backpack_streams.sequencing.candle_times import candle_end
from backpack_streams.topic_partition import TopicPartition

logger = logging.getLogger(__name__)

RECORDS_A_PARTITION = 20_000
"""How far back each partition is read; a symbol that was quiet for longer counts as new.

This bounds the work, not the memory: only the last record of each symbol is kept, and records come in polls of some MiB (see
`bus/topic_end.py`).
"""


class Last(NamedTuple):
    """The last record of a symbol in a topic: its last id, its time and its received time (both µs since the Unix epoch).

    For candles the id is the end of the last closed one or, if none was closed, the start of the oldest open one found.
    """

    last_id: int
    time_us: int
    received_us: int


ID_FIELDS = {"DepthUpdate": "last_update_id", "Trade": "trade_id"}
"""The id field of records of sequenced streams."""
_REST = "REST"


class TailReader:
    """Reads the tails of topics, and later what was added since. Use it as an async context manager.

    Attributes:
        found: the last record by (full topic name, symbol).
        untold: what is missing among the records; pass `ops.gap` among the topics if it is of interest.
    """

    def __init__(self, connection: KafkaConnection, codec: Codec, topics: Iterable[str]) -> None:
        """Prepare; entering connects.

        Args:
            connection: how to reach Kafka.
            codec: decodes the records.
            topics: full names of the topics to read.
        """
        self.found: dict[tuple[str, str], Last] = {}
        self.untold = Untold(time.time_ns() // 1000)
        self._codec = codec
        self._topics = list(topics)
        self._reader = Reader(connection, codec)
        self._reached: dict[TopicPartition, int] = {}

    async def __aenter__(self) -> Self:
        """Connect, and read the present tails.

        Raises:
            BusError: Kafka cannot be reached, a topic does not exist, or a tail could not be read to its end.
        """
        await self._reader.__aenter__()
        try:
            topic_partitions = [each for topic in self._topics for each in await self._reader.topic_partitions(topic)]
            ends, beginnings = (
                await self._reader.ends(topic_partitions),
                await self._reader.beginnings(topic_partitions),
            )
            self._reached = {each: max(beginnings[each], ends[each] - RECORDS_A_PARTITION) for each in topic_partitions}
            await self._read_to(ends)
        except BaseException:  # whatever it was, the connection must not outlive it
            await self._reader.__aexit__(None, None, None)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._reader.__aexit__(kind, error, trace)

    @property
    def ends(self) -> Mapping[TopicPartition, int]:
        """The offset up to which each partition was read."""
        return self._reached

    async def read_on(self) -> None:
        """Read the records added since the last read.

        Raises:
            BusError: Kafka cannot be reached, or a tail could not be read to its end; the next call starts where this one did.
        """
        await self._read_to(await self._reader.ends(self._reached))

    async def _read_to(self, ends: Mapping[TopicPartition, int]) -> None:
        await read_to_end(self._reader, self._reached, ends, self._take)
        self._reached = dict(ends)

    def _take(self, topic_partition: TopicPartition, records: Sequence[ConsumerRecord]) -> None:
        for record in records:
            _note(self.found, self._codec, topic_partition[0], record.value, self.untold)


def _note(
    found: dict[tuple[str, str], Last], codec: Codec, topic: str, value: bytes | None, untold: Untold | None = None
) -> None:
    if value is None:
        return
    try:
        name, record = codec.decode(value)
    except CodecError as error:  # a foreign record says nothing about our streams
        logger.warning("tail holds a record that cannot be read", extra={"topic": topic, "error": str(error)})
        return
    if name == "Gap":
        if untold is not None:
            untold.gap(record)
        return
    if record.get("source") == _REST:
        return  # a REST record does not show the position of the stream
    if name == "Kline":
        if record["interval"] not in KLINE_INTERVALS:
            return  # a later version wrote it, of a stream that we cannot have
        # The end that the exchange names may be absurd, so a candle ends where `CandleFeed` says.
        record = {**record, "end_time": candle_end(record["interval"], record["start_time"])}
    if untold is not None:
        untold.record(topic, name, record)
    if name == "Kline":
        _note_candle(found, topic, record)
        return
    engine_time, event_time = record.get("engine_time"), record.get("event_time")
    time_us = engine_time if engine_time is not None else event_time or 0
    last_id = record.get(ID_FIELDS.get(name, "event_time")) or 0
    symbol = record.get("symbol", "")
    # A duplicate of an older record may follow a newer one. A restarted sequence has lower ids and a later time.
    earlier = found.get((topic, symbol))
    if earlier is None or (time_us, last_id) >= (earlier.time_us, earlier.last_id):
        found[topic, symbol] = Last(last_id, time_us, record.get("received_time") or 0)


def _note_candle(found: dict[tuple[str, str], Last], topic: str, candle: Mapping[str, Any]) -> None:
    """Candles of all intervals share a topic. A closed one decides over an open one, and the latest closed one over all."""
    key = topic, f"{candle['interval']}.{candle['symbol']}"
    earlier, received_us = found.get(key), candle["received_time"]
    if candle["is_closed"]:
        if earlier is None or not earlier.time_us or candle["end_time"] > earlier.last_id:
            found[key] = Last(candle["end_time"], candle["end_time"], received_us)
    elif earlier is None or (not earlier.time_us and candle["start_time"] < earlier.last_id):
        found[key] = Last(candle["start_time"], 0, received_us)


def last_of(tails: Mapping[tuple[str, str], Last], topic: str, symbol: str, interval: str | None = None) -> Last | None:
    """Return the last record of one symbol in a topic; None if none was found.

    Args:
        tails: what was found (`TailReader.found`).
        topic: the full name of the topic.
        symbol: the market; empty for a stream of all markets.
        interval: the interval of a candle stream; None for other streams.
    """
    if interval is not None:
        return tails.get((topic, f"{interval}.{symbol}"))
    if symbol:
        return tails.get((topic, symbol))
    found = [last for (of_topic, _), last in tails.items() if of_topic == topic]
    return max(found, key=lambda last: last.received_us, default=None)
