"""The shell of book-builder: a member of a consumer group on one side, a publisher on the other, the keeper between them."""

import asyncio
import logging
import time
from collections.abc import Iterable, Sequence
from contextlib import AsyncExitStack

from aiokafka.structs import ConsumerRecord
from prometheus_client.registry import Collector

from backpack_streams.book_builder.audit_writer import AUDIT_TOPIC, AuditWriter
from backpack_streams.book_builder.keeper import BookKeeper
from backpack_streams.book_builder.kept_book import CheckpointRules, KeptBook
from backpack_streams.book_builder.lag import PartitionLag
from backpack_streams.book_builder.measures import builder_measures
from backpack_streams.book_builder.records import checkpoint_row, recalled_top, top_row
from backpack_streams.book_builder.settings import BookBuilderSettings
from backpack_streams.books.joining import (
    DEPTH_TOPIC,
    GAP_TOPIC,
    MARKET_TOPIC,
    SNAPSHOT_TOPIC,
    Start,
    look_round,
    read_listing,
)
from backpack_streams.books.newest_records import newest_records
from backpack_streams.books.standing import Claim
from backpack_streams.books.vouching import Vouching
from backpack_streams.books.watermark_history import read_watermarks
from backpack_streams.bus.group import GroupMember
from backpack_streams.bus.reader import Place, Reader, Records
from backpack_streams.errors import BusError, CodecError
from backpack_streams.feed import reports
from backpack_streams.feed.publish_times import AT_BOOK, data_age
from backpack_streams.feed.publishing import Publishing, now_us
from backpack_streams.feed.reporter import NO_CHANNEL

logger = logging.getLogger(__name__)

NAME = "book-builder"
TOP_TOPIC = "market.book_top"
TRADE_TOPIC = "market.trade"
_POLL_MILLIS = 50
_RECORDS_A_POLL = 10_000
_WATERMARKS_LOOK_SECONDS = 5.0
_GATHER_SECONDS = 0.01
_FEW_RECORDS = 500
_RENEW_SECONDS = 1.0
_RETRY_SECONDS = 1.0
_CHECKPOINT_LOOK_SECONDS = 0.25
_HAND_OVER_SECONDS = 5.0


