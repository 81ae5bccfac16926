"""Decides which books to compare next, and keeps the final results. Sans I/O."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from backpack_streams.audits.auditing import (
    AHEAD_SECONDS,
    Audit,
    AuditResult,
    ExchangeBook,
    audit_ahead,
    audit_now,
)
from backpack_streams.books.market_book import Status
from backpack_streams.books.market_view import MarketView

__all__ = ["AuditsOnDemand"]

SPACING_SECONDS = 1.0
"""How long the exchange gets to reach the position of a book that is ahead of it, before it is asked again."""


class _Ahead(NamedTuple):
    """A book ahead of the exchange: its update id, since when this id is known (monotonic seconds), and when to ask again."""

    reached_id: int
    since: float
    again_at: float


class AuditsOnDemand:
    """Takes snapshots of the exchange, and every book that changes. Books must not advance while snapshots are requested.

    A match or a mismatch is final. A book that could not be compared is tried again with a new snapshot, as long as the caller asks.
    Times are monotonic seconds.

    Args:
        books: the books from Kafka by symbol; read again at each call.
        symbols: the books to compare, in the order in which they get their turn.

    Attributes:
        audits: the final results by symbol.
    """

    def __init__(self, books: Mapping[str, MarketView], symbols: Iterable[str]) -> None:
        self._books = books
        self._open = dict.fromkeys(symbols, "")
        self._snapshots: dict[str, ExchangeBook] = {}
        self._ahead: dict[str, _Ahead] = {}
        self.audits: dict[str, Audit] = {}

    @property
    def is_done(self) -> bool:
        """Whether every book has been compared."""
        return not self._open

    @property
    def is_waiting(self) -> bool:
        """Whether a snapshot waits for its book."""
        return bool(self._snapshots)

    def next(self, most: int, now: float) -> list[str]:
        """Return the books whose snapshots to request now: LIVE ones, the least recently tried first.

        Args:
            most: the maximum number of books.
            now: monotonic seconds. A book that was ahead of the exchange gets its next turn after a second.
        """
        waiting = {symbol for symbol, ahead in self._ahead.items() if now < ahead.again_at}
        waiting |= self._snapshots.keys()
        return [symbol for symbol in self._open if symbol not in waiting and self._is_live(symbol)][:most]

    def on_snapshot(self, symbol: str, snapshot: ExchangeBook, asked_at: float) -> None:
        """Take the exchange's book.

        A book that is behind the snapshot waits for it; one that is ahead is tried again, and audited as ahead if it
        stays so.

        Args:
            symbol: the market.
            snapshot: the exchange's book.
            asked_at: when it was requested, monotonic seconds.
        """
        market = self._books[symbol]
        if self._is_live(symbol) and snapshot.last_update_id < (market.last_update_id or 0):
            self._on_ahead(market, snapshot, asked_at)
            return
        self._ahead.pop(symbol, None)
        self._snapshots[symbol] = snapshot
        self.on_book(symbol)

    def _on_ahead(self, market: MarketView, snapshot: ExchangeBook, asked_at: float) -> None:
        """Wait: either the exchange's answer is behind its stream, or the book holds updates that the exchange never sent."""
        symbol, reached = market.symbol, market.last_update_id or 0
        known = self._ahead.get(symbol)
        since = asked_at if known is None or known.reached_id != reached else known.since
        if asked_at - since >= AHEAD_SECONDS:
            self._close(symbol, audit_ahead(market, snapshot))
            return
        self._ahead[symbol] = _Ahead(reached, since, asked_at + SPACING_SECONDS)
        audit = audit_now(market, snapshot)
        self._put_back(symbol, "" if audit is None else audit.reason)

    def on_failure(self, symbol: str, reason: str) -> None:
        """Record that the exchange gave no book; the market is tried again after all others.

        Args:
            symbol: the market.
            reason: why, for `not_compared`.
        """
        self._put_back(symbol, reason)

    def on_book(self, symbol: str) -> None:
        """Examine a book that has changed. Does nothing unless a snapshot waits for it.

        Args:
            symbol: the market.
        """
        snapshot = self._snapshots.get(symbol)
        if snapshot is None:
            return
        audit = audit_now(self._books[symbol], snapshot)
        if audit is None:
            return
        del self._snapshots[symbol]
        self._close(symbol, audit)

    def _close(self, symbol: str, audit: Audit) -> None:
        if audit.result is AuditResult.NOT_COMPARABLE:
            self._put_back(symbol, audit.reason)
        else:
            del self._open[symbol]
            self.audits[symbol] = audit

    def on_tick(self) -> None:
        """Examine books that left LIVE without an event of their own."""
        for symbol in list(self._snapshots):
            self.on_book(symbol)

    def forget_snapshots(self) -> None:
        """Drop the snapshots that their books have not reached; newer ones may do better."""
        for symbol in list(self._snapshots):
            self._put_back(symbol, self._behind(symbol))

    def not_compared(self) -> dict[str, str]:
        """Return the books that have not been compared, each with the reason in words: its state, or its last attempt."""
        return {symbol: self._why(symbol) for symbol in self._open}

    def _why(self, symbol: str) -> str:
        market = self._books.get(symbol)
        if market is None:
            return "Kafka has no such book"
        if not self._is_live(symbol):
            return f"the book is {market.status.value}: {market.reason}"
        return (
            self._behind(symbol) if symbol in self._snapshots else self._open[symbol] or "time was up before its turn"
        )

    def _behind(self, symbol: str) -> str:
        reached, asked = self._books[symbol].last_update_id, self._snapshots[symbol].last_update_id
        return f"the book stands at update {reached}, and updates up to the exchange's {asked} have not come"

    def _put_back(self, symbol: str, reason: str) -> None:
        self._snapshots.pop(symbol, None)
        if symbol in self._open:
            del self._open[symbol]
            self._open[symbol] = reason

    def _is_live(self, symbol: str) -> bool:
        market = self._books.get(symbol)
        return market is not None and market.status is Status.LIVE
