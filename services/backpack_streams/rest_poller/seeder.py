"""Fetches books and publishes them as seeds, with the place in the delta topic from which to go on: gaps first, then the rest."""

import asyncio
import logging
import time
from collections.abc import Iterable
from contextlib import AsyncExitStack

from aiokafka.structs import ConsumerRecord

from backpack_streams.backoff import Backoff
from backpack_streams.bus.codec import Encoder
from backpack_streams.bus.offset_search import offsets_at
from backpack_streams.bus.partitioner import partition_of
from backpack_streams.bus.publisher import Handover
from backpack_streams.bus.reader import Place, Reader
from backpack_streams.errors import BackpackStreamsError, BusError, CodecError
from backpack_streams.exchange.limits import Priority
from backpack_streams.exchange.rest import RestClient
from backpack_streams.exchange.rest_transport import Answer
from backpack_streams.exchange.rest_wire import DepthSnapshot
from backpack_streams.feed import reports
from backpack_streams.feed.family import REST
from backpack_streams.feed.publishing import Publishing
from backpack_streams.rest_poller.depth_gaps import DepthGap, depth_gaps
from backpack_streams.rest_poller.new_coverage import NewCoverage
from backpack_streams.rest_poller.recall import GAPS_RECALLED, read_records
from backpack_streams.rest_poller.records import SEED, is_crossed, snapshot_row
from backpack_streams.rest_poller.seeding import SeedPlan, SeedRequest
from backpack_streams.rest_poller.settings import RestPollerSettings

logger = logging.getLogger(__name__)

DEPTH_TOPIC = "market.depth"
SNAPSHOT_TOPIC = "market.book_snapshot"
GAP_TOPIC = "ops.gap"
AUDIT_TOPIC = "ops.book_audit"
WATERMARK_TOPIC = "ops.watermark"
SNAPSHOTS_RECALLED = 1_000
WATERMARKS_RECALLED = 500
"""How many watermarks are read back, to know what is covered: of all instances together, one a second each."""
AUDIT_WANTED = "WANTED"
DEPTH_LIMIT = 1000
MARGIN_MICROS = 10_000_000
"""How far before the snapshot's engine time a reader starts: a snapshot may be older than the clock it carries."""
_GAP_POLL_MILLIS = 1000
_FIRST_RETRY_SECONDS, _LONGEST_RETRY_SECONDS = 1.0, 10.0
_LOOK_SECONDS = 1.0
_REFUSALS = ("crossed", "behind", "no_room", "failed", "unfit", "rejected")
_CROSSED, _BEHIND, _NO_ROOM, _FAILED, _UNFIT, _REJECTED = _REFUSALS


class _UnfitError(BackpackStreamsError):
    """A snapshot that fits no record."""

    def __init__(self, answer: Answer[DepthSnapshot], message: str) -> None:
        super().__init__(message)
        self.answer = answer


