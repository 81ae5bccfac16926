"""Between the sockets and the router of a producer: what is held at the start, what coverage breaks cost, when reading pauses. Sans I/O."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from backpack_streams.exchange.session_actions import CoverageEvent, StreamsInactive
from backpack_streams.feed import reports
from backpack_streams.feed.coverage import Break, Coverage, Moment
from backpack_streams.feed.heartbeats import Heartbeats, is_heartbeat
from backpack_streams.feed.read_pause import START_HOLDS, ReadPause
from backpack_streams.feed.router import FrameRouter
from backpack_streams.feed.siblings import Siblings
from backpack_streams.feed.start import Start
from backpack_streams.feed.stream_feed import StreamFeed
from backpack_streams.feed.untold import Span

_SIBLINGS_SECONDS = 1.0
_ERROR_BEGINS_BYTES = 64


class LastPublished(NamedTuple):
    """The last record of a stream that Kafka holds: its id (of candles: where the last closed one ended) and its time, microseconds.

    `untold`: what is missing before it though no gap on record speaks of it.
    """

    last_id: int
    time_us: int
    untold: Sequence[Span] = ()


class FrameCounts(Mapping[str, int]):
    """How many messages each stream has brought, counted from when the start is over: before that they are held unread."""

    def __init__(self, feeds: Callable[[], Mapping[str, StreamFeed]]) -> None:
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
        self.coverage = coverage
        self.router = router
        self.pause = pause
        self.start = start
        self.existing: set[str] = set()
        """Streams that are known to exist."""
        self._beating: set[str] = set()
        """Markets of which a heartbeat has to come."""
        self._siblings = Siblings()
        self._heartbeats = Heartbeats(self.existing)
        self._siblings_due = 0.0
        self._now = float("-inf")
        """When something other than a frame came last (monotonic seconds): frames come a little later."""
        self.doubts = 0
        coverage.is_to_be_shown = self._is_to_be_shown

    def expect(self, existing: Iterable[str]) -> None:
        """Of the streams that the router wants, these are known to exist."""
        self.existing.clear()
        self.existing.update(existing)
        feeds = (self.router.feeds[name] for name in self.existing)
        self._beating = {feed.symbol for feed in feeds if feed.symbol and is_heartbeat(feed)}

    def _is_to_be_shown(self, stream: str) -> bool:
        """Whether something has to come, at the least its market's heartbeat, before a stream's coverage counts for who takes over."""
        feed = self.router.feeds.get(stream)
        return feed is not None and feed.symbol in self._beating

    def on_frame(self, link: int, payload: bytes, received_us: int) -> None:
        """A message of a socket. It is the hot path."""
        # An error belongs to the subscription whose Pong comes next: held, it would be nobody's.
        if self.start.is_over or _is_error(payload):
            self.router.on_frame(link, payload, received_us)
        else:
            self.start.frame(link, payload, received_us, self._now)
            if self.start.is_full:
                self.pause.set(START_HOLDS)

    def on_coverage(self, event: CoverageEvent, now: Moment) -> None:
        """What the session says of delivery, in its place among the frames."""
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
        """The same during the start, when frames are held unread: what a socket did not bring, it did not cover."""
        shown = Heartbeats(self.existing)
        shown.saw(self.start.brought_at(), self.router.feeds, now.seconds)
        return shown.bounded(event, self.router.feeds, self.coverage)

    def on_tick(self, now: Moment, buffer_share: float) -> dict[str, str]:
        """Time passed; `buffer_share` is how full the buffer for Kafka is. Returns streams that do not deliver, with the evidence."""
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
        """What Kafka has is known: the last record of each stream, and until when others covered it (see `Coverage.resume`)."""
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
            if feed.family.candles:
                self.router.gap(feed, reports.RESTART, detail, last_time_us=first or None, next_time_us=until)
            else:
                self.router.gap(feed, reports.RESTART, detail, last_id=first - 1 if first else None, next_id=until)

    def _on_break(self, gap: Break, now: Moment) -> None:
        self.router.now, self.router.now_us = now
        self.router.on_break(gap)


def _is_error(payload: bytes) -> bool:
    """Whether it is an error of the exchange, or text of something in front of it: whatever is no JSON object."""
    if not payload.lstrip().startswith(b"{"):
        return True
    return payload.find(b'"error"', 0, _ERROR_BEGINS_BYTES) >= 0 and b'"stream"' not in payload
