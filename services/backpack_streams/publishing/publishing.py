"""What a service needs to write to Kafka: its publisher, its codec, its topics, its reports."""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from prometheus_client.registry import Collector

from backpack_streams.bus.admin import TopicAdmin
from backpack_streams.bus.codec import Encoder
from backpack_streams.bus.publisher import PartitionQueue, Publisher, Rejected
from backpack_streams.bus.topics import topic
from backpack_streams.errors import CodecError
from backpack_streams.publishing import reports
from backpack_streams.publishing.measures import publisher_measures, registry_measures, report_measures
from backpack_streams.publishing.publish_times import PublishTimes
from backpack_streams.publishing.reporter import Reporter
from backpack_streams.publishing.settings import PublishingSettings
from backpack_streams.runtime.kafka import kafka_codec, kafka_connection

logger = logging.getLogger(__name__)

REPORT_TOPICS = ("ops.gap", "ops.dead_letter", "ops.stream_status")
KAFKA_LATE_SECONDS = 10.0
"""A service is not ready while Kafka has owed an acknowledgement for longer than this."""
_ROOM_LOOK_SECONDS = 0.05
_LEAST_WAITING_BYTES, _WAITING_SHARE = 1024 * 1024, 20
"""Reports that wait for room may take a twentieth of the buffer's size, or 1 MiB if that is more, in addition to the buffer."""


def now_us() -> int:
    """Return the wall clock's time in microseconds since the Unix epoch."""
    return time.time_ns() // 1000


