"""Connects the sockets and the router of a producer: holds frames at the start, reports breaks, pauses reading. Sans I/O."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from backpack_streams.exchange.session_actions import CoverageEvent, StreamsInactive
from backpack_streams.feed.coverage import Coverage
from backpack_streams.feed.heartbeats import Heartbeats, is_heartbeat
from backpack_streams.feed.moments import Break, Moment
from backpack_streams.feed.read_pause import START_HOLDS, ReadPause
from backpack_streams.feed.router import FrameRouter
from backpack_streams.feed.siblings import Siblings
from backpack_streams.feed.start import Start
from backpack_streams.feed.stream_feed import StreamFeed
from backpack_streams.feed.untold import Span
from backpack_streams.publishing import reports

_SIBLINGS_SECONDS = 1.0
_ERROR_BEGINS_BYTES = 64


class LastPublished(NamedTuple):
    """The last record of a stream in Kafka.

    Attributes:
        last_id: its id; for candles, the end of the last closed one (µs).
        time_us: its time (µs since the Unix epoch).
        untold: ranges that are missing before it without a gap on record.
    """

    last_id: int
    time_us: int
    untold: Sequence[Span] = ()


class FrameCounts(Mapping[str, int]):
    """Counts the messages of each stream once the start is over; before that they are held unread."""

    def __init__(self, feeds: Callable[[], Mapping[str, StreamFeed]]) -> None:
        """Count without storing anything.

        Args:
            feeds: returns the wanted streams' feeds by name.
        """
        self._feeds = feeds

    def __getitem__(self, stream: str) -> int:
        return self._feeds()[stream].frames

    def __iter__(self) -> Iterator[str]:
        return iter(self._feeds())

    def __len__(self) -> int:
        return len(self._feeds())


class Delivery:
    """One producer's frames and coverage, from its start on."""

    def __init__(self, coverage: Coverage, router: FrameRouter, pause: ReadPause, start: Start) -> None:
        """Connect the parts; frames are held until `resume`.

        Args:
            coverage: when each stream was covered. This object sets its `is_to_be_shown`.
            router: passes frames to their streams.
            pause: stops and resumes the reading of the sockets.
            start: holds frames and breaks until Kafka's content is known.
        """
        self.coverage = coverage
        self.router = router
        self.pause = pause
        self.start = start
        self.existing: set[str] = set()
        """Streams that are known to exist."""
        self._beating: set[str] = set()
        """Markets that must send a heartbeat."""
        self._siblings = Siblings()
        self._heartbeats = Heartbeats(self.existing)
        self._siblings_due = 0.0
        self._now = float("-inf")
        """When the last event other than a frame came (monotonic seconds). Frames come a little later than that."""
        self.doubts = 0
        coverage.is_to_be_shown = self._is_to_be_shown

    def expect(self, existing: Iterable[str]) -> None:
        """Take the wanted streams that are known to exist; the router has to have them already.

        Args:
            existing: their names. If a market's heartbeat is among them, its streams' coverage counts for a successor
                only after a message.

        Raises:
            KeyError: the router does not have such a stream.
        """
        self.existing.clear()
        self.existing.update(existing)
        feeds = (self.router.feeds[name] for name in self.existing)
        self._beating = {feed.symbol for feed in feeds if feed.symbol and is_heartbeat(feed)}

    def _is_to_be_shown(self, stream: str) -> bool:
        """Return whether a message, at least the market's heartbeat, has to come before a stream's coverage counts for a successor."""
        feed = self.router.feeds.get(stream)
        return feed is not None and feed.symbol in self._beating

    def on_frame(self, socket: int, payload: bytes, received_us: int) -> None:
        """Take a message of a socket. This is the hot path.

        Args:
            socket: the socket.
            payload: the frame, undecoded.
            received_us: when it was received (µs since the Unix epoch).
        """
        # An error belongs to the subscription that the next Pong answers. If it were held, it could not be attributed.
        if self.start.is_over or _is_error(payload):
            self.router.on_frame(socket, payload, received_us)
        else:
            self.start.frame(socket, payload, received_us, self._now)
            if self.start.is_full:
                self.pause.set(START_HOLDS)

    def on_coverage(self, event: CoverageEvent, now: Moment) -> None:
        """Take an event of the session about delivery, in order with the frames.

        Args:
            event: the event. If it ends coverage, the end is cut to what heartbeats and, after the start, sibling
                streams prove.
            now: present time.
        """
        self._now = now.seconds
        if not self.start.is_over:
            for each in self._bounded_by_held(event, now) if isinstance(event, StreamsInactive) else (event,):
                self.start.broke(self.coverage.take(each, now))
            return
        if isinstance(event, StreamsInactive):
            bounded = self._heartbeats.bounded(event, self.router.feeds, self.coverage)
            events: Iterable[CoverageEvent] = (
                each for one in bounded for each in self._siblings.bounded(one, self.router.feeds)
            )
        else:
            events = (event,)
        for each in events:
            for gap in self.coverage.take(each, now):
                self._on_break(gap, now)

    def _bounded_by_held(self, event: StreamsInactive, now: Moment) -> Iterator[CoverageEvent]:
        """Return the same during the start, while frames are held unread: a socket did not cover what it did not bring."""
        shown = Heartbeats(self.existing)
        shown.saw(self.start.brought_at(), self.router.feeds, now.seconds)
        return shown.bounded(event, self.router.feeds, self.coverage)

    def on_tick(self, now: Moment, buffer_share: float) -> dict[str, str]:
        """Note that time has passed: release what has waited, and look for streams that do not deliver.

        Args:
            now: present time.
            buffer_share: how full the buffer for Kafka is, 0 to 1.

        Returns:
            The streams that do not deliver, each with the evidence in words; empty during the start, while reading is
            paused, and between two checks, which are a second apart.
        """
        self._now = now.seconds
        self.pause.watch_buffer(buffer_share, now.seconds)
        if not self.start.is_over:
            return {}
        self.router.on_tick(now.seconds, now.us)
        if self.pause.reasons:
            self._heartbeats.pause()
            return {}
        self._heartbeats.look(self.router.feeds, now.seconds)
        self._note_shown()
        if now.seconds < self._siblings_due:
            return {}
        self._siblings_due = now.seconds + _SIBLINGS_SECONDS
        found = self._siblings.check(self.router.feeds, self.coverage.is_covered, now.seconds)
        found |= self._heartbeats.missing(self.router.feeds, self.coverage, now.seconds)
        self.doubts += len(found)
        return found

    def _note_shown(self) -> None:
        for name in list(self.coverage.unshown):
            feed, since = self.router.feeds.get(name), self.coverage.since(name)
            if feed is None or (since is not None and self._heartbeats.show(feed, since)):
                self.coverage.shown(name)

    def resume(self, last: Mapping[str, LastPublished], covered: Mapping[str, int | None], now: Moment) -> None:
        """Take what Kafka has, then publish from there on: the start is over.

        Args:
            last: the last record of each stream.
            covered: until when others covered each stream (see `Coverage.resume`).
            now: present time.
        """
        self.router.on_tick(now.seconds, now.us)
        for name, known in last.items():
            feed = self.router.recall(name)
            self._tell_untold(feed, known.untold)
            feed.resume(known.last_id, known.time_us)
        brought_at = self.start.brought_at()
        self.router.is_late = True
        self.start.finish(self.coverage.resume(covered), self.router.on_frame, lambda gap: self._on_break(gap, now))
        self.router.is_late = False
        self._heartbeats.saw(brought_at, self.router.feeds, now.seconds)
        self.pause.clear(START_HOLDS)

    def _tell_untold(self, feed: StreamFeed, missing: Sequence[Span]) -> None:
        detail = "an earlier producer ended before Kafka had its report of this"
        for first, until in missing:
            if feed.spec.candles:
                self.router.gap(feed, reports.RESTART, detail, last_time_us=first or None, next_time_us=until)
            else:
                self.router.gap(feed, reports.RESTART, detail, last_id=first - 1 if first else None, next_id=until)

    def _on_break(self, gap: Break, now: Moment) -> None:
        self.router.now, self.router.now_us = now
        self.router.on_break(gap)


def _is_error(payload: bytes) -> bool:
    """Return whether it is an error of the exchange, or text of a proxy in front of it: anything that is no JSON object."""
    if not payload.lstrip().startswith(b"{"):
        return True
    return payload.find(b'"error"', 0, _ERROR_BEGINS_BYTES) >= 0 and b'"stream"' not in payload
