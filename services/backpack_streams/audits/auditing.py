"""Audits a book built from Kafka against the exchange's snapshots, at the same update id, without I/O."""

from collections.abc import Sequence
from enum import Enum
from typing import Final, NamedTuple

from backpack_streams.audits.comparison import Comparison, Difference, compare
from backpack_streams.books.market_book import MarketBook, Outcome, Status
from backpack_streams.books.market_view import MarketView
from backpack_streams.books.order_book import OrderBook
from backpack_streams.books.recent_books import PastBook, RecentBooks
from backpack_streams.books.update_buffer import Update
from backpack_streams.errors import BookError
from backpack_streams.sequencing.restart import TOLERANCE_MICROSECONDS
from backpack_streams.sequencing.runs import OLDEST_ANSWER_SECONDS

__all__ = ["AHEAD_SECONDS", "Audit", "AuditResult", "BookAuditor", "ExchangeBook", "audit_ahead", "audit_now"]

PATIENCE_SECONDS: Final = 60.0
"""How long a snapshot waits for the book to reach its id."""
AHEAD_SECONDS: Final = OLDEST_ANSWER_SECONDS
"""How long a book may stay ahead of the exchange's own id before it counts as wrong, if a second answer, requested after that time, agrees.
The exchange's REST answers may be behind its stream, but by less than this."""

Levels = Sequence[tuple[int, int]]


class AuditResult(Enum):
    """Result of an audit."""

    MATCH = "MATCH"
    """Equal, level for level, as far as both books are known."""
    MISMATCH = "MISMATCH"
    """The books differ."""
    NOT_COMPARABLE = "NOT_COMPARABLE"
    """The books could not be compared at one update id; this is no evidence about the book."""


class ExchangeBook(NamedTuple):
    """A snapshot of the exchange.

    Attributes:
        last_update_id: the id of the last update that it includes.
        engine_time: its time (µs since the Unix epoch); None if unknown.
        bids: (price, quantity) in units of 10**-18, in any order.
        asks: the same for the asks.
        bids_complete: False if the snapshot's limit truncated the bids.
        asks_complete: the same for the asks.
    """

    last_update_id: int
    engine_time: int | None
    bids: Levels
    asks: Levels
    bids_complete: bool = True
    asks_complete: bool = True
    received_time: int | None = None
    """When we received it, by our clock (µs)."""

    def book(self) -> OrderBook:
        """Return the snapshot as an `OrderBook`.

        Raises:
            BookError: it contradicts itself.
        """
        book = OrderBook()
        book.load(self.bids, self.asks, self.bids_complete, self.asks_complete)
        return book


class Audit(NamedTuple):
    """One audit. `comparison` and `update_id` are None if nothing could be compared; a mismatch keeps both books."""

    symbol: str
    result: AuditResult
    reason: str
    """Empty for a match."""
    snapshot: ExchangeBook
    reached_id: int | None
    """The book's last update id at the time of the result."""
    update_id: int | None = None
    """Update id at which the books were compared."""
    comparison: Comparison | None = None
    ours: OrderBook | None = None
    theirs: OrderBook | None = None
    is_ahead: bool = False
    """A mismatch without a common id: the book stayed at `reached_id` for long, but the exchange had not reached it."""

    @property
    def differences(self) -> tuple[Difference, ...]:
        """The levels at which the books differ."""
        return () if self.comparison is None else self.comparison.differences


class _Waiting(NamedTuple):
    snapshot: ExchangeBook
    deadline: float


class _Ahead(NamedTuple):
    """The book's last update id when a snapshot turned out to be behind it, and when that was (monotonic seconds)."""

    reached_id: int
    since: float
    is_asked: bool = False
    """Another snapshot was requested."""


