"""Turns Kafka's records into the items of a `RecordStream`: decoded, each once, trades in order with their gaps. Sans I/O."""

import logging
from collections import deque
from collections.abc import Collection, Iterable, Iterator
from itertools import chain
from math import inf
from typing import Any, Final

from backpack_streams.books.distinct import Distinct
from backpack_streams.books.engine_time_merge import WINDOW_SECONDS, EngineTimeMerge, SortKey
from backpack_streams.books.kafka_record import KafkaRecord
from backpack_streams.books.streamed import Gap, StreamedRecord, order_time, sequence_time
from backpack_streams.bus.codec import Codec
from backpack_streams.bus.topics import COMPACT, Topic
from backpack_streams.errors import CodecError
from backpack_streams.sequencing.trade_order import Given, TradeOrder
from backpack_streams.topic_partition import TopicPartition

__all__ = ["HELD_AT_MOST", "PATIENCE_SECONDS", "Item", "MergedFlow", "RecordFlow"]

logger = logging.getLogger(__name__)

PATIENCE_SECONDS: Final = 10.0
"""How long trades wait for missing ones before them, which a refill may still bring."""
HELD_AT_MOST: Final = 50_000
"""Maximum number of trades that wait, over all markets; above that the oldest gap is reported."""
_NOT_REFILLED: Final = "REFILL_INCOMPLETE"
_MICROS: Final = 1_000_000

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
        return sum(len(each.held) for each in self._trades.values())

    def times(self, topic: str | None = None) -> Iterator[int]:
        """Yield times of items read but not given yet, the earliest included; of one topic or of all."""
        yield from (time_us for (of, _), time_us in self._held_times.items() if topic in (None, of))
        yield from (
            item.time for item in self.ready if isinstance(item, StreamedRecord) and topic in (None, item.topic)
        )

    def take(self, topic: Topic, record: KafkaRecord, now: float) -> StreamedRecord[Any] | None:
        """Take a record. Returns its decoded form, whether or not it is given; None if it is not selected or cannot be decoded."""
        if self._wanted is not None and record.key not in self._wanted:
            return None
        if record.value is None:
            return self._take_tombstone(topic, record) if COMPACT in topic.cleanup else None
        try:
            name, value = self._codec.read(record.value)
        except CodecError as error:  # written by a newer or a foreign producer
            self._tell(record, error)
            return None
        item = StreamedRecord(
            topic.name, name, _key(record), value, record.partition, record.offset, time=order_time(value)
        )
        if name == "Trade":
            self._take_trade(item, now)
        else:
            self._give_if_new(topic, item)
        return item

    def take_gap(self, record: KafkaRecord) -> None:
        """Take a gap record: if it says that trades are unavailable for good, nothing waits for them any longer."""
        try:
            _, gap = self._codec.decode(record.value or b"")
            is_final, topic_partition = gap["reason"] == _NOT_REFILLED, (gap["topic"], gap["symbol"])
            last_id, next_id = gap["last_id"], gap["next_id"]
        except (CodecError, KeyError) as error:
            self._tell(record, error)
            return
        if is_final and last_id is not None and next_id is not None and topic_partition in self._trades:
            self._give(topic_partition, self._trades[topic_partition].lost((last_id + 1, next_id)))

    def polled(self, now: float) -> None:
        """Take note that all records of a poll were taken: give up on gaps that have waited long enough."""
        for topic_partition, order in self._trades.items():
            if order.held:
                self._give(topic_partition, order.tick(now, self._patience_seconds))
        while self.waiting > self._held_at_most:
            longest = min(self._held_times, key=lambda topic_partition: self._trades[topic_partition].waits_since())
            self._give(longest, self._trades[longest].skip_hole())

    def finish(self) -> None:
        """Give everything that waits, with the gaps: no more records will come."""
        for topic_partition, order in self._trades.items():
            self._give(topic_partition, order.give_up())

    def _take_tombstone(self, topic: Topic, record: KafkaRecord) -> StreamedRecord[Any]:
        time_us = record.timestamp * 1000
        item = StreamedRecord(
            topic.name, topic.record, _key(record), None, record.partition, record.offset, time=time_us
        )
        self._give_if_new(topic, item)
        return item

    def _take_trade(self, item: StreamedRecord[Any], now: float) -> None:
        topic_partition = item.topic, item.symbol
        order = self._trades.get(topic_partition) or self._trades.setdefault(topic_partition, TradeOrder(item.symbol))
        value = item.value
        made = order.offer(
            value["trade_id"],
            sequence_time(value),
            item,
            now,
            is_engine_time=value["engine_time"] is not None,
            received_us=value["received_time"],
        )
        self._give(topic_partition, made)

    def _give_if_new(self, topic: Topic, item: StreamedRecord[Any]) -> None:
        given = self._distinct.offer(topic, item.partition, item.symbol, item.name, item.value)
        if given is not None:
            self.ready.append(item._replace(is_late=True) if given.is_late else item)

    def _give(self, topic_partition: tuple[str, str], items: Iterable[Given[StreamedRecord[Any]] | Gap]) -> None:
        for item in items:
            if isinstance(item, Gap):
                self.ready.append(item)
            elif item.is_late:
                self.ready.append(item.item._replace(is_late=True))
            else:
                self.ready.append(item.item)
                self._given_times[topic_partition] = item.item.time
        if self._trades[topic_partition].held:
            self._held_times[topic_partition] = self._given_times[topic_partition] + 1
        else:
            self._held_times.pop(topic_partition, None)

    def _tell(self, record: KafkaRecord, error: Exception) -> None:
        self.undecodable_records += 1
        where = {"topic": record.topic, "partition": record.partition, "offset": record.offset}
        logger.warning("a record cannot be read", extra=where | {"error": str(error)})


