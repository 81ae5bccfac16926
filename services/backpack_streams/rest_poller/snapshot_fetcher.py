"""Fetches REST snapshots of books and publishes them with the offset of the first update to apply. Books with gaps come first."""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import AsyncExitStack
from typing import Any

from backpack_streams.backoff import Backoff
from backpack_streams.bus.codec import Encoder
from backpack_streams.bus.offset_search import offsets_at
from backpack_streams.bus.partitioner import partition_of
from backpack_streams.bus.publisher import Handover
from backpack_streams.bus.reader import Reader
from backpack_streams.errors import BackpackStreamsError, BusError, CodecError
from backpack_streams.exchange.limits import Priority
from backpack_streams.exchange.rest import RestClient
from backpack_streams.exchange.rest_transport import Answer
from backpack_streams.exchange.rest_wire import DepthSnapshot
from backpack_streams.publishing import reports
from backpack_streams.publishing.publishing import Publishing
from backpack_streams.publishing.sources import REST
from backpack_streams.rest_poller.depth_gaps import depth_gaps
from backpack_streams.rest_poller.followed_topic import FollowedTopic
from backpack_streams.rest_poller.new_coverage import NewCoverage
from backpack_streams.rest_poller.records import SEED, is_crossed, snapshot_record
from backpack_streams.rest_poller.settings import RestPollerSettings
from backpack_streams.rest_poller.snapshot_plan import SnapshotPlan, SnapshotRequest
from backpack_streams.topic_partition import TopicPartition

logger = logging.getLogger(__name__)

DEPTH_TOPIC = "market.depth"
SNAPSHOT_TOPIC = "market.book_snapshot"
GAP_TOPIC = "ops.gap"
AUDIT_TOPIC = "ops.book_audit"
WATERMARK_TOPIC = "ops.watermark"
GAPS_RECALLED = 10_000
SNAPSHOTS_RECALLED = 1_000
WATERMARKS_RECALLED = 500
"""How many watermarks to read back at startup to know the coverage. Each instance writes one per second."""
AUDIT_WANTED = "WANTED"
DEPTH_LIMIT = 1000
MARGIN_MICROS = 10_000_000
"""How far before the snapshot's engine time readers start: a snapshot may be older than its time states."""
_FIRST_RETRY_SECONDS, _LONGEST_RETRY_SECONDS = 1.0, 10.0
_LOOK_SECONDS = 1.0
_REFUSALS = ("crossed", "behind", "no_room", "failed", "unfit", "rejected")
_CROSSED, _BEHIND, _NO_ROOM, _FAILED, _UNFIT, _REJECTED = _REFUSALS


class _UnfitError(BackpackStreamsError):
    """A snapshot does not fit its record."""

    def __init__(self, answer: Answer[DepthSnapshot], message: str) -> None:
        super().__init__(message)
        self.answer = answer


