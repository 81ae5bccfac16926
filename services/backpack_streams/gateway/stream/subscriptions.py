"""One channel of one market as one client follows it, with the client's position. Sans I/O."""

from typing import Protocol

from backpack_streams.gateway.changes import LIQUIDATIONS, MARK_PRICE, TICKER, TRADES
from backpack_streams.gateway.json_text import Decimals
from backpack_streams.gateway.market_data import BookAnswer
from backpack_streams.gateway.stream.book_view import BookView, Version
from backpack_streams.gateway.stream.messages import Message, conflated, resumed, row_snapshot
from backpack_streams.gateway.stream.record_log import RecordLog
from backpack_streams.gateway.windows import Entry

__all__ = ["BookSubscription", "RecordSubscription", "Source", "Subscription"]

SNAPSHOT_ROWS = 50
"""Trades or liquidations in a snapshot."""


class Source(Protocol):
    """The part of the read model that subscriptions need."""

    def orderbook(self, symbol: str, depth: int) -> BookAnswer:
        """Return the best `depth` levels per side of a book."""

    def newest(self, channel: str, symbol: str, limit: int = 1) -> list[Entry]:
        """Return at most `limit` rows of a channel of a market, newest first."""

    def watermark_age_ms(self, as_of: int) -> int:
        """Return the age (ms) of a time by a producer's clock (µs since the Unix epoch)."""


class BookSubscription:
    """The position of a client in a book."""

    __slots__ = ("_is_resumed", "_position", "_sequence", "view")

    def __init__(self, view: BookView, resume: int | None) -> None:
        """Begin with a snapshot, or after an earlier position.

        Args:
            view: the book at the requested depth, which clients share.
            resume: the last sequence that the client has. The client gets a snapshot if it is None or no longer known.
        """
        self.view = view
        self._sequence: int | None = None
        self._position: Version | None = None if resume is None else view.position_of(resume)
        self._is_resumed = self._position is not None
        if self._is_resumed:
            self._sequence = resume

    @property
    def sequence(self) -> int | None:
        """Id of the last update that the client has; None before its snapshot."""
        return self._sequence

    def take(self, source: Source) -> list[Message]:
        """Return the update that makes the client current, or a snapshot if no update can; empty if the client is current.

        Args:
            source: the read model, for the age in a snapshot.
        """
        view, position = self.view, self._position
        was_resumed, self._is_resumed = self._is_resumed, False
        messages = []
        if position is None or not view.can_follow(position):
            messages.append(view.snapshot(source.watermark_age_ms))
        elif (
            was_resumed
        ):  # the update tells the status even if nothing else is new: it is this gateway's, not the last one's
            messages += [resumed("book", view.symbol, self._sequence), view.update_since(position)]
        elif position != view.version:
            messages.append(view.update_since(position))
        self._position, self._sequence = view.version, view.sequence
        return messages


class RecordSubscription:
    """The position of a client in a channel of records."""

    __slots__ = (
        "_channel",
        "_decimals",
        "_has_snapshot",
        "_lost",
        "_position",
        "_resumed_at",
        "_sequence",
        "_symbol",
        "log",
    )

    def __init__(self, log: RecordLog, channel: str, symbol: str, decimals: Decimals, resume: int | None) -> None:
        """Begin with a snapshot, or after an earlier position.

        Args:
            log: the newest rows, which clients share.
            channel: the channel; not `book`.
            symbol: the market.
            decimals: how prices and quantities are written.
            resume: the last sequence that the client has. The client gets a snapshot if it is None or if a row after it may be
                missing; in the second case, a `conflated` message comes first, except on `ticker` and `mark_price`.
        """
        self.log = log
        self._channel, self._symbol, self._decimals = channel, symbol, decimals
        position = None if resume is None else log.position_after(resume)
        self._position = log.end if position is None else position
        self._has_snapshot = position is not None
        self._resumed_at = resume if position is not None else None
        # On these channels the newest row is all that counts, so nothing is lost.
        self._lost = resume is not None and position is None and channel not in (TICKER, MARK_PRICE)
        self._sequence: int | None = self._resumed_at

    @property
    def sequence(self) -> int | None:
        """Sequence of the last row that the client has; None if it has none."""
        return self._sequence

    def take(self, source: Source) -> list[Message]:
        """Return the rows that the client does not have yet, after a `conflated` message if some are lost; first a snapshot.

        Args:
            source: the read model, for the rows of a snapshot.
        """
        if not self._has_snapshot:
            return self._begin(source)
        messages = []
        if self._resumed_at is not None:
            messages.append(resumed(self._channel, self._symbol, self._resumed_at))
            self._resumed_at = None
        if self._position < self.log.end:
            unread = self.log.since(self._position, self._decimals)
            if unread.dropped:
                messages.append(conflated(self._channel, self._symbol, unread.dropped))
            messages += unread.updates
            self._position, self._sequence = self.log.end, self.log.sequence
        return messages

    def _begin(self, source: Source) -> list[Message]:
        self._has_snapshot = True
        self._position, self._sequence = self.log.end, self.log.sequence
        lost = [conflated(self._channel, self._symbol, None)] if self._lost else []
        if self._channel in (TRADES, LIQUIDATIONS):
            data: object = [entry.row for entry in source.newest(self._channel, self._symbol, SNAPSHOT_ROWS)]
        else:
            data = next((entry.row for entry in source.newest(self._channel, self._symbol)), None)
        return [*lost, row_snapshot(self._channel, self._symbol, self._sequence, data, self._decimals)]


Subscription = BookSubscription | RecordSubscription
"""The position of a client in one channel of one market."""
