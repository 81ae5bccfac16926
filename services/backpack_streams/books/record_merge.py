"""Gives the records of several partitions in one order of engine time. Sans I/O."""

from collections import deque
from collections.abc import Collection, Iterable, Iterator
from heapq import nlargest
from itertools import chain
from math import inf
from typing import Any, Final

from backpack_streams.books.engine_time_merge import WINDOW_SECONDS, EngineTimeMerge, SortKey
from backpack_streams.books.kafka_record import KafkaRecord
from backpack_streams.books.record_flow import HELD_AT_MOST, PATIENCE_SECONDS, Item, RecordFlow
from backpack_streams.books.streamed import Gap, StreamedRecord
from backpack_streams.bus.codec import Codec
from backpack_streams.bus.topics import Topic
from backpack_streams.errors import CodecError
from backpack_streams.topic_partition import TopicPartition

__all__ = ["MergedFlow"]

_MICROS: Final = 1_000_000
_CONFIRMED_WITHIN: Final = 8
"""A receive time counts once one of this many records was received as late, so that a single wrong one does not."""


class _ReceiveClock:
    """The receive times in a partition as a clock (seconds), which goes on by the reader's clock if Kafka has no more of it."""

    __slots__ = ("_latest", "_read_at", "seconds")

    def __init__(self, now: float) -> None:
        self.seconds = 0.0
        self._read_at = now
        self._latest: deque[float] = deque(maxlen=_CONFIRMED_WITHIN)

    def saw(self, received: float, now: float, *, is_timing: bool) -> None:
        """Take the receive time of a record, read at `now`. `is_timing`: something has been waiting since an earlier record."""
        self._latest.append(received)
        confirmed = nlargest(2, self._latest)[-1] if len(self._latest) > 1 else 0.0
        if (
            confirmed >= self.seconds or not is_timing
        ):  # what begins to wait now does so from now on, even if this clock stands
            self.seconds, self._read_at = max(self.seconds, confirmed), now

    def at(self, now: float) -> float:
        """Return its time if no record has come since the last one."""
        return self.seconds + now - self._read_at


class MergedFlow:
    """Like `RecordFlow`, in one order of engine time across partitions, which depends on their content, not on when they were read.

    So the patience with missing trades is measured by the receive times in their partition, and by the clock only if Kafka has no more
    of it. If partitions are added to a topic, a symbol may move to another one. It is followed across them in the merged order:
    copies are dropped, and trades that no partition has are a gap.
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
        chosen = list(topic_partitions)
        self._across = RecordFlow(codec, patience_seconds=0.0)
        self._topics: dict[str, Topic] = {}
        self.ready: deque[Item] = self._across.ready
        self._codec, self._wanted, self._patience = codec, wanted, patience_seconds
        self._at_most = max(1, HELD_AT_MOST // max(1, len(chosen)))
        self._flows = {each: self._new_flow() for each in chosen}
        self._ranks = {topic: rank for rank, topic in enumerate(dict.fromkeys(topic for topic, _ in chosen))}
        self._merge: EngineTimeMerge[StreamedRecord[Any]] = EngineTimeMerge(chosen, int(window_seconds * _MICROS))
        self._clocks: dict[TopicPartition, _ReceiveClock] = {}
        self._passed: dict[TopicPartition, int] = {}

    def __len__(self) -> int:
        return len(self._merge)

    def follow(self, topic_partition: TopicPartition) -> None:
        """Include a partition that was added to its topic."""
        self._flows[topic_partition] = self._new_flow()
        self._merge.follow(topic_partition)

    def begin_again(self, topic_partitions: Collection[TopicPartition]) -> None:
        """Merge exactly these partitions from now on, also those that have ended. What was given before is not given again."""
        self._flows = {each: self._flows.get(each) or self._new_flow() for each in topic_partitions}
        self._merge.begin_again(topic_partitions)

    def _new_flow(self) -> RecordFlow:
        return RecordFlow(self._codec, self._wanted, self._patience, self._at_most)

    @property
    def duplicates(self) -> int:
        """Number of records dropped because they had been given before."""
        return self._across.duplicates + sum(flow.duplicates for flow in self._flows.values())

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
        yield from chain(self._across.times(), self._merge.times())
        yield from chain.from_iterable(flow.times(topic) for flow in self._flows.values())

    def take(self, topic: Topic, record: KafkaRecord, now: float) -> None:
        """Take a record; those of one partition in order.

        Raises:
            CodecError: it is selected, but cannot be decoded.
        """
        topic_partition = record.topic, record.partition
        self._topics[topic.name] = topic
        flow = self._flows[topic_partition]
        try:
            item = flow.read(topic, record)
        except CodecError:
            self._pass(topic_partition, record.timestamp * 1000)
            raise
        if item is None:
            self._pass(topic_partition, record.timestamp * 1000)
            return
        received_us = _received_time(item)
        clock = self._clocks.get(topic_partition) or self._clocks.setdefault(topic_partition, _ReceiveClock(now))
        clock.saw(received_us / _MICROS, now, is_timing=flow.waiting > 0)
        flow.offer(topic, item, clock.seconds)
        # Hold the partition before its clock passes the missing records.
        self._merge.hold(topic_partition, min(flow.times(), default=inf))
        self._merge.progress(topic_partition, item.time, received_us)
        flow.polled(clock.seconds)
        self._sort(topic_partition, flow, now)

    def _pass(self, topic_partition: TopicPartition, stamp_us: int) -> None:
        """Advance the partition's clock by a record that is not selected; one absurd time must not do so, so it takes two."""
        before, self._passed[topic_partition] = self._passed.get(topic_partition, 0), stamp_us
        time_us = min(before, stamp_us)
        self._merge.progress(topic_partition, time_us, time_us)

    def polled(self, now: float, idle: Collection[TopicPartition], wall_us: int, wait_seconds: float) -> None:
        """Take note that all records of a poll were taken; nothing waits longer than `wait_seconds` for the exhausted `idle` partitions."""
        for topic_partition in idle:
            flow = self._flows[topic_partition]
            if flow.waiting:
                flow.polled(self._clocks[topic_partition].at(now))
                self._sort(topic_partition, flow, now)
        self._give(self._merge.take())
        if idle:
            made_before = wall_us - int(wait_seconds * _MICROS)
            self._give(self._merge.take_waiting(idle, now - wait_seconds, made_before))

    def laggards(self) -> list[TopicPartition]:
        """Return the partitions to read before anything else can be given."""
        return self._merge.laggards()

    def end(self, topic_partition: TopicPartition, now: float) -> None:
        """Take note that this partition has ended."""
        flow = self._flows[topic_partition]
        flow.finish()
        self._sort(topic_partition, flow, now)
        self._merge.end(topic_partition)
        self._give(self._merge.take())

    def _give(self, items: Iterable[StreamedRecord[Any]]) -> None:
        """Give items that have their place in the order. Their partitions have waited for missing trades already."""
        across = self._across
        for item in items:
            across.offer(self._topics[item.topic], item, 0.0)
            if item.name == "Trade":
                across.polled(0.0)

    def _sort(self, topic_partition: TopicPartition, flow: RecordFlow, now: float) -> None:
        """Sort a partition's items into the order. Its gaps are found again there (`_give`)."""
        rank, merge = self._ranks[topic_partition[0]], self._merge
        while flow.ready:
            item = flow.ready.popleft()
            if isinstance(item, Gap):
                continue
            sort_key = SortKey(item.time, rank, item.partition, _number(item), item.offset)
            is_late = merge.is_behind(topic_partition, item.time) or (item.is_late and item.name == "Trade")
            key = f"{item.name} {item.symbol}"
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
