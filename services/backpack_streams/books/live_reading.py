"""Reads the partitions of the selected books, from the offsets found at the join, and follows changes of topics and markets."""

import logging
import time
from collections.abc import Iterable, Iterator
from typing import Final

from backpack_streams.books.book_update import BookUpdate
from backpack_streams.books.joining import (
    DEPTH_TOPIC,
    GAP_TOPIC,
    SNAPSHOT_TOPIC,
    Start,
)
from backpack_streams.books.live_start import LiveStart
from backpack_streams.books.market_book import MarketBook, Outcome
from backpack_streams.books.partition_counts import PartitionCounts
from backpack_streams.books.reading_task import Batch
from backpack_streams.bus.reader import Records
from backpack_streams.errors import BusError
from backpack_streams.topic_partition import TopicPartition

__all__ = ["LiveReading"]

logger = logging.getLogger(__name__)

_POLL_MILLIS: Final = 200
_RECORDS_A_POLL: Final = 10_000
_LEAST_RECORDS_A_POLL: Final = 2
"""With one record asked for and got, no poll would tell that everything was read as long as updates never pause."""
_TRY_AGAIN_SECONDS: Final = 1.0


class LiveReading:
    """Reads the live records of a `BookStream`, as batches for its intake. Only one task may use it, except for its properties.

    `position` is that of the books.
    """

    def __init__(self, start: LiveStart) -> None:
        """Prepare; the start has joined before the first `read`.

        Args:
            start: where the reading starts.
        """
        self._start = start
        self._prefix = start.prefix
        self.intake = start.intake
        self.position = start.position
        self._try_again_at = 0.0
        self._has_new_markets = self._has_other_partitions = False
        self._counts = PartitionCounts()
        self._held: list[MarketBook] = []

    # State ----------------------------------------------------------------------------------------------------

    def lags(self) -> dict[TopicPartition, int]:
        """Return, by partition, how many updates Kafka has that the books do not have yet, as of Kafka's last answer."""
        return self.position.lags({each: self._start.reader.high_water(each) for each in self.position.next_offsets})

    def lag_seconds(self) -> float:
        """Return the age (s) of the newest update read in the partition that is furthest behind; 0 if nothing is left to read."""
        return self.position.lag_seconds(self.lags())

    # Reading --------------------------------------------------------------------------------------------------

    @property
    def waits_for_books(self) -> bool:
        """Whether everything read has to be applied before the next `read`, which looks up positions again."""
        is_due = self._has_new_markets or self._start.watermark_search.has_appeared or self._has_other_partitions
        return is_due and time.monotonic() >= self._try_again_at

    def resume(self) -> None:
        """Resume after an error, right after the last records handed out."""
        self._start.following.resume()

    async def read(self, most_records: int, *, is_applied: bool) -> Batch:
        """Return what Kafka has now, after a short wait; if all is applied, first follow changes of topics and markets.

        Args:
            most_records: maximum number of records in the batch.
            is_applied: whether the books include everything read so far.

        Raises:
            BusError: Kafka refuses a request.
        """
        if is_applied and self.waits_for_books:
            return Batch(iter(await self._reach_out()))
        await self._look()
        most = max(_LEAST_RECORDS_A_POLL, min(_RECORDS_A_POLL, most_records))
        records = await self._start.reader.poll(_POLL_MILLIS, most)
        polled_at, now, count = self._start.vouching.clock(), self._start.clock(), sum(map(len, records.values()))
        behind = list(self.intake.behind.items())
        reached = [each for each, end in behind if await self._start.reader.position(each) >= end]
        # Nothing is awaited from here on, so that records which are not handed out are read again.
        back = self._start.following.note(records)
        events = self._take(records, back, reached, polled_at if count < most else None, now)
        return Batch(events, count, is_idle=not count and not reached and not back)

    def _take(
        self,
        records: Records,
        back: Iterable[tuple[TopicPartition, int]],
        reached: list[TopicPartition],
        read_all_at: float | None,
        now: float,
    ) -> Iterator[BookUpdate]:
        intake = self.intake
        self._start.vouching.watermarks.polled(read_all_at is not None, read_all_at or 0.0)
        self.position.take(records, back)
        for each, offset in back:
            yield from intake.on_position(each, offset)
        yield from intake.take(records, now)
        self._has_new_markets = self._has_new_markets or intake.has_new_markets()
        for topic_partition in reached:  # its books show their own status now that it has reached its end at the join
            intake.behind.pop(topic_partition, None)
        if reached:
            yield from intake.release(
                [market for key, market in intake.by_key.items() if intake.topic_partition(key) in reached]
            )

    # Changes in Kafka -----------------------------------------------------------------------------------------

    async def _look(self) -> None:
        """Check whether topics have other partitions, and whether a watermark topic exists by now."""
        for name in (SNAPSHOT_TOPIC, GAP_TOPIC):
            self._counts.known.setdefault(
                self._prefix + name, self._start.reader.partition_count(self._prefix + name) or 0
            )
        self._counts.known[self._prefix + DEPTH_TOPIC] = self.intake.depth_partitions
        has_changed = self._counts.has_changed(self._start.reader.partition_count, time.monotonic())
        self._has_other_partitions = self._has_other_partitions or has_changed
        await self._start.watermark_search.look()

    async def _reach_out(self) -> list[BookUpdate]:
        """Follow selected markets into partitions that are not read yet."""
        offsets = await self._start.following.positions()
        told = [update for each, offset in offsets.items() for update in self.intake.on_position(each, offset)]
        needed = {self.intake.topic_partition(key) for key in self._start.selection.known_keys(self.intake.listing)}
        if not self._has_other_partitions and (
            not self._has_new_markets or needed <= self.position.next_offsets.keys()
        ):
            if self._start.watermark_search.has_appeared:
                await self._start.begin(offsets, ())
            self._has_new_markets = self._start.watermark_search.has_appeared = False
            return told
        try:
            start = await self._start.look_round()
        except BusError as error:  # keep reading the known partitions meanwhile
            logger.warning("new partitions are unavailable; trying again", extra={"error": str(error)})
            self._start.following.start(offsets)
            self._try_again_at = time.monotonic() + _TRY_AGAIN_SECONDS
            return told + self._hold_moved()
        told += self._leave_gone(start, offsets)
        told += await self._read_also(start, offsets)
        self._counts.known.clear()
        self._try_again_at = time.monotonic() + _TRY_AGAIN_SECONDS  # brokers may briefly disagree about the partitions
        self._has_other_partitions = self._has_new_markets = self._start.watermark_search.has_appeared = False
        return told

    def _leave_gone(self, start: Start, offsets: dict[TopicPartition, int]) -> list[BookUpdate]:
        """Stop reading partitions that are gone, since the depth topic was recreated with fewer, and drop them from `offsets`."""
        depth_topic = self._prefix + DEPTH_TOPIC
        told: list[BookUpdate] = []
        for each in [each for each in offsets if each[0] == depth_topic and each[1] >= start.depth_partitions]:
            told += self.intake.on_gone(each)
            del offsets[each]
            self.position.next_offsets.pop(each, None)
        return told

    async def _read_also(self, start: Start, offsets: dict[TopicPartition, int]) -> list[BookUpdate]:
        """Add the start's partitions that are not read yet; keep the others, since producers may still write to them."""
        intake = self.intake
        more = {each: offset for each, offset in start.offsets.items() if each not in offsets}
        behind = {each: end for each, end in start.behind.items() if each in more}
        moved = intake.moved_to(start.depth_partitions)
        if start.depth_partitions != intake.depth_partitions:
            more |= {each: await self._start_of(each, offset) for each, offset in more.items()}
            intake.depth_partitions = start.depth_partitions
            self._start.watermark_search.is_over = False  # watermarks name partitions of the old count
        for market in moved:
            market.starts_at = market.starts_by_ms = 0
            if intake.topic_partition(market.symbol.encode()) in behind:
                market.hold()
        intake.behind |= behind
        self._start.vouching.coverage.ends |= behind
        await self._start.begin(offsets | more, start.snapshots)
        shown = {market.symbol: market for market in [*moved, *self._held]}
        self._held = []
        return list(
            intake.release(
                [each for each in shown.values() if intake.topic_partition(each.symbol.encode()) not in intake.behind]
            )
        )

    async def _start_of(self, topic_partition: TopicPartition, offset: int) -> int:
        """Return where to begin in a partition to which markets have moved, so that none of their updates there is missed."""
        if topic_partition[0] != self._prefix + DEPTH_TOPIC:
            return offset
        if topic_partition[1] >= self.intake.depth_partitions:
            return (await self._start.reader.beginnings([topic_partition]))[topic_partition]
        since = await self._counts.offset_before_growth(self._start.reader, topic_partition)
        return offset if since is None else min(offset, since)

    def _hold_moved(self) -> list[BookUpdate]:
        """Hold the markets that have moved to a partition which cannot be read yet."""
        topic = self._prefix + DEPTH_TOPIC
        count = max(self._start.reader.partition_count(topic) or 0, self.intake.depth_partitions)
        self._held = self.intake.hold_moved(count)
        return [BookUpdate(market, Outcome.UNVOUCHED) for market in self._held]
