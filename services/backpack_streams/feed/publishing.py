"""A service's side of Kafka: its publisher, its codec, its topics, its reports."""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Mapping

from prometheus_client.registry import Collector

from backpack_streams.bus.admin import TopicAdmin
from backpack_streams.bus.codec import Encoder
from backpack_streams.bus.publisher import Lane, Publisher, Rejected
from backpack_streams.bus.topics import topic
from backpack_streams.feed import reports
from backpack_streams.feed.measures import publisher_measures, registry_measures, report_measures
from backpack_streams.feed.publish_times import PublishTimes
from backpack_streams.feed.reporter import Reporter
from backpack_streams.feed.settings import PublishingSettings
from backpack_streams.runtime.kafka import kafka_codec, kafka_connection

logger = logging.getLogger(__name__)

REPORT_TOPICS = ("ops.gap", "ops.dead_letter", "ops.stream_status")
KAFKA_LATE_SECONDS = 10.0
_ROOM_LOOK_SECONDS = 0.05
_LEAST_WAITING_BYTES, _WAITING_SHARE = 1024 * 1024, 20
"""Reports that have no room may take a twentieth of the buffer beside it."""


def now_us() -> int:
    """Wall clock, microseconds since the Unix epoch."""
    return time.time_ns() // 1000


class Publishing:
    """What a service publishes with. Topic names are without the prefix; records that Kafka refuses for good become reports.

    `stream_of` names the stream behind a topic and a symbol, for the gap that a refused record leaves. `channels` names the channel
    behind each topic whose records come from the exchange as they happen: of those the age is measured.
    """

    def __init__(
        self,
        service: str,
        settings: PublishingSettings,
        stream_of: Callable[[str, str], str],
        channels: Mapping[str, str] | None = None,
    ) -> None:
        self.prefix = settings.topic_prefix
        self.connection = kafka_connection(settings)
        self.codec = kafka_codec(settings, register_schemas=settings.register_schemas)
        self._times = PublishTimes({self.prefix + name: channel for name, channel in (channels or {}).items()})
        self.publisher = Publisher(
            self.connection,
            settings.buffer_bytes,
            self._on_rejected,
            self._times.on_acknowledged,
            settings.progress_timeout,
        )
        waiting_bytes = max(_LEAST_WAITING_BYTES, settings.buffer_bytes // _WAITING_SHARE)
        self.reporter = Reporter(service, self.lane, self.encoder, waiting_bytes)
        self.tell_rejected: Callable[[str, bytes], None] = _tell_nobody
        """Told the topic and key of each record that Kafka refuses for good: who noted it as written takes that back."""
        self._create_topics = settings.create_topics
        self._stream_of = stream_of

    async def open(self, names: Iterable[str]) -> None:
        """Connects, makes missing topics where that is wanted, opens them all. Waits for a schema registry that is away.

        Raises:
            BusError: Kafka cannot be reached or refuses, or a topic is missing.
            CodecError: the schema registry does not have a topic's schema, or refuses it.
        """
        topics = [topic(name) for name in sorted({*names, *REPORT_TOPICS})]
        await self.codec.prepare({each.full_name(self.prefix): each.record for each in topics})
        if self._create_topics:
            for change in await TopicAdmin(self.connection, self.prefix).apply(topics, create_only=True):
                logger.info("topic created", extra={"topic": change.topic, "detail": change.detail})
        await self.publisher.start()
        await self.publisher.open(each.full_name(self.prefix) for each in topics)

    def lane(self, name: str, key: bytes) -> Lane:
        """The way into the partition of `key`."""
        return self.publisher.lane(self.prefix + name, key)

    def encoder(self, name: str) -> Encoder:
        """From rows to values of the topic."""
        return self.codec.encoder(topic(name).record, self.prefix + name)

    def failures(self) -> list[str]:
        """Why the service cannot go on and is about to end."""
        failure = self.publisher.failure
        return [] if failure is None else [str(failure)]

    async def until_failed(self) -> None:
        """Waits until nothing can be published any more although Kafka is there: a service that runs ends with this.

        Raises:
            BusError: that is so.
        """
        await self.publisher.until_failed()

    def readiness(self) -> list[str]:
        """Why Kafka's side is not ready."""
        late_seconds = self.publisher.unacknowledged_seconds()
        if late_seconds <= KAFKA_LATE_SECONDS:
            return []
        return [f"Kafka has not acknowledged for {late_seconds:.0f} s: {self.publisher.fault or 'no error was said'}"]

    async def reported(self) -> int:
        """Waits until Kafka has acknowledged or refused for good every report made so far. Returns how many were lost meanwhile.

        Raises:
            BusError: the publisher has failed, or was closed before.
        """
        lost = self.reporter.lost_reports
        while self.reporter.waiting_reports:
            self.reporter.on_tick()
            await asyncio.sleep(_ROOM_LOOK_SECONDS)
        for lane in self._report_lanes():
            await lane.settled()
        return self.reporter.lost_reports - lost

    def _report_lanes(self) -> list[Lane]:
        topics = {self.prefix + name for name in REPORT_TOPICS}
        return [lane for lane in self.publisher.lanes() if lane.topic in topics]

    def collectors(self) -> Iterable[Collector]:
        """What /metrics shows of it."""
        return (
            *publisher_measures(self.publisher),
            *self._times.collectors(),
            *registry_measures(self.codec),
            *report_measures(self.reporter),
        )

    def take_last(self) -> None:
        """From now on nothing more comes in, so what is handed over is taken whatever the room: reports that waited for it, above all."""
        self.publisher.buffer.takes_all = True

    async def close(self) -> None:
        """Hands Kafka what is left, reports first, then disconnects. Reports that do not get there are counted and logged."""
        self.take_last()
        self.reporter.on_tick()
        late = await self.publisher.close(first=[self.prefix + name for name in REPORT_TOPICS])
        for lane in self._report_lanes():
            for _, value, _ in lane.pending:
                name = lane.topic.removeprefix(self.prefix)
                self.reporter.lose(name, value or b"", "the service ended before Kafka had acknowledged it")
        if late:
            logger.error(
                "records were not acknowledged before the end; the next start finds the gap", extra={"records": late}
            )

    def _on_rejected(self, rejected: Rejected) -> None:
        key, value, _ = rejected.record
        symbol = (key or b"").decode("utf-8", "replace")
        name = rejected.topic.removeprefix(self.prefix)
        if name in REPORT_TOPICS:  # a report about a refused report would be refused again
            self.reporter.lose(name, value or b"", f"Kafka refuses it for good: {rejected.reason}")
            return
        self.reporter.dead_letter(
            source="KAFKA",
            reason=reports.REJECTED_BY_KAFKA,
            detail=rejected.reason,
            payload=value or b"",
            origin=rejected.topic,
            symbol=symbol,
            received_us=now_us(),
        )
        self.reporter.gap(
            stream=self._stream_of(name, symbol),
            symbol=symbol,
            topic=name,
            reason=reports.REJECTED_BY_KAFKA,
            detail=f"Kafka refuses a record for good: {rejected.reason}",
            detected_us=now_us(),
            lost_records=1,
        )
        self.tell_rejected(name, key or b"")


def _tell_nobody(topic_name: str, key: bytes) -> None:
    """What a service writes only once it needs no second try."""
