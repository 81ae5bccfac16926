"""The service book-builder: a member of a consumer group, a publisher, and the keeper of the books between them."""

import asyncio
import logging
import time
from collections.abc import Iterable
from contextlib import AsyncExitStack

from prometheus_client.registry import Collector

from backpack_streams.book_builder.audit_writer import AuditWriter
from backpack_streams.book_builder.keeper import BookKeeper
from backpack_streams.book_builder.kept_book import CheckpointRules
from backpack_streams.book_builder.measures import builder_measures, symbol_measures
from backpack_streams.book_builder.reading import Reading
from backpack_streams.book_builder.settings import BookBuilderSettings
from backpack_streams.book_builder.takeover import TRADE_TOPIC, Takeover
from backpack_streams.book_builder.writer import TOPICS, BookWriter
from backpack_streams.books.joining import DEPTH_TOPIC
from backpack_streams.books.vouching import Vouching
from backpack_streams.books.watermark_intake import WatermarkIntake
from backpack_streams.bus.group import GroupMember
from backpack_streams.bus.reader import Reader
from backpack_streams.errors import BusError
from backpack_streams.publishing import reports
from backpack_streams.publishing.publishing import Publishing
from backpack_streams.publishing.reporter import NO_CHANNEL
from backpack_streams.runtime.loop import BackgroundTasks

logger = logging.getLogger(__name__)

NAME = "book-builder"
_POLL_MILLIS = 50
_RENEW_SECONDS = 1.0
_REPORTS_SECONDS = 1.0
_HAND_OVER_SECONDS = 5.0


