"""Passes every frame of every socket to its stream, and puts frames without a stream on record whole. Sans I/O."""

import logging
from collections.abc import Callable, Iterable, Mapping
from itertools import chain
from typing import Any

import msgspec

from backpack_streams.bus.codec import Encoder
from backpack_streams.bus.decimals import DecimalDoesNotFit
from backpack_streams.errors import BackpackStreamsError
from backpack_streams.exchange.streams import split_stream
from backpack_streams.exchange.wire import Envelope, ErrorBody, open_new_envelope
from backpack_streams.exchange.wire_decoding import parse_keeping_digits
from backpack_streams.exchange.wire_errors import UnreadableMessageError
from backpack_streams.feed.candle_feed import CandleFeed
from backpack_streams.feed.coverage import Coverage
from backpack_streams.feed.dropped_streams import DroppedStreams
from backpack_streams.feed.latest_feed import LatestFeed
from backpack_streams.feed.moments import Break, Moment
from backpack_streams.feed.sequenced_feed import SequencedFeed
from backpack_streams.feed.stream_feed import Out, StreamFeed
from backpack_streams.feed.stream_spec import RowEncoder, StreamSpec
from backpack_streams.publishing import reports
from backpack_streams.publishing.reporter import Reporter

logger = logging.getLogger(__name__)

NO_CODE = 0
"""The code of an error without one. Such an error is attributed to no stream."""

_open_envelope = msgspec.json.Decoder(Envelope).decode


