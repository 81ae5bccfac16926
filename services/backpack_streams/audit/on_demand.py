"""Which books are to be compared next, and which audits stand. Sans I/O."""

from collections.abc import Iterable, Mapping

from backpack_streams.books.auditing import Audit, AuditResult, ExchangeBook, audit_now
from backpack_streams.books.market_book import MarketBook, Status

__all__ = ["AuditsOnDemand"]


class AuditsOnDemand:
    """Feed it with snapshots of the exchange, and with every book that changes: books stand still while snapshots are asked for.

    A match and a mismatch stand. What could not be compared is tried again with a new snapshot, and stands once `give_up` is called.
    """

    def __init__(self, books: Mapping[str, MarketBook], symbols: Iterable[str]) -> None:
        self._books = books
        self._open = dict.fromkeys(symbols, "")
        self._snapshots: dict[str, ExchangeBook] = {}
        self.audits: dict[str, Audit] = {}

    @property
    def is_done(self) -> bool:
        """Whether every book has been compared."""
        return not self._open

    @property
    def is_waiting(self) -> bool:
        """Whether a snapshot waits for its book."""
        return bool(self._snapshots)

    def next(self, most: int) -> list[str]:
        """The books whose snapshots are to be asked for now: LIVE ones, those tried before last."""
        ready = [symbol for symbol in self._open if symbol not in self._snapshots and self._is_live(symbol)]
        return ready[:most]

    def on_snapshot(self, symbol: str, snapshot: ExchangeBook) -> None:
        """Take the exchange's book."""
        self._snapshots[symbol] = snapshot
        self.on_book(symbol)

    def on_failure(self, symbol: str, reason: str) -> None:
        """Take note that the exchange gave no book."""
        self._put_back(symbol, reason)

    def on_book(self, symbol: str) -> None:
        """Look at a book that has changed."""
        snapshot = self._snapshots.get(symbol)
        if snapshot is None:
            return
        audit = audit_now(self._books[symbol], snapshot)
        if audit is None:
            return
        del self._snapshots[symbol]
        if audit.result is AuditResult.NOT_COMPARABLE:
            self._put_back(symbol, audit.reason)
        else:
            del self._open[symbol]
            self.audits[symbol] = audit

    def on_tick(self) -> None:
        """Look at books that left LIVE without an event of their own."""
        for symbol in list(self._snapshots):
            self.on_book(symbol)

    def forget_snapshots(self) -> None:
        """Books have not come to these snapshots: newer ones may do better."""
        for symbol in list(self._snapshots):
            self._put_back(symbol, self._behind(symbol))

    def not_compared(self) -> dict[str, str]:
        """The books that have not been compared, and why."""
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
