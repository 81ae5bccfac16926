"""The builder's audits: what they found as records, and books under suspicion. Looks on while the books are kept; sans I/O."""

import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from backpack_streams.book_builder.audit_records import WANTED, audit_row, wanted_row
from backpack_streams.books.auditing import Audit, AuditResult, BookAuditor, ExchangeBook
from backpack_streams.books.market_book import SEED, MarketBook, Outcome, Status
from backpack_streams.books.suspicions import Suspicions
from backpack_streams.bus.depth_reader import DepthNumbers, DepthReader

__all__ = ["BookAudits", "Finding"]


class Finding(NamedTuple):
    """A BookAudit record to be written, and of a mismatch what is to be told to every reader of the book."""

    symbol: str
    row: dict[str, Any]
    wrong_id: int | None
    """Of a mismatch: the update id that the book had reached. Everybody's book is wrong there."""
    detail: str
    next_id: int | None = None
    """Where the topic holds what the exchange never sent: the id that the exchange has yet to send,"""
    seen_us: int | None = None
    """and when it said so (µs, by our clock)."""


class BookAudits:
    """Told of what reaches the books (it is an `Onlooker`), says what is to be written. Takes wrong books out of `LIVE` itself.

    `clock` is in monotonic seconds, `wall_us` in microseconds since the Unix epoch.
    """

    def __init__(
        self,
        levels: DepthReader,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall_us: Callable[[], int] = lambda: time.time_ns() // 1000,
    ) -> None:
        self._levels = levels
        self._clock = clock
        self._wall_us = wall_us
        self._auditors: dict[str, BookAuditor] = {}
        self._books: dict[str, MarketBook] = {}
        self._suspicions = Suspicions()
        self._findings: list[Finding] = []
        self.counts: dict[str, int] = dict.fromkeys([*(result.value for result in AuditResult), WANTED], 0)
        """Audits by result, and how often one was asked for."""
        self.last_audit: dict[str, float] = {}
        """When each book was compared last, was first kept or its market reopened, in monotonic seconds."""

    def on_update(self, market: MarketBook, update: DepthNumbers, outcome: Outcome) -> None:
        """An update and what it did to the book."""
        auditor = self._auditors.get(market.symbol) or self._follow(market)
        audit = auditor.on_update(outcome, *update)
        if audit is not None:
            self._take(market, auditor, audit)
        if outcome is Outcome.BROKE:
            why = self._suspicions.on_broken(market, outcome, self._clock())
            if why is not None:
                self._want(market, why)

    def on_seed(self, market: MarketBook, seed: Mapping[str, Any], outcome: Outcome, is_new: bool = True) -> None:
        """A BookSnapshot record, and what it did to the book."""
        auditor = self._auditors.get(market.symbol)
        if auditor is None:
            self._follow(market)  # it begins with what the snapshot made of it
            return
        if seed["origin"] != SEED:  # built from Kafka as our book is: it proves nothing
            self.on_outcome(market, outcome)
            return
        levels = self._levels.levels
        snapshot = ExchangeBook(
            seed["last_update_id"],
            seed["engine_time"],
            levels(seed["bids"]),
            levels(seed["asks"]),
            seed["bids_complete"],
            seed["asks_complete"],
            seed["received_time"],
        )
        age_seconds = (self._wall_us() - seed["received_time"]) / 1_000_000
        audit = auditor.on_snapshot(snapshot, outcome, self._clock(), age_seconds)
        if audit is not None:
            self._take(market, auditor, audit)

    def on_outcome(self, market: MarketBook, outcome: Outcome) -> None:
        """What a gap on record, records that are lost or cannot be read or the market list did to the book."""
        auditor = self._auditors.get(market.symbol)
        if outcome in (Outcome.BROKE, Outcome.BUFFERED):
            self._suspicions.on_lost(market)
        if outcome is Outcome.REOPENED and auditor is not None:
            self.last_audit[market.symbol] = self._clock()  # it could not be compared while it was closed
        audit = None if auditor is None else auditor.on_outcome(outcome)
        if auditor is not None and audit is not None:
            self._take(market, auditor, audit)

    def follows(self, key: bytes) -> bool:
        """Whether the book of this Kafka key is one of ours."""
        return key.decode("utf-8", "replace") in self._books

    def on_trade(self, symbol: str, price: int) -> None:
        """A trade of the market, its price in units of 10**-18."""
        market = self._books.get(symbol)
        if market is not None:
            self._suspicions.on_trade(market, price, self._clock())

    def on_dropped(self, market: MarketBook) -> None:
        """The book is another builder's from now on."""
        for by_symbol in (self._auditors, self._books, self.last_audit):
            by_symbol.pop(market.symbol, None)

    def on_tick(self) -> None:
        """Time has passed."""
        now = self._clock()
        for symbol, auditor in self._auditors.items():
            audit = auditor.on_tick(now) if auditor.is_waiting else None
            if audit is not None:
                self._take(self._books[symbol], auditor, audit)
            why = auditor.wants_snapshot(now)
            if why:
                self._want(self._books[symbol], why)
        for symbol, why in self._suspicions.on_tick(self._books, now).items():
            self._want(self._books[symbol], why)

    def take_findings(self) -> list[Finding]:
        """What is to be written, each once."""
        findings, self._findings = self._findings, []
        return findings

    def oldest_audit(self) -> float:
        """For how long the book that was compared least lately has not been, in seconds; 0 while there are none of open markets."""
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
        finding = Finding(market.symbol, audit_row(audit, now_us), None, audit.reason)
        if audit.is_beyond:
            seen_us = audit.snapshot.received_time or now_us
            reached = audit.reached_id or 0
            auditor.on_outcome(market.on_beyond(reached, seen_us, f"an audit found it wrong: {audit.reason}"))
            finding = finding._replace(wrong_id=reached, next_id=audit.snapshot.last_update_id + 1, seen_us=seen_us)
        elif audit.result is AuditResult.MISMATCH:
            wrong_id = max(audit.reached_id or 0, audit.update_id or 0)
            why = f"it differed from the exchange's book at update {audit.update_id}: {audit.reason}"
            auditor.on_outcome(market.on_wrong(wrong_id, now_us, why))
            finding = finding._replace(
                wrong_id=wrong_id, detail=f"compared at update {audit.update_id}: {audit.reason}"
            )
        self._findings.append(finding)

    def _want(self, market: MarketBook, why: str) -> None:
        self.counts[WANTED] += 1
        row = wanted_row(market.symbol, market.last_update_id, why, self._wall_us())
        self._findings.append(Finding(market.symbol, row, None, why))