class Builder:
    """One book-builder. `open` connects; `run` keeps books until it is told to stop."""

    def __init__(self, settings: BookBuilderSettings) -> None:
        self._settings = settings
        self._publishing = Publishing(NAME, settings, lambda topic, symbol: f"{topic}.{symbol}")
        prefix = settings.topic_prefix
        self._depth, self._snapshots, self._gaps = prefix + DEPTH_TOPIC, prefix + SNAPSHOT_TOPIC, prefix + GAP_TOPIC
        rules = CheckpointRules(settings.checkpoint_updates, settings.checkpoint_seconds, settings.checkpoint_reach)
        top_interval = settings.top_interval_ms / 1000
        self._audits = AuditWriter(NAME, self._publishing)
        self._publishing.reporter.expect("depth", (reports.AUDIT_MISMATCH, reports.COVERAGE_DISPROVED))
        self._publishing.reporter.expect(NO_CHANNEL, (reports.REJECTED_BY_KAFKA,))
        codec = self._publishing.codec
        self.keeper = BookKeeper(codec, rules, settings.top_levels, top_interval, self._audits.audits, self._depth)
        self.vouching = self.keeper.vouching = Vouching(codec, prefix, self._depth, self.keeper.place_of)
        self._watermark_offsets: dict[Place, int] = {}
        self._poll_millis = int(min(_POLL_MILLIS, max(1.0, settings.top_interval_ms)))
        self._reader = Reader(self._publishing.connection, self._publishing.codec)
        self._group = GroupMember(
            self._publishing.connection,
            settings.group_id,
            self._depth,
            settings.session_timeout,
            self._hand_over,
            self._keep_no_others,
        )
        self._connections = AsyncExitStack()
        self._snapshot_offsets: dict[Place, int] = {}
        self._trades, self._trade_offsets = prefix + TRADE_TOPIC, dict[Place, int]()
        self._markets, self._market_offsets = prefix + MARKET_TOPIC, dict[Place, int]()
        self._reading: frozenset[int] | None = None
        self._is_closing = self._is_handing_over = False
        self._next_renewal = self._next_checkpoints = self._next_look = self._next_look_for_watermarks = 0.0
        self._ages = data_age()
        self._age = self._ages.cell(AT_BOOK, "depth")
        self._lags: dict[int, PartitionLag] = {}
        self.checkpoints_written = 0
        self.tops_written = 0
        self.read_failures = 0
        self.last_checkpoint_at = time.monotonic()

    async def open(self) -> "Builder":
        """Connects to Kafka and joins the group.

        Raises:
            BackpackStreamsError: Kafka cannot be reached, or a topic is missing.
        """
        try:
            await self._publishing.open({DEPTH_TOPIC, SNAPSHOT_TOPIC, TOP_TOPIC, TRADE_TOPIC, AUDIT_TOPIC})
            self._encode_checkpoint = self._publishing.encoder(SNAPSHOT_TOPIC)
            self._encode_top = self._publishing.encoder(TOP_TOPIC)
            await self._connections.enter_async_context(self._reader)
            await self._connections.enter_async_context(self._group)
        except BaseException:  # whatever ended the start, what was opened is closed
            await self._close()
            raise
        return self

    async def run(self, stop: asyncio.Event) -> None:
        """Keeps books until `stop` is set, then hands Kafka what is left and leaves the group."""
        keeping = asyncio.create_task(self._keep_on(), name="keeper")
        reporting = asyncio.create_task(self._retry_reports(), name="reports")
        stopping = asyncio.create_task(stop.wait(), name="stop")
        try:
            done, _ = await asyncio.wait([keeping, reporting, stopping], return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in (keeping, reporting, stopping):
                task.cancel()
            await asyncio.gather(keeping, reporting, stopping, return_exceptions=True)
            self._write_last(self.keeper.partitions)
            await self._close()

    async def _close(self) -> None:
        """What was written is in Kafka before the group gives our partitions to others."""
        self._is_closing = True
        await self._publishing.close()
        await self._connections.aclose()

    def readiness(self) -> list[str]:
        """Why the service is not ready."""
        reasons = []
        if self._group.assigned is None:
            reasons.append("the group has not shared out the partitions yet")
        elif self._group.assigned != self._reading or not self.keeper.is_caught_up:
            reasons.append("catching up with the updates in Kafka")
        elif self._group.assigned and not self._group.is_ours(time.monotonic()):
            reasons.append(
                "Kafka has not confirmed of late that our partitions are ours; until it does, nothing is written"
            )
        return reasons + self._publishing.readiness()

    def collectors(self) -> Iterable[Collector]:
        """What /metrics shows."""
        return (
            *self._publishing.collectors(),
            *builder_measures(self, self._settings.metrics_per_symbol),
            self._ages,
            *self._audits.collectors(),
        )

    def rebalances(self) -> int:
        """How often the group shared out the partitions anew."""
        return self._group.rebalances

    def confirmed_at(self) -> float | None:
        """When Kafka last confirmed that our partitions are ours (monotonic seconds); None where we have none."""
        return self._group.confirmed_at if self._group.assigned else None

    def lag(self) -> dict[int, int]:
        """By partition, how many updates in Kafka are not in the books yet."""
        lag: dict[int, int] = {}
        if self._reading is None:
            return lag
        for partition, offset in self.keeper.offsets.items():
            end = self._reader.high_water((self._depth, partition))
            if end is not None:
                lag[partition] = max(0, end - offset)
        return lag

    def lag_seconds(self) -> dict[int, float]:
        """By partition, at most how old the oldest of these updates is."""
        now, wall = time.monotonic(), time.time()
        return {
            number: self._lags[number].seconds(unread, now, wall)
            for number, unread in self.lag().items()
            if number in self._lags
        }

    # Reading --------------------------------------------------------------------------------------------------

    async def _keep_on(self) -> None:
        while True:
            try:
                await self._keep()
            except BusError as error:
                self.read_failures += 1
                logger.warning("kafka does not answer; trying again", extra={"error": str(error)})
                await asyncio.sleep(_RETRY_SECONDS)

    async def _keep(self) -> None:
        while True:
            assigned = self._group.assigned
            if assigned is not None and assigned != self._reading:
                await self._take_over(assigned)
            if self._reading:
                records = await self._reader.poll(self._poll_millis, _RECORDS_A_POLL)
                self.vouching.polled(sum(map(len, records.values())) < _RECORDS_A_POLL, time.monotonic())
                self._take(records)
                await self._look_for_watermarks()
            else:
                records = {}
                await asyncio.sleep(self._poll_millis / 1000)
            await self._show(time.monotonic())
            if records and sum(map(len, records.values())) < _FEW_RECORDS:
                await asyncio.sleep(_GATHER_SECONDS)  # so that a trickle is not read record by record

    def _take(self, records: Records) -> None:
        """Seeds last: one is mostly ahead of what was read before it, and is the answer to a gap that was on record before it."""
        now = time.monotonic()
        for batch in _of(records, self._depth):
            self.keeper.take_updates(batch[0].partition, batch, now)
            self._note_age(batch)
        for batch in _of(records, self._gaps):
            for record in batch:
                self.keeper.take_gap(record, now)
        for batch in _of(records, self._trades):
            self._audits.take_trades(batch)
            self._trade_offsets[self._trades, batch[0].partition] = batch[-1].offset + 1
        for batch in _of(records, self._markets):
            for record in batch:
                self.keeper.take_market(record)
            self._market_offsets[self._markets, batch[0].partition] = batch[-1].offset + 1
        self.keeper.on_tick(now)
        for batch in _of(records, self._snapshots):
            for record in batch:
                self.keeper.take_snapshot(record, now, is_new=True)
            self._snapshot_offsets[self._snapshots, batch[0].partition] = batch[-1].offset + 1
        for batch in _of(records, self.vouching.place[0]):  # what they say is of all that was read up to now
            self.keeper.take_watermarks(batch, now)
            self._watermark_offsets[self.vouching.place] = batch[-1].offset + 1
        for number, unread in self.lag().items():
            if not unread and number in self._lags:
                self._lags[number].at_end(now)

    def _note_age(self, batch: Sequence[ConsumerRecord]) -> None:
        """Once a read; what is read to catch up is old because we were not there."""
        number = batch[0].partition
        lag = self._lags.get(number)
        if lag is None:  # another builder's by now
            return
        lag.read(batch[-1].timestamp)
        if self.keeper.has_caught_up(number):
            self._age.observe(max(0.0, time.time() - batch[0].timestamp / 1000))

    # Partitions that come and go ------------------------------------------------------------------------------

    def _keep_no_others(self, kept: frozenset[int]) -> None:
        """The group has decided anew. What was not ours all along is forgotten: somebody else may have written of it meanwhile."""
        self.keeper.close(self.keeper.partitions - kept)
        self._reading = None
        self._next_renewal = 0.0

    async def _take_over(self, assigned: frozenset[int]) -> None:
        """The partitions that are ours now: those that we had go on where they are, new ones begin at their newest snapshots."""
        decision = self._group.rebalances
        self._reading = None  # what the reader is assigned changes on the way
        new = assigned - self.keeper.partitions
        if new:
            prefix, codec = self._settings.topic_prefix, self._publishing.codec
            if not self._market_offsets:
                await self._read_market_list()
            listing = self.keeper.listing
            start = await look_round(self._reader, codec, prefix, None, partitions=new, listing=listing)
            gaps_end = (await self._reader.ends([(self._gaps, 0)]))[self._gaps, 0]
            if self._group.rebalances != decision:
                return  # the group decided anew meanwhile
            await self._open_partitions(new, start, gaps_end)
            if self._group.rebalances != decision:
                return
        if new or not self._watermark_offsets:
            self._next_look_for_watermarks = time.monotonic() + _WATERMARKS_LOOK_SECONDS
            self._watermark_offsets = await read_watermarks(self._reader, self.vouching, self.keeper.books.values())
            if self._group.rebalances != decision:
                return
        self._reader.assign(self._offsets())
        self._lags = {number: self._lags.get(number) or PartitionLag() for number in assigned}
        self._reading = assigned
        logger.info(
            "partitions taken over",
            extra={"partitions": sorted(assigned), "new": sorted(new), "books": len(self.keeper.books)},
        )

    async def _look_for_watermarks(self) -> None:
        """Their topic may be made later than this service is started: it is read once it is there."""
        if self._watermark_offsets or time.monotonic() < self._next_look_for_watermarks:
            return
        self._next_look_for_watermarks = time.monotonic() + _WATERMARKS_LOOK_SECONDS
        if await self._reader.has(self.vouching.place[0]):
            self._reading = None

    async def _open_partitions(self, new: frozenset[int], start: Start, gaps_end: int) -> None:
        gaps = start.offsets[self._gaps, 0], gaps_end
        now = time.monotonic()
        for number in new:
            place = self._depth, number
            first = start.offsets[place]
            self.keeper.open(number, start.depth_partitions, first, start.behind.get(place, first), gaps)
        for record in start.seeds:
            self.keeper.take_snapshot(record, now)
        for place, offset in start.offsets.items():
            if place[0] == self._snapshots:
                self._snapshot_offsets.setdefault(place, offset)
        if not self._trade_offsets:
            self._trade_offsets = await self._reader.ends(await self._reader.places(self._trades))
        await self._recall_tops()

    async def _read_market_list(self) -> None:
        """What there is of it, so that it can be followed from there; without a poller there is none."""
        if await self._reader.has(self._markets):
            ends = await self._reader.ends(await self._reader.places(self._markets))
            self.keeper.listing = await read_listing(self._reader, self._publishing.codec, self._settings.topic_prefix)
            self._market_offsets = ends

    async def _recall_tops(self) -> None:
        """What was written of these books last, so that nothing is said twice."""
        keys = {symbol.encode() for symbol in self.keeper.books}
        places = await self._reader.places(self._settings.topic_prefix + TOP_TOPIC)
        starts, ends = await self._reader.beginnings(places), await self._reader.ends(places)
        tops = await newest_records(
            self._reader, starts, ends, keys.__contains__, expected=keys, partitions=len(places)
        )
        for key, record in tops.items():
            try:
                row = self._publishing.codec.decode(record.value)[1]
                self.keeper.recall_top(key, recalled_top(row), row["last_update_id"], row["engine_time"])
            except (CodecError, KeyError) as error:
                logger.warning("a top cannot be read; it is written anew", extra={"error": str(error)})

    def _offsets(self) -> dict[Place, int]:
        offsets = {(self._depth, number): offset for number, offset in self.keeper.offsets.items()}
        if not offsets:
            return {}
        others = self._trade_offsets | self._snapshot_offsets | self._market_offsets | self._watermark_offsets
        return offsets | others | {(self._gaps, 0): self.keeper.gaps_offset}

    async def _hand_over(self, partitions: frozenset[int]) -> None:
        """Others may have these partitions next: what we know of them is in Kafka before."""
        if self._is_closing:
            return
        self._write_last(partitions)
        self._is_handing_over = True  # what were written from here on, the next builder might not see when it looks
        try:
            await asyncio.wait_for(self._settle(), _HAND_OVER_SECONDS)
        except TimeoutError:
            logger.warning("partitions handed over before Kafka acknowledged the last checkpoints")
        finally:
            self._is_handing_over = False

    async def _settle(self) -> None:
        for key in [symbol.encode() for symbol in self.keeper.books]:
            await self._publishing.lane(SNAPSHOT_TOPIC, key).settled()
            await self._publishing.lane(TOP_TOPIC, key).settled()

    # Writing --------------------------------------------------------------------------------------------------

    async def _show(self, now: float) -> None:
        """Writes what is due, as long as the partitions are ours for certain."""
        self.keeper.on_tick(now)
        if now >= self._next_look:
            self._next_look = now + _RENEW_SECONDS
            self.keeper.look_for_unusable(now)
        if now >= self._next_renewal and self._group.assigned == self._reading:
            self._next_renewal = now + _RENEW_SECONDS
            await self._group.renew(self.keeper.offsets)
        if not self._may_write(time.monotonic()):
            return
        self._audits.write(now)
        for disproof in self.vouching.take_disproofs():
            self._audits.tell_disproof(disproof)
        for kept, top in self.keeper.tops(now):
            row = top_row(kept, top, self._settings.top_levels, now_us())
            if self._send(TOP_TOPIC, kept, self._encode_top(row), row["engine_time"]):
                kept.on_top(top)
                self.tops_written += 1
        if now >= self._next_checkpoints:
            self._next_checkpoints = now + _CHECKPOINT_LOOK_SECONDS
            self._write_checkpoints(self.keeper.checkpoints(now))

    def _may_write(self, now: float) -> bool:
        return not self._is_handing_over and self._group.assigned == self._reading and self._group.is_ours(now)

    def _write_last(self, partitions: frozenset[int]) -> None:
        self._write_checkpoints(self.keeper.last_checkpoints(partitions))

    def _write_checkpoints(self, due: Iterable[tuple[KeptBook, int]]) -> None:
        for kept, offset in due:
            runs = self.keeper.proving_runs(kept)
            row = checkpoint_row(kept, (self._depth, kept.partition), offset, now_us(), runs)
            if self._send(SNAPSHOT_TOPIC, kept, self._encode_checkpoint(row), row["engine_time"]):
                claim = Claim(row["last_update_id"], runs)
                kept.on_checkpoint(row["last_update_id"], offset, claim, time.monotonic())
                self.checkpoints_written += 1
                self.last_checkpoint_at = time.monotonic()

    def _send(self, topic: str, kept: KeptBook, value: bytes, engine_time: int | None) -> bool:
        if not self._may_write(time.monotonic()):  # asked for each: we may have been suspended since the last one
            return False
        time_us = now_us() if engine_time is None else engine_time
        return self._publishing.lane(topic, kept.key).append(kept.key, value, time_us // 1000)

    async def _retry_reports(self) -> None:
        while True:
            await asyncio.sleep(_RETRY_SECONDS)
            self._publishing.reporter.on_tick()


def _of(records: Records, topic: str) -> list[Sequence[ConsumerRecord]]:
    return [batch for partition, batch in records.items() if partition.topic == topic and batch]
