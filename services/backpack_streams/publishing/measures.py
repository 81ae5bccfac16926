"""Metrics of what goes to Kafka: the publisher, the schema registry, the reports."""

from collections.abc import Iterable

from prometheus_client.registry import Collector

from backpack_streams.bus.codec import Codec
from backpack_streams.bus.publisher import Publisher
from backpack_streams.bus.registry import KnownSchemas
from backpack_streams.publishing import reports
from backpack_streams.publishing.reporter import Reporter
from backpack_streams.runtime.collectors import count, counts, value
from backpack_streams.runtime.metrics import ReadOnScrape


def publisher_measures(publisher: Publisher) -> Iterable[Collector]:
    """Return metrics of the publisher: acknowledged records and bytes, its buffer, refusals and failures.

    Args:
        publisher: read on each scrape.
    """
    return (
        count(
            "published_records", "Records acknowledged by all in-sync replicas.", lambda: publisher.published_records
        ),
        count("published_bytes", "Bytes of values acknowledged.", lambda: publisher.published_bytes),
        value(
            "publish_unacknowledged_seconds",
            "How long Kafka has owed the oldest acknowledgement.",
            publisher.unacknowledged_seconds,
        ),
        value("publish_buffer_bytes", "Bytes that wait for Kafka.", lambda: publisher.buffered_bytes),
        value("publish_buffer_limit_bytes", "Bytes that may wait for Kafka.", lambda: publisher.max_buffer_bytes),
        count("publish_refused_records", "Records that had no room in the buffer.", lambda: publisher.refused_records),
        count("publish_rejected_records", "Records that Kafka will never take.", lambda: publisher.rejected_records),
        count(
            "publish_failures", "Kafka producers that failed and were replaced.", lambda: publisher.producer_failures
        ),
        count(
            "publish_sender_failures",
            "How often the sender of a partition failed unexpectedly and was restarted.",
            lambda: publisher.sender_failures,
        ),
        value(
            "publish_unused_partitions",
            "Partitions added to topics since this process started. It uses them only after a restart.",
            lambda: sum(publisher.unused_partitions.values()),
        ),
    )


def registry_measures(codec: Codec) -> Iterable[Collector]:
    """Return metrics of the schema registry; none if the codec has no registry.

    Args:
        codec: its registry is read on each scrape.
    """
    registry = codec.registry
    if not isinstance(registry, KnownSchemas):
        return ()
    up = "1 if the schema registry answered when it was last asked, else 0; NaN before that. It is asked at the start and for new ids."
    return (
        value("registry_up", up, lambda: float("nan") if registry.is_up is None else registry.is_up),
        count("registry_failures", "Questions that the schema registry left unanswered.", lambda: registry.failures),
    )


def report_measures(reporter: Reporter) -> Iterable[Collector]:
    """Return metrics of gaps, dead letters and reports that wait or are lost.

    Args:
        reporter: read on each scrape. Each reason for a dead letter has a counter from the start, at 0.
    """
    letters = dict.fromkeys(reports.DEAD_LETTER_REASONS, 0)
    return (
        ReadOnScrape(
            "gaps",
            "Gaps put on record. STREAM_START is no loss: nothing is known from before a stream's very first message. "
            "Channel 'other': in what comes from no stream, as polled rows and books.",
            lambda: ((key, float(times)) for key, times in reporter.gaps.items()),
            ("channel", "reason"),
            "counter",
        ),
        counts(
            "dead_letters",
            "Messages that could not be published as what they are.",
            "reason",
            lambda: letters | reporter.dead_letters,
        ),
        value("reports_waiting", "Gaps, dead letters and states that wait for room.", lambda: reporter.waiting_reports),
        count(
            "reports_lost",
            "Gaps, dead letters and states that had no room anywhere or that Kafka refused for good.",
            lambda: reporter.lost_reports,
        ),
    )
