"""Applies gap records to books: gaps that no update shows, outages, and audits that found a book wrong. Sans I/O."""

from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

from backpack_streams.books.market_book import MarketBook, Outcome, Status

__all__ = ["GAP_PATIENCE_SECONDS", "KnownGaps"]

GAP_PATIENCE_SECONDS: Final = 1.0
"""How long a recorded gap waits for updates that confirm it, or that show that another producer published the missing ones."""
_DISCONNECTED = "DISCONNECTED"
_AUDIT_MISMATCH = "AUDIT_MISMATCH"
_GAPS_AT_MOST: Final = 16
"""How many gaps of a market are kept. Gaps of a sequence of ids that has ended are never reached, so they leave only by this limit."""
_OF_COVERAGE = frozenset(
    {"STREAM_START", "RESTART", _DISCONNECTED, "SUBSCRIPTION_REFUSED", "SUBSCRIPTION_SILENT", "NOT_SUBSCRIBED"}
)
"""Reasons of gaps in which one instance covered nothing. Watermarks show whether another instance did; the gap record does not."""


class _KnownGap(NamedTuple):
    """A producer reports that the updates after `last_id` are missing; the report counts from `due` (seconds of the reader's clock) on."""

    last_id: int
    due: float
    is_outage: bool
    """No socket brought updates."""
    is_over: bool
    """A socket is up again."""
    detected_us: int


class _Wrong(NamedTuple):
    """An audit found that the book differed from the exchange's at `last_id`."""

    last_id: int
    detected_us: int
    seen_us: int | None
    """When the exchange had not reached `last_id` yet (µs); None if the audit compared both books at one update id."""


class KnownGaps:
    """The gaps of each market that its book has not reached yet. Of two producers, the slower one may report an earlier gap last.

    Usually two updates show a gap. If no update follows, only the gap record reports it.
    """

    __slots__ = ("_gaps", "_wrong")

    def __init__(self) -> None:
        self._gaps: dict[str, dict[tuple[int, bool], _KnownGap]] = {}
        """By symbol, then by last id and by whether it is an outage: an outage does not replace a loss after the same id."""
        self._wrong: dict[str, _Wrong] = {}

    def __bool__(self) -> bool:
        return bool(self._gaps or self._wrong)

    def take(self, gap: Mapping[str, Any], now: float, *, is_covered: bool = False) -> None:
        """Take a Gap record; gaps of other streams than `depth.<symbol>`, and gaps without a last id, are ignored.

        Args:
            gap: the decoded record; times in µs since the Unix epoch.
            now: current time in seconds, of the clock that `due` uses as well.
            is_covered: whether watermarks decide coverage, so that gap records count only as losses.

        Raises:
            KeyError: the record is no Gap record.
        """
        symbol, last_id = gap["symbol"], gap["last_id"]
        if last_id is None or gap["stream"] != f"depth.{symbol}" or (is_covered and gap["reason"] in _OF_COVERAGE):
            return
        if gap["reason"] == _AUDIT_MISMATCH:
            seen_us = None if gap["next_id"] is None else gap["next_time"]
            self._wrong[symbol] = _Wrong(last_id, gap["detected_time"], seen_us)
            return
        is_outage = gap["reason"] == _DISCONNECTED
        is_over = gap["next_time"] is not None
        has_waited = is_over if is_outage else gap["next_id"] is None
        patience = 0.0 if has_waited else GAP_PATIENCE_SECONDS
        gaps = self._gaps.setdefault(symbol, {})
        gaps[last_id, is_outage] = _KnownGap(last_id, now + patience, is_outage, is_over, gap["detected_time"])
        if len(gaps) > _GAPS_AT_MOST:
            del gaps[next(iter(gaps))]

    def due(
        self, books: Mapping[str, MarketBook], snapshot_us: Mapping[str, int], now: float
    ) -> Iterator[tuple[MarketBook, Outcome]]:
        """Apply the gaps that the books have reached; yield each affected book with its outcome.

        Args:
            books: the books by symbol.
            snapshot_us: when the last snapshot of each market was received (µs since the Unix epoch), by symbol. One
                received after an outage shows that nothing was missed.
            now: current time in seconds, of the clock that `take` uses as well.
        """
        for symbol, wrong in list(self._wrong.items()):
            market = books.get(symbol)
            if market is not None:  # if the book appears later, the audit is applied then
                del self._wrong[symbol]
                yield market, _accuse(market, wrong)
        for symbol, gaps in list(self._gaps.items()):
            market = books.get(symbol)
            if market is None:
                del self._gaps[symbol]
                continue
            yield from _due_of(market, gaps, snapshot_us.get(symbol, 0), now)
            if not gaps:
                del self._gaps[symbol]


def _due_of(
    market: MarketBook, gaps: dict[tuple[int, bool], _KnownGap], snapshot_us: int, now: float
) -> Iterator[tuple[MarketBook, Outcome]]:
    for each, gap in list(gaps.items()):
        if market.newest_id > gap.last_id:
            del gaps[each]  # later updates have arrived and show the gap themselves
        elif market.newest_id == gap.last_id and now >= gap.due:
            del gaps[each]
            outcome = _mark(market, gap, snapshot_us)
            if outcome is not None:
                yield market, outcome


def _accuse(market: MarketBook, wrong: _Wrong) -> Outcome:
    if wrong.seen_us is not None:
        why = f"an audit found updates up to {wrong.last_id} in the topic that the exchange never sent"
        return market.on_ahead(wrong.last_id, wrong.seen_us, why)
    why = f"an audit found it to differ from the exchange's book, at update {wrong.last_id}"
    return market.on_wrong(wrong.last_id, wrong.detected_us, why)


def _mark(market: MarketBook, gap: _KnownGap, snapshot_us: int) -> Outcome | None:
    if gap.is_outage and gap.is_over:
        if snapshot_us > gap.detected_us:
            return None
        return market.on_outage_over(f"no socket was up after update {gap.last_id}, and nothing has come since")
    if gap.is_outage:
        return market.on_outage(f"no socket is up since update {gap.last_id}")
    # Both a book that is catching up (SYNCING) and one without a valid watermark (STALE) take the gap now: it is reported only once.
    is_usable = market.is_whole or market.status is not Status.STALE
    if is_usable and market.last_update_id == gap.last_id:
        return market.on_unreadable(f"the producer lost what follows update {gap.last_id}", gap.detected_us)
    return None
