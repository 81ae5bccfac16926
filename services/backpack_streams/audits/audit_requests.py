"""Decides which books to audit first: crossed ones, and those that stand still while their market trades. Sans I/O."""

from dataclasses import dataclass
from math import inf
from typing import Final

from backpack_streams.books.market_book import MarketBook, Outcome, Status
from backpack_streams.books.units import plain

__all__ = ["SPACING_SECONDS", "AuditRequests"]

_NOT_YET = frozenset({Status.SYNCING, Status.STALE})
SPACING_SECONDS: Final = 60.0
"""Minimum interval between audit requests for a book."""
UNPROVEN_SECONDS: Final = 2.0
"""How long a covered book waits for an update to prove it before a snapshot is requested: its market may be quiet."""
UNPROVEN_SPACING_SECONDS: Final = 12.0
"""Interval of repeated requests for such a book: a poller ignores requests within 10 s of a snapshot."""
STANDSTILL_SECONDS: Final = 3.0
"""How long a book may stand still after a trade outside of its spread: trades and updates come on different partitions."""


@dataclass(slots=True)
class _Outside:
    """A trade outside of the spread, and the book's update id at that time."""

    price: int
    update_id: int | None
    due: float


class AuditRequests:
    """Watches books. Methods return the reason for an audit request, or None. Times in monotonic seconds, prices in units of 10**-18."""

    def __init__(self) -> None:
        self._outside: dict[str, _Outside] = {}
        self._told: dict[str, float] = {}
        self._broken: set[str] = set()
        self._unproven: dict[str, float] = {}
        self._lost: set[str] = set()

    def on_lost(self, market: MarketBook) -> None:
        """Note that updates of this market may be missing, possibly only here, so that no other service requests a snapshot."""
        self._lost.add(market.symbol)

    def on_broken(self, market: MarketBook, outcome: Outcome, now: float) -> str | None:
        """Take an event's outcome. A producer reports breaks in the sequence; this reports breaks that only the book shows.

        Args:
            market: the book, which has taken the event.
            outcome: its effect.
            now: current time (monotonic seconds).
        """
        if outcome is not Outcome.BROKE or not (market.book.is_crossed or market.book.is_exhausted):
            return None
        self._broken.add(market.symbol)
        return self._tell(market, market.reason, now)

    def on_trade(self, market: MarketBook, price: int, now: float) -> None:
        """Take a trade: its price rested in the book, so a price outside of the spread shows that the best levels have moved.

        Args:
            market: the book; only a `LIVE` one is judged.
            price: the price of the trade, in units of 10**-18.
            now: current time (monotonic seconds).
        """
        if market.status is not Status.LIVE:
            return
        bid, ask = market.book.best_bid_units, market.book.best_ask_units
        is_outside = (bid is not None and price < bid) or (ask is not None and price > ask)
        if not is_outside:
            return
        known = self._outside.get(market.symbol)
        if known is None or known.update_id != market.last_update_id:
            self._outside[market.symbol] = _Outside(price, market.last_update_id, now + STANDSTILL_SECONDS)

    def on_tick(self, books: dict[str, MarketBook], now: float) -> dict[str, str]:
        """Check the books against the time.

        Args:
            books: the books by symbol.
            now: current time (monotonic seconds).

        Returns:
            The reasons for audit requests, by symbol.
        """
        found: dict[str, str] = {}
        for symbol, outside in list(self._outside.items()):
            market = books.get(symbol)
            if market is None or market.last_update_id != outside.update_id or market.status is not Status.LIVE:
                del self._outside[symbol]
            elif now >= outside.due:
                del self._outside[symbol]
                why = f"a trade at {plain(outside.price)}, outside of the touch, and the book still stands at update {outside.update_id}"
                told = self._tell(market, why, now)
                if told is not None:
                    found[symbol] = told
        return found | self._still_broken(books, now) | self._still_unproven(books, now)

    def _still_unproven(self, books: dict[str, MarketBook], now: float) -> dict[str, str]:
        """Return books that need a snapshot as proof: coverage broke or began after their last proof, or updates are missing."""
        found: dict[str, str] = {}
        for symbol, market in books.items():
            if market.status is Status.LIVE:
                self._lost.discard(symbol)
            waits = symbol in self._lost or (market.proof_from < inf and market.is_whole)
            if not (waits and market.status in _NOT_YET):
                self._unproven.pop(symbol, None)
            elif now >= self._unproven.setdefault(symbol, now + UNPROVEN_SECONDS):
                self._unproven[symbol] = now + UNPROVEN_SPACING_SECONDS
                found[symbol] = market.reason
        return found

    def _still_broken(self, books: dict[str, MarketBook], now: float) -> dict[str, str]:
        """Request snapshots again until each broken book is right, since the last one may not have helped."""
        found: dict[str, str] = {}
        for symbol in list(self._broken):
            market = books.get(symbol)
            if market is None or market.status is Status.LIVE:
                self._broken.discard(symbol)
            else:
                told = self._tell(market, market.reason, now)
                if told is not None:
                    found[symbol] = told
        return found

    def _tell(self, market: MarketBook, why: str, now: float) -> str | None:
        last = self._told.get(market.symbol)
        if last is not None and now - last < SPACING_SECONDS:
            return None
        self._told[market.symbol] = now
        return why
