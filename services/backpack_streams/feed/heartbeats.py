"""Streams that the exchange sends once a second: proof that the other subscriptions of their market are delivered. Sans I/O.

The exchange sends the ticker and the mark price of a market every second, even if nothing changes. A subscription that the exchange
confirmed and then forgot looks like a quiet market. But if the market's heartbeat is missing too, nothing of that market counts as covered
after its last message.
"""

from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from backpack_streams.exchange.session_actions import StreamsInactive
from backpack_streams.feed.coverage import Coverage
from backpack_streams.feed.stream_feed import StreamFeed

LATE_SECONDS = 5.0
"""How late a heartbeat may be; by then five are missing."""
MISSED_SECONDS = 2.0
"""A socket that ends longer than this after the last heartbeat missed one or two, and perhaps other messages with them."""
SENT_BY_THE_SECOND_SECONDS = 30.0
"""Streams that may be silent for longer than this are sent too rarely to prove anything soon."""


@dataclass(slots=True)
class _Seen:
    """The frames of a stream at the last look, and when the newest of them was noticed (monotonic seconds).

    `after`: a moment at which that frame had not come yet. `before`: the value of `at` before the last silence, which lasted at least until
    `resumed`.
    """

    frames: int
    at: float = float("-inf")
    after: float = float("-inf")
    before: float = float("-inf")
    resumed: float = float("-inf")

    def brought(self, frames: int, at: float, after: float) -> None:
        """The stream brought frames: at `at` at the latest, and not before `after`."""
        if at - self.at > MISSED_SECONDS:
            self.before, self.resumed = self.at, after
        self.frames, self.at, self.after = frames, at, after

    def by(self, moment: float) -> float:
        """Return when the stream had last brought a frame, as of `moment`."""
        return self.before if moment <= self.resumed else self.at