class Publishing:
    """The publisher of a service, with its topics, schemas and reports.

    All topic names are without the prefix. A record that Kafka refuses for good becomes a dead letter and a gap.

    Attributes:
        prefix: the prefix of all topics.
        connection: how to reach Kafka.
        codec: encodes the records.
        publisher: the Kafka producer with its queues.
        reporter: publishes gaps, dead letters and stream states.
    """

    def __init__(
        self,
        service: str,
        settings: PublishingSettings,
        stream_of: Callable[[str, str, Mapping[str, Any]], str],
        channels: Mapping[str, str] | None = None,
    ) -> None:
        """Prepare; `open` connects.

        Args:
            service: the name of the service, which every report carries.
            settings: how to reach Kafka and the schema registry, and the size of the buffer.
            stream_of: returns the name of the stream behind a topic, a symbol and a record (empty if it cannot be read), for
                the gap that a refused record leaves.
            channels: the channel of each topic whose records come from the exchange as they happen. Their age is measured.

        Raises:
            UsageError: the settings are mutually inconsistent, a file of theirs is unusable, or the client of the schema
                registry is not installed.
        """
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
            lambda topic: self.tell_deleted(topic.removeprefix(self.prefix)),
        )
        waiting_bytes = max(_LEAST_WAITING_BYTES, settings.buffer_bytes // _WAITING_SHARE)
        self.reporter = Reporter(service, self.partition_queue, self.encoder, waiting_bytes)
        self.tell_rejected: Callable[[str, bytes], None] = _tell_nobody
        """Called with the topic and key of each record that Kafka refuses for good, reports excepted.

        A service that has noted the record as written takes that back here. Not called for a report.
        """
        self.tell_deleted: Callable[[str], None] = _tell_no_producer
        """Called with each topic, without the prefix, that was recreated or truncated while it was written."""
        self._create_topics = settings.create_topics
        self._stream_of = stream_of

    async def open(self, names: Iterable[str]) -> None:
        """Connect and open the topics; create missing ones first if the settings say so.

        Waits while the schema registry is unavailable.

        Args:
            names: the topics that the service writes. The topics of reports are added.

        Raises:
            BusError: Kafka is unreachable or refuses, or a topic is missing.
            CodecError: the schema registry lacks or refuses the schema of a topic.
        """
        topics = [topic(name) for name in sorted({*names, *REPORT_TOPICS})]
        await self.codec.prepare({each.full_name(self.prefix): each.record for each in topics})
        if self._create_topics:
            for change in await TopicAdmin(self.connection, self.prefix).apply(topics, create_only=True):
                logger.info("topic created", extra={"topic": change.topic, "detail": change.detail})
        await self.publisher.start()
        await self.publisher.open(each.full_name(self.prefix) for each in topics)

    def partition_queue(self, name: str, key: bytes) -> PartitionQueue:
        """Return the queue of the partition that `key` belongs to.

        Args:
            name: the topic.
            key: the Kafka key.

        Raises:
            KeyError: the topic was not opened.
        """
        return self.publisher.partition_queue(self.prefix + name, key)

    def encoder(self, name: str) -> Encoder:
        """Return a function that encodes a record of this topic as a Kafka value.

        Args:
            name: the topic.
        """
        return self.codec.encoder(topic(name).record, self.prefix + name)

    def failures(self) -> list[str]:
        """Return why nothing can be published any more, so that the service is about to end; empty while it can."""
        failure = self.publisher.failure
        return [] if failure is None else [str(failure)]

    async def until_failed(self) -> None:
        """Wait until nothing can be published any more although Kafka is available. A running service ends with this error.

        Raises:
            BusError: always, once that is the case; the message says what the publisher was waiting for.
        """
        await self.publisher.until_failed()

    def readiness(self) -> list[str]:
        """Return why Kafka's side of the service is not ready: no acknowledgement for more than 10 seconds; empty if it is."""
        late_seconds = self.publisher.unacknowledged_seconds()
        if late_seconds <= KAFKA_LATE_SECONDS:
            return []
        return [f"Kafka has not acknowledged for {late_seconds:.0f} s: {self.publisher.fault or 'no error was said'}"]

    async def reported(self) -> int:
        """Wait until Kafka has acknowledged every report made so far, or refused it for good.

        Returns:
            How many reports were lost meanwhile.

        Raises:
            BusError: the publisher has failed, or was closed before.
        """
        lost = self.reporter.lost_reports
        while self.reporter.waiting_reports:
            self.reporter.on_tick()
            await asyncio.sleep(_ROOM_LOOK_SECONDS)
        for partition_queue in self._report_queues():
            await partition_queue.settled()
        return self.reporter.lost_reports - lost

    def _report_queues(self) -> list[PartitionQueue]:
        topics = {self.prefix + name for name in REPORT_TOPICS}
        return [
            partition_queue for partition_queue in self.publisher.partition_queues() if partition_queue.topic in topics
        ]

    def collectors(self) -> Iterable[Collector]:
        """Return the collectors of publisher, registry and reports for /metrics."""
        return (
            *publisher_measures(self.publisher),
            *self._times.collectors(),
            *registry_measures(self.codec),
            *report_measures(self.reporter),
        )

    def take_last(self) -> None:
        """Accept all records from now on, even if the buffer is full.

        Call it when no new data comes in. What still comes, above all reports that waited for room, must not be refused.
        """
        self.publisher.buffer.takes_all = True

    async def close(self) -> None:
        """Send the waiting records, reports first, then disconnect.

        Takes as long as `Publisher.close` allows (20 seconds). Reports that Kafka has not acknowledged by then are counted as
        lost and logged.
        """
        self.take_last()
        self.reporter.on_tick()
        late = await self.publisher.close(first=[self.prefix + name for name in REPORT_TOPICS])
        for partition_queue in self._report_queues():
            for _, value, _ in partition_queue.pending:
                name = partition_queue.topic.removeprefix(self.prefix)
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
        record_name, record = self._read(value)
        self.reporter.gap(
            stream=self._stream_of(name, symbol, record),
            symbol=symbol,
            topic=name,
            reason=reports.REJECTED_BY_KAFKA,
            detail=f"Kafka refuses a record for good: {rejected.reason}",
            detected_us=now_us(),
            lost_records=1,
            **reports.bounds_of(record_name, record),
        )
        self.tell_rejected(name, key or b"")

    def _read(self, value: bytes | None) -> tuple[str, Mapping[str, Any]]:
        try:
            return self.codec.decode(value or b"")
        except CodecError:
            return "", {}


def _tell_nobody(topic_name: str, key: bytes) -> None:
    """Do nothing, for services that write each record only once."""


def _tell_no_producer(topic_name: str) -> None:
    """Do nothing, for services that vouch for no stream."""
