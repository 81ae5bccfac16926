"""The builder's audits: turns results into records and requests audits of suspicious books. Observes the books as they are
kept; sans I/O.
"""

import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from backpack_streams.audits.audit_requests import AuditRequests
from backpack_streams.audits.auditing import Audit, AuditResult, BookAuditor, ExchangeBook
from backpack_streams.book_builder.audit_records import WANTED, audit_record, audit_request_record
from backpack_streams.books.market_book import SEED, MarketBook, Outcome, Status
from backpack_streams.bus.depth_reader import DepthNumbers, DepthReader

__all__ = ["BookAudits", "Finding"]


class Finding(NamedTuple):
    """A BookAudit record to write and, for a mismatch, what to report to every reader of the book.

    Attributes:
        symbol: the market.
        row: the record.
        wrong_id: for a mismatch, the update id that the book had reached, which is wrong for every reader; otherwise
            None.
        detail: the explanation in the gap's record.
        next_id: set if the topic holds updates that the exchange has never sent: the first id that the exchange has yet
            to send.
        seen_us: when the exchange's answer showed that (µs since the Unix epoch, by our clock).
    """

    symbol: str
    row: dict[str, Any]
    wrong_id: int | None
    detail: str
    next_id: int | None = None
    seen_us: int | None = None