class BookAuditor:
    """Follows one `MarketBook`, keeps its recent states, and compares it with the exchange's snapshots.

    Pass in each update and each exchange snapshot right after the book has taken it. A snapshot behind the book is compared with the
    book's earlier state, one ahead of it once the book gets there. Times are monotonic seconds. The auditor does not change the book:
    after a mismatch, report it to the book (`MarketBook.on_wrong`) and to other readers.
    """

    __slots__ = ("_ahead", "_market", "_recent", "_waiting")

    def __init__(self, market: MarketBook, recent: RecentBooks | None = None) -> None:
        """Begin to follow a book from its current state.

        Args:
            market: the book, which this object does not change.
            recent: keeps its recent states; None for the default range.
        """
        self._market = market
        self._recent = RecentBooks() if recent is None else recent
        self._waiting: _Waiting | None = None
        self._ahead: _Ahead | None = None
        self._restart()

    @property
    def is_waiting(self) -> bool:
        """Whether a snapshot waits for the book to reach its id."""
        return self._waiting is not None

    def on_update(
        self, outcome: Outcome, first_id: int, last_id: int, engine_time: int | None, bids: Levels, asks: Levels
    ) -> Audit | None:
        """Take one update right after the book has taken it; return the audit that it completes.

        Args:
            outcome: what `MarketBook.on_update` returned.
            first_id: its first id.
            last_id: its last id.
            engine_time: its time (µs since the Unix epoch); None if unknown.
            bids: (price, quantity) in units of 10**-18; kept by reference, so do not change them.
            asks: the same for the asks.
        """
        if outcome is not Outcome.APPLIED:
            return self.on_outcome(outcome)
        self._recent.append(self._market.book, Update(first_id, last_id, engine_time, bids, asks))
        waiting = self._waiting
        if waiting is None or last_id < waiting.snapshot.last_update_id:
            return None
        self._waiting = None
        return self._compare(waiting.snapshot)

    def on_outcome(self, outcome: Outcome) -> Audit | None:
        """Take the outcome of an event other than a snapshot; returns the audit that it made impossible."""
        if outcome in (Outcome.RESYNCED, Outcome.RESUMED):
            self._restart()
            return self._give_up("the book was replaced before it reached the snapshot")
        if outcome is Outcome.BROKE:
            self._recent.forget()
            return self._give_up(f"the book left LIVE before it reached the snapshot: {self._market.reason}")
        return None

    def on_snapshot(
        self, snapshot: ExchangeBook, outcome: Outcome, now: float, age_seconds: float = 0.0
    ) -> Audit | None:
        """Take an exchange snapshot and its outcome; return the audit if it can be completed at once.

        A snapshot that replaces a book known to be broken is no audit.

        Args:
            snapshot: the snapshot.
            outcome: what `MarketBook.on_snapshot` returned.
            now: current time (monotonic seconds).
            age_seconds: time since the snapshot was received from the exchange.
        """
        if outcome is Outcome.RESYNCED:
            known = self._recent.first_id is not None and snapshot.last_update_id <= self._recent.last_id
            audit = self._compare(snapshot) if known else None
            self._waiting = None
            self._restart()
            return audit
        if outcome is Outcome.BROKE:
            return self.on_outcome(outcome)
        if outcome is Outcome.REFUSED:
            return None
        reached = self._market.last_update_id or 0
        if snapshot.last_update_id < reached and self._is_ahead(reached, now, age_seconds):
            return audit_ahead(self._market, snapshot)
        if snapshot.last_update_id <= reached:
            return self._compare(snapshot)
        if self._waiting is not None:
            awaited = self._waiting.snapshot.last_update_id
            return self._refuse(snapshot, f"an earlier snapshot waits for the book to reach {awaited}")
        self._waiting = _Waiting(snapshot, now + PATIENCE_SECONDS)
        return None

    def _is_ahead(self, reached: int, now: float, age_seconds: float) -> bool:
        """Return whether the exchange's answer, received after the book had stayed at `reached` for long, had not reached that id."""
        known = self._ahead
        if known is None or known.reached_id != reached:
            self._ahead = _Ahead(reached, now)
            return False
        return now - max(0.0, age_seconds) - known.since >= AHEAD_SECONDS > age_seconds

    def wants_snapshot(self, now: float) -> str:
        """Return, once, why a new snapshot is needed, else an empty text: the last one was behind a book that has not moved since."""
        known = self._ahead
        if known is None or known.is_asked or now - known.since < AHEAD_SECONDS:
            return ""
        if known.reached_id != self._market.last_update_id:
            self._ahead = None
            return ""
        self._ahead = known._replace(is_asked=True)
        return (
            f"it has stood at update {known.reached_id} for {AHEAD_SECONDS:g} s, and the exchange had not come to that"
        )

    def on_tick(self, now: float) -> Audit | None:
        """Check the time; returns the audit of a snapshot that has waited too long."""
        if self._waiting is None or now < self._waiting.deadline:
            return None
        return self._give_up(f"no update has brought the book to the snapshot for {PATIENCE_SECONDS:g} s")

    def _restart(self) -> None:
        market = self._market
        if market.last_update_id is not None:
            self._recent.restart(market.book, market.last_update_id, market.engine_time)

    def _give_up(self, reason: str) -> Audit | None:
        waiting, self._waiting = self._waiting, None
        return None if waiting is None else self._refuse(waiting.snapshot, reason)

    def _refuse(self, snapshot: ExchangeBook, reason: str) -> Audit:
        return _not_comparable(self._market, snapshot, reason)

    def _compare(self, snapshot: ExchangeBook) -> Audit:
        past = self._recent.book_at(snapshot.last_update_id)
        if past is None:
            oldest = self._recent.first_id
            return self._refuse(snapshot, f"the snapshot is older than what is kept of the book, from {oldest} on")
        doubt = _another_sequence(snapshot, past)
        if doubt is not None:
            return self._refuse(snapshot, doubt)
        return _audit(self._market, snapshot, past.book, past.straddling)