class FrameRouter:
    """All streams of one producer. `on_frame` is the entry; the attributes are the metrics."""

    def __init__(
        self,
        specs: Iterable[StreamSpec],
        coverage: Coverage,
        partition_queue: Callable[[str, bytes], Out],
        encoder: Callable[[str], Encoder],
        reporter: Reporter,
        on_error_frame: Callable[[int, int, str], None],
        on_unwanted: Callable[[str], None] = lambda stream: None,
        has_room: Callable[[], bool] = lambda: True,
    ) -> None:
        """Prepare without streams; `want` adds them.

        Args:
            specs: the stream specs, one for each channel.
            coverage: when each stream was covered.
            partition_queue: returns the queue for a topic (without prefix) and a key.
            encoder: returns the encoder of a topic (without prefix).
            reporter: takes gaps, dead letters and statuses.
            on_error_frame: called with socket, code and message of an error of the exchange; `NO_CODE` without a code.
            on_unwanted: called with a stream that still delivers although it is no longer wanted.
            has_room: returns whether the buffer for Kafka is well below its limit.
        """
        self._specs = {spec.channel: spec for spec in specs}
        self._coverage = coverage
        self._partition_queue = partition_queue
        self._encoder = encoder
        self._reporter = reporter
        self._on_error_frame = on_error_frame
        self._on_unwanted = on_unwanted
        self._has_room = has_room
        self._encoders: dict[str, RowEncoder] = {}
        self._dropped = DroppedStreams(coverage.forget)
        self.feeds: dict[str, StreamFeed] = {}
        self.now = 0.0
        self.now_us = 0
        self.is_late = False
        """Whether the frames that come now were received long ago, before the present state of coverage."""
        self.unroutable = 0
        self.unwanted = 0
        self.error_frames = 0

    def partition_queue(self, topic: str, key: bytes) -> Out:
        """Return the partition queue for records of `key`."""
        return self._partition_queue(topic, key)

    def has_room(self) -> bool:
        """Return whether the buffer for Kafka is well below its limit."""
        return self._has_room()

    def other_socket(self, socket: int) -> bool:
        """Return whether another socket delivers as well."""
        return self._coverage.other_socket(socket)

    def open_cause(self, feed: StreamFeed) -> str | None:
        """Return the reason of the stream's open gap; None while a socket covers the stream."""
        return self._coverage.cause(feed.name)

    def through(self, feed: StreamFeed) -> float | None:
        """Return until when everything sent on the stream has been received (monotonic seconds); None while no socket covers it."""
        return self._coverage.since(feed.name) if self.is_late else self._coverage.through(feed.name)

    def since(self, feed: StreamFeed) -> float | None:
        """Return the moment since which the stream is covered (monotonic seconds); None while no socket covers it."""
        return self._coverage.since(feed.name)

    def settled(self, feed: StreamFeed) -> None:
        """Record that the loss of the last break of coverage is on record, or that there was none."""
        self._coverage.settle(feed.name)

    def want(self, streams: Iterable[str]) -> list[StreamFeed]:
        """Expect exactly these streams from now on; return the feeds of the new ones.

        Args:
            streams: their names. A stream that was wanted before continues where it was.

        Raises:
            KeyError: a stream is of a channel without a stream spec.
        """
        wanted = set(streams)
        for name in self.feeds.keys() - wanted:
            feed = self.feeds.pop(name)
            feed.left()
            self._dropped.add(feed)
        new = [self._dropped.take_back(name) or self._feed(name) for name in sorted(wanted - self.feeds.keys())]
        self.feeds.update((feed.name, feed) for feed in new)
        self._dropped.forget_oldest()
        return new

    def recall(self, name: str) -> StreamFeed:
        """Return the feed of a stream, wanted or not. An unwanted one keeps its state until it is wanted again."""
        feed = self.feeds.get(name) or self._dropped.get(name)
        if feed is None:
            feed = self._feed(name)
            self._dropped.add(feed)
        return feed

    def stream_of(self, topic: str, symbol: str, record: Mapping[str, Any]) -> str:
        """Return the name of the stream that a record of a topic came by, empty if unknown. All candle intervals share a topic."""
        interval = record.get("interval")
        found = (feed for feed in self._all() if feed.topic == topic and feed.symbol in (symbol, ""))
        return next((feed.name for feed in found if interval in (None, feed.kind.parameter)), "")

    def totals(self, what: str) -> dict[str, int]:
        """Return the sum of a counter of the feeds (`frames`, `published`, `duplicates`) by channel, streams that were dropped included."""
        totals = {channel: self._dropped.counted(what, channel) for channel in self._specs}
        for feed in self._all():
            totals[feed.kind.channel] += getattr(feed, what)
        return totals

    def on_break(self, gap: Break) -> None:
        """Pass a break of coverage to its stream."""
        feed = self.feeds.get(gap.stream) or self._dropped.get(gap.stream)
        if feed is not None:
            feed.uncovered(gap)

    def on_frame(self, socket: int, payload: bytes, received_us: int) -> None:
        """Take one frame of one socket, received at `received_us` (microseconds since the Unix epoch).

        Raises nothing: what cannot be used goes on record.
        """
        self.now_us = received_us
        try:
            envelope = _open_envelope(payload)
            feed = self.feeds[envelope.stream]
        except (msgspec.MsgspecError, UnicodeDecodeError, KeyError, RecursionError):
            try:  # the envelope may have a field that is new
                envelope = open_new_envelope(payload)
                feed = self._feed_of(envelope.stream)
            except (UnreadableMessageError, KeyError):
                self._odd(socket, payload, received_us)
                return
        try:
            feed.on_data(envelope.data, socket, received_us)
        except BackpackStreamsError as error:
            self.lost(feed, payload, error)
        except Exception as error:  # a bug of ours costs this message, and neither the ones after it nor its record
            logger.exception("a frame broke its handler", extra={"stream": feed.name})
            self.lost(feed, payload, error)

    def _feed_of(self, stream: str) -> StreamFeed:
        """Return a stream that is wanted or, for a frame received long ago, was wanted then."""
        dropped = self._dropped.get(stream) if self.is_late else None
        return self.feeds[stream] if dropped is None else dropped

    def on_tick(self, now: float, now_us: int) -> None:
        """Note that time has passed: every stream, dropped ones included, settles what has waited too long.

        Args:
            now: present time (monotonic seconds).
            now_us: the same moment in µs since the Unix epoch.
        """
        self.now, self.now_us = now, now_us
        for feed in self._all():  # dropped streams too: they may still have something to report
            feed.on_tick(now)
        self._reporter.on_tick()

    def held_since(self) -> float | None:
        """Return a moment (monotonic seconds) after which every held message was sent; None if no held message counts."""
        return min((since for feed in self._all() if (since := feed.held_since()) is not None), default=None)

    def owes_reports(self) -> bool:
        """Return whether something is missing that no report in Kafka's buffer speaks of yet, or ever will.

        A lost report cannot be made again. Only the next start, which finds where the watermarks ended, puts the time since then on record.
        """
        return bool(self._reporter.waiting_reports or self._reporter.lost_losses) or any(
            feed.dropped_records for feed in self._all()
        )

    def gap(self, feed: StreamFeed, reason: str, detail: str, **bounds: int | None) -> None:
        """Put a gap of one stream on record.

        Args:
            feed: the stream.
            reason: a constant of `publishing.reports`.
            detail: the cause in words.
            bounds: `last_id`, `next_id`, `last_time_us`, `next_time_us` (µs since the Unix epoch) and `lost_records`,
                as far as known.
        """
        self._reporter.gap(
            stream=feed.name,
            symbol=feed.symbol,
            topic=feed.topic,
            reason=reason,
            detail=detail,
            detected_us=self.now_us,
            **bounds,
        )

    def on_deleted(self, topic: str, now: Moment) -> None:
        """Break the coverage of a topic's streams and put the loss on record: the topic was recreated or truncated.

        Readers that had not read the lost records would otherwise count as complete.

        Args:
            topic: the topic, without prefix.
            now: present time.
        """
        for feed in self.feeds.values():
            if feed.topic == topic:
                is_known = self._coverage.interrupt(feed.name, now)
                detail = "the topic was recreated or truncated: Kafka has lost what it had acknowledged"
                self.gap(feed, reports.RECORDS_DELETED, detail, next_time_us=now.us)
                if not is_known:
                    self._coverage.settle(feed.name)

    def left_behind(
        self, feed: StreamFeed, since_us: int, until_us: int, reason: str, *, last_id: int | None = None
    ) -> None:
        """Report a stream without coverage whose market is gone: no message will show what was lost.

        Args:
            feed: the stream.
            since_us: when its coverage ended (µs since the Unix epoch).
            until_us: when the market was left; an earlier time than `since_us` is raised to it.
            reason: a constant of `publishing.reports`.
            last_id: its last id in Kafka, if it has consecutive ids.
        """
        bounds = {"last_id": last_id, "last_time_us": since_us, "next_time_us": max(since_us, until_us)}
        self.gap(feed, reason, "nobody covered it when its market was closed or left", **bounds)

    def delivers(self, feed: StreamFeed) -> None:
        """Report that a stream delivers, for the first time or again."""
        self._reporter.status(
            stream=feed.name,
            symbol=feed.symbol,
            status="LIVE",
            detail="delivers",
            changed_us=self.now_us,
            last_received_us=self.now_us,
        )

    def _all(self) -> Iterable[StreamFeed]:
        return chain(self.feeds.values(), self._dropped)

    def _feed(self, name: str) -> StreamFeed:
        kind, symbol = split_stream(name)
        spec = self._specs[kind.channel]
        topic = spec.topic(kind)
        if topic not in self._encoders:
            self._encoders[topic] = spec.encoder(self._encoder(topic))
        return _feed_class(spec)(name, kind, symbol, spec, topic, self._encoders[topic], self)

    def lost(self, feed: StreamFeed, payload: bytes, error: Exception) -> None:
        """Put a message that could not be published on record, whole.

        Args:
            feed: its stream. If its ids are consecutive, the message is reported as a gap as well.
            payload: the frame, or what is left of the message.
            error: decides the reason of the dead letter.
        """
        if isinstance(error, DecimalDoesNotFit):
            reason = reports.VALUE_DOES_NOT_FIT
        else:
            reason = reports.UNPARSABLE if isinstance(error, UnreadableMessageError) else reports.INTERNAL
        self._reporter.dead_letter(
            reason=reason,
            detail=str(error) if isinstance(error, BackpackStreamsError) else repr(error),
            payload=payload,
            origin=feed.name,
            symbol=feed.symbol,
            received_us=self.now_us,
        )
        if isinstance(feed, SequencedFeed):
            feed.unreadable()

    def _odd(self, socket: int, payload: bytes, received_us: int) -> None:
        """Handle error frames, frames of streams just unsubscribed, and anything that is not our message."""
        letter: dict[str, Any] = {"payload": payload, "received_us": received_us, "origin": "", "symbol": ""}
        try:
            message = parse_keeping_digits(payload)
        except UnreadableMessageError as error:
            self.unroutable += 1
            self._reporter.dead_letter(reason=reports.UNPARSABLE, detail=str(error), **letter)
            self._on_error_frame(
                socket, NO_CODE, str(error)
            )  # it may be the answer of a proxy in front of the exchange
            return
        if isinstance(message, dict) and message.get("error") is not None:
            self._error_frame(socket, message["error"], letter)
        elif isinstance(message, dict) and isinstance(message.get("stream"), str) and message["stream"] in self.feeds:
            self.lost(self.feeds[message["stream"]], payload, UnreadableMessageError("the message carries no data"))
        else:
            stream = message.get("stream") if isinstance(message, dict) else None
            if isinstance(stream, str) and self._dropped.get(stream) is not None:
                self.unwanted += 1
                self._on_unwanted(stream)
                return
            self.unroutable += 1
            if isinstance(stream, str):
                letter |= {"origin": stream, "symbol": split_stream(stream)[1] or ""}
            detail = "nobody here subscribed to this stream" if stream else "the message names no stream"
            self._reporter.dead_letter(reason=reports.UNKNOWN_STREAM, detail=detail, **letter)

    def _error_frame(self, socket: int, body: Any, letter: dict[str, Any]) -> None:
        self.error_frames += 1
        try:
            error = msgspec.convert(body, ErrorBody, strict=False)
        except msgspec.ValidationError:
            error = ErrorBody(code=NO_CODE, message=str(body))
        self._reporter.dead_letter(
            reason=reports.ERROR_FRAME, detail=f"the exchange says {error.code} {error.message}", **letter
        )
        self._on_error_frame(socket, error.code, error.message)


def _feed_class(spec: StreamSpec) -> Callable[..., StreamFeed]:
    """Return the feed class for the streams of a stream spec."""
    if spec.candles:
        return CandleFeed
    return SequencedFeed if spec.sequenced else LatestFeed
