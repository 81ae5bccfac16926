"""Reads past records from Kafka in the order of time, each partition only as far as needed.

Memory is bounded: for each partition what Kafka gives in one answer, at most 4 MiB (or a single larger record), however far that reaches
ahead of the other partitions.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Final, NamedTuple

from aiokafka.structs import ConsumerRecord

from backpack_streams.books.past_watermarks import PastWatermark, PastWatermarks
from backpack_streams.books.timeline import Timeline, believed_times
from backpack_streams.bus.codec import Codec
from backpack_streams.bus.depth_reader import DepthNumbers, DepthReader
from backpack_streams.bus.reader import Reader
from backpack_streams.bus.topic_ids import TopicRecreatedError
from backpack_streams.errors import CodecError
from backpack_streams.topic_partition import TopicPartition

__all__ = ["PastItem", "PastReading"]

_POLL_MILLIS = 100
_ITEMS_AT_MOST = 5_000
_ENDS_SECONDS: Final = 0.5
"""How often to look again at partitions that were read to their end."""
_OBSERVED_EVERY_MICROS: Final = 200_000
_OBSERVED_IN_A_ROW: Final = 3
"""Updates observed in a row: two producers' copies of an update follow each other, and both clocks are of interest."""


class PastItem(NamedTuple):
    """A record with its own time (µs), if plausible; for an update also its content, or why it cannot be decoded.

    `lost_from`: first offset of the updates right before this one that Kafka no longer had. `watermark`: set if the record is one.
    """

    time_us: int
    record: ConsumerRecord
    update: DepthNumbers | None = None
    problem: CodecError | None = None
    lost_from: int | None = None
    watermark: PastWatermark | None = None


