"""Books as of a past moment, then forward: at full speed or at the pace of that time."""

import asyncio
import time
from collections import deque
from collections.abc import AsyncGenerator, Iterable, Iterator, Sequence
from typing import Final

from aiokafka.structs import ConsumerRecord

from backpack_streams.books.book_update import BookUpdate
from backpack_streams.books.intake import Intake
from backpack_streams.books.listing import moment_text
from backpack_streams.books.past_reading import PastItem, PastReading
from backpack_streams.books.past_vouching import PastVouching
from backpack_streams.books.timeline import Pace

__all__ = ["ARRIVAL_MICROS", "PastBooks"]

LATE_MICROS: Final = 1_000_000
"""How far past a moment to read for updates from before it: copies of a second producer, a clock that went back."""
ARRIVAL_MICROS: Final = 2_000_000
"""Time after which everything from before a moment has reached Kafka."""
_REST_SECONDS: Final = 0.1


class PastBooks:
    """Feeds an intake from a past reading. `rounds` gives events once the books are as of `moment_us`, and ends at `until_us`, or, with
    neither that nor a pace, at the end of Kafka's records.

    `vouching` judges the books by the watermarks of that time; None if there were none yet. `snapshots` are the initial snapshots.
    """

    def __init__(
        self,
        intake: Intake,
        reading: PastReading,
        moment_us: int,
        until_us: int | None,
        pace: Pace | None,
        *,
        vouching: PastVouching | None = None,
        snapshots: Sequence[ConsumerRecord] = (),
    ) -> None:
        """Prepare; nothing is read before the first of `rounds`.

        Args:
            intake: takes the records and holds the books.
            reading: gives the records in order of time.
            moment_us: the moment as of which the books begin (µs since the Unix epoch).
            until_us: the moment at which `rounds` ends; None for no such end.
            pace: the pace after the moment; None for full speed.
            vouching: judges the books by the watermarks of that time; None if there were none yet.
            snapshots: the initial snapshot records.
        """
        self._intake = intake
        self._vouching = vouching
        self._snapshots = snapshots
        self._reading = reading
        self._moment_us = moment_us
        self._until_us = until_us
        self._pace = pace
        self._ahead: deque[PastItem] = deque()
        self._now = 0.0
        self.is_at_moment = False
        """Whether the books have reached the moment."""

    async def rounds(self) -> AsyncGenerator[Iterator[BookUpdate], None]:
        """Yield empty batches while reading up to the moment, then all books at once, then the later events."""
        self._begin()
        while not self.is_at_moment and not self._has_all_until(self._moment_us):
            items = await self._reading.items(self._moment_us + LATE_MICROS)
            for item in items:
                if item.time_us > self._moment_us:
                    self._ahead.append(item)
                else:
                    for _ in self._take(item):
                        pass
            if not items and not self._reading.is_hungry:
                await asyncio.sleep(_REST_SECONDS)
            yield iter(())
        if not self.is_at_moment:
            yield self._arrive()
        async for updates in self._forward():
            yield updates

    def _begin(self) -> None:
        """Create the books from their snapshots; nothing vouches for them yet."""
        intake, vouching = self._intake, self._vouching
        snapshots, self._snapshots = self._snapshots, ()
        if vouching is not None and intake.vouching is None:
            intake.vouching = vouching
            for market in intake.books.values():
                vouching.add(market)
        for record in snapshots:
            for _ in intake.take_snapshot(record):
                pass

    def _has_all_until(self, moment_us: int) -> bool:
        reading = self._reading
        return reading.is_through(moment_us + LATE_MICROS) and reading.asked_us > moment_us + ARRIVAL_MICROS

    def _arrive(self) -> Iterator[BookUpdate]:
        """Release all books as of the moment, judged by the watermarks of that time."""
        intake, when = self._intake, moment_text(self._moment_us)
        for _ in intake.give_up_waiting():
            pass
        if self._vouching is not None:
            # Everything below the offsets of a watermark was read, though what is from after the moment is not applied yet.
            for item in self._ahead:
                self._has_read(item)
            self._vouching.look_at_all()
            for _ in self._come_to(self._moment_us):
                pass
        for item in self._ahead:
            market = intake.by_key.get(item.record.key)
            if market is not None and item.update is not None and item.update[1] <= (market.last_update_id or 0):
                intake.doubt(market, f"the newest snapshot before {when} holds updates from after it")
        intake.behind.clear()
        intake.no_snapshot_because = "no snapshot yet"
        self.is_at_moment = True
        return intake.release(list(intake.books.values()))

    async def _forward(self) -> AsyncGenerator[Iterator[BookUpdate], None]:
        while not self._is_over():
            limit_us = self._limit_us()
            due = list(self._due_ahead(limit_us))
            if not due and not self._ahead:  # what is due is given before anything is awaited: an error would lose it
                due = await self._reading.items(limit_us)
            if due:
                yield self._take_all(due)
            else:
                await asyncio.sleep(self._seconds_to_wait())
                yield self._pass_time()

    def _limit_us(self) -> int | None:
        limits = [] if self._until_us is None else [self._until_us + LATE_MICROS]
        if self._pace is not None:
            limits.append(self._pace.moment_us(time.monotonic()))
        return min(limits, default=None)

    def _due_ahead(self, limit_us: int | None) -> Iterator[PastItem]:
        while self._ahead and (limit_us is None or self._ahead[0].time_us <= limit_us):
            yield self._ahead.popleft()

    def _pass_time(self) -> Iterator[BookUpdate]:
        """At a real pace, advance the clock without an event: the newest watermark may have become too old."""
        if self._pace is None or self._reading.is_hungry:
            return iter(())
        return self._come_to(min(self._pace.moment_us(time.monotonic()), self._until_us or self._reading.asked_us))

    def _seconds_to_wait(self) -> float:
        if self._reading.is_hungry:
            return 0.0
        next_us = self._ahead[0].time_us if self._ahead else self._reading.timeline.next_time
        if self._pace is None or next_us is None:
            return _REST_SECONDS
        return min(_REST_SECONDS, self._pace.seconds_until(next_us, time.monotonic()))

    def _is_over(self) -> bool:
        until_us = self._until_us
        if until_us is not None:
            is_ahead = bool(self._ahead) and self._ahead[0].time_us <= until_us
            return not is_ahead and self._has_all_until(until_us)
        return self._pace is None and not self._ahead and self._reading.is_through()

    def _take_all(self, items: Iterable[PastItem]) -> Iterator[BookUpdate]:
        for item in items:
            if self._until_us is None or item.time_us <= self._until_us:
                yield from self._take(item)

    def _take(self, item: PastItem) -> Iterator[BookUpdate]:
        intake, record = self._intake, item.record
        yield from self._come_to(item.time_us)
        if item.watermark is not None:
            if self._vouching is not None:
                self._vouching.take_past(item.watermark)
                yield from self._vouched()
            return
        if item.lost_from is not None:
            yield from intake.on_lost_records((record.topic, record.partition), item.lost_from, record.offset)
        market = intake.by_key.get(record.key)
        is_wanted = market is not None or (record.key is not None and intake.wants(record.key))
        if item.update is not None and is_wanted:
            market = market or intake.add(record.key)
            intake.updates += 1
            is_misplaced = intake.topic_partition(record.key) != (record.topic, record.partition)
            if is_misplaced or record.offset >= market.starts_at or record.timestamp > market.starts_by_ms:
                if self._vouching is not None and (is_misplaced or record.offset >= market.proof_from):
                    self._vouching.on_update(market, item.update[1], record)
                yield from intake.take_update(market, item.update, self._now)
        elif item.problem is not None and is_wanted:
            yield from intake.not_understood(market, record, item.problem)
        elif item.update is None and item.problem is None:
            yield from intake.take_other(record, self._now)
        if item.update is not None or item.problem is not None:
            self._has_read(item)

    def _has_read(self, item: PastItem) -> None:
        topic_partition, vouching = (item.record.topic, item.record.partition), self._vouching
        is_update = item.update is not None or item.problem is not None
        if (
            vouching is not None
            and is_update
            and item.record.offset >= vouching.coverage.positions.get(topic_partition, 0)
        ):
            vouching.watermarks.read_up_to(topic_partition, item.record.offset + 1)

    def _come_to(self, time_us: int) -> Iterator[BookUpdate]:
        self._now = max(self._now, time_us / 1_000_000)
        if self.is_at_moment:
            self._intake.closed_until_us = max(self._intake.closed_until_us, time_us)
        yield from self._intake.on_time(self._now)
        if self._vouching is not None:
            self._vouching.come_to(self._now)
            yield from self._vouched()

    def _vouched(self) -> Iterator[BookUpdate]:
        if self._vouching is not None:
            for market, outcome in self._vouching.refresh(self._intake.books.values(), self._now):
                yield BookUpdate(market, outcome)