class Heartbeats:
    """Checks the feeds regularly. Times are monotonic seconds.

    `existing`: streams that are known to exist. Any other stream counts as a heartbeat only after its first message.
    """

    def __init__(self, existing: Container[str] = ()) -> None:
        """Prepare; streams count from the first `look` on.

        Args:
            existing: names of the streams that are known to exist. Any other stream counts as a heartbeat only after
                its first message. The container is kept, so the caller may change it.
        """
        self._existing = existing
        self._seen: dict[str, _Seen] = {}
        self._by_symbol: dict[str, list[str]] = {}
        self._looked_since: float | None = None
        self._looked_at = float("-inf")

    def look(self, feeds: Mapping[str, StreamFeed], now: float) -> None:
        """Note which streams have brought something since the last look, and forget those that are no longer wanted.

        Args:
            feeds: the wanted streams, by name.
            now: present time (monotonic seconds).
        """
        if self._looked_since is None:
            self._looked_since = now
        self._by_symbol = {}
        for name, feed in feeds.items():
            seen = self._seen.get(name)
            if seen is None:
                # After the first look, frames of a stream that was not seen may be from when it was wanted before.
                is_from_now = feed.frames and self._looked_at == float("-inf")
                self._seen[name] = _Seen(feed.frames, now if is_from_now else float("-inf"))
            elif seen.frames != feed.frames:
                seen.brought(feed.frames, now, self._looked_at)
            if feed.symbol and is_heartbeat(feed) and (feed.frames or name in self._existing):
                self._by_symbol.setdefault(feed.symbol, []).append(name)
        for name in self._seen.keys() - feeds.keys():
            del self._seen[name]
        self._looked_at = now

    def show(self, feed: StreamFeed, since: float) -> bool:
        """Return whether a message of the stream, or of its market's heartbeat, shows that the stream is delivered.

        Args:
            feed: the stream.
            since: the message has to have come after this moment (monotonic seconds).
        """
        names = (feed.name, *self._by_symbol.get(feed.symbol, ()))
        return any(self._seen[name].after >= since for name in names if name in self._seen)

    def pause(self) -> None:
        """Reading is paused, so silence proves nothing until the next `look`. Earlier observations keep their age."""
        self._looked_since = None

    def saw(self, brought_at: Mapping[str, float], feeds: Mapping[str, StreamFeed], now: float) -> None:
        """Take the times of each stream's last message from elsewhere: from frames that were held unread.

        Args:
            brought_at: when each stream brought its newest frame (monotonic seconds), by name.
            feeds: the wanted streams, by name.
            now: present time (monotonic seconds).
        """
        self.look(feeds, now)
        for name, at in brought_at.items():
            if name in self._seen:
                self._seen[name] = _Seen(feeds[name].frames, at, at)
                feed = feeds[name]
                if feed.symbol and is_heartbeat(feed) and name not in self._by_symbol.get(feed.symbol, ()):
                    self._by_symbol.setdefault(feed.symbol, []).append(name)

    def bounded(
        self, event: StreamsInactive, feeds: Mapping[str, StreamFeed], coverage: Coverage
    ) -> Iterator[StreamsInactive]:
        """Yield the event, with coverage cut to the last message of the stream or of its market's heartbeat, if that is too long ago.

        The limit is `LATE_SECONDS`, or `MISSED_SECONDS` if no other socket has covered the stream since. Without another socket, a stream
        that has shown nothing since its coverage began was not covered, however short the coverage was.

        Args:
            event: the streams that a socket no longer delivers, and until when it is complete.
            feeds: the wanted streams, by name.
            coverage: the coverage before the event.
        """
        through: dict[float, list[str]] = {}
        for name in event.streams:
            shown = self._shown(feeds.get(name), event.through)
            is_late = shown is not None and event.through - shown > LATE_SECONDS
            if shown is not None and not coverage.is_covered_beside(name, event.socket_id, shown):
                is_late = event.through - shown > MISSED_SECONDS or shown < (coverage.since(name) or 0.0)
            through.setdefault(max(shown, 0.0) if shown is not None and is_late else event.through, []).append(name)
        for end, streams in through.items():
            yield replace(event, streams=tuple(streams), through=end)

    def missing(self, feeds: Mapping[str, StreamFeed], coverage: Coverage, now: float) -> dict[str, str]:
        """Covered streams whose market's heartbeat is missing while heartbeats of other markets arrive, each with the evidence.

        A heartbeat that never came is not a sudden silence: `SilenceWatch` reports it. A heartbeat that is known not to be delivered,
        although the other streams of its market were when it stopped, proves nothing about them.

        Args:
            feeds: the wanted streams, by name, as at the last `look`.
            coverage: which of them are covered.
            now: present time (monotonic seconds).
        """
        if not any(now - self._beat(names) < LATE_SECONDS / 2 for names in self._by_symbol.values()):
            return {}  # no heartbeat arrives at all: the fault is in the socket or the exchange
        found: dict[str, str] = {}
        looked_since = now if self._looked_since is None else self._looked_since
        for feed in feeds.values():
            since = coverage.active_since(feed.name)
            beats = [name for name in self._by_symbol.get(feed.symbol, ()) if coverage.is_covered(name)]
            if since is None or not beats or self._beat(beats) < 0:
                continue
            newest = max(self._beat(beats), self._seen[feed.name].at, since, looked_since)
            if now - newest > LATE_SECONDS:
                found[feed.name] = f"nothing of {feed.symbol} has come for {now - newest:.0f} s, not even {beats[0]}"
        return found

    def _shown(self, feed: StreamFeed | None, through: float) -> float | None:
        """Return until when a stream was demonstrably delivered, as of `through`; None if its market has no heartbeat.

        What a later socket has brought since then proves nothing about the time before.
        """
        if feed is None or feed.symbol not in self._by_symbol or self._looked_since is None:
            return None
        names = (feed.name, *self._by_symbol[feed.symbol])
        # A stream that came after the last look has not been seen.
        return max(self._seen[name].by(through) for name in names if name in self._seen)

    def _beat(self, names: Iterable[str]) -> float:
        return max(self._seen[name].at for name in names)


def is_heartbeat(feed: StreamFeed) -> bool:
    """Return whether a stream is sent about once a second even if nothing changes."""
    longest = feed.spec.max_silence_seconds
    return longest is not None and longest <= SENT_BY_THE_SECOND_SECONDS
