"""Decides which books to fetch next, for resyncs and for audits, and whether a snapshot is usable. Sans I/O."""

import random
from collections.abc import Iterable
from dataclasses import dataclass
from math import inf

from backpack_streams.backoff import Backoff

FIRST_RETRY_SECONDS = 0.3
LONGEST_RETRY_SECONDS = 30.0
FRESH_SECONDS = 120.0
"""How long a published snapshot can make another one unnecessary. Limited, because a relisted market restarts its ids."""
RECHECK_SECONDS = 30.0
"""When to take the next snapshot after a wrong book was resynced, to verify the new book."""
BEHIND_SECONDS = 60.0
"""How long older answers count as those of a server that lags."""
UNFIT_SECONDS = 300.0
"""Delay before a book is requested again after its snapshot did not fit the record."""
AUDIT_SPACING_SECONDS = 10.0
"""A snapshot younger than this satisfies an audit request."""


@dataclass(slots=True)
class SnapshotRequest:
    """A book to fetch.

    Attributes:
        symbol: the market.
        urgent: whether it closes a gap.
        minimum_id: the lowest useful update id, because updates after an older snapshot are missing; None for any.
        due: when to fetch it (monotonic seconds).
        attempts: earlier attempts.
        audit_requested: whether an audit of the book was requested.
        open_since: since when a gap has waited for it (monotonic seconds).
    """

    symbol: str
    urgent: bool
    minimum_id: int | None
    due: float
    attempts: int = 0
    audit_requested: bool = False
    open_since: float = inf