class Builder:
    """One book-builder. `open` connects; `run` keeps books until it is told to stop."""

    def __init__(self, settings: BookBuilderSettings) -> None:
        """Prepare; `open` connects.

        Raises:
            UsageError: a setting is invalid, or a file that it names is unusable.
        """
        self._settings = settings
        self._publishing = publishing = Publishing(NAME, settings, lambda topic, symbol, _: f"{topic}.{symbol}")
        publishing.reporter.expect("depth", (reports.AUDIT_MISMATCH, reports.COVERAGE_DISPROVED))
        publishing.reporter.expect(NO_CHANNEL, (reports.REJECTED_BY_KAFKA,))
        codec, prefix, depth_topic = publishing.codec, settings.topic_prefix, settings.topic_prefix + DEPTH_TOPIC
        rules = CheckpointRules(settings.checkpoint_updates, settings.checkpoint_seconds, settings.checkpoint_reach)
        self._audits = AuditWriter(NAME, publishing)
        self.keeper = keeper = BookKeeper(
            codec, prefix, rules, settings.top_levels, settings.top_interval_ms / 1000, self._audits.audits
        )
        self.vouching = keeper.intake.vouching = Vouching(
            codec, WatermarkIntake(codec, prefix, depth_topic, keeper.topic_partition_of)
        )
        self._group = GroupMember(
            publishing.connection,
            settings.group_id,
            depth_topic,
            settings.session_timeout,
            self._hand_over,
            self._keep_no_others,
        )
        self.writer = BookWriter(publishing, keeper, self._audits, settings.top_levels, self._may_write)
        self._reader = Reader(publishing.connection, codec)
        self.reading = Reading(
            self._reader,
            self._group,
            keeper,
            self._audits,
            Takeover(self._reader, codec, prefix, keeper),
            prefix,
            int(min(_POLL_MILLIS, max(1.0, settings.top_interval_ms))),
            self._show,
        )
        self._connections = AsyncExitStack()
        self._background = BackgroundTasks()
        self._is_closing = self._is_handing_over = False
        self._next_renewal = self._next_look = 0.0

    async def open(self) -> "Builder":
        """Connect to Kafka and join the group.

        Raises:
            BackpackStreamsError: Kafka is unreachable, or a topic is missing.
        """
        try:
            await self._publishing.open({DEPTH_TOPIC, TRADE_TOPIC, *TOPICS})
            await self._connections.enter_async_context(self._reader)
            await self._connections.enter_async_context(self._group)
        except BaseException:  # any failure: close what was opened
            await self._close()
            raise
        return self

    async def run(self, stop: asyncio.Event) -> None:
        """Keep books until `stop` is set; then write the last checkpoints and leave the group."""
        tasks = [
            asyncio.create_task(self.reading.run(), name="reading"),
            asyncio.create_task(self.reading.count_partitions(), name="partitions"),
            asyncio.create_task(self._retry_reports(), name="reports"),
            asyncio.create_task(self._publishing.until_failed(), name="publisher"),
        ]
        try:
            await self._background.first_to_end(tasks, stop)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self.writer.write_last(self.keeper.partitions)
            await self._close()

    async def _close(self) -> None:
        """Close the publisher before leaving the group, so that all records are in Kafka before other members get these
        partitions.
        """
        self._is_closing = True
        await self._publishing.close()
        await self._connections.aclose()

    async def _retry_reports(self) -> None:
        while True:
            await asyncio.sleep(_REPORTS_SECONDS)
            self._publishing.reporter.on_tick()

    # State ---------------------------------------------------------------------------------------------------

    def failures(self) -> list[str]:
        """Return why the service cannot continue; empty if it can."""
        return self._background.failures or self._publishing.failures()

    def readiness(self) -> list[str]:
        """Return why the service is not ready; empty if it is."""
        reasons = []
        if self._group.assigned is None:
            reasons.append("the consumer group has not assigned the partitions yet")
        elif self._group.assigned != self.reading.assigned or not self.keeper.is_caught_up:
            reasons.append("catching up with the updates in Kafka")
        elif self._group.assigned and not self._group.is_ours(time.monotonic()):
            reasons.append(
                "Kafka has not confirmed the partition assignment recently; nothing is written until it does"
            )
        return reasons + self._publishing.readiness()

    def collectors(self) -> Iterable[Collector]:
        """Return the service's metrics."""
        measures = builder_measures(self.keeper, self.vouching, self.reading, self.writer, self._group)
        per_symbol = symbol_measures(self.keeper.intake.books) if self._settings.metrics_per_symbol else ()
        return (
            *self._publishing.collectors(),
            *measures,
            *per_symbol,
            *self.reading.collectors(),
            *self._audits.collectors(),
        )

    # Rebalances -----------------------------------------------------------------------------------------------

    def _keep_no_others(self, kept: frozenset[int]) -> None:
        """Forget all partitions that were not owned without interruption: another member may have written for them."""
        self.keeper.close(self.keeper.partitions - kept)
        self.reading.assigned = None
        self._next_renewal = 0.0

    async def _hand_over(self, partitions: frozenset[int]) -> None:
        """Write checkpoints of partitions that other members may get, and wait until Kafka has them."""
        if self._is_closing:
            return
        self.writer.write_last(partitions)
        self._is_handing_over = True  # the next builder might not see what is written from here on
        try:
            await asyncio.wait_for(self.writer.settled(), _HAND_OVER_SECONDS)
        except (TimeoutError, BusError):  # the publisher reports what did not arrive
            logger.warning("partitions handed over before Kafka acknowledged the last checkpoints")
        finally:
            self._is_handing_over = False

    def _may_write(self, now: float) -> bool:
        return not self._is_handing_over and self._group.assigned == self.reading.assigned and self._group.is_ours(now)

    async def _show(self, now: float) -> None:
        """Write what is due, and renew the membership; called after each round of reading."""
        self.keeper.take({}, now)
        if now >= self._next_look:
            self._next_look = now + _RENEW_SECONDS
            self.keeper.look_for_unusable(now)
        if now >= self._next_renewal and self._group.assigned == self.reading.assigned:
            self._next_renewal = now + _RENEW_SECONDS
            await self._group.renew(self.keeper.offsets)
        self.writer.write(now)