def audit_now(market: MarketBook | MarketView, snapshot: ExchangeBook) -> Audit | None:
    """Compare a book in its current state with an exchange snapshot.

    Returns None while the book is behind the snapshot; if it is ahead, only time decides (`audit_ahead`). For a reader that keeps its
    book unchanged while it requests the snapshot; otherwise use a `BookAuditor`.

    Args:
        market: the book.
        snapshot: the exchange's answer, requested while the book was not changed.
    """
    if market.status is not Status.LIVE:
        return _not_comparable(market, snapshot, f"the book is {market.status.value}: {market.reason}")
    reached = market.last_update_id or 0
    if reached < snapshot.last_update_id:
        return None
    if reached > snapshot.last_update_id:
        return _not_comparable(
            market,
            snapshot,
            f"the book is past the exchange's {snapshot.last_update_id}, at {reached}: that says something once it has been so for "
            f"{AHEAD_SECONDS:g} s; give a longer --timeout",
        )
    return _audit(market, snapshot, market.book, None)


def audit_ahead(market: MarketBook | MarketView, snapshot: ExchangeBook) -> Audit:
    """Return the audit of a book that stayed ahead of the exchange's own id for `AHEAD_SECONDS`: wrong, whatever its levels.

    Args:
        market: the book, at an id that the exchange has not reached.
        snapshot: the exchange's answer, requested after that time.

    Returns:
        A mismatch; NOT_COMPARABLE if the snapshot contradicts itself.
    """
    reached = market.last_update_id
    try:
        theirs = snapshot.book()
    except BookError as error:
        return _not_comparable(market, snapshot, f"the snapshot contradicts itself: {error}")
    found = compare(market.book, theirs)
    where = (
        f"; {len(found.differences)} levels differ, the first at {found.differences[0]}" if found.differences else ""
    )
    reason = (
        f"update {reached} is not the exchange's: {AHEAD_SECONDS:g} s and more after the book had come to it, the exchange was at "
        f"{snapshot.last_update_id}{where}"
    )
    return Audit(
        market.symbol,
        AuditResult.MISMATCH,
        reason,
        snapshot,
        reached,
        None,
        found,
        market.book.copy(),
        theirs,
        is_ahead=True,
    )


def _another_sequence(snapshot: ExchangeBook, past: PastBook) -> str | None:
    """Return why a snapshot is of another sequence (as after a relisting), by its times, since ids cannot show it; None if it is not."""
    time = snapshot.engine_time
    if time is None:
        return None
    if past.straddling is None and past.engine_time is not None and past.engine_time - time > TOLERANCE_MICROSECONDS:
        return f"the snapshot is earlier than update {snapshot.last_update_id}: it is of another sequence, or its clock is off"
    if past.next_time is not None and time - past.next_time > TOLERANCE_MICROSECONDS:
        return f"the snapshot is later than what follows update {snapshot.last_update_id}: it is of another sequence, or was cached"
    return None


def _audit(
    market: MarketBook | MarketView, snapshot: ExchangeBook, ours: OrderBook, straddling: Update | None
) -> Audit:
    try:
        theirs = snapshot.book()
        if straddling is not None:  # quantities are absolute, so both books are at its end once both include it
            theirs.apply(straddling.bids, straddling.asks)
    except BookError as error:
        return _not_comparable(market, snapshot, f"the snapshot contradicts itself: {error}")
    found = compare(ours, theirs)
    update_id = snapshot.last_update_id if straddling is None else straddling.last_id
    is_match = not found.differences
    reason = "" if is_match else f"{len(found.differences)} levels differ, the first at {found.differences[0]}"
    return Audit(
        market.symbol,
        AuditResult.MATCH if is_match else AuditResult.MISMATCH,
        reason,
        snapshot,
        market.last_update_id,
        update_id,
        found,
        None if is_match else ours.copy(),
        None if is_match else theirs,
    )


def _not_comparable(market: MarketBook | MarketView, snapshot: ExchangeBook, reason: str) -> Audit:
    return Audit(market.symbol, AuditResult.NOT_COMPARABLE, reason, snapshot, market.last_update_id)
