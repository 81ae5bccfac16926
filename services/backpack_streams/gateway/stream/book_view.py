"""One book at one depth, as its subscribers see it: its current state, and the changes between recent states. Sans I/O.

All clients of a view share it, and with it each encoded message. The position of a client is the version that it was sent last. A client
that falls behind gets one update for everything that it missed, so it costs one number in memory, however slow it is.
"""

from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from backpack_streams.gateway.changes import BOOK
from backpack_streams.gateway.json_text import Decimals, Levels, encode, encode_pairs
from backpack_streams.gateway.market_data import BookAnswer
from backpack_streams.gateway.stream.messages import Message

__all__ = ["BookView", "Version"]

VERSIONS_KEPT: Final = 256
"""A client that is further behind gets a snapshot, and so does one that resumes from further back."""

Version = int
"""Counts the states of a view; 0 before the first one."""
_VERSIONS_AT_REST: Final = 32
_Sizes = dict[int, int]


class _Step(NamedTuple):
    """The changes from the version before to this one: levels with their new sizes in units of 10**-18, 0 for a removed level."""

    version: Version
    sequence_before: int | None
    bids: _Sizes
    asks: _Sizes


class BookView:
    """The best `depth` levels per side of one book.

    Attributes:
        symbol: the market.
        depth: the maximum number of levels per side.
        version: the current version.
    """

    def __init__(self, symbol: str, depth: int, decimals: Decimals) -> None:
        """Start without a state; `refresh` sets the first one.

        Args:
            symbol: the market.
            depth: the maximum number of levels per side.
            decimals: how prices and sizes are written.
        """
        self.symbol = symbol
        self.depth = depth
        self.key: tuple[int, Decimals] = (depth, decimals)
        """Distinguishes the views of one book."""
        self._decimals: Decimals = decimals
        self.version: Version = 0
        self._book = BookAnswer(symbol, [], [], None, "SYNCING", "", None, None)
        self._bids: _Sizes = {}
        self._asks: _Sizes = {}
        self._steps: deque[_Step] = deque(maxlen=VERSIONS_KEPT)
        self._used_up_to = -1
        """Ids up to this one may belong to a sequence that the exchange has given up."""
        self._updates: dict[Version, Message] = {}
        self._levels: bytes | None = None

    @property
    def sequence(self) -> int | None:
        """Id of the last update in the current state; None while there is no book."""
        return self._book.last_update_id

    @property
    def status(self) -> tuple[str, str]:
        """Status of the book in the current state, and the reason for it."""
        return self._book.book_status, self._book.reason

    def refresh(self, book: BookAnswer) -> bool:
        """Replace the state by the current one of the book.

        Args:
            book: the levels and the status; prices and sizes are in units of 10**-18.

        Returns:
            Whether there is a new version: levels, status, reason or last update id changed, or it is the first one.
        """
        before, self._book = self._book, book
        bids, asks = dict(book.bids), dict(book.asks)
        bid_changes, ask_changes = _changes(self._bids, bids), _changes(self._asks, asks)
        is_told = (before.last_update_id, before.book_status, before.reason) == (
            book.last_update_id,
            book.book_status,
            book.reason,
        )
        if is_told and not bid_changes and not ask_changes and self.version:
            return False
        self.version += 1
        self._bids, self._asks = bids, asks
        self._updates.clear()
        self._levels = None
        if _goes_on(before.last_update_id, book.last_update_id):
            self._steps.append(_Step(self.version, before.last_update_id, bid_changes, ask_changes))
        else:  # another sequence, in which earlier positions mean nothing
            self._steps.clear()
            self._used_up_to = max(self._used_up_to, before.last_update_id or -1)
        return True

    def rest(self) -> None:
        """Keep what a client that comes back soon needs, since nobody follows the view now."""
        while len(self._steps) > _VERSIONS_AT_REST:
            self._steps.popleft()
        self._updates.clear()
        self._levels = None

    def position_of(self, sequence: int) -> Version | None:
        """Return the oldest version that a client with this sequence can have.

        Changes contain absolute sizes, so applying one again does no harm.

        Args:
            sequence: the last sequence that the client has.

        Returns:
            The version; None if it is no longer known.
        """
        if sequence <= self._used_up_to:
            return None
        for step in self._steps:
            if step.sequence_before == sequence:
                return step.version - 1
        return self.version if self.version and self.sequence == sequence else None

    def can_follow(self, version: Version) -> bool:
        """Return whether an update leads from this version to the current one."""
        return version == self.version or (bool(self._steps) and self._steps[0].version <= version + 1)

    def update_since(self, version: Version) -> Message:
        """Return the update that leads from an earlier version to the current one.

        Args:
            version: a version for which `can_follow` is true.
        """
        message = self._updates.get(version)
        if message is None:
            message = self._updates[version] = self._merged(version)
        return message

    def snapshot(self, age_ms: Callable[[int], int]) -> Message:
        """Return the current state.

        Args:
            age_ms: returns the age (ms) of a time (µs since the Unix epoch, by a producer's clock).
        """
        if self._levels is None:
            sides = {"asks": Levels(self._book.asks), "bids": Levels(self._book.bids)}
            self._levels = encode(sides, self._decimals)[:-1]
        book = self._book
        head = {"type": "snapshot", "channel": BOOK, "symbol": self.symbol, "sequence": book.last_update_id}
        state = _state(book) | {"age_ms": None if book.as_of is None else age_ms(book.as_of)}
        return Message("snapshot", b'%b,"data":%b,%b}' % (encode(head)[:-1], self._levels, encode(state)[1:]))

    def _merged(self, version: Version) -> Message:
        bids: _Sizes = {}
        asks: _Sizes = {}
        previous = self.sequence
        for step in self._steps:
            if step.version == version + 1:
                previous = step.sequence_before
            if step.version > version:
                bids.update(step.bids)
                asks.update(step.asks)
        book = self._book
        head = {
            "type": "update",
            "channel": BOOK,
            "symbol": self.symbol,
            "sequence": book.last_update_id,
            "previous": previous,
        }
        text = b'%b,"data":{"bids":%b,"asks":%b,%b}' % (
            encode(head)[:-1],
            encode_pairs(_best_first(bids, is_bid=True), self._decimals),
            encode_pairs(_best_first(asks, is_bid=False), self._decimals),
            encode(_state(book))[1:],
        )
        return Message("update", text)


def _state(book: BookAnswer) -> dict[str, int | str | None]:
    return {
        "last_update_id": book.last_update_id,
        "book_status": book.book_status,
        "reason": book.reason,
        "as_of": book.as_of,
    }


def _goes_on(before: int | None, now: int | None) -> bool:
    """Return whether the sequence of a book continues; the exchange may start a new one."""
    return before is not None and now is not None and now >= before


def _changes(before: _Sizes, now: _Sizes) -> _Sizes:
    changes = {price: 0 for price in before if price not in now}
    changes.update({price: size for price, size in now.items() if before.get(price) != size})
    return changes


def _best_first(sizes: _Sizes, *, is_bid: bool) -> Sequence[tuple[int, int]]:
    return sorted(sizes.items(), reverse=is_bid)