class SnapshotPlan:
    """The books to fetch, each at most once. Times are monotonic seconds."""

    def __init__(self, refresh_seconds: float, rng: random.Random | None = None) -> None:
        """Prepare.

        Args:
            refresh_seconds: time between two snapshots of a book without any other reason; 0 for none.
            rng: randomizes the delays of retries.
        """
        self._refresh_seconds = refresh_seconds
        self._waiting: dict[str, SnapshotRequest] = {}
        self._fetching: dict[str, SnapshotRequest] = {}
        self._open: dict[str, float] = {}
        self._minimum: dict[str, int] = {}
        """By market, the lowest update id that closes the newest gap with a known end."""
        self._reached: dict[str, int] = {}
        """By market, the lowest update id after the newest gap without a known end: the ids may have restarted since."""
        self._published: dict[str, tuple[int, float]] = {}
        self._proving_from: dict[str, int] = {}
        """By market, the end of the watermark topic before its newest snapshot was requested."""
        self._asked_before: set[str] = set()
        """Markets whose snapshot was requested before the watermark topic was recreated: its offset is of the former topic."""
        self._behind_since: dict[str, float] = {}
        """By market, since when the exchange has answered with older books than before."""
        self._rechecks: set[str] = set()
        self._not_before_us: dict[str, int] = {}
        self._backoff = Backoff(FIRST_RETRY_SECONDS, LONGEST_RETRY_SECONDS, rng)

    def set_open(self, symbols: Iterable[str], now: float) -> None:
        """Set the open markets. New ones are fetched at once, the others are forgotten."""
        symbols = list(symbols)
        for symbol in self._open.keys() - set(symbols):
            del self._open[symbol]
            # A relisted market may restart its ids.
            for known in (self._published, self._minimum, self._reached, self._behind_since):
                known.pop(symbol, None)
            self._rechecks.discard(symbol)
            self._waiting.pop(symbol, None)
        for symbol in symbols:
            if symbol not in self._open:
                self._open[symbol] = now
                self._ask(SnapshotRequest(symbol, urgent=False, minimum_id=self._minimum.get(symbol), due=now))

    def gap(self, symbol: str, last_id: int | None, next_id: int | None, now: float) -> bool:
        """Take a gap: its book goes first.

        Returns False if the market is not open, or if a snapshot published just before already includes the end of the
        gap: at startup, the snapshot and the first update race each other.

        Args:
            symbol: the market.
            last_id: the last update id before the gap, None if unknown.
            next_id: the first update id after the gap, None if unknown.
            now: the time.
        """
        self.recall(symbol, last_id, next_id)
        if symbol not in self._open or self._is_covered(symbol, last_id, next_id, now):
            return False
        self._ask(SnapshotRequest(symbol, urgent=True, minimum_id=self._minimum.get(symbol), due=now, open_since=now))
        return True

    def found_wrong(self, symbol: str, last_id: int, now: float) -> bool:
        """Take an audit that found the book wrong. A snapshot from `last_id` on resyncs it, and the next one follows soon
        after to verify it.

        The market may be quiet and still be at that id. Returns False if the market is not open.

        Args:
            symbol: the market.
            last_id: the update id that the book had reached.
            now: the time.
        """
        if not self.gap(symbol, last_id - 1, None, now):
            return False
        self._rechecks.add(symbol)
        return True

    def found_ahead(self, symbol: str, found_us: int, now: float) -> bool:
        """Take an audit that found the topic ahead of the exchange: any snapshot from now on resyncs the book. Returns
        False if the market is not open.

        Args:
            symbol: the market.
            found_us: when the audit found it (µs since the Unix epoch, our clock).
            now: the time.
        """
        self.recall_ahead(symbol, found_us)
        if symbol not in self._open:
            return False
        self._rechecks.add(symbol)
        self._ask(SnapshotRequest(symbol, urgent=True, minimum_id=None, due=now, open_since=now))
        return True

    def recall_ahead(self, symbol: str, found_us: int) -> None:
        """Note that the topic's updates up to `found_us` (µs since the Unix epoch, our clock) are not the exchange's, so
        no reader may start there.
        """
        for known in (self._minimum, self._reached, self._published):
            known.pop(symbol, None)
        self._not_before_us[symbol] = found_us

    def not_before_us(self, symbol: str) -> int:
        """Return the time from which a market's updates may follow a snapshot (µs since the Unix epoch); 0 for any."""
        return self._not_before_us.get(symbol, 0)

    def request_audit(self, symbol: str, now: float) -> bool:
        """Take an audit request: the book's next snapshot comes before all but those that close gaps.

        Returns False if the market is not open, or if a snapshot was published just before.
        """
        _, published_at = self._published.get(symbol, (0, -inf))
        if symbol not in self._open or now - published_at < AUDIT_SPACING_SECONDS:
            return False
        self._ask(SnapshotRequest(symbol, False, self._minimum.get(symbol), due=now, audit_requested=True))
        return True

    def coverage_restarted(self, symbol: str, watermark_offset: int, now: float) -> bool:
        """Take a restart of coverage: a snapshot requested after its watermark proves the book.

        Returns False if the market is not open or has such a snapshot already.

        Args:
            symbol: the market.
            watermark_offset: the offset of the watermark that states the new coverage.
            now: the time.
        """
        if symbol not in self._open or self._proving_from.get(symbol, -1) > watermark_offset:
            return False
        self._ask(SnapshotRequest(symbol, False, self._minimum.get(symbol), due=now, audit_requested=True))
        return True

    def watermarks_recreated(self) -> None:
        """Forget offsets of the watermark topic, which was recreated."""
        self._proving_from.clear()
        self._asked_before = set(self._fetching)

    def recall(self, symbol: str, last_id: int | None, next_id: int | None) -> None:
        """Note the newest known gap: later snapshots must include its end.

        Args:
            symbol: the market.
            last_id: the last update id before the gap, None if unknown.
            next_id: the first update id after the gap, None if unknown.
        """
        if next_id is not None and last_id is not None and next_id <= last_id:  # the ids restarted
            self._published.pop(symbol, None)
        if next_id is not None:
            self._minimum[symbol] = next_id - 1
            self._reached.pop(symbol, None)
        elif last_id is not None:
            self._reached[symbol] = max(last_id + 1, self._reached.get(symbol, 0))

    def _is_covered(self, symbol: str, last_id: int | None, next_id: int | None, now: float) -> bool:
        published_id, published_at = self._published.get(symbol, (0, 0.0))
        went_back = next_id is None or (last_id is not None and next_id <= last_id)
        return (
            not went_back and next_id is not None and published_id >= next_id - 1 and now - published_at < FRESH_SECONDS
        )

    def next(self, now: float) -> SnapshotRequest | None:
        """Return the next request: urgent ones first, then requested audits, then the one that has been due longest. None
        if none is due.
        """
        due = [
            request for request in self._waiting.values() if request.due <= now and request.symbol not in self._fetching
        ]
        if not due:
            return None
        chosen = min(due, key=lambda request: (not request.urgent, not request.audit_requested, request.due))
        del self._waiting[chosen.symbol]
        self._fetching[chosen.symbol] = chosen
        return chosen

    def next_due(self) -> float | None:
        """Return when the next request is due, None if there is none."""
        return min(
            (request.due for request in self._waiting.values() if request.symbol not in self._fetching), default=None
        )

    def accepts(self, request: SnapshotRequest, last_update_id: int, now: float) -> bool:
        """Whether a snapshot reaches the end of the gap that it should close, and is not older than one that was
        published, or than the stream before a gap without a known end.

        A single answer may come from a server that lags. Ids that stay lower than before for `BEHIND_SECONDS` have
        restarted; gaps from before no longer count.

        Args:
            request: the request that it answers.
            last_update_id: the last update id in the snapshot.
            now: the time.
        """
        newest_id, _ = self._published.get(request.symbol, (0, -inf))
        if max(last_update_id, newest_id) < (request.minimum_id or 0):
            return False
        if last_update_id >= self.least_id(request):
            self._behind_since.pop(request.symbol, None)
            return True
        if now - self._behind_since.setdefault(request.symbol, now) < BEHIND_SECONDS:
            return False
        if self._minimum.get(request.symbol) == request.minimum_id:  # otherwise a gap was found during the fetch
            self._minimum.pop(request.symbol, None)
        self._reached.pop(request.symbol, None)
        return True

    def least_id(self, request: SnapshotRequest) -> int:
        """Return the lowest update id that a snapshot must have."""
        newest_id, _ = self._published.get(request.symbol, (0, -inf))
        return max(request.minimum_id or 0, newest_id, self._reached.get(request.symbol, 0))

    def recall_published(self, symbol: str, last_update_id: int) -> None:
        """Note the newest snapshot in the topic from before this start; new answers must not be older."""
        self._published[symbol] = last_update_id, -inf

    def done(
        self, request: SnapshotRequest, last_update_id: int, now: float, watermark_offset: int | None = None
    ) -> None:
        """Note a published snapshot. The next one is due after the refresh interval.

        Args:
            request: the request.
            last_update_id: the last update id in the snapshot.
            now: when it came.
            watermark_offset: the field of its record, None if there is no watermark topic.
        """
        self._fetching.pop(request.symbol, None)
        if watermark_offset is None or request.symbol in self._asked_before:
            watermark_offset = -1
        self._asked_before.discard(request.symbol)
        self._proving_from[request.symbol] = watermark_offset
        self._published[request.symbol] = last_update_id, now
        interval = self._refresh_seconds or inf
        if request.urgent and request.symbol in self._rechecks:
            self._rechecks.discard(request.symbol)
            interval = min(interval, RECHECK_SECONDS)
        if request.symbol in self._open and interval < inf and request.symbol not in self._waiting:
            due = now + interval
            self._ask(
                SnapshotRequest(request.symbol, urgent=False, minimum_id=self._minimum.get(request.symbol), due=due)
            )

    def put_off(self, request: SnapshotRequest, now: float) -> None:
        """Postpone a book whose snapshots do not fit the record; the next ones will hardly fit either."""
        self._fetching.pop(request.symbol, None)
        if request.symbol in self._open and request.symbol not in self._waiting:
            request.due = now + UNFIT_SECONDS
            self._waiting[request.symbol] = request

    def failed(self, request: SnapshotRequest, now: float) -> float:
        """Schedule a retry after an attempt without a usable snapshot. Returns the delay in seconds."""
        self._fetching.pop(request.symbol, None)
        delay = self._backoff.delay_seconds(request.attempts)
        waiting = self._waiting.get(request.symbol)
        if waiting is not None:
            waiting.open_since = min(waiting.open_since, request.open_since)
        elif request.symbol in self._open:
            retry = SnapshotRequest(request.symbol, request.urgent, self._minimum.get(request.symbol), now + delay)
            retry.attempts = request.attempts + 1
            retry.audit_requested = request.audit_requested
            retry.open_since = request.open_since
            self._waiting[request.symbol] = retry
        return delay

    def give_back(self, request: SnapshotRequest) -> None:
        """Take back a request whose fetch was abandoned. It stays due, since the exchange did not fail."""
        self._fetching.pop(request.symbol, None)
        if request.symbol in self._open:
            request.minimum_id = self._minimum.get(request.symbol)
            self._ask(request)

    def open_requests(self) -> int:
        """Return how many urgent books are still to be fetched."""
        return sum(1 for each in (*self._waiting.values(), *self._fetching.values()) if each.urgent)

    def oldest_open_seconds(self, now: float) -> float:
        """Return how long the oldest gap has waited for a snapshot; 0 if there is none."""
        requests = (*self._waiting.values(), *self._fetching.values())
        return max(0.0, now - min((each.open_since for each in requests), default=inf))

    def _ask(self, request: SnapshotRequest) -> None:
        """Add a request. It replaces a waiting one, but never makes it less urgent or later."""
        earlier = self._waiting.get(request.symbol)
        if earlier is not None:
            request.urgent = request.urgent or earlier.urgent
            request.audit_requested = request.audit_requested or earlier.audit_requested
            request.due = min(request.due, earlier.due)
            request.open_since = min(request.open_since, earlier.open_since)
        self._waiting[request.symbol] = request
