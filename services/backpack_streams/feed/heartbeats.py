"""Streams that are sent once a second as proof that what was subscribed with them is delivered. Sans I/O.

The exchange sends the ticker and the mark price of a market once a second, whatever happens. A subscription that it confirmed and forgot
looks like a quiet market; but if the heartbeat of a market is missing too, nothing of that market counts as covered after what came last.
"""

from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from backpack_streams.exchange.session_actions import StreamsInactive
from backpack_streams.feed.coverage import Coverage
from backpack_streams.feed.stream_feed import StreamFeed

LATE_SECONDS = 5.0
"""How late a heartbeat may be: five of them are missing then."""
MISSED_SECONDS = 2.0
"""A socket that goes so long after the last heartbeat did not bring one or two: what came with them, it may not have brought either."""
SENT_BY_THE_SECOND_SECONDS = 30.0
"""Streams that may be silent for longer are sent too seldom to prove anything at once."""


@dataclass(slots=True)
class _Seen:
    """How many frames a stream had brought at the last look, and when the newest was noticed (monotonic seconds).

    `after`: when it had not come yet. `before`: the same as `at` of before the last silence, which went on until `resumed` at the least.
    """

    frames: int
    at: float = float("-inf")
    after: float = float("-inf")
    before: float = float("-inf")
    resumed: float = float("-inf")

    def brought(self, frames: int, at: float, after: float) -> None:
        """It has brought something, at `at` and not before `after`."""
        if at - self.at > MISSED_SECONDS:
            self.before, self.resumed = self.at, after
        self.frames, self.at, self.after = frames, at, after

    def by(self, moment: float) -> float:
        """When it had brought something last, as of a moment."""
        return self.before if moment <= self.resumed else self.at


class Heartbeats:
    """Looks at the feeds regularly. Times are monotonic seconds.

    `existing` are streams that are known to exist; any other one is a heartbeat only once it has delivered.
    """

    def __init__(self, existing: Container[str] = ()) -> None:
        self._existing = existing
        self._seen: dict[str, _Seen] = {}
        self._by_symbol: dict[str, list[str]] = {}
        self._looked_since: float | None = None
        self._looked_at = float("-inf")

    def look(self, feeds: Mapping[str, StreamFeed], now: float) -> None:
        """Notices which streams have brought something since the last look."""
        if self._looked_since is None:
            self._looked_since = now
        self._by_symbol = {}
        for name, feed in feeds.items():
            seen = self._seen.get(name)
            if seen is None:
                self._seen[name] = _Seen(feed.frames, now if feed.frames else float("-inf"))
            elif seen.frames != feed.frames:
                seen.brought(feed.frames, now, self._looked_at)
            if feed.symbol and is_heartbeat(feed) and (feed.frames or name in self._existing):
                self._by_symbol.setdefault(feed.symbol, []).append(name)
        self._looked_at = now

    def show(self, feed: StreamFeed, since: float) -> bool:
        """Whether something that came after a moment shows that a stream is delivered."""
        names = (feed.name, *self._by_symbol.get(feed.symbol, ()))
        return any(self._seen[name].after >= since for name in names if name in self._seen)

    def pause(self) -> None:
        """What is not read shows nothing: nobody looks until `look` is called again, and what was seen before stays as old as it is."""
        self._looked_since = None

    def saw(self, brought_at: Mapping[str, float], feeds: Mapping[str, StreamFeed], now: float) -> None:
        """Takes from elsewhere when each stream brought something last, as frames show that were held unread."""
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
        """The event, with no stream covered for longer than its market's heartbeat, or the stream itself, has shown.

        What has shown nothing since the coverage began, however short that is, was not covered.
        """
        through: dict[float, list[str]] = {}
        for name in event.streams:
            shown = self._shown(feeds.get(name), event.through)
            is_late = shown is not None and event.through - shown > LATE_SECONDS
            if shown is not None and not coverage.is_covered_beside(name, event.link_id, shown):
                is_late = event.through - shown > MISSED_SECONDS or shown < (coverage.since(name) or 0.0)
            through.setdefault(max(shown, 0.0) if shown is not None and is_late else event.through, []).append(name)
        for end, streams in through.items():
            yield replace(event, streams=tuple(streams), through=end)

    def missing(self, feeds: Mapping[str, StreamFeed], coverage: Coverage, now: float) -> dict[str, str]:
        """Streams that count as covered although their market's heartbeat is missing, while those of other markets come.

        A heartbeat that has never come is no sudden silence: the watch over silent streams reports it. One that is known not to be
        delivered, though the others of its market were when it stopped, shows nothing of them.
        """
        if not any(now - self._beat(names) < LATE_SECONDS / 2 for names in self._by_symbol.values()):
            return {}  # none comes at all: that is the socket's matter, or the exchange's
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
        """Until when it is shown that a stream is delivered, as of a moment; None if its market has no heartbeat.

        What a successor of its socket has brought since shows nothing of what was before.
        """
        if feed is None or feed.symbol not in self._by_symbol or self._looked_since is None:
            return None
        return max(self._seen[name].by(through) for name in (feed.name, *self._by_symbol[feed.symbol]))

    def _beat(self, names: Iterable[str]) -> float:
        return max(self._seen[name].at for name in names)


def is_heartbeat(feed: StreamFeed) -> bool:
    """Whether a stream is sent once a second or so, even if nothing changed."""
    longest = feed.family.max_silence_seconds
    return longest is not None and longest <= SENT_BY_THE_SECOND_SECONDS