class MergedFlow:
    """Like `RecordFlow`, in one order of engine time across partitions, which depends on their content, not on when they were read.

    So the patience with missing trades is measured by the receive times in their partition, and by the clock only if Kafka has no more
    of it.
    """

    def __init__(
        self,
        codec: Codec,
        topic_partitions: Iterable[TopicPartition],
        wanted: Collection[bytes] | None = None,
        patience_seconds: float = PATIENCE_SECONDS,
        window_seconds: float = WINDOW_SECONDS,
    ) -> None:
        """Prepare without records.

        Args:
            codec: decodes the records.
            topic_partitions: the partitions to merge; the order of their topics decides between records of one time.
            wanted: the selected keys; None for all.
            patience_seconds: how long trades wait for missing ones before them.
            window_seconds: how late, relative to its partition, a record is still sorted into place.
        """
        self.ready: deque[Item] = deque()
        chosen = list(topic_partitions)
        self._codec, self._wanted, self._patience = codec, wanted, patience_seconds
        self._at_most = max(1, HELD_AT_MOST // max(1, len(chosen)))
        self._flows = {each: RecordFlow(codec, wanted, patience_seconds, self._at_most) for each in chosen}
        self._ranks = {topic: rank for rank, topic in enumerate(dict.fromkeys(topic for topic, _ in chosen))}
        self._merge: EngineTimeMerge[Item] = EngineTimeMerge(chosen, int(window_seconds * _MICROS))
        self._received: dict[TopicPartition, tuple[float, float]] = {}
        """By partition: the newest receive time in seconds, and when it was read (monotonic seconds)."""
        self._passed: dict[TopicPartition, int] = {}

    def __len__(self) -> int:
        return len(self._merge)

    def follow(self, topic_partition: TopicPartition) -> None:
        """Include a partition that was added to its topic."""
        self._flows[topic_partition] = RecordFlow(self._codec, self._wanted, self._patience, self._at_most)
        self._merge.follow(topic_partition)

    @property
    def duplicates(self) -> int:
        """Number of records dropped because they had been given before."""
        return sum(flow.duplicates for flow in self._flows.values())

    @property
    def waiting(self) -> int:
        """Number of trades that wait for a missing one before them."""
        return sum(flow.waiting for flow in self._flows.values())

    @property
    def undecodable_records(self) -> int:
        """Number of records that could not be decoded."""
        return sum(flow.undecodable_records for flow in self._flows.values())

    def times(self, topic: str | None = None) -> Iterator[int]:
        """See `RecordFlow.times`; items that wait for their turn in the order count for every topic."""
        ready = (item.time for item in self.ready if isinstance(item, StreamedRecord))
        yield from chain(ready, self._merge.times(), *(flow.times(topic) for flow in self._flows.values()))

    def take(self, topic: Topic, record: KafkaRecord, now: float) -> None:
        """Take a record; those of one partition in order."""
        topic_partition = record.topic, record.partition
        flow = self._flows[topic_partition]
        seconds, read_at = self._received.get(topic_partition, (0.0, now))
        item = flow.take(topic, record, seconds)
        if item is None:
            self._pass(topic_partition, record.timestamp * 1000)
            return
        received_us = _received_time(item)
        if received_us / _MICROS >= seconds:
            seconds, read_at = received_us / _MICROS, now
        self._received[topic_partition] = seconds, read_at
        # Hold the partition before its clock passes the missing records.
        self._merge.hold(topic_partition, min(flow.times(), default=inf))
        self._merge.progress(topic_partition, item.time, received_us)
        flow.polled(seconds)
        self._sort(topic_partition, flow, now)

    def _pass(self, topic_partition: TopicPartition, stamp_us: int) -> None:
        """Advance the partition's clock by a record that is not selected; one absurd time must not do so, so it takes two."""
        before, self._passed[topic_partition] = self._passed.get(topic_partition, 0), stamp_us
        time_us = min(before, stamp_us)
        self._merge.progress(topic_partition, time_us, time_us)

    def polled(self, now: float, idle: Collection[TopicPartition], wall_us: int, wait_seconds: float) -> None:
        """Take note that all records of a poll were taken; nothing waits longer than `wait_seconds` for the exhausted `idle` partitions."""
        for topic_partition in idle:
            seconds, read_at = self._received.get(topic_partition, (0.0, now))
            flow = self._flows[topic_partition]
            if flow.waiting:
                flow.polled(seconds + now - read_at)
                self._sort(topic_partition, flow, now)
        self.ready.extend(self._merge.take())
        if idle:
            made_before = wall_us - int(wait_seconds * _MICROS)
            self.ready.extend(self._merge.take_waiting(idle, now - wait_seconds, made_before))

    def laggards(self) -> list[TopicPartition]:
        """Return the partitions to read before anything else can be given."""
        return self._merge.laggards()

    def end(self, topic_partition: TopicPartition, now: float) -> None:
        """Take note that this partition has ended."""
        flow = self._flows[topic_partition]
        flow.finish()
        self._sort(topic_partition, flow, now)
        self._merge.end(topic_partition)
        self.ready.extend(self._merge.take())

    def _sort(self, topic_partition: TopicPartition, flow: RecordFlow, now: float) -> None:
        """Sort a partition's items into the order; a gap goes right before the trade that follows it."""
        rank, gaps, merge = self._ranks[topic_partition[0]], list[Gap](), self._merge
        while flow.ready:
            item = flow.ready.popleft()
            if isinstance(item, Gap):
                gaps.append(item)
                continue
            sort_key = SortKey(item.time, rank, item.partition, _number(item), item.offset)
            is_late = merge.is_behind(topic_partition, item.time) or (item.is_late and item.name == "Trade")
            key = f"{item.name} {item.symbol}"
            for gap in gaps:
                merge.add(topic_partition, key, sort_key._replace(offset=-1), gap, is_late=is_late, now=now)
            gaps.clear()
            # An item that is late, but in time for its place in the order, does not delay the items before it.
            if item.is_late is not is_late:
                merge.add(topic_partition, key, sort_key, item._replace(is_late=is_late), is_late=item.is_late, now=now)
            else:
                merge.add(topic_partition, key, sort_key, item, is_late=is_late, now=now)
        merge.hold(topic_partition, min(flow.times(), default=inf))


_NUMBERS: Final = {"DepthUpdate": "last_update_id", "BookSnapshot": "last_update_id", "Trade": "trade_id"}


def _number(item: StreamedRecord[Any]) -> int:
    """Return the number that orders records of one time before their offsets do."""
    field = _NUMBERS.get(item.name)
    return item.offset if field is None or item.value is None else int(item.value[field])


def _received_time(item: StreamedRecord[Any]) -> int:
    received = None if item.value is None else item.value.get("received_time")
    return item.time if received is None else int(received)


def _key(record: KafkaRecord) -> str:
    return (record.key or b"").decode("utf-8", "replace")
