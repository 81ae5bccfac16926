"""Reads the records of topics for `RecordStream`: polls Kafka, tracks the position of each partition, and detects the end."""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Mapping
from typing import Final

from backpack_streams.books.engine_time_merge import WINDOW_SECONDS
from backpack_streams.books.kafka_record import KafkaRecord
from backpack_streams.books.partition_counts import PartitionCounts
from backpack_streams.books.record_flow import Item, RecordFlow
from backpack_streams.books.record_join import Moment, Wanted, Watermarks, partitions_of, starts_of, stops_of
from backpack_streams.books.record_merge import MergedFlow
from backpack_streams.bus.codec import Codec
from backpack_streams.bus.reader import Reader, Records
from backpack_streams.bus.topic_end import PATIENCE_SECONDS as END_PATIENCE_SECONDS
from backpack_streams.bus.topic_end import EndWatch
from backpack_streams.bus.topic_ids import TopicRecreatedError
from backpack_streams.bus.topics import DELETE
from backpack_streams.errors import BookError, BusError, CodecError
from backpack_streams.topic_partition import TopicPartition

__all__ = ["RecordReading"]

GAP_TOPIC: Final = "ops.gap"
WATERMARK_TOPIC: Final = "ops.watermark"
MERGE_WAIT_SECONDS: Final = 1.0
"""How long a record in the time order waits for partitions that are exhausted for now."""
AWAY_SECONDS: Final = 30.0
"""How long it waits for a partition that has more records but delivers none."""
_MERGED_AT_MOST: Final = 50_000
_POLL_MILLIS: Final = 200

logger = logging.getLogger(__name__)


