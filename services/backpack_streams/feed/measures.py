"""Metrics of streams and of Kafka. They are counted as plain integers and read on scrape."""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Literal

from prometheus_client.registry import Collector

from backpack_streams.bus.codec import Codec
from backpack_streams.bus.publisher import Publisher
from backpack_streams.bus.registry import KnownSchemas
from backpack_streams.exchange.wire import open_new_envelope
from backpack_streams.feed import reports
from backpack_streams.feed.family import Family
from backpack_streams.feed.market_list import MarketList
from backpack_streams.feed.reporter import Reporter
from backpack_streams.feed.router import FrameRouter
from backpack_streams.runtime.metrics import Labels, ReadOnScrape

Values = Iterator[tuple[Labels, float]]

MOST_FIELDS = 20
"""Unknown fields shown by name, per kind of message. The exchange chooses the names, so the labels need a limit."""
OTHER_FIELDS = "other"


def value(
    name: str, documentation: str, read: Callable[[], float], kind: Literal["counter", "gauge"] = "gauge"
) -> Collector:
    """One value, read on scrape."""
    return ReadOnScrape(name, documentation, lambda: iter([((), float(read()))]), kind=kind)


def values(
    name: str,
    documentation: str,
    label: str,
    read: Callable[[], Mapping[str, float]],
    kind: Literal["counter", "gauge"] = "gauge",
) -> Collector:
    """Values by one label, read on scrape."""
    return ReadOnScrape(
        name, documentation, lambda: (((key,), float(each)) for key, each in read().items()), (label,), kind
    )


def count(name: str, documentation: str, read: Callable[[], float]) -> Collector:
    """One counter, read on scrape."""
    return value(name, documentation, read, "counter")


def counts(name: str, documentation: str, label: str, read: Callable[[], Mapping[str, float]]) -> Collector:
    """Counters by one label, read on scrape."""
    return values(name, documentation, label, read, "counter")


def named(fields: Mapping[str, int], most: int = MOST_FIELDS) -> dict[str, int]:
    """The first fields seen, by name; all later ones are added up."""
    shown = dict(islice(fields.items(), most))
    rest = sum(islice(fields.values(), most, None))
    return shown | ({OTHER_FIELDS: rest} if rest else {})


def publisher_measures(publisher: Publisher) -> Iterable[Collector]:
    """How Kafka takes our records."""
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
            "Times that the sender of a partition failed for a reason that nobody expected, and began again.",
            lambda: publisher.sender_failures,
        ),
        value(
            "publish_unused_partitions",
            "Partitions that topics got while this process runs; it goes on with those it knew, a restart uses all.",
            lambda: sum(publisher.unused_partitions.values()),
        ),
    )


def registry_measures(codec: Codec) -> Iterable[Collector]:
    """Whether the schema registry answers, if one is set."""
    registry = codec.registry
    if not isinstance(registry, KnownSchemas):
        return ()
    up = "1 if the schema registry answered when it was last asked, else 0; NaN before that. It is asked at the start and for new ids."
    return (
        value("registry_up", up, lambda: float("nan") if registry.is_up is None else registry.is_up),
        count("registry_failures", "Questions that the schema registry left unanswered.", lambda: registry.failures),
    )


def report_measures(reporter: Reporter) -> Iterable[Collector]:
    """What was lost or could not be published."""
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


def router_measures(router: FrameRouter, families: Sequence[Family], per_stream: bool) -> Iterable[Collector]:
    """What the streams brought. `per_stream` adds a series for each stream."""
    frames = (
        counts("frames", "Frames received.", "channel", lambda: router.totals("frames")),
        counts("frames_published", "Frames handed to Kafka.", "channel", lambda: router.totals("published")),
        counts(
            "frames_duplicate",
            "Frames that another socket had brought.",
            "channel",
            lambda: router.totals("duplicates"),
        ),
        count("frames_unroutable", "Frames of no stream that we want.", lambda: router.unroutable),
        count("frames_unwanted", "Frames of streams that were unsubscribed.", lambda: router.unwanted),
        count("error_frames", "Error frames of the exchange.", lambda: router.error_frames),
        _unknown_fields(families),
        counts(
            "unknown_envelope_fields",
            "Messages seen with a field beside stream and data; once one was seen, one in a thousand is looked at.",
            "field",
            lambda: named(open_new_envelope.unknown_fields),
        ),
    )
    return (*frames, *_silence_measures(router, families), *(_stream_measures(router) if per_stream else ()))


