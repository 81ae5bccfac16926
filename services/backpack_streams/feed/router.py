"""Takes every frame of every socket to the stream it belongs to; what belongs nowhere is put on record whole. Sans I/O."""

import logging
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from backpack_streams.bus.codec import Encoder
from backpack_streams.bus.decimals import DecimalDoesNotFit
from backpack_streams.errors import BackpackStreamsError
from backpack_streams.exchange.streams import split_stream
from backpack_streams.exchange.wire import Envelope, ErrorBody, UnreadableMessageError, parse_keeping_digits
from backpack_streams.feed import reports
from backpack_streams.feed.candle_feed import CandleFeed
from backpack_streams.feed.chained_feed import ChainedFeed
from backpack_streams.feed.family import Family, RowEncoder
from backpack_streams.feed.latest_feed import LatestFeed
from backpack_streams.feed.reporter import Reporter
from backpack_streams.feed.stream_feed import Out, StreamFeed

logger = logging.getLogger(__name__)

_open_envelope = msgspec.json.Decoder(Envelope).decode


class FrameRouter:
    """All streams of one producer. `on_frame` is the way in; the attributes are the metrics."""

    def __init__(
        self,
        families: Iterable[Family],
        lane: Callable[[str, bytes], Out],
        encoder: Callable[[str], Encoder],
        reporter: Reporter,
        on_error_frame: Callable[[int, int, str], None],
        carries: Callable[[str], bool] = lambda symbol: True,
        has_room: Callable[[], bool] = lambda: True,
    ) -> None:
        self._families = {family.channel: family for family in families}
        self._lane = lane
        self._encoder = encoder
        self._reporter = reporter
        self._on_error_frame = on_error_frame
        self._carries = carries
        self._has_room = has_room
        self._encoders: dict[str, RowEncoder] = {}
        self._retired: dict[tuple[str, str], int] = {}
        self.feeds: dict[str, StreamFeed] = {}
        self.links = 0
        self.outages = 0
        self.lost_us = 0
        self.regained_us = 0
        self.now_us = 0
        self.unroutable = 0
        self.error_frames = 0

    def lane(self, topic: str, key: bytes) -> Out:
        """Where records of `key` go."""
        return self._lane(topic, key)

    def carries(self, symbol: str) -> bool:
        """Whether this producer publishes that symbol."""
        return self._carries(symbol)

    def has_room(self) -> bool:
        """Whether the buffer for Kafka is well below its limit."""
        return self._has_room()

    def want(self, streams: Iterable[str]) -> list[StreamFeed]:
        """These streams, and no others, are expected from now on. Returns the new ones."""
        wanted = set(streams)
        for name in self.feeds.keys() - wanted:
            self._retire(self.feeds.pop(name))
        new = [self._feed(name) for name in sorted(wanted - self.feeds.keys())]
        self.feeds.update((feed.name, feed) for feed in new)
        return new

    def totals(self, what: str) -> dict[str, int]:
        """A count of the feeds (`frames`, `published`, `duplicates`), added up by channel, those of dropped streams included."""
        totals = {channel: self._retired.get((channel, what), 0) for channel in self._families}
        for feed in self.feeds.values():
            totals[feed.kind.channel] += getattr(feed, what)
        return totals

    def _retire(self, feed: StreamFeed) -> None:
        for what in ("frames", "published", "duplicates"):
            key = feed.kind.channel, what
            self._retired[key] = self._retired.get(key, 0) + getattr(feed, what)

    def set_links(self, links: int) -> None:
        """How many sockets deliver now."""
        if self.links and not links:
            self.outages += 1
            self.lost_us = self.now_us
        elif links and not self.links:
            self.regained_us = self.now_us
        self.links = links

    def on_frame(self, link: int, payload: bytes, received_us: int) -> None:
        """One frame from one socket, received at `received_us`. Raises nothing: what cannot be used is put on record."""
        self.now_us = received_us
        try:
            envelope = _open_envelope(payload)
            feed = self.feeds[envelope.stream]
        except (msgspec.MsgspecError, KeyError, RecursionError):
            self._odd(link, payload, received_us)
            return
        try:
            feed.on_data(envelope.data, link, received_us)
        except BackpackStreamsError as error:
            self.lost(feed, payload, error)

    def first_ids(self, payloads: Iterable[bytes]) -> dict[str, int]:
        """The id that each chained stream begins with in frames not taken yet; what cannot be read says nothing."""
        found: dict[str, int] = {}
        for payload in payloads:
            try:
                envelope = _open_envelope(payload)
                feed = self.feeds[envelope.stream]
                if isinstance(feed, ChainedFeed) and feed.name not in found:
                    found[feed.name] = feed.first_id_of(envelope.data)
            except (msgspec.MsgspecError, KeyError, RecursionError, BackpackStreamsError):
                continue  # it is judged, and put on record, when its turn comes
        return found

    def on_tick(self, now_us: int) -> None:
        """Time passed."""
        self.now_us = now_us
        for feed in self.feeds.values():
            feed.on_tick(now_us)
        self._reporter.on_tick()

    def gap(self, feed: StreamFeed, reason: str, detail: str, **bounds: int | None) -> None:
        """Puts a hole of one stream on record."""
        self._reporter.gap(
            stream=feed.name,
            symbol=feed.symbol,
            topic=feed.topic,
            reason=reason,
            detail=detail,
            detected_us=self.now_us,
            **bounds,
        )

    def delivered_first(self, feed: StreamFeed) -> None:
        """A stream delivered for the first time: it lives."""
        self._reporter.status(
            stream=feed.name,
            symbol=feed.symbol,
            status="LIVE",
            detail="delivers",
            changed_us=self.now_us,
            last_received_us=self.now_us,
        )

    def _feed(self, name: str) -> StreamFeed:
        kind, symbol = split_stream(name)
        family = self._families[kind.channel]
        topic = family.topic(kind)
        if topic not in self._encoders:
            self._encoders[topic] = family.encoder(self._encoder(topic))
        return _feed_class(family)(name, kind, symbol, family, topic, self._encoders[topic], self)

    def lost(self, feed: StreamFeed, payload: bytes, error: BackpackStreamsError) -> None:
        """Puts a message on record, whole, that could not be published as what it is."""
        if isinstance(error, DecimalDoesNotFit):
            reason = reports.VALUE_DOES_NOT_FIT
        else:
            reason = reports.UNPARSABLE if isinstance(error, UnreadableMessageError) else reports.INTERNAL
        self._reporter.dead_letter(
            reason=reason,
            detail=str(error),
            payload=payload,
            origin=feed.name,
            symbol=feed.symbol,
            received_us=self.now_us,
        )
        if isinstance(feed, ChainedFeed):
            feed.unreadable()

    def _odd(self, link: int, payload: bytes, received_us: int) -> None:
        """Error frames, envelopes with something new in them, and what is no message of ours at all."""
        letter: dict[str, Any] = {"payload": payload, "received_us": received_us, "origin": "", "symbol": ""}
        try:
            message = parse_keeping_digits(payload)
        except UnreadableMessageError as error:
            self.unroutable += 1
            self._reporter.dead_letter(reason=reports.UNPARSABLE, detail=str(error), **letter)
            return
        if isinstance(message, dict) and message.get("error") is not None:
            self._error_frame(link, message["error"], letter)
        elif isinstance(message, dict) and isinstance(message.get("stream"), str) and message["stream"] in self.feeds:
            self._with_new_envelope(self.feeds[message["stream"]], link, payload, received_us)
        else:
            self.unroutable += 1
            stream = message.get("stream") if isinstance(message, dict) else None
            if isinstance(stream, str):
                letter |= {"origin": stream, "symbol": split_stream(stream)[1] or ""}
            detail = "nobody here subscribed to this stream" if stream else "the message names no stream"
            self._reporter.dead_letter(reason=reports.UNKNOWN_STREAM, detail=detail, **letter)

    def _error_frame(self, link: int, body: Any, letter: dict[str, Any]) -> None:
        self.error_frames += 1
        try:
            error = msgspec.convert(body, ErrorBody, strict=False)
        except msgspec.ValidationError:
            error = ErrorBody(code=0, message=str(body))
        self._reporter.dead_letter(
            reason=reports.ERROR_FRAME, detail=f"the exchange says {error.code} {error.message}", **letter
        )
        self._on_error_frame(link, error.code, error.message)

    def _with_new_envelope(self, feed: StreamFeed, link: int, payload: bytes, received_us: int) -> None:
        """The envelope has a field that was not there yesterday: the data is what counts."""
        try:
            data = msgspec.json.decode(payload, type=dict[str, msgspec.Raw])["data"]
            feed.on_data(data, link, received_us)
        except (msgspec.MsgspecError, KeyError):
            self.lost(feed, payload, UnreadableMessageError("the message carries no data"))
        except BackpackStreamsError as error:
            self.lost(feed, payload, error)


def _feed_class(family: Family) -> Callable[..., StreamFeed]:
    """The class of feed that a family's streams need."""
    if family.candles:
        return CandleFeed
    return ChainedFeed if family.chained else LatestFeed
