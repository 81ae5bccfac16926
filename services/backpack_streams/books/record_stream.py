"""RecordStream: the records of any topic from Kafka alone, each once; trades in order, with what is missing told."""

import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Iterator
from contextlib import aclosing
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Final, Literal, NamedTuple, Self

from aiokafka.structs import ConsumerRecord

from backpack_streams.books.record_order import (
    HELD_AT_MOST,
    PATIENCE_SECONDS,
    RECENT,
    CandleOrder,
    Recent,
    identity_of,
)
from backpack_streams.bus.codec import Codec
from backpack_streams.bus.connection import KafkaConnection
from backpack_streams.bus.partitioner import partition_of
from backpack_streams.bus.reader import Place, Reader, Records
from backpack_streams.bus.topics import COMPACT, Topic, topic_of_full_name
from backpack_streams.errors import BookError, CodecError
from backpack_streams.sequencing.trade_order import Given, Hole, TradeOrder

__all__ = ["Hole", "RecordStream", "StreamedRecord"]

logger = logging.getLogger(__name__)

GAP_TOPIC: Final = "ops.gap"
_CANNOT_BE_HAD: Final = "REFILL_INCOMPLETE"
_POLL_MILLIS = 200

Start = Literal["new", "beginning"] | datetime
"""`new`: what comes from now on. A moment: what Kafka has stamped at it or later; without a zone it is UTC."""


class StreamedRecord(NamedTuple):
    """One record. Prices, quantities and rates in `value` are `Decimal`; times are microseconds since the Unix epoch, UTC.

    `topic` is without the prefix, `name` the record's. `is_late`: it was missing when its turn came, and came after.
    """

    topic: str
    name: str
    symbol: str
    value: dict[str, Any]
    partition: int
    offset: int
    is_late: bool = False


