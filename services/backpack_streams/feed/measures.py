"""What a producer shows on /metrics. Counted as plain integers where things happen, read on scrape."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Literal

from prometheus_client.registry import Collector

from backpack_streams.bus.publisher import Publisher
from backpack_streams.exchange.connection import Connection
from backpack_streams.feed.family import Family
from backpack_streams.feed.reporter import Reporter
from backpack_streams.feed.router import FrameRouter
from backpack_streams.runtime.metrics import Labels, ReadOnScrape

Values = Iterator[tuple[Labels, float]]


def value(
    name: str, documentation: str, read: Callable[[], float], kind: Literal["counter", "gauge"] = "gauge"
) -> Collector:
    """One value, read on scrape."""
    return ReadOnScrape(name, documentation, lambda: iter([((), float(read()))]), kind=kind)


def count(name: str, documentation: str, read: Callable[[], float]) -> Collector:
    """One counter, read on scrape."""
    return value(name, documentation, read, "counter")


def counts(name: str, documentation: str, label: str, read: Callable[[], Mapping[str, int]]) -> Collector:
    """Counters by one label, read on scrape."""

    def values() -> Values:
        return (((key,), float(times)) for key, times in read().items())

    return ReadOnScrape(name, documentation, values, (label,), "counter")


def publisher_measures(publisher: Publisher) -> Iterable[Collector]:
    """How Kafka takes what we give it."""
    return (
        count(
            "published_records", "Records acknowledged by all in-sync replicas.", lambda: publisher.published_records
        ),
        count("published_bytes", "Bytes of values acknowledged.", lambda: publisher.published_bytes),
        count("published_batches", "Batches acknowledged.", lambda: publisher.batches),
        count(
            "publish_seconds",
            "Waits of batches for their acknowledgement, added up.",
            lambda: publisher.ack_seconds_total,
        ),
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
    )


def report_measures(reporter: Reporter) -> Iterable[Collector]:
    """What went missing or astray."""
    return (
        counts("gaps", "Gaps put on record.", "reason", lambda: reporter.gaps),
        counts(
            "dead_letters",
            "Messages that could not be published as what they are.",
            "reason",
            lambda: reporter.dead_letters,
        ),
        count(
            "reports_lost", "Gaps, dead letters and states that had no room anywhere.", lambda: reporter.lost_reports
        ),
    )


def router_measures(router: FrameRouter, families: Sequence[Family]) -> Iterable[Collector]:
    """What the streams brought."""

    def unknown_fields() -> Values:
        for family in families:
            for field, times in family.unknown_fields().items():
                yield (family.channel, field), float(times)

    def delivering() -> int:
        return sum(1 for feed in router.feeds.values() if feed.last_received_us)

    seen = "Messages seen with a field not known yet; once one was seen, one message in a thousand is looked at."
    return (
        counts("frames", "Frames received.", "channel", lambda: router.totals("frames")),
        counts("frames_published", "Frames handed to Kafka.", "channel", lambda: router.totals("published")),
        counts(
            "frames_duplicate",
            "Frames that another socket had brought.",
            "channel",
            lambda: router.totals("duplicates"),
        ),
        count("frames_unroutable", "Frames of no stream that we want.", lambda: router.unroutable),
        count("error_frames", "Error frames of the exchange.", lambda: router.error_frames),
        value("streams", "Streams subscribed to.", lambda: len(router.feeds)),
        value("streams_delivering", "Streams that have delivered.", delivering),
        ReadOnScrape("unknown_fields", seen, unknown_fields, ("channel", "field"), "counter"),
    )


def connection_measures(connection: Connection) -> Iterable[Collector]:
    """How the sockets are."""

    def closes() -> Mapping[str, int]:
        return {kind.value: closed for kind, closed in connection.closes.items()}

    return (
        value("socket_links", "Sockets that deliver.", lambda: connection.open_links),
        count("socket_opens", "Sockets opened.", lambda: connection.opens),
        counts(
            "socket_closes",
            "Sockets that ended or never opened.",
            "reason",
            lambda: {kind.value: n for kind, n in connection.closes.items()},
        ),
        count("socket_server_closes", "Close frames of the exchange.", lambda: connection.server_closes),
        count("socket_bytes", "Bytes received, without frame headers.", lambda: connection.bytes_received),
        value(
            "socket_reading_paused",
            "1 while nothing is read since Kafka is behind.",
            lambda: connection.is_reading_paused,
        ),
        value("streams_rejected", "Streams that the exchange refuses.", lambda: len(connection.rejected_streams)),
    )