class RecordReading:
    """Holds the position of the reading, so that a caller may leave and come back: a poll outlives the cancellation of its caller."""

    def __init__(self, reader: Reader, codec: Codec, wanted: Wanted) -> None:
        self._reader = reader
        self._codec = codec
        self._wanted = wanted
        self._from_ms, self._before_ms = wanted.from_ms, wanted.before_ms
        self._gaps: RecordFlow | None = None
        self.flow: RecordFlow | MergedFlow = RecordFlow(codec, wanted.keys, wanted.patience_seconds)
        self.watermarks = Watermarks((wanted.prefix + WATERMARK_TOPIC, 0), codec)
        self._topic_partitions: list[TopicPartition] = []
        self._others: list[TopicPartition] = []
        self._behind: dict[TopicPartition, int] = {}
        self._reached: dict[TopicPartition, int] = {}
        """By partition, the offset after the records taken from Kafka."""
        self._counts = PartitionCounts()
        self._watch: EndWatch | None = None
        self._polling: asyncio.Task[Records] | None = None
        self._batch: deque[tuple[TopicPartition, deque[KafkaRecord]]] = deque()
        self._heard_at: dict[TopicPartition, float] = {}
        self._has_round = self._is_finished = False
        self._failure: TopicRecreatedError | None = None
        """Why the end cannot be reached any more."""
        self._complete_through: dict[tuple[str, str | None], int | None] = {}
        """Cached answers; cleared whenever they might become wrong, but not merely because they age."""

    @property
    def is_caught_up(self) -> bool:
        """Whether everything that Kafka held at the join was taken."""
        return not self._behind and not self._batch

    def position(self, topic_partition: TopicPartition) -> int:
        """Return the first offset of a partition that was not taken yet."""
        for other, records in self._batch:
            if other == topic_partition:
                return records[0].offset
        return self._reached.get(topic_partition, 0)

    def complete_through(self, topic: str, kind: str | None) -> int | None:
        """Return up to when (µs) all exchange data of a topic's selected streams was given; None while one of them is not covered."""
        key = topic, kind
        if key not in self._complete_through:
            coverage = self.watermarks.by_topic.get(topic)
            through = None if coverage is None else coverage.complete_through(self.position, kind)
            self._complete_through[key] = through
        through = self._complete_through[key]
        return None if through is None else min(through, min(self.flow.times(topic), default=through + 1) - 1)

    async def join(self) -> None:
        """Find the offsets to start from, and start there.

        Raises:
            BusError: Kafka does not answer, or a topic does not exist.
        """
        wanted, reader = self._wanted, self._reader
        self._watch, self._is_finished, self._failure = None, False, None
        self._batch.clear()
        self._complete_through.clear()
        starts: dict[TopicPartition, int] = {}
        ends: dict[TopicPartition, int] = {}
        for full_name, topic in wanted.topics.items():
            topic_partitions, partitions = await partitions_of(reader, full_name, wanted.keys)
            topic_ends = await reader.ends(topic_partitions)
            self._counts.known[full_name] = partitions
            self.watermarks.add(topic, full_name, topic_ends, partitions, wanted.symbols)
            starts |= await starts_of(reader, wanted.start, topic_partitions, topic_ends)
            ends |= topic_ends
        others = await self.watermarks.join(reader)
        if isinstance(self.flow, MergedFlow):
            self.flow.begin_again(starts)
        elif wanted.is_merged:
            # With an end, no caller waits for live records, so a longer window costs nothing and puts refilled trades in their places too.
            window = WINDOW_SECONDS if wanted.until is None else max(WINDOW_SECONDS, wanted.patience_seconds)
            self.flow = MergedFlow(self._codec, starts, wanted.keys, wanted.patience_seconds, window)
        elif any(topic.record == "Trade" for topic in wanted.topics.values()):
            gaps = await reader.ends(await reader.topic_partitions(wanted.prefix + GAP_TOPIC))
            self._counts.known.setdefault(wanted.prefix + GAP_TOPIC, len(gaps))
            others |= gaps
        self._topic_partitions = list(starts)
        self._others = [each for each in others if each not in starts]
        self._reached = {each: others[each] for each in self._others} | starts
        self._behind = {each: end for each, end in ends.items() if starts[each] < end}
        if wanted.until == "end":
            reader.assign(self._reached)  # their ends are void if a topic is recreated
            self._watch = EndWatch(starts, ends, END_PATIENCE_SECONDS, time.monotonic())
            self._has_round = True  # empty partitions have reached their end already
        else:
            reader.follow(self._reached, ())

    async def leave(self) -> None:
        """Cancel the poll in progress."""
        polling, self._polling = self._polling, None
        if polling is not None:
            polling.cancel()
            await asyncio.wait({polling})
            if not polling.cancelled():
                polling.exception()  # retrieve it, since no caller is left to receive it

    def take(self) -> Item | None:
        """Return the next item of what Kafka has delivered already; None without one."""
        ready = self.flow.ready
        while not ready:
            if self._batch:
                self._take_one()
            elif self._has_round:
                self._has_round = False
                self._end_round(time.monotonic())
            else:
                return None
        return ready.popleft()

    def put_back(self, item: Item) -> None:
        """Put an item back that was taken but not given."""
        self.flow.ready.appendleft(item)

    async def fill(self) -> None:
        """Poll Kafka and take the answer.

        Raises:
            StopAsyncIteration: the end has been reached.
            BookError: the stream was left meanwhile.
            BusError: Kafka refuses, or the end could not be reached.
        """
        if self._failure is not None:
            raise self._failure
        if self._is_finished:
            raise StopAsyncIteration
        if self._polling is None:
            self._polling = asyncio.create_task(self._poll(), name="record stream")
        polling = self._polling
        await asyncio.wait({polling})
        if self._polling is not polling:
            raise BookError("the record stream was left while it was iterated over")
        self._polling = None
        try:
            records = polling.result()
        except TopicRecreatedError as error:
            self._failure = error
            raise
        batches = {(each.topic, each.partition): deque(batch) for each, batch in records.items()}
        self._batch += batches.items()
        self._move_on({each: batch[0].offset for each, batch in batches.items()})
        self._complete_through.clear()
        self._has_round = True

    def _move_on(self, firsts: Mapping[TopicPartition, int]) -> None:
        """Take the positions after a poll, given the first offset that each partition delivered. During a poll, the client's position may
        be past records that it has not returned yet.

        Raises:
            TopicRecreatedError: a topic that is read to its end was recreated.
        """
        for topic_partition, before in self._reached.items():
            reached = self._reader.reached(topic_partition)
            if reached is None:
                continue
            self._reached[topic_partition] = reached
            if min(reached, firsts.get(topic_partition, reached)) < before:
                self._on_recreated(topic_partition)
        if self._failure is not None:
            self._batch.clear()
            raise self._failure

    def _on_recreated(self, topic_partition: TopicPartition) -> None:
        """Forget the end that the partition had; if it is to be read up to there, that has become impossible."""
        self._behind.pop(topic_partition, None)
        for coverage in self.watermarks.by_topic.values():
            coverage.read_up_to(self.position)
        if self._watch is not None and topic_partition in self._watch.reached:
            self._failure = TopicRecreatedError([topic_partition[0]])

    async def _poll(self) -> Records:
        if self._watch is None:
            await self._follow_added()
        if self._watch is None and self._before_ms is not None:
            await self._look_for_the_end(self._before_ms)
        if self._watch is not None and not self._watch.reached:
            return {}
        only = self._topic_partitions if self._watch is None else list(self._watch.reached)
        if isinstance(self.flow, MergedFlow) and len(self.flow) > _MERGED_AT_MOST:
            only = [each for each in self.flow.laggards() if each in only] or only
        records = await self._reader.poll(_POLL_MILLIS, only=[*only, *self._others])
        await self._look_for_loss({(each.topic, each.partition): batch[0].offset for each, batch in records.items()})
        return records

    async def _look_for_loss(self, firsts: Mapping[TopicPartition, int]) -> None:
        """Notice what Kafka's retention removed before it was read, given the first offset that each partition delivered. Offsets of
        transactions are missing, too, so the beginning of the partition decides.
        """
        skipped = {
            each: first
            for each in self._topic_partitions
            if (first := firsts.get(each, self._reader.reached(each) or 0)) > self._reached[each]
            and self._wanted.topics[each[0]].cleanup == DELETE
        }
        if not skipped:
            return
        try:
            beginnings = await self._reader.beginnings(skipped)
        except BusError:  # the records that were delivered are not lost for that
            beginnings = skipped
        for topic_partition, first in skipped.items():
            if beginnings[topic_partition] > self._reached[topic_partition]:
                where = {"topic": topic_partition[0], "partition": topic_partition[1]}
                where |= {"first": self._reached[topic_partition], "end": first}
                logger.warning("kafka's retention removed records before they were read", extra=where)
                self.watermarks.on_lost(topic_partition)

    async def _follow_added(self) -> None:
        """Read partitions that are added to a topic, since keys move to them."""
        for name, known in self._counts.grown(self._reader.partition_count).items():
            topic = self._wanted.topics.get(name)
            keys = None if topic is None else self._wanted.keys
            topic_partitions, count = await partitions_of(self._reader, name, keys)
            added = {
                each: 0 if each[1] >= known else await self._before_noticed(each)
                for each in topic_partitions
                if each not in self._reached
            }
            logger.warning("a topic has more partitions; they are read as well", extra={"topic": name, "known": known})
            self._reader.also(added)
            self._counts.known[name] = count  # only now: what fails before is tried again at the next poll
            self._reached |= added
            if topic is None:
                self._others += added
                continue
            self._topic_partitions += added
            if isinstance(self.flow, MergedFlow):
                for topic_partition in added:
                    self.flow.follow(topic_partition)

    async def _before_noticed(self, topic_partition: TopicPartition) -> int:
        """Return where to begin in an existing partition to which keys have moved."""
        found = await self._counts.offset_before_growth(self._reader, topic_partition)
        return found if found is not None else (await self._reader.ends([topic_partition]))[topic_partition]

    async def _look_for_the_end(self, before_ms: int) -> None:
        """Determine the end once `until` has passed and delayed records had time to arrive."""
        if time.time() * 1000 < before_ms + self._wanted.patience_seconds * 1000:
            return
        assert isinstance(self._wanted.until, Moment)  # `before_ms` exists only for a moment
        try:
            stops = await stops_of(self._reader, self._wanted.until, self._topic_partitions, self._wanted.late_seconds)
        finally:  # the search has replaced the assignment
            self._reader.follow(self._reached, ())
        self._reader.assign(self._reached)  # their ends are void if a topic is recreated
        starts = {each: self._reached[each] for each in self._topic_partitions}
        self._watch = EndWatch(starts, stops, END_PATIENCE_SECONDS, time.monotonic())

    def _take_one(self) -> None:
        topic_partition, records = self._batch[0]
        record = records.popleft()
        if not records:
            self._batch.popleft()
        now = time.monotonic()
        if topic_partition == self.watermarks.topic_partition:
            self.watermarks.take(record, now)
            self._complete_through.clear()
        if topic_partition in self._others:
            if topic_partition != self.watermarks.topic_partition and isinstance(self.flow, RecordFlow):
                self.flow.take_gap(record)
        elif (self._watch is None or self._watch.wanted(topic_partition, [record])) and self._is_in_time(record):
            try:
                self.flow.take(self._wanted.topics[topic_partition[0]], record, now)
            except CodecError:  # it is lost to this reader; the flow has logged it
                self.watermarks.on_lost(topic_partition)

    def _is_in_time(self, record: KafkaRecord) -> bool:
        stamp = record.timestamp
        return (self._from_ms is None or stamp >= self._from_ms) and (
            self._before_ms is None or stamp < self._before_ms
        )

    def _end_round(self, now: float) -> None:
        """Finish a poll whose records were all taken: release what has waited long enough, and check the ends."""
        self._complete_through.clear()
        self.watermarks.end_round(self.position)
        self._behind = {each: end for each, end in self._behind.items() if self._reached[each] < end}
        if isinstance(self.flow, RecordFlow):
            self.flow.polled(now)
        else:
            self.flow.polled(now, self._idle(self.flow, now), time.time_ns() // 1000, MERGE_WAIT_SECONDS)
        if self._watch is not None and not self._is_finished:
            self._look_at_ends(self._watch, now)

    def _look_at_ends(self, watch: EndWatch, now: float) -> None:
        for topic_partition in list(watch.reached):
            watch.stands_at(topic_partition, self._reached[topic_partition])
        if isinstance(self.flow, MergedFlow):
            for topic_partition in self._topic_partitions:
                if topic_partition not in watch.reached:
                    self.flow.end(topic_partition, now)
        elif not watch.reached:
            self.flow.finish()
        self._is_finished = not watch.reached
        watch.look(now)

    def _idle(self, flow: MergedFlow, now: float) -> list[TopicPartition]:
        """Return the partitions that are exhausted or deliver nothing; none if every partition has an end to wait for."""
        if self._watch is not None:
            return []
        laggards = set(flow.laggards())
        self._heard_at = {each: self._heard_at.get(each, now) for each in laggards}
        return [
            each
            for each in self._topic_partitions
            if self._is_at_end(each) or now - self._heard_at.get(each, now) > AWAY_SECONDS
        ]

    def _is_at_end(self, topic_partition: TopicPartition) -> bool:
        end = self._reader.high_water(topic_partition)
        return topic_partition not in self._behind and (end is None or self._reached[topic_partition] >= end)