class RecordStream:
    """Asynchronous iterator of `StreamedRecord`s, and of `Hole`s where trades are missing; use it as an async context manager.

        async with RecordStream("127.0.0.1:19092", "market.trade", ["BTC_USDC_PERP"], start="beginning") as trades:
            async for trade in trades:
                if isinstance(trade, Hole):
                    print("missing", trade.first_id, trade.last_id)
                else:
                    print(trade.value["trade_id"], trade.value["price"])

    Two producers side by side, a restart, a refill from REST: whoever published a record, it is given once. Trades come in the order
    of their ids. Where one is missing, those after it wait for `patience_seconds`, until a refill brings it or the `Hole` is told.
    Candles are given once closed, and open states only in order. Memory is bounded: trades without ids seen before, ranges of ids
    otherwise. Entering raises `BusError` where Kafka cannot be reached or a topic does not exist, and `UsageError` for unknown topics.
    """

    def __init__(
        self,
        kafka: str | KafkaConnection,
        topics: str | Iterable[str],
        symbols: Iterable[str] | None = None,
        *,
        start: Start = "new",
        topic_prefix: str = "backpack.",
        codec: Codec | None = None,
        patience_seconds: float = PATIENCE_SECONDS,
    ) -> None:
        """Prepare; nothing is asked yet.

        Args:
            kafka: bootstrap servers, or a connection with its security settings.
            topics: names such as `market.trade`, with or without the prefix.
            symbols: the markets (for topics with other keys: the keys) wanted; None for all that Kafka has.
            start: where to begin, see `Start`.
            topic_prefix: what every topic's name begins with.
            codec: one that knows a schema registry or other schemas.
            patience_seconds: how long trades wait for one that is missing before them.
        """
        self._codec = codec or Codec()
        self._reader = Reader(KafkaConnection(kafka) if isinstance(kafka, str) else kafka, self._codec)
        names = [topics] if isinstance(topics, str) else list(topics)
        self._topics = {
            each.full_name(topic_prefix): each for each in (topic_of_full_name(n, topic_prefix) for n in names)
        }
        self._prefix = topic_prefix
        self._wanted = None if symbols is None else frozenset(symbol.encode() for symbol in symbols)
        self._start = start
        self._patience_seconds = patience_seconds
        self._behind: dict[Place, int] = {}
        self._is_open = False
        self._trades: dict[tuple[str, str], TradeOrder[StreamedRecord]] = {}
        self._candles: dict[tuple[str, str], CandleOrder] = {}
        self._others: dict[tuple[str, str], Recent] = {}
        self.undecodable_records = 0

    async def __aenter__(self) -> Self:
        await self._reader.__aenter__()
        try:
            await self._join()
        except BaseException:  # whatever it was, the connection must not outlive it
            await self._reader.__aexit__(None, None, None)
            raise
        self._is_open = True
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_open = False
        await self._reader.__aexit__(kind, error, trace)

    def __aiter__(self) -> AsyncIterator[StreamedRecord | Hole]:
        return self.events()

    @property
    def is_caught_up(self) -> bool:
        """Whether all that Kafka held at the join was read; trades may still wait for one that is missing before them."""
        return not self._behind

    @property
    def duplicates(self) -> int:
        """Records that were not given since they had been given before."""
        return sum(each.duplicates for table in (self._trades, self._candles, self._others) for each in table.values())

    @property
    def waiting(self) -> int:
        """Trades that wait for one that is missing before them."""
        return sum(len(each.held) for each in self._trades.values())

    async def events(self) -> AsyncGenerator[StreamedRecord | Hole, None]:
        """Every record and every hole, one by one; `async for` over the stream is the same."""
        async with aclosing(self.rounds()) as rounds:
            async for items in rounds:
                for item in items:
                    yield item

    async def rounds(self) -> AsyncGenerator[Iterator[StreamedRecord | Hole], None]:
        """The same in the batches in which Kafka gives records, an empty batch every 0.2 s where it gives none.

        Exhaust a batch before asking for the next one.
        """
        if not self._is_open:
            raise BookError("the record stream is not connected: use it with `async with`")
        while True:
            records = await self._reader.poll(_POLL_MILLIS)
            yield self._take(records, time.monotonic())
            for place, end in list(self._behind.items()):
                if await self._reader.position(place) >= end:
                    del self._behind[place]

    async def _join(self) -> None:
        offsets: dict[Place, int] = {}
        for full_name in self._topics:
            places = await self._reader.places(full_name)
            if self._wanted is not None:
                partitions = {partition_of(key, len(places)) for key in self._wanted}
                places = [place for place in places if place[1] in partitions]
            ends = await self._reader.ends(places)
            starts = await self._starts(places, ends)
            offsets |= starts
            self._behind |= {place: ends[place] for place in places if starts[place] < ends[place]}
        gap_topic = self._prefix + GAP_TOPIC
        if gap_topic not in self._topics and any(each.record == "Trade" for each in self._topics.values()):
            offsets |= await self._reader.ends(await self._reader.places(gap_topic))
        self._reader.assign(offsets)

    async def _starts(self, places: list[Place], ends: dict[Place, int]) -> dict[Place, int]:
        if self._start == "new":
            return ends
        if self._start == "beginning":
            return await self._reader.beginnings(places)
        assert isinstance(self._start, datetime)  # the names are dealt with
        timestamp_ms = _millis(self._start)
        found = {place: await self._reader.offset_at(place, timestamp_ms) for place in places}
        return {place: ends[place] if offset is None else offset for place, offset in found.items()}

    def _take(self, records: Records, now: float) -> Iterator[StreamedRecord | Hole]:
        for partition, batch in records.items():
            topic = self._topics.get(partition.topic)
            for record in batch:
                if topic is None:
                    yield from self._take_gap(record)
                elif record.value is not None and (self._wanted is None or record.key in self._wanted):
                    yield from self._take_record(topic, record, now)
        for order in self._trades.values():
            if order.held:
                yield from _plain(order.tick(now, self._patience_seconds))
        yield from self._bounded()

    def _take_record(self, topic: Topic, record: ConsumerRecord, now: float) -> Iterator[StreamedRecord | Hole]:
        try:
            name, value = self._codec.read(record.value)
        except CodecError as error:  # a newer writer's record, or a foreign one
            self._tell(record, error)
            return
        key = (record.key or b"").decode("utf-8", "replace")
        item = StreamedRecord(topic.name, name, key, value, record.partition, record.offset)
        if name == "Trade":
            order = self._trades.get((topic.name, key)) or self._trades.setdefault((topic.name, key), TradeOrder(key))
            yield from _plain(
                order.offer(value["trade_id"], value["engine_time"] or value["event_time"] or 0, item, now)
            )
        elif name == "Kline":
            candles = self._candles.setdefault((key, value["interval"]), CandleOrder())
            given = candles.offer(value["start_time"], value["end_time"], value["event_time"] or 0, value["is_closed"])
            if given is not None:
                yield item._replace(is_late=given.is_late)
        else:
            most = 1 if topic.cleanup == COMPACT else RECENT
            if self._others.setdefault((topic.name, key), Recent(most)).offer(identity_of(name, value)):
                yield item

    def _take_gap(self, record: ConsumerRecord) -> Iterator[StreamedRecord | Hole]:
        """Who would know says what cannot be had any more: nobody needs to wait for it."""
        try:
            _, gap = self._codec.decode(record.value or b"")
        except CodecError as error:
            self._tell(record, error)
            return
        if gap["reason"] == _CANNOT_BE_HAD and gap["last_id"] is not None and gap["next_id"] is not None:
            order = self._trades.get((gap["topic"], gap["symbol"]))
            if order is not None:
                yield from _plain(order.lost((gap["last_id"] + 1, gap["next_id"])))

    def _bounded(self) -> Iterator[StreamedRecord | Hole]:
        while self.waiting > HELD_AT_MOST:
            longest = min((each for each in self._trades.values() if each.held), key=lambda each: each.waits_since())
            yield from _plain(longest.skip_hole())

    def _tell(self, record: ConsumerRecord, error: Exception) -> None:
        self.undecodable_records += 1
        where = {"topic": record.topic, "partition": record.partition, "offset": record.offset}
        logger.warning("a record cannot be read", extra=where | {"error": str(error)})


def _plain(items: Iterator[Given[StreamedRecord] | Hole]) -> Iterator[StreamedRecord | Hole]:
    for item in items:
        yield item if isinstance(item, Hole) else item.item._replace(is_late=item.is_late)


def _millis(moment: datetime) -> int:
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)
