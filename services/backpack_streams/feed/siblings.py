"""Streams of one market as evidence for each other: one moved while another stayed silent. Sans I/O.

A subscription that the exchange forgot is silent, and so is a quiet market. A book ticker carries the id of the depth update that caused
it, a trade changes the book, and a ticker counts trades. If one of them moves and the other does not follow, the other is not delivered.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

from backpack_streams.exchange.session_actions import StreamsInactive
from backpack_streams.feed.latest_feed import LatestFeed
from backpack_streams.feed.stream_feed import StreamFeed

GRACE_SECONDS = 10.0
"""How far one stream may lag behind another: sockets and servers are not synchronised."""

_WITNESSES = {"depth": ("bookTicker", "trade"), "trade": ("ticker",), "bookTicker": ("ticker",)}
"""By channel, the streams that prove a movement, the most exact first. Only the first one that exists counts."""


@dataclass(slots=True)
class _Watch:
    """The state of a stream and its witness when they last agreed; `since`: when the witness moved ahead (monotonic seconds)."""

    frames: int
    witness: int
    after: float
    """A moment after which both last agreed."""
    since: float | None = None


class Siblings:
    """Checks the feeds periodically and names the streams that lag behind their witness."""

    def __init__(self) -> None:
        self._watches: dict[str, _Watch] = {}
        self._checked_at: float | None = None

    def bounded(self, event: StreamsInactive, feeds: Mapping[str, StreamFeed]) -> Iterator[StreamsInactive]:
        """Yield the event; if a stream lags behind its witness, its coverage ends when both last agreed.

        Whether the stream was about to follow can no longer be found out.

        Args:
            event: the streams that a socket no longer delivers, and until when it is complete.
            feeds: the wanted streams, by name.
        """
        through: dict[float, list[str]] = {}
        for name in event.streams:
            watch, feed = self._watches.get(name), feeds.get(name)
            is_behind = (
                watch is not None and feed is not None and watch.since is not None and watch.frames == feed.frames
            )
            end = min(event.through, watch.after) if watch is not None and is_behind else event.through
            through.setdefault(end, []).append(name)
        for end, streams in through.items():
            yield replace(event, streams=tuple(streams), through=end)

    def check(self, feeds: Mapping[str, StreamFeed], is_covered: Callable[[str], bool], now: float) -> dict[str, str]:
        """Return the covered streams that lag behind their witness, each with the evidence in words.

        Args:
            feeds: the wanted streams, by name.
            is_covered: returns whether a stream is covered now.
            now: present time (monotonic seconds).
        """
        found: dict[str, str] = {}
        for feed in feeds.values():
            witness = _witness_of(feed, feeds)
            if witness is None or not is_covered(feed.name):
                self._watches.pop(feed.name, None)
            elif self._is_behind(feed, _progress(witness, feed), now):
                found[feed.name] = f"{witness.name} moved and {feed.name} did not follow within {GRACE_SECONDS:.0f} s"
        for name in self._watches.keys() - feeds.keys():
            del self._watches[name]
        self._checked_at = now
        return found

    def _is_behind(self, feed: StreamFeed, progress: int, now: float) -> bool:
        watch = self._watches.get(feed.name)
        if watch is None or watch.frames != feed.frames:
            after = now if watch is None or self._checked_at is None else self._checked_at
            self._watches[feed.name] = _Watch(feed.frames, progress, after)  # only movements from here on count
            return False
        if progress > watch.witness and watch.since is None:
            watch.since = now
        watch.witness = progress if watch.since is None else watch.witness
        if watch.since is None or now - watch.since <= GRACE_SECONDS:
            return False
        del self._watches[feed.name]
        return True


def _witness_of(feed: StreamFeed, feeds: Mapping[str, StreamFeed]) -> StreamFeed | None:
    if feed.kind.parameter is not None:
        return None
    names = (f"{channel}.{feed.symbol}" for channel in _WITNESSES.get(feed.kind.channel, ()))
    return next((feeds[name] for name in names if name in feeds), None)


def _progress(witness: StreamFeed, feed: StreamFeed) -> int:
    """Return a number that grows with each movement that the sibling must show too. A decrease means nothing."""
    if witness.kind.channel == "bookTicker":  # its ids are those of depth updates
        return max(witness.last_published_id or 0, feed.last_published_id or 0)
    if isinstance(witness, LatestFeed):
        return int((witness.last_row or {}).get("trades") or 0)
    return witness.frames
