"""Metrics of streams. They are counted as plain integers and read on scrape."""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence

from prometheus_client.registry import Collector

from backpack_streams.exchange.unknown_fields import MOST_FIELDS, OTHER_FIELDS
from backpack_streams.exchange.wire import open_new_envelope
from backpack_streams.feed.router import FrameRouter
from backpack_streams.feed.stream_spec import StreamSpec
from backpack_streams.runtime.collectors import Values, count, counts, values
from backpack_streams.runtime.metrics import ReadOnScrape


def router_measures(router: FrameRouter, specs: Sequence[StreamSpec], per_stream: bool) -> Iterable[Collector]:
    """Return the metrics of what the streams brought.

    Args:
        router: counts as plain integers, which are read on scrape.
        specs: the stream specs, whose channels are the labels.
        per_stream: whether to add a series for each stream.
    """
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
        _unknown_fields(specs),
        counts(
            "unknown_envelope_fields",
            "Messages seen with a field beside stream and data; once one was seen, one in a thousand is looked at.",
            "field",
            lambda: open_new_envelope.unknown_fields,
        ),
    )
    return (*frames, *_silence_measures(router, specs), *(_stream_measures(router) if per_stream else ()))


def _unknown_fields(specs: Sequence[StreamSpec]) -> Collector:
    def fields() -> Values:
        for spec in specs:
            for field, times in spec.unknown_fields().items():
                yield (spec.channel, field), float(times)

    seen = (
        "Messages seen with a field not known yet; once one was seen, one message in a thousand is looked at. "
        f"At most {MOST_FIELDS} fields of a channel by name, the rest as {OTHER_FIELDS!r}."
    )
    return ReadOnScrape("unknown_fields", seen, fields, ("channel", "field"), "counter")


def _silence_measures(router: FrameRouter, specs: Sequence[StreamSpec]) -> Iterable[Collector]:
    began_us = _wall_us()
    channels = [spec.channel for spec in specs]

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


def _wall_us() -> int:
    return time.time_ns() // 1000
