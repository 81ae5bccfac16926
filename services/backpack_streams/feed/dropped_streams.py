"""The streams of markets that are gone, in case they come back. Sans I/O."""

from collections import Counter
from collections.abc import Callable, Iterator
from itertools import islice

from backpack_streams.feed.stream_feed import StreamFeed

DROPPED_AT_MOST = 4096
"""Streams whose position is kept. If an older one comes back, nothing is known of it."""
_COUNTERS = ("frames", "published", "duplicates")


class DroppedStreams:
    """Streams that are no longer wanted, the last one last. They keep their position, and report what is still to be settled."""

    def __init__(self, forget: Callable[[str], bool]) -> None:
        """Start without streams.

        Args:
            forget: forgets the coverage of a stream; returns False while it is covered.
        """
        self._forget = forget
        self._feeds: dict[str, StreamFeed] = {}
        self._counted: Counter[tuple[str, str]] = Counter()

    def __iter__(self) -> Iterator[StreamFeed]:
        return iter(self._feeds.values())

    def get(self, name: str) -> StreamFeed | None:
        """Return the feed of a dropped stream."""
        return self._feeds.get(name)

    def add(self, feed: StreamFeed) -> None:
        """Keep a feed."""
        self._feeds[feed.name] = feed

    def take_back(self, name: str) -> StreamFeed | None:
        """Return the feed of a dropped stream that is wanted again, and keep it no longer."""
        return self._feeds.pop(name, None)

    def forget_oldest(self) -> None:
        """Forget the oldest streams that have nothing to report, so that at most `DROPPED_AT_MOST` remain."""
        surplus = max(0, len(self._feeds) - DROPPED_AT_MOST)
        idle = (feed for feed in self._feeds.values() if feed.is_idle and self._forget(feed.name))
        for feed in list(islice(idle, surplus)):
            del self._feeds[feed.name]
            for what in _COUNTERS:
                self._counted[what, feed.kind.channel] += getattr(feed, what)

    def counted(self, what: str, channel: str) -> int:
        """Return what forgotten streams counted.

        Args:
            what: the counter: `frames`, `published` or `duplicates`.
            channel: the channel of the streams.
        """
        return self._counted[what, channel]
