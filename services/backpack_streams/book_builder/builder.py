"""The service book-builder: a member of a consumer group on one side, a publisher on the other, the keeper between them."""

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
from backpack_streams.bus.group import GroupMember
from backpack_streams.bus.reader import Reader
from backpack_streams.errors import BusError
from backpack_streams.feed import reports
from backpack_streams.feed.publishing import Publishing
from backpack_streams.feed.reporter import NO_CHANNEL
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
        self._settings = settings
        self._publishing = publishing = Publishing(NAME, settings, lambda topic, symbol: f"{topic}.{symbol}")
        publishing.reporter.expect("depth", (reports.AUDIT_MISMATCH, reports.COVERAGE_DISPROVED))
        publishing.reporter.expect(NO_CHANNEL, (reports.REJECTED_BY_KAFKA,))
        codec, prefix, depth_topic = publishing.codec, settings.topic_prefix, settings.topic_prefix + DEPTH_TOPIC
        rules = CheckpointRules(settings.checkpoint_updates, settings.checkpoint_seconds, settings.checkpoint_reach)
        self._audits = AuditWriter(NAME, publishing)
        self.keeper = keeper = BookKeeper(
            codec, prefix, rules, settings.top_levels, settings.top_interval_ms / 1000, self._audits.audits
        )
        self.vouching = keeper.intake.vouching = Vouching(codec, prefix, depth_topic, keeper.place_of)
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
        """Connects to Kafka and joins the group.

        Raises:
            BackpackStreamsError: Kafka cannot be reached, or a topic is missing.
        """
        try:
            await self._publishing.open({DEPTH_TOPIC, TRADE_TOPIC, *TOPICS})
            await self._connections.enter_async_context(self._reader)
            await self._connections.enter_async_context(self._group)
        except BaseException:  # whatever ended the start, what was opened is closed
            await self._close()
            raise
        return self

    async def run(self, stop: asyncio.Event) -> None:
        """Keeps books until `stop` is set, then hands Kafka what is left and leaves the group."""
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
        """What was written is in Kafka before the group gives our partitions to others."""
        self._is_closing = True
        await self._publishing.close()
        await self._connections.aclose()

    async def _retry_reports(self) -> None:
        while True:
            await asyncio.sleep(_REPORTS_SECONDS)
            self._publishing.reporter.on_tick()

    # What is seen from outside --------------------------------------------------------------------------------

    def failures(self) -> list[str]:
        """Why the service cannot go on."""
        return self._background.failures or self._publishing.failures()

    def readiness(self) -> list[str]:
        """Why the service is not ready."""
        reasons = []
        if self._group.assigned is None:
            reasons.append("the group has not shared out the partitions yet")
        elif self._group.assigned != self.reading.assigned or not self.keeper.is_caught_up:
            reasons.append("catching up with the updates in Kafka")
        elif self._group.assigned and not self._group.is_ours(time.monotonic()):
            reasons.append(
                "Kafka has not confirmed of late that our partitions are ours; until it does, nothing is written"
            )
        return reasons + self._publishing.readiness()

    def collectors(self) -> Iterable[Collector]:
        """What /metrics shows."""
        measures = builder_measures(self.keeper, self.vouching, self.reading, self.writer, self._group)
        per_symbol = symbol_measures(self.keeper.intake.books) if self._settings.metrics_per_symbol else ()
        return (
            *self._publishing.collectors(),
            *measures,
            *per_symbol,
            *self.reading.collectors(),
            *self._audits.collectors(),
        )

    # What the group decides -----------------------------------------------------------------------------------

    def _keep_no_others(self, kept: frozenset[int]) -> None:
        """The group has decided anew. What was not ours all along is forgotten: somebody else may have written of it meanwhile."""
        self.keeper.close(self.keeper.partitions - kept)
        self.reading.assigned = None
        self._next_renewal = 0.0

    async def _hand_over(self, partitions: frozenset[int]) -> None:
        """Others may have these partitions next: what we know of them is in Kafka before."""
        if self._is_closing:
            return
        self.writer.write_last(partitions)
        self._is_handing_over = True  # what were written from here on, the next builder might not see when it looks
        try:
            await asyncio.wait_for(self.writer.settled(), _HAND_OVER_SECONDS)
        except (TimeoutError, BusError):  # what did not get there is told by the publisher
            logger.warning("partitions handed over before Kafka acknowledged the last checkpoints")
        finally:
            self._is_handing_over = False

    def _may_write(self, now: float) -> bool:
        return not self._is_handing_over and self._group.assigned == self.reading.assigned and self._group.is_ours(now)

    async def _show(self, now: float) -> None:
        """After each round of reading."""
        self.keeper.take({}, now)
        if now >= self._next_look:
            self._next_look = now + _RENEW_SECONDS
            self.keeper.look_for_unusable(now)
        if now >= self._next_renewal and self._group.assigned == self.reading.assigned:
            self._next_renewal = now + _RENEW_SECONDS
            await self._group.renew(self.keeper.offsets)
        self.writer.write(now)