def _unknown_fields(families: Sequence[Family]) -> Collector:
    def fields() -> Values:
        for family in families:
            for field, times in named(family.unknown_fields()).items():
                yield (family.channel, field), float(times)

    seen = (
        "Messages seen with a field not known yet; once one was seen, one message in a thousand is looked at. "
        f"At most {MOST_FIELDS} fields of a channel by name, the rest as {OTHER_FIELDS!r}."
    )
    return ReadOnScrape("unknown_fields", seen, fields, ("channel", "field"), "counter")


def _silence_measures(router: FrameRouter, families: Sequence[Family]) -> Iterable[Collector]:
    began_us = _wall_us()
    channels = [family.channel for family in families]

    def delivering() -> Mapping[str, int]:
        heard = Counter(feed.kind.channel for feed in router.feeds.values() if feed.last_received_us)
        return {channel: heard[channel] for channel in channels}

    def since(choose: Callable[[int, int], int]) -> dict[str, float]:
        """By subscribed channel, the time since the latest or the earliest of its streams' last frames."""
        last: dict[str, int] = {}
        for feed in router.feeds.values():
            channel, heard_us = feed.kind.channel, feed.last_received_us
            known = last.setdefault(channel, 0)
            if heard_us:
                last[channel] = choose(known, heard_us) if known else heard_us
        now = _wall_us()
        return {channel: max(0, now - (heard_us or began_us)) / 1_000_000 for channel, heard_us in last.items()}

    return (
        values("streams_delivering", "Streams that have delivered since the start.", "channel", delivering),
        values(
            "channel_silence_seconds",
            "Time since any stream of the channel delivered; since the start where none has.",
            "channel",
            lambda: since(max),
        ),
        values(
            "stream_silence_seconds",
            "Time since the stream of the channel delivered that has been quiet for longest, of those that ever did.",
            "channel",
            lambda: since(min),
        ),
    )


def _stream_measures(router: FrameRouter) -> Iterable[Collector]:
    def last_frames() -> Values:
        return (
            ((name,), feed.last_received_us / 1_000_000) for name, feed in router.feeds.items() if feed.last_received_us
        )

    told = "When the stream delivered last, seconds since 1970. Only with --metrics-per-symbol."
    return (ReadOnScrape("stream_last_frame_timestamp_seconds", told, last_frames, ("stream",)),)


def market_list_measures(markets: MarketList) -> Iterable[Collector]:
    """The age of the market list that subscriptions follow, and how much of it was not believed."""

    def age() -> Values:
        if markets.read_at is not None:
            yield (), time.monotonic() - markets.read_at

    return (
        ReadOnScrape("market_list_age_seconds", "Time since the exchange's list of markets was read.", age),
        value(
            "market_list_missing_markets",
            "Open markets that the newest lists lack; they are kept until fresh lists confirm it for minutes, "
            "and for half an hour if they are many.",
            lambda: markets.missing_markets,
        ),
        count(
            "market_list_refused_disappearances",
            "Times that many markets were missing from the list at once and were kept.",
            lambda: markets.refused_disappearances,
        ),
        counts(
            "market_list_ignored_answers",
            "Lists that change nothing: made before one that was taken, or without any market.",
            "reason",
            lambda: markets.ignored_answers,
        ),
    )


def shard_measures(shard_index: int, shard_count: int) -> Iterable[Collector]:
    """The share of the work that this process has."""
    told = "How many shards share the work; the label is the one that this process is."
    return (values("shards", told, "shard_index", lambda: {str(shard_index): shard_count}),)


def _wall_us() -> int:
    return time.time_ns() // 1000