class Seeder:
    """The shell round `SeedPlan`."""

    def __init__(self, publishing: Publishing, rest: RestClient, settings: RestPollerSettings) -> None:
        self._publishing = publishing
        self._rest = rest
        self._workers = settings.parallel_seeds
        self._plan = SeedPlan(settings.seed_refresh)
        self._wake = asyncio.Event()
        self._backoff = Backoff(_FIRST_RETRY_SECONDS, _LONGEST_RETRY_SECONDS)
        self._has_watermarks = False
        self._gap_offsets: dict[Place, int] = {}
        self._audit_offsets: dict[Place, int] = {}
        self._coverage = NewCoverage()
        self._watermark_offsets: dict[Place, int] = {}
        self._watermarks_began = 0
        """Where their topic ended before the first book was fetched; 0 where there was none."""
        self._encode: Encoder = publishing.encoder(SNAPSHOT_TOPIC)
        self.published = 0
        self.refused: dict[str, int] = dict.fromkeys(_REFUSALS, 0)
        self.gaps_seen = 0
        self.read_failures = 0
        self.audits_asked = 0

    def set_open(self, symbols: Iterable[str]) -> None:
        """The markets whose books are wanted."""
        self._plan.set_open(symbols, time.monotonic())
        self._wake.set()

    def open_requests(self) -> int:
        """Gaps that wait for their seed."""
        return self._plan.open_requests()

    def oldest_open_seconds(self) -> float:
        """For how long the oldest of them has waited."""
        return self._plan.oldest_open_seconds(time.monotonic())

    async def run(self) -> None:
        """Follows the gap topic and fetches, until cancelled. Survives whatever Kafka and the exchange do meanwhile."""
        while True:
            try:
                await self._serve()
            except* BusError as errors:
                self.read_failures += 1
                logger.warning("seeding stopped; it starts again", extra={"error": str(errors.exceptions[0])})
            await asyncio.sleep(self._backoff.next_delay_seconds())

    async def _serve(self) -> None:
        async with Reader(self._publishing.connection, self._publishing.codec) as offsets:
            if not self._gap_offsets:
                await self._recall_snapshots(offsets)
                await self._recall_gaps(offsets)
                audits = await offsets.places(self._publishing.prefix + AUDIT_TOPIC)
                self._audit_offsets = await offsets.ends(
                    audits
                )  # an old suspicion is none: every book is fetched at the start
                watermarks = await self._watermarks(offsets)
                self._watermarks_began = sum((await offsets.ends(watermarks)).values())
            await offsets.places(self._publishing.prefix + DEPTH_TOPIC)  # it has to be there
            async with AsyncExitStack() as opened, asyncio.TaskGroup() as tasks:
                tasks.create_task(self._follow_gaps())
                tasks.create_task(self._follow_audits())
                tasks.create_task(self._follow_watermarks())
                for _ in range(self._workers):
                    # A search assigns its reader anew, so nobody else's question may be under way on it.
                    searching = await opened.enter_async_context(
                        Reader(self._publishing.connection, self._publishing.codec)
                    )
                    tasks.create_task(self._work(offsets, searching))

    async def _recall_snapshots(self, reader: Reader) -> None:
        """The exchange's answers of before: a single one that is older comes from a server that is behind.

        Checkpoints are no answers: one may hold an update that the exchange never sent.
        """
        places = await reader.places(self._publishing.prefix + SNAPSHOT_TOPIC)
        ends, beginnings = await reader.ends(places), await reader.beginnings(places)
        starts = {place: max(beginnings[place], ends[place] - SNAPSHOTS_RECALLED) for place in places}
        newest: dict[str, tuple[int, int]] = {}

        def take(record: ConsumerRecord) -> None:
            name, row = self._publishing.codec.decode(record.value or b"")
            if name == "BookSnapshot" and row["origin"] == SEED:
                found = row["engine_time"] or 0, row["last_update_id"]
                newest[row["symbol"]] = max(found, newest.get(row["symbol"], found))

        await read_records(reader, starts, ends, take)
        for symbol, (_, last_update_id) in newest.items():
            self._plan.recall_published(symbol, last_update_id)

    async def _recall_gaps(self, reader: Reader) -> None:
        """Gaps from before: the seeds of this start have to reach past them."""
        places = await reader.places(self._publishing.prefix + GAP_TOPIC)
        ends, beginnings = await reader.ends(places), await reader.beginnings(places)
        starts = {place: max(beginnings[place], ends[place] - GAPS_RECALLED) for place in places}

        def take(record: ConsumerRecord) -> None:
            for gap in self._gaps_in(record.value):
                if gap.not_before_us is None:
                    self._plan.recall(gap.symbol, gap.last_id, gap.next_id)
                else:
                    self._plan.recall_beyond(gap.symbol, gap.not_before_us)

        await read_records(reader, starts, ends, take)
        self._gap_offsets = ends

    async def _follow_gaps(self) -> None:
        async with Reader(self._publishing.connection, self._publishing.codec) as reader:
            reader.follow(self._gap_offsets)
            while True:
                records = await reader.poll(_GAP_POLL_MILLIS)
                self._backoff.reset()
                for partition, batch in records.items():
                    for record in batch:
                        self._take_gap(record.value)
                        self._gap_offsets[partition.topic, partition.partition] = record.offset + 1

    async def _follow_audits(self) -> None:
        async with Reader(self._publishing.connection, self._publishing.codec) as reader:
            reader.follow(self._audit_offsets)
            while True:
                for partition, batch in (await reader.poll(_GAP_POLL_MILLIS)).items():
                    for record in batch:
                        self._take_audit(record.value)
                        self._audit_offsets[partition.topic, partition.partition] = record.offset + 1

    async def _follow_watermarks(self) -> None:
        """What was covered before the first book was fetched needs no proof of its own: every book is fetched at the start."""
        async with Reader(self._publishing.connection, self._publishing.codec) as reader:
            while not (places := await self._watermarks(reader)):  # noqa: ASYNC110  # Kafka has no event for a topic that is made
                await asyncio.sleep(_LOOK_SECONDS)
            if not self._watermark_offsets:
                recalled = self._watermarks_began - WATERMARKS_RECALLED
                beginnings = await reader.beginnings(places)
                self._watermark_offsets = {place: max(beginnings[place], recalled) for place in places}
            reader.assign(self._watermark_offsets)
            while True:
                for partition, batch in (await reader.poll(_GAP_POLL_MILLIS)).items():
                    for record in batch:
                        found = self._covered_anew(record.value)
                        if record.offset >= self._watermarks_began:
                            self._prove(found, record.offset)
                        self._watermark_offsets[partition.topic, partition.partition] = record.offset + 1

    def _covered_anew(self, value: bytes | None) -> list[str]:
        try:
            name, row = self._publishing.codec.decode(value or b"")
        except CodecError as error:
            logger.warning("a watermark cannot be read", extra={"error": str(error)})
            return []
        return self._coverage.take(row, time.monotonic()) if name == "Watermark" else []

    def _prove(self, symbols: Iterable[str], watermark_offset: int) -> None:
        for symbol in symbols:
            if self._plan.covered_anew(symbol, watermark_offset, time.monotonic()):
                self._wake.set()

    def _take_audit(self, value: bytes | None) -> None:
        try:
            _, audit = self._publishing.codec.decode(value or b"")
            if audit["result"] == AUDIT_WANTED and self._plan.suspect(audit["symbol"], time.monotonic()):
                self.audits_asked += 1
                self._wake.set()
        except (CodecError, KeyError) as error:
            logger.warning("an audit record cannot be read", extra={"error": str(error)})

    def _take_gap(self, value: bytes | None) -> None:
        try:
            for gap in self._gaps_in(value):
                self.gaps_seen += 1
                if gap.not_before_us is not None:
                    self._plan.found_beyond(gap.symbol, gap.not_before_us, time.monotonic())
                elif gap.is_wrong_at is None:
                    self._plan.gap(gap.symbol, gap.last_id, gap.next_id, time.monotonic())
                else:
                    self._plan.found_wrong(gap.symbol, gap.is_wrong_at, time.monotonic())
                self._wake.set()
        except CodecError as error:
            logger.warning("a gap record cannot be read", extra={"error": str(error)})

    def _gaps_in(self, value: bytes | None) -> Iterable[DepthGap]:
        return () if value is None else depth_gaps(self._publishing.codec.decode(value)[1])

    async def _work(self, offsets: Reader, searching: Reader) -> None:
        while True:
            request = self._plan.next(time.monotonic())
            if request is None:
                await self._sleep()
                continue
            try:
                published = await self._seed(request, offsets, searching)
            except _UnfitError as error:
                self._refuse(request, _UNFIT, str(error))
                self._dead_letter(error.answer, str(error), reports.VALUE_DOES_NOT_FIT)
                self._plan.put_off(request, time.monotonic())
                continue
            except BackpackStreamsError as error:
                self._refuse(request, _FAILED, str(error))
                published = None
            if published is None:
                self._plan.failed(request, time.monotonic())
            else:
                self._plan.done(request, *published)

    async def _sleep(self) -> None:
        due = self._plan.next_due()
        timeout = _LOOK_SECONDS if due is None else max(0.01, min(_LOOK_SECONDS, due - time.monotonic()))
        self._wake.clear()
        try:
            await asyncio.wait_for(self._wake.wait(), timeout)
        except TimeoutError:
            return

    async def _watermarks(self, offsets: Reader) -> list[Place]:
        """The one partition of the topic of watermarks; none while no producer has made it yet."""
        topic = self._publishing.prefix + WATERMARK_TOPIC
        if not self._has_watermarks:
            self._has_watermarks = await offsets.has(topic)
            if self._has_watermarks:
                await offsets.places(topic)  # its leader is to be known before it is asked
        return [(topic, 0)] if self._has_watermarks else []

    async def _seed(
        self, request: SeedRequest, offsets: Reader, searching: Reader
    ) -> tuple[int, float, int | None] | None:
        """One snapshot, published if it is of use. Once Kafka has it: its update id, when it came, where the watermarks ended before it.

        Raises:
            _UnfitError: a value of the snapshot does not fit its record.
            BackpackStreamsError: the exchange or Kafka does not answer.
        """
        key = request.symbol.encode()
        topic = self._publishing.prefix + DEPTH_TOPIC
        # Asked each time: partitions may be added, and a topic may be made anew with fewer.
        place = (topic, partition_of(key, len(await offsets.places(topic))))
        watermarks = await self._watermarks(offsets)
        ends = await offsets.ends([place, *watermarks])
        end_before = ends[place]
        watermark_offset = ends[watermarks[0]] if watermarks else None
        answer = await self._rest.depth(
            request.symbol, DEPTH_LIMIT, priority=Priority.GAP_SEED if request.urgent else Priority.SEED
        )
        snapshot, now = answer.body, time.monotonic()
        try:
            row = snapshot_row(snapshot, answer.received_time_us, DEPTH_LIMIT, *place, end_before, watermark_offset)
            is_wrong = is_crossed(snapshot)
        except CodecError as error:
            raise _UnfitError(answer, str(error)) from error
        if is_wrong:
            self._refuse(request, _CROSSED, f"snapshot {snapshot.last_update_id} is crossed")
            self._dead_letter(answer, "the snapshot's best bid reaches its best ask", reports.CROSSED_SNAPSHOT)
            return None
        if not self._plan.accepts(request, snapshot.last_update_id, now):
            known = self._plan.least_id(request)
            self._refuse(request, _BEHIND, f"snapshot {snapshot.last_update_id} is from before update {known}")
            return None
        earliest_us = max(snapshot.timestamp_us - MARGIN_MICROS, self._plan.not_before_us(request.symbol))
        found = await offsets_at(searching, {place: earliest_us // 1000}, {place: end_before})
        row["delta_offset"] = found[place]
        try:
            value = self._encode(row)
        except CodecError as error:
            raise _UnfitError(answer, str(error)) from error
        handover = Handover(self._publishing.lane(SNAPSHOT_TOPIC, key))
        if not handover.append(key, value, snapshot.timestamp_us // 1000):
            self._refuse(request, _NO_ROOM, "the buffer for Kafka is full")
            return None
        if await handover.settled():
            self._refuse(request, _REJECTED, "Kafka refuses it for good")
            return None
        self.published += 1
        return snapshot.last_update_id, now, watermark_offset

    def _refuse(self, request: SeedRequest, reason: str, detail: str) -> None:
        self.refused[reason] += 1
        logger.warning(
            "no seed yet",
            extra={"symbol": request.symbol, "reason": reason, "detail": detail, "attempt": request.attempts + 1},
        )

    def _dead_letter(self, answer: Answer[DepthSnapshot], detail: str, reason: str) -> None:
        self._publishing.reporter.dead_letter(
            source=REST,
            reason=reason,
            detail=detail,
            payload=repr(answer.body).encode(),
            origin="/api/v1/depth",
            symbol=answer.body.symbol,
            received_us=answer.received_time_us,
        )