class BookAudits:
    """An `Onlooker` that audits books with the snapshots that reach them. Takes wrong books out of `LIVE` itself."""

    def __init__(
        self,
        levels: DepthReader,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall_us: Callable[[], int] = lambda: time.time_ns() // 1000,
    ) -> None:
        """Prepare.

        Args:
            levels: decodes the levels of snapshots.
            clock: monotonic seconds.
            wall_us: µs since the Unix epoch.
        """
        self._levels = levels
        self._clock = clock
        self._wall_us = wall_us
        self._auditors: dict[str, BookAuditor] = {}
        self._books: dict[str, MarketBook] = {}
        self._audit_requests = AuditRequests()
        self._findings: list[Finding] = []
        self.counts: dict[str, int] = dict.fromkeys([*(result.value for result in AuditResult), WANTED], 0)
        """The number of audits by result, and of audit requests (`WANTED`)."""
        self.last_audit: dict[str, float] = {}
        """When each book was last compared, was first kept, or its market reopened (monotonic seconds)."""

    def on_update(self, market: MarketBook, update: DepthNumbers, outcome: Outcome) -> None:
        """Take an update and its outcome for the book.

        Args:
            market: the book, after the update.
            update: the update's numbers.
            outcome: what the update did to the book.
        """
        auditor = self._auditors.get(market.symbol) or self._follow(market)
        audit = auditor.on_update(outcome, *update)
        if audit is not None:
            self._take(market, auditor, audit)
        if outcome is Outcome.BROKE:
            why = self._audit_requests.on_broken(market, outcome, self._clock())
            if why is not None:
                self._request_audit(market, why)

    def on_snapshot(
        self, market: MarketBook, snapshot: Mapping[str, Any], outcome: Outcome, is_new: bool = True
    ) -> None:
        """Take a BookSnapshot record and its outcome for the book. Only REST snapshots are compared: a checkpoint is built
        from Kafka, like the book.

        Args:
            market: the book, after the snapshot.
            snapshot: the record.
            outcome: what the snapshot did to the book.
            is_new: whether it was written after this reader joined.
        """
        auditor = self._auditors.get(market.symbol)
        if auditor is None:
            self._follow(market)  # starts from the book that the snapshot made
            return
        if snapshot["origin"] != SEED:  # a checkpoint is built from Kafka like this book, so it proves nothing
            self.on_outcome(market, outcome)
            return
        levels = self._levels.levels
        answer = ExchangeBook(
            snapshot["last_update_id"],
            snapshot["engine_time"],
            levels(snapshot["bids"]),
            levels(snapshot["asks"]),
            snapshot["bids_complete"],
            snapshot["asks_complete"],
            snapshot["received_time"],
        )
        age_seconds = (self._wall_us() - snapshot["received_time"]) / 1_000_000
        audit = auditor.on_snapshot(answer, outcome, self._clock(), age_seconds)
        if audit is not None:
            self._take(market, auditor, audit)

    def on_outcome(self, market: MarketBook, outcome: Outcome) -> None:
        """Take the outcome of any other event for the book: a recorded gap, lost or unreadable records, a change of the
        market list.

        Args:
            market: the book, after the event.
            outcome: what the event did to the book.
        """
        auditor = self._auditors.get(market.symbol)
        if outcome in (Outcome.BROKE, Outcome.BUFFERED):
            self._audit_requests.on_lost(market)
        if outcome is Outcome.REOPENED and auditor is not None:
            self.last_audit[market.symbol] = self._clock()  # a closed market could not be compared
        audit = None if auditor is None else auditor.on_outcome(outcome)
        if auditor is not None and audit is not None:
            self._take(market, auditor, audit)

    def follows(self, key: bytes) -> bool:
        """Whether the book with this Kafka key is kept here."""
        return key.decode("utf-8", "replace") in self._books

    def on_trade(self, symbol: str, price: int) -> None:
        """Take a trade: a book that does not move after a trade outside its touch is suspicious.

        Args:
            symbol: the market.
            price: in units of 10**-18.
        """
        market = self._books.get(symbol)
        if market is not None:
            self._audit_requests.on_trade(market, price, self._clock())

    def on_dropped(self, market: MarketBook) -> None:
        """Forget a book that another builder keeps from now on."""
        for by_symbol in (self._auditors, self._books, self.last_audit):
            by_symbol.pop(market.symbol, None)

    def on_tick(self) -> None:
        """Check timeouts; call this regularly."""
        now = self._clock()
        for symbol, auditor in self._auditors.items():
            audit = auditor.on_tick(now) if auditor.is_waiting else None
            if audit is not None:
                self._take(self._books[symbol], auditor, audit)
            why = auditor.wants_snapshot(now)
            if why:
                self._request_audit(self._books[symbol], why)
        for symbol, why in self._audit_requests.on_tick(self._books, now).items():
            self._request_audit(self._books[symbol], why)

    def take_findings(self) -> list[Finding]:
        """Return the findings since the last call, and clear them."""
        findings, self._findings = self._findings, []
        return findings

    def oldest_audit(self) -> float:
        """Return the time since the least recently compared book of an open market was compared, in seconds; 0 if there are none."""
        now, books = self._clock(), self._books
        ages = (now - at for symbol, at in self.last_audit.items() if books[symbol].status is not Status.CLOSED)
        return max(ages, default=0.0)

    def _follow(self, market: MarketBook) -> BookAuditor:
        auditor = self._auditors[market.symbol] = BookAuditor(market)
        self.last_audit[market.symbol] = self._clock()
        self._books[market.symbol] = market
        return auditor

    def _take(self, market: MarketBook, auditor: BookAuditor, audit: Audit) -> None:
        self.counts[audit.result.value] += 1
        if audit.result is not AuditResult.NOT_COMPARABLE:
            self.last_audit[market.symbol] = self._clock()
        now_us = self._wall_us()
        finding = Finding(market.symbol, audit_record(audit, now_us), None, audit.reason)
        if audit.is_ahead:
            seen_us = audit.snapshot.received_time or now_us
            reached = audit.reached_id or 0
            auditor.on_outcome(market.on_ahead(reached, seen_us, f"an audit found it wrong: {audit.reason}"))
            finding = finding._replace(wrong_id=reached, next_id=audit.snapshot.last_update_id + 1, seen_us=seen_us)
        elif audit.result is AuditResult.MISMATCH:
            wrong_id = max(audit.reached_id or 0, audit.update_id or 0)
            why = f"it differed from the exchange's book at update {audit.update_id}: {audit.reason}"
            auditor.on_outcome(market.on_wrong(wrong_id, now_us, why))
            finding = finding._replace(
                wrong_id=wrong_id, detail=f"compared at update {audit.update_id}: {audit.reason}"
            )
        self._findings.append(finding)

    def _request_audit(self, market: MarketBook, why: str) -> None:
        self.counts[WANTED] += 1
        row = audit_request_record(market.symbol, market.last_update_id, why, self._wall_us())
        self._findings.append(Finding(market.symbol, row, None, why))
