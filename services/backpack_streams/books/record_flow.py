"""Turns Kafka's records into the items of a `RecordStream`: decoded, each once, trades in order with their gaps. Sans I/O."""

import logging
from collections import deque
from collections.abc import Collection, Iterable, Iterator
from typing import Any, Final

from backpack_streams.books.distinct import Distinct
from backpack_streams.books.kafka_record import KafkaRecord
from backpack_streams.books.streamed import Gap, StreamedRecord, order_time, sequence_time
from backpack_streams.bus.codec import Codec
from backpack_streams.bus.topics import COMPACT, Topic
from backpack_streams.errors import CodecError
from backpack_streams.sequencing.trade_order import Given, TradeOrder

__all__ = ["HELD_AT_MOST", "PATIENCE_SECONDS", "Item", "RecordFlow"]

logger = logging.getLogger(__name__)

PATIENCE_SECONDS: Final = 10.0
"""How long trades wait for missing ones before them, which a refill may still bring."""
HELD_AT_MOST: Final = 50_000
"""Maximum number of trades that wait, over all markets; above that the oldest gap is reported."""
_NOT_REFILLED: Final = "REFILL_INCOMPLETE"

Item = StreamedRecord[Any] | Gap


class RecordFlow:
    """Takes the records of each partition in order; items to give are in `ready`. `now` is in monotonic seconds.

    A trade after a missing one waits up to `patience_seconds` for a refill; then its gap is given.
    """

    def __init__(
        self,
        codec: Codec,
        wanted: Collection[bytes] | None = None,
        patience_seconds: float = PATIENCE_SECONDS,
        held_at_most: int = HELD_AT_MOST,
    ) -> None:
        """Prepare without records.

        Args:
            codec: decodes the records.
            wanted: the selected keys; None for all.
            patience_seconds: how long trades wait for missing ones before them.
            held_at_most: number of waiting trades, over all markets, above which the oldest gap is given.
        """
        self.ready: deque[Item] = deque()
        self.undecodable_records = 0
        self._codec = codec
        self._wanted = wanted
        self._patience_seconds = patience_seconds
        self._held_at_most = held_at_most
        self._distinct = Distinct()
        self._trades: dict[tuple[str, str], TradeOrder[StreamedRecord[Any]]] = {}
        self._held_times: dict[tuple[str, str], int] = {}
        """For each market with waiting trades: the time (µs) from which some are missing."""
        self._given_times: dict[tuple[str, str], int] = {}

    @property
    def duplicates(self) -> int:
        """Number of records dropped because they had been given before."""
        return self._distinct.duplicates + sum(each.duplicates for each in self._trades.values())

    @property
    def waiting(self) -> int:
        """Number of trades that wait for a missing one before them."""
        return sum(len(self._trades[each].held) for each in self._held_times)

    def times(self, topic: str | None = None) -> Iterator[int]:
        """Yield times of items read but not given yet, the earliest included; of one topic or of all."""
        yield from (time_us for (of, _), time_us in self._held_times.items() if topic in (None, of))
        yield from (
            item.time for item in self.ready if isinstance(item, StreamedRecord) and topic in (None, item.topic)
        )

    def take(self, topic: Topic, record: KafkaRecord, now: float) -> None:
        """Take a record.

        Raises:
            CodecError: it is selected, but cannot be decoded.
        """
        item = self.read(topic, record)
        if item is not None:
            self.offer(topic, item, now)

    def read(self, topic: Topic, record: KafkaRecord) -> StreamedRecord[Any] | None:
        """Decode a record. Returns None if it is not selected.

        Raises:
            CodecError: it is selected, but cannot be decoded, which is counted and logged.
        """
        if self._wanted is not None and record.key not in self._wanted:
            return None
        name, value, time_us = topic.record, None, record.timestamp * 1000
        if record.value is not None:
            try:
                name, value = self._codec.read(record.value)
            except CodecError as error:  # written by a newer or a foreign producer
                self._tell(record, error)
                raise
            time_us = order_time(value)
        elif COMPACT not in topic.cleanup:
            return None
        return StreamedRecord(topic.name, name, _key(record), value, record.partition, record.offset, time=time_us)

    def offer(self, topic: Topic, item: StreamedRecord[Any], now: float) -> None:
        """Take a decoded record; whether and when it is given is decided here."""
        if item.name == "Trade" and item.value is not None:
            self._take_trade(item, now)
        else:
            self._give_if_new(topic, item)

    def take_gap(self, record: KafkaRecord) -> None:
        """Take a gap record: if it says that trades are unavailable for good, nothing waits for them any longer."""
        try:
            _, gap = self._codec.decode(record.value or b"")
            is_final, market = gap["reason"] == _NOT_REFILLED, (gap["topic"], gap["symbol"])
            last_id, next_id = gap["last_id"], gap["next_id"]
        except (CodecError, KeyError) as error:
            self._tell(record, error)
            return
        if is_final and last_id is not None and next_id is not None and market in self._trades:
            self._give(market, self._trades[market].lost((last_id + 1, next_id)))

    def polled(self, now: float) -> None:
        """Take note that all records of a poll were taken: give up on gaps that have waited long enough."""
        for market in list(self._held_times):
            self._give(market, self._trades[market].tick(now, self._patience_seconds))
        while self.waiting > self._held_at_most:
            longest = min(self._held_times, key=lambda market: self._trades[market].waits_since())
            self._give(longest, self._trades[longest].skip_hole())

    def finish(self) -> None:
        """Give everything that waits, with the gaps: no more records will come."""
        for market in list(self._held_times):
            self._give(market, self._trades[market].give_up())

    def _take_trade(self, item: StreamedRecord[Any], now: float) -> None:
        market = item.topic, item.symbol
        order = self._trades.get(market) or self._trades.setdefault(market, TradeOrder(item.symbol))
        value = item.value
        made = order.offer(
            value["trade_id"],
            sequence_time(value),
            item,
            now,
            is_engine_time=value["engine_time"] is not None,
            received_us=value["received_time"],
        )
        self._give(market, made)

    def _give_if_new(self, topic: Topic, item: StreamedRecord[Any]) -> None:
        given = self._distinct.offer(topic, item.partition, item.symbol, item.name, item.value)
        if given is not None:
            self.ready.append(item._replace(is_late=True) if given.is_late else item)

    def _give(self, market: tuple[str, str], items: Iterable[Given[StreamedRecord[Any]] | Gap]) -> None:
        for item in items:
            if isinstance(item, Gap):
                self.ready.append(item)
            elif item.is_late:
                self.ready.append(item.item._replace(is_late=True))
            else:
                self.ready.append(item.item)
                self._given_times[market] = item.item.time
        if self._trades[market].held:
            self._held_times[market] = self._given_times[market] + 1
        else:
            self._held_times.pop(market, None)

    def _tell(self, record: KafkaRecord, error: Exception) -> None:
        self.undecodable_records += 1
        where = {"topic": record.topic, "partition": record.partition, "offset": record.offset}
        logger.warning("a record cannot be read", extra=where | {"error": str(error)})


def _key(record: KafkaRecord) -> str:
    return (record.key or b"").decode("utf-8", "replace")