class SnapshotFetcher:
    """Executes a `SnapshotPlan`."""

    def __init__(
        self,
        publishing: Publishing,
        rest: RestClient,
        settings: RestPollerSettings,
        on_gap: Callable[[Mapping[str, Any], bool], None],
    ) -> None:
        """Prepare.

        Args:
            publishing: the publisher, codec and reporter.
            rest: the REST client.
            settings: the intervals and the number of parallel requests.
            on_gap: called with each record of the gap topic, and whether it is from after the start.
        """
        self._publishing = publishing
        self._rest = rest
        self._workers = settings.parallel_snapshots
        self._plan = SnapshotPlan(settings.snapshot_refresh)
        self._wake = asyncio.Event()
        self._backoff = Backoff(_FIRST_RETRY_SECONDS, _LONGEST_RETRY_SECONDS)
        self._has_watermarks = False
        self._on_gap = on_gap
        self._gaps = FollowedTopic(publishing, GAP_TOPIC)
        self._audits = FollowedTopic(publishing, AUDIT_TOPIC)
        self._watermarks = FollowedTopic(publishing, WATERMARK_TOPIC)
        self._coverage = NewCoverage()
        self._watermarks_began = 0
        """The end of the watermark topic before the first snapshot was fetched; 0 if it did not exist."""
        self._encode: Encoder = publishing.encoder(SNAPSHOT_TOPIC)
        self.published = 0
        self.refused: dict[str, int] = dict.fromkeys(_REFUSALS, 0)
        self.gaps_seen = 0
        self.read_failures = 0
        self.audits_asked = 0

    def set_open(self, symbols: Iterable[str]) -> None:
        """Set the markets whose books are wanted."""
        self._plan.set_open(symbols, time.monotonic())
        self._wake.set()

    def open_requests(self) -> int:
        """Return how many gaps wait for a snapshot."""
        return self._plan.open_requests()

    def oldest_open_seconds(self) -> float:
        """Return how long the oldest of them has waited, in seconds."""
        return self._plan.oldest_open_seconds(time.monotonic())

    async def run(self) -> None:
        """Follow the gap topic and fetch snapshots until cancelled. Retries after failures of Kafka and of the exchange."""
        while True:
            try:
                await self._serve()
            except* BusError as errors:
                self.read_failures += 1
                logger.warning("fetching snapshots stopped; restarting", extra={"error": str(errors.exceptions[0])})
            await asyncio.sleep(self._backoff.next_delay_seconds())

    async def _serve(self) -> None:
        async with Reader(self._publishing.connection, self._publishing.codec) as offsets:
            if not self._gaps.offsets:
                await self._recall(offsets)
            await offsets.topic_partitions(self._publishing.prefix + DEPTH_TOPIC)  # raises if the topic is missing
            async with AsyncExitStack() as opened, asyncio.TaskGroup() as tasks:
                tasks.create_task(self._gaps.follow(self._take_gap, self._backoff.reset))
                tasks.create_task(self._audits.follow(self._take_audit))
                tasks.create_task(self._follow_watermarks())
                for _ in range(self._workers):
                    # A search replaces its reader's assignment, so each worker needs a reader of its own.
                    searching = await opened.enter_async_context(
                        Reader(self._publishing.connection, self._publishing.codec)
                    )
                    tasks.create_task(self._work(offsets, searching))

    async def _recall(self, reader: Reader) -> None:
        """Read back the newest REST snapshots, because a single older answer comes from a server that lags, and then recent
        gaps, because the snapshots of this start must include what follows them.

        Checkpoints do not count, because one may include an update that the exchange never sent. Audit requests do not
        count either: every book is fetched at startup.
        """
        newest: dict[str, tuple[int, int]] = {}

        def take(row: Mapping[str, Any], _: int) -> None:
            if row["origin"] == SEED:
                found = row["engine_time"] or 0, row["last_update_id"]
                newest[row["symbol"]] = max(found, newest.get(row["symbol"], found))

        await FollowedTopic(self._publishing, SNAPSHOT_TOPIC).recall(reader, SNAPSHOTS_RECALLED, take)
        for symbol, (_, last_update_id) in newest.items():
            self._plan.recall_published(symbol, last_update_id)
        await self._audits.recall(reader, 0, self._take_audit)
        self._watermarks_began = sum((await reader.ends(await self._watermark_partitions(reader))).values())
        await self._gaps.recall(reader, GAPS_RECALLED, self._recall_gap)

    def _recall_gap(self, row: Mapping[str, Any], _: int) -> None:
        for gap in depth_gaps(row):
            if gap.not_before_us is None:
                self._plan.recall(gap.symbol, gap.last_id, gap.next_id)
            else:
                self._plan.recall_ahead(gap.symbol, gap.not_before_us)
        self._on_gap(row, False)

    async def _follow_watermarks(self) -> None:
        """Follow the watermarks for coverage that restarts. Coverage from before the first snapshot needs no separate
        proof, because every book is fetched at startup.
        """
        async with Reader(self._publishing.connection) as reader:
            while not (topic_partitions := await self._watermark_partitions(reader)):  # noqa: ASYNC110  # Kafka has no event for the creation of a topic
                await asyncio.sleep(_LOOK_SECONDS)
            if not self._watermarks.offsets:
                recalled = self._watermarks_began - WATERMARKS_RECALLED
                beginnings = await reader.beginnings(topic_partitions)
                self._watermarks.offsets = {each: max(beginnings[each], recalled) for each in topic_partitions}
        await self._watermarks.follow(self._take_watermark)

    def _take_watermark(self, row: Mapping[str, Any], offset: int) -> None:
        if offset < sum(self._watermarks.offsets.values()):  # of its one partition
            logger.warning("the watermark topic was recreated; its former offsets no longer count")
            self._watermarks_began = 0
            self._plan.watermarks_recreated()
        found = self._coverage.take(row, time.monotonic())
        if offset >= self._watermarks_began:
            self._prove(found, offset)

    def _prove(self, symbols: Iterable[str], watermark_offset: int) -> None:
        for symbol in symbols:
            if self._plan.coverage_restarted(symbol, watermark_offset, time.monotonic()):
                self._wake.set()

    def _take_audit(self, audit: Mapping[str, Any], _: int) -> None:
        if audit["result"] == AUDIT_WANTED and self._plan.request_audit(audit["symbol"], time.monotonic()):
            self.audits_asked += 1
            self._wake.set()

    def _take_gap(self, row: Mapping[str, Any], _: int) -> None:
        for gap in depth_gaps(row):
            self.gaps_seen += 1
            if gap.not_before_us is not None:
                self._plan.found_ahead(gap.symbol, gap.not_before_us, time.monotonic())
            elif gap.is_wrong_at is None:
                self._plan.gap(gap.symbol, gap.last_id, gap.next_id, time.monotonic())
            else:
                self._plan.found_wrong(gap.symbol, gap.is_wrong_at, time.monotonic())
            self._wake.set()
        self._on_gap(row, True)

    async def _work(self, offsets: Reader, searching: Reader) -> None:
        while True:
            request = self._plan.next(time.monotonic())
            if request is None:
                await self._sleep()
                continue
            try:
                published = await self._fetch(request, offsets, searching)
            except _UnfitError as error:
                self._refuse(request, _UNFIT, str(error))
                self._dead_letter(error.answer, str(error), reports.VALUE_DOES_NOT_FIT)
                self._plan.put_off(request, time.monotonic())
                continue
            except BackpackStreamsError as error:
                self._refuse(request, _FAILED, str(error))
                published = None
            except BaseException:  # cancelled, because another task failed: the next worker fetches it
                self._plan.give_back(request)
                raise
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

    async def _watermark_partitions(self, offsets: Reader) -> list[TopicPartition]:
        """Return the partition of the watermark topic; empty while the topic does not exist."""
        topic = self._publishing.prefix + WATERMARK_TOPIC
        if not self._has_watermarks:
            self._has_watermarks = await offsets.has(topic)
            if self._has_watermarks:
                await offsets.topic_partitions(topic)  # needed to look up its offsets
        return [(topic, 0)] if self._has_watermarks else []

    async def _fetch(
        self, request: SnapshotRequest, offsets: Reader, searching: Reader
    ) -> tuple[int, float, int | None] | None:
        """Fetch one snapshot and publish it if it is usable.

        Returns, once Kafka has it, its update id, when it came (monotonic seconds), and the end of the watermark topic
        before the request; None if it was not published.

        Raises:
            _UnfitError: a value does not fit the record.
            BackpackStreamsError: the exchange or Kafka does not answer.
        """
        key = request.symbol.encode()
        topic = self._publishing.prefix + DEPTH_TOPIC
        # Looked up each time: partitions may be added, and a topic may be recreated with fewer.
        topic_partition = (topic, partition_of(key, len(await offsets.topic_partitions(topic))))
        watermarks = await self._watermark_partitions(offsets)
        ends = await offsets.ends([topic_partition, *watermarks])
        end_before = ends[topic_partition]
        watermark_offset = ends[watermarks[0]] if watermarks else None
        answer = await self._rest.depth(
            request.symbol, DEPTH_LIMIT, priority=Priority.GAP_SNAPSHOT if request.urgent else Priority.SNAPSHOT
        )
        snapshot, now = answer.body, time.monotonic()
        try:
            row = snapshot_record(
                snapshot, answer.received_time_us, DEPTH_LIMIT, *topic_partition, end_before, watermark_offset
            )
            is_wrong = is_crossed(snapshot)
        except CodecError as error:
            raise _UnfitError(answer, str(error)) from error
        if is_wrong:
            self._refuse(request, _CROSSED, f"snapshot {snapshot.last_update_id} is crossed")
            self._dead_letter(answer, "the snapshot's best bid reaches its best ask", reports.CROSSED_SNAPSHOT)
            return None
        if not self._plan.accepts(request, snapshot.last_update_id, now):
            known = self._plan.least_id(request)
            self._refuse(request, _BEHIND, f"snapshot {snapshot.last_update_id} is older than update {known}")
            return None
        earliest_us = max(snapshot.timestamp_us - MARGIN_MICROS, self._plan.not_before_us(request.symbol))
        found = await offsets_at(searching, {topic_partition: earliest_us // 1000}, {topic_partition: end_before})
        row["delta_offset"] = found[topic_partition]
        try:
            value = self._encode(row)
        except CodecError as error:
            raise _UnfitError(answer, str(error)) from error
        handover = Handover(self._publishing.partition_queue(SNAPSHOT_TOPIC, key))
        if not handover.append(key, value, snapshot.timestamp_us // 1000):
            self._refuse(request, _NO_ROOM, "the send buffer is full")
            return None
        if await handover.settled():
            self._refuse(request, _REJECTED, "Kafka refuses it for good")
            return None
        self.published += 1
        return snapshot.last_update_id, now, watermark_offset

    def _refuse(self, request: SnapshotRequest, reason: str, detail: str) -> None:
        self.refused[reason] += 1
        logger.warning(
            "no usable snapshot; retrying",
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