class PastReading:
    """Merges the assigned partitions up to `ends`, which were looked up at `asked_us`; with `follows` also what Kafka receives later.

    `note` is called with the last record of each batch of updates. `offsets` is where the reading begins.
    """

    def __init__(
        self,
        reader: Reader,
        depth: DepthReader,
        depth_topic: str,
        ends: Mapping[TopicPartition, int],
        asked_us: int,
        note: Callable[[TopicPartition, ConsumerRecord], None],
        *,
        follows: bool,
        codec: Codec | None = None,
        offsets: Mapping[TopicPartition, int] | None = None,
        watermarks: PastWatermarks | None = None,
    ) -> None:
        self._reader = reader
        self._depth = depth
        self._codec = codec
        self._depth_topic = depth_topic
        self._note = note
        self._ends = dict(ends)
        self._follows = follows
        self._asked = time.monotonic()
        self.asked_us = asked_us
        """When the ends of the partitions were last looked up (µs, our clock)."""
        self.watermarks = watermarks
        self.timeline: Timeline[PastItem] = Timeline(
            each for each in ends if watermarks is None or each != watermarks.topic_partition
        )
        self._next = dict(offsets or {})
        """By partition, the offset after the records read."""
        self._failure: TopicRecreatedError | None = None
        self._observed: dict[TopicPartition, tuple[int, int]] = {}
        if watermarks is not None:
            watermarks.positions |= {each: offset for each, offset in self._next.items() if each[0] == depth_topic}

    @property
    def is_hungry(self) -> bool:
        """Whether the next item depends on records that Kafka has yet to deliver."""
        return bool(self.timeline.hungry) or (self.watermarks is not None and self.watermarks.is_hungry)

    def is_through(self, limit_us: int | None = None) -> bool:
        """Return whether everything up to this time, inclusive, was given (None: everything there is)."""
        if not self.timeline.is_through(limit_us):
            return False
        return self.watermarks is None or self.watermarks.is_through(limit_us)

    async def items(self, limit_us: int | None) -> list[PastItem]:
        """Return the next items in order; empty if none is due, or Kafka has not delivered it yet.

        Args:
            limit_us: the last moment that counts (µs since the Unix epoch); None for no limit.

        Raises:
            TopicRecreatedError: a topic was recreated, so nothing tells any more what was in it.
            BusError: Kafka refuses a request.
        """
        if self._failure is not None:
            raise self._failure
        try:
            await self._read()
        except TopicRecreatedError as error:
            self._failure = error
            raise
        if self._follows and time.monotonic() - self._asked > _ENDS_SECONDS:
            await self._look_for_more()
        return list(self._merged(limit_us))

    async def _read(self) -> None:
        hungry, watermarks = set(self.timeline.hungry), self.watermarks
        if watermarks is not None and watermarks.is_hungry:
            hungry.add(watermarks.topic_partition)
        if not hungry:
            return
        for partition, batch in (await self._reader.poll(_POLL_MILLIS, only=hungry)).items():
            topic_partition = (partition.topic, partition.partition)
            expected = self._pass(topic_partition, batch[0].offset, batch[-1].offset + 1)
            if watermarks is not None and topic_partition == watermarks.topic_partition:
                watermarks.feed(batch)
                continue
            if partition.topic == self._depth_topic:
                self._note(topic_partition, batch[-1])
            items = self._items(topic_partition, batch, expected)
            self.timeline.feed(topic_partition, [(item.time_us, item) for item in items])
        await self._settle()

    def _pass(self, topic_partition: TopicPartition, first: int, end: int) -> int | None:
        """Note that a partition was read from offset `first` to before `end`. Returns where it should have begun, if that is known."""
        expected = self._next.get(topic_partition)
        if expected is not None and first < expected:
            raise TopicRecreatedError([topic_partition[0]])
        self._next[topic_partition] = end
        return expected

    async def _settle(self) -> None:
        for topic_partition, end in self._ends.items():
            if self._is_resting(topic_partition):
                continue
            position = await self._reader.position(topic_partition)
            if position < self._next.get(topic_partition, 0):
                raise TopicRecreatedError([topic_partition[0]])
            if position >= end:
                if self.watermarks is not None and topic_partition == self.watermarks.topic_partition:
                    self.watermarks.rest()
                else:
                    self.timeline.rest(topic_partition)

    def _is_resting(self, topic_partition: TopicPartition) -> bool:
        if self.watermarks is not None and topic_partition == self.watermarks.topic_partition:
            return self.watermarks.is_resting
        return topic_partition in self.timeline.resting

    async def _look_for_more(self) -> None:
        asked_us = time.time_ns() // 1000
        self._ends = await self._reader.ends(self._ends)
        self._asked, self.asked_us = time.monotonic(), asked_us
        for topic_partition, end in self._ends.items():
            if self._is_resting(topic_partition) and await self._reader.position(topic_partition) < end:
                if self.watermarks is not None and topic_partition == self.watermarks.topic_partition:
                    self.watermarks.wake()
                else:
                    self.timeline.wake(topic_partition)

    # In order -------------------------------------------------------------------------------------------------

    def _merged(self, limit_us: int | None) -> Iterator[PastItem]:
        """Merge watermarks with the timeline: a watermark goes before what happened after it was published."""
        watermarks = self.watermarks
        if watermarks is None:
            yield from self.timeline.take(limit_us, _ITEMS_AT_MOST)
            return
        given = 0
        while not self.is_hungry and given < _ITEMS_AT_MOST:
            next_us = self.timeline.next_time
            if next_us is None or (limit_us is not None and next_us > limit_us):
                rest = watermarks.rest_of() if limit_us is None else watermarks.due(limit_us, at_once=True)
                yield from (_of_watermark(each) for each in rest)
                return
            yield from (_of_watermark(each) for each in watermarks.due(next_us))
            if watermarks.is_hungry:  # the next watermark may be from before the item
                return
            until_us = max(next_us, watermarks.next_look_us - 1)
            for item in self.timeline.take(
                until_us if limit_us is None else min(until_us, limit_us), _ITEMS_AT_MOST - given
            ):
                given += 1
                record = item.record
                if record.topic == self._depth_topic:
                    watermarks.positions[record.topic, record.partition] = record.offset + 1
                yield item

    # One record -----------------------------------------------------------------------------------------------

    def _items(
        self, topic_partition: TopicPartition, batch: list[ConsumerRecord], expected: int | None
    ) -> list[PastItem]:
        items = [self._item(record) for record in batch]

        def received_us(index: int) -> int | None:
            return self._received_us(batch[index])

        times = believed_times(self.timeline.latest(topic_partition), [item.time_us for item in items], received_us)
        items = [
            item if item.time_us == time_us else item._replace(time_us=time_us)
            for item, time_us in zip(items, times, strict=True)
        ]
        if topic_partition[0] == self._depth_topic:
            if expected is not None and batch[0].offset > expected:
                items[0] = items[0]._replace(lost_from=expected)
            if self.watermarks is not None:
                self._observe(topic_partition, items, self.watermarks)
        return items

    def _observe(self, topic_partition: TopicPartition, items: list[PastItem], watermarks: PastWatermarks) -> None:
        """Note receive times of some updates, to compare the producers' clocks with the exchange's."""
        last_us, in_a_row = self._observed.get(topic_partition, (0, 0))
        for item in items:
            if item.update is None or item.update[2] != item.time_us:
                continue
            if item.time_us - last_us >= _OBSERVED_EVERY_MICROS:
                last_us, in_a_row = item.time_us, 0
            if in_a_row < _OBSERVED_IN_A_ROW:
                in_a_row += 1
                received_us = self._received_us(item.record)
                if received_us is not None:
                    watermarks.observe(topic_partition, item.record.offset, item.time_us, received_us)
        self._observed[topic_partition] = last_us, in_a_row

    def _received_us(self, record: ConsumerRecord) -> int | None:
        if self._codec is None or record.value is None:
            return None
        try:
            received_us = self._codec.decode(record.value)[1].get("received_time")
        except CodecError:
            return None
        return received_us if isinstance(received_us, int) else None

    def _item(self, record: ConsumerRecord) -> PastItem:
        time_us = int(record.timestamp) * 1000
        if record.topic != self._depth_topic:
            return PastItem(time_us, record)
        try:
            update = self._depth.read(record.value or b"")
        except CodecError as error:  # logged and counted when the record is taken
            return PastItem(time_us, record, problem=error)
        return PastItem(update[2] or time_us, record, update)


def _of_watermark(watermark: PastWatermark) -> PastItem:
    return PastItem(watermark.at_us, watermark.record, watermark=watermark)
