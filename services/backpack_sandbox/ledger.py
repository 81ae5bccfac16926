"""Every message of every market's streams, subscribed or not, and every book that ever existed.

Each listing of a market begins a new `Listed`, because ids may start again. Memory is bounded: of each stream of each
listing at most the newest `limit` messages are kept.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Mapping
from typing import Any, NamedTuple

from backpack_sandbox.listings import Listing
from backpack_sandbox.views import BookView

LEDGER_INTERVAL = "1m"
"""The candles that are made whether or not they have a subscriber."""

_CHECKPOINT_EVERY = 512

Changes = Mapping[int, int]


class Said(NamedTuple):
    """One message of a stream; times in µs since the Unix epoch.

    Attributes:
        wall_us: when it was made.
        event_us: its event time (`E`).
        first_id: its first id; None on streams without ids. A candle's id is its start in seconds since the Unix epoch.
        last_id: its last id; None on streams without ids.
    """

    wall_us: int
    event_us: int
    first_id: int | None = None
    last_id: int | None = None
    detail: str | None = None
    """Distinguishes it from another message at the same time."""


class _DepthFrame(NamedTuple):
    said: Said
    engine_us: int
    bids: Changes
    asks: Changes


class Listed:
    """One listing of a market, from its opening to its close.

    Args:
        listing: the market.
        begun_us: when it opened, µs since the Unix epoch.
        first_update_id: the update id of its first book.
        book: levels of that book, bids and asks; they are copied.
        limit: the most messages to keep of each stream; of depth, up to 1,024 frames are kept in any case.
    """

    def __init__(
        self, listing: Listing, begun_us: int, first_update_id: int, book: tuple[Changes, Changes], limit: int
    ) -> None:
        self._listing = listing
        self.begun_us = begun_us
        self.ended_us: int | None = None
        self.first_update_id = first_update_id
        self._limit = max(limit, 2 * _CHECKPOINT_EVERY)
        self._depth: list[_DepthFrame] = []
        self._forgotten = 0
        # The book before the frame of that number; one checkpoint for every `_CHECKPOINT_EVERY` frames.
        self._checkpoints: dict[int, tuple[dict[int, int], dict[int, int]]] = {0: (dict(book[0]), dict(book[1]))}
        self._others: dict[str, list[Said]] = {}

    def depth(
        self, said: Said, engine_us: int, changes: tuple[Changes, Changes], book: tuple[Changes, Changes]
    ) -> None:
        """Take a depth frame.

        Args:
            said: its times and update ids.
            engine_us: its engine time, µs since the Unix epoch.
            changes: its changes of bids and asks: steps by tick, 0 for a deleted level.
            book: bids and asks after it; read at once, or not at all.
        """
        frames = self._depth
        frames.append(_DepthFrame(said, engine_us, *changes))
        number = self._forgotten + len(frames)
        if number % _CHECKPOINT_EVERY == 0:
            self._checkpoints[number] = dict(book[0]), dict(book[1])
            if len(frames) > self._limit:
                self._forget()

    def _forget(self) -> None:
        """Drop whole stretches between two checkpoints, so that the oldest frame kept has its book."""
        stretches = max(1, (len(self._depth) - self._limit * 3 // 4) // _CHECKPOINT_EVERY)
        del self._depth[: stretches * _CHECKPOINT_EVERY]
        for _ in range(stretches):
            del self._checkpoints[self._forgotten]
            self._forgotten += _CHECKPOINT_EVERY

    def note(self, kind: str, said: Said) -> None:
        """Take a message of another stream.

        Args:
            kind: the stream without its symbol, such as `trade` or `kline.1m`.
            said: the message, not older than the previous one.
        """
        messages = self._others.setdefault(kind, [])
        messages.append(said)
        if len(messages) > self._limit:
            del messages[: self._limit // 4]

    def book_at(self, update_id: int) -> BookView | None:
        """Return the book at an update id that ends a frame, or at the first one; None if there was none, or it is dropped."""
        place = bisect_left(self._depth, update_id, key=lambda frame: frame.said.last_id or 0)
        if place < len(self._depth) and self._depth[place].said.last_id == update_id:
            return self._book_after(place + 1)
        return self._book_after(0) if update_id == self.first_update_id and not self._forgotten else None

    def book_as_of(self, wall_us: int) -> BookView | None:
        """Return the book at a time (µs); None if the market was not listed then, or the book is dropped."""
        if wall_us < self.begun_us or (self.ended_us is not None and wall_us >= self.ended_us):
            return None
        place = bisect_right(self._depth, wall_us, key=lambda frame: frame.said.wall_us)
        return self._book_after(place) if place or not self._forgotten else None

    def _book_after(self, frames: int) -> BookView:
        """Return the book after the first `frames` of the frames kept."""
        number = self._forgotten + frames
        checkpoint = number - number % _CHECKPOINT_EVERY
        bids, asks = map(dict, self._checkpoints[checkpoint])
        for frame in self._depth[checkpoint - self._forgotten : frames]:
            bids.update(frame.bids)
            asks.update(frame.asks)
        last_id, engine_us = self.first_update_id, self.begun_us
        if frames:
            last_id, engine_us = self._depth[frames - 1].said.last_id or 0, self._depth[frames - 1].engine_us
        return BookView.of_integers(self._listing, bids, asks, last_id, engine_us)

    def shown(self, since_us: int, kinds: frozenset[str] | None) -> dict[str, Any]:
        """Return one listing in the answer of `GET /ledger`.

        Args:
            since_us: the earliest time of a message, µs since the Unix epoch.
            kinds: streams without their symbols, such as `depth`; None for all.
        """
        depth = [frame.said for frame in self._depth]
        streams = {"depth": depth, **self._others}
        return {
            "begun": self.begun_us,
            "ended": self.ended_us,
            "first_update_id": self.first_update_id,
            "forgotten": {"depth": self._forgotten},
            "streams": {
                kind: messages[bisect_left(messages, since_us, key=lambda said: said.wall_us) :]
                for kind, messages in streams.items()
                if kinds is None or kind in kinds
            },
        }


class Ledger:
    """All listings of all markets, oldest first, and the time of each stream's first subscription.

    Args:
        limit: the most messages to keep of each stream of each listing.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._listed: dict[str, list[Listed]] = {}
        self._subscribed: dict[str, int] = {}

    def begin(self, listing: Listing, now_us: int, first_update_id: int, book: tuple[Changes, Changes]) -> Listed:
        """Begin a listing when a market opens; end its earlier one, if any.

        Args:
            listing: the market.
            now_us: wall clock, µs since the Unix epoch.
            first_update_id: the update id of its first book.
            book: levels of that book, bids and asks: steps by tick.
        """
        self.end(listing.symbol, now_us)
        listed = Listed(listing, now_us, first_update_id, book, self._limit)
        self._listed.setdefault(listing.symbol, []).append(listed)
        return listed

    def end(self, symbol: str, now_us: int) -> None:
        """End the listing of a market that closes. Does nothing if it is closed, or was never listed."""
        for listed in self._listed.get(symbol, [])[-1:]:
            if listed.ended_us is None:
                listed.ended_us = now_us

    def subscribed(self, stream: str, now_us: int) -> None:
        """Note the first subscription to a stream."""
        self._subscribed.setdefault(stream, now_us)

    def book(self, symbol: str, update_id: int | None, wall_us: int | None) -> BookView | None:
        """Return a market's book, of the newest listing that had it; None if there was none, or it is dropped.

        Args:
            symbol: the market.
            update_id: an update id that ends a depth frame; it wins over `wall_us`. None to go by the time.
            wall_us: a time, µs since the Unix epoch.
        """
        for listed in reversed(self._listed.get(symbol, [])):
            view = listed.book_as_of(wall_us) if wall_us is not None else None
            if update_id is not None:
                view = listed.book_at(update_id)
            if view is not None:
                return view
        return None

    def shown(self, symbol: str | None, since_us: int, kinds: frozenset[str] | None) -> dict[str, Any]:
        """Return the answer of `GET /ledger`: `limit`, `subscribed` (times in µs by stream) and `markets` (listings by symbol).

        Args:
            symbol: the market; None for all.
            since_us: the earliest time of a message, µs since the Unix epoch.
            kinds: streams without their symbols, such as `depth`; None for all.
        """
        return {
            "limit": self._limit,
            "subscribed": self._subscribed,
            "markets": {
                each: [listed.shown(since_us, kinds) for listed in listings]
                for each, listings in self._listed.items()
                if symbol is None or each == symbol
            },
        }
