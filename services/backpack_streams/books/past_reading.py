"""Reads what lies in Kafka in the order of time, partition by partition only as far as it is needed."""

import time
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from aiokafka.structs import ConsumerRecord

from backpack_streams.books.timeline import Timeline
from backpack_streams.bus.depth_reader import DepthNumbers, DepthReader
from backpack_streams.bus.reader import Place, Reader
from backpack_streams.errors import CodecError

__all__ = ["PastItem", "PastReading"]

_POLL_MILLIS = 100
_ITEMS_AT_MOST = 5_000
_ENDS_SECONDS: Final = 0.5
"""How often partitions that were read to their end are looked at again."""


class PastItem(NamedTuple):
    """A record and its own time (µs); of an update what it says, or why it cannot be read."""

    time_us: int
    record: ConsumerRecord
    update: DepthNumbers | None = None
    problem: CodecError | None = None


class PastReading:
    """A merged reading of assigned partitions up to `ends`, as they were at `asked_us`; with `follows` also of what Kafka gets later.

    `note` is told of the last record of each batch of updates.
    """

    def __init__(
        self,
        reader: Reader,
        depth: DepthReader,
        depth_topic: str,
        ends: Mapping[Place, int],
        asked_us: int,
        note: Callable[[Place, ConsumerRecord], None],
        *,
        follows: bool,
    ) -> None:
        self._reader = reader
        self._depth = depth
        self._depth_topic = depth_topic
        self._note = note
        self._ends = dict(ends)
        self._follows = follows
        self._asked = time.monotonic()
        self.asked_us = asked_us
        """When it was last asked where the partitions end (µs, by our clock)."""
        self.timeline: Timeline[PastItem] = Timeline(ends)

    async def items(self, limit_us: int | None) -> list[PastItem]:
        """The next items in order, up to a moment; empty where none is due yet, or Kafka has not given it yet."""
        hungry = self.timeline.hungry
        if hungry:
            for partition, batch in (await self._reader.poll(_POLL_MILLIS, only=hungry)).items():
                place = (partition.topic, partition.partition)
                if partition.topic == self._depth_topic:
                    self._note(place, batch[-1])
                self.timeline.feed(place, ((item.time_us, item) for item in map(self._item, batch)))
            await self._settle()
        if self._follows and time.monotonic() - self._asked > _ENDS_SECONDS:
            await self._look_for_more()
        return list(self.timeline.take(limit_us, _ITEMS_AT_MOST))

    async def _settle(self) -> None:
        for place, end in self._ends.items():
            if place not in self.timeline.resting and await self._reader.position(place) >= end:
                self.timeline.rest(place)

    async def _look_for_more(self) -> None:
        asked_us = time.time_ns() // 1000
        self._ends = await self._reader.ends(self._ends)
        self._asked, self.asked_us = time.monotonic(), asked_us
        for place in self.timeline.resting:
            if await self._reader.position(place) < self._ends[place]:
                self.timeline.wake(place)

    def _item(self, record: ConsumerRecord) -> PastItem:
        time_us = int(record.timestamp) * 1000
        if record.topic != self._depth_topic:
            return PastItem(time_us, record)
        try:
            update = self._depth.read(record.value or b"")
        except CodecError as error:  # told and counted where the record is taken
            return PastItem(time_us, record, problem=error)
        return PastItem(update[2] or time_us, record, update)
