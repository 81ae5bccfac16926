"""What the demo shows, worked out from events: books, rates, gaps, lag, and what is new. Sans I/O, and without a clock.

Times are seconds on one monotonic clock, `_us` microseconds since the Unix epoch.
"""

from collections import Counter, deque
from collections.abc import Iterable, Mapping
from typing import Any, Final

from backpack_streams.books import BookUpdate, MarketBook, Outcome, Status
from backpack_streams.demo.news import NewsDesk, dead_letter_line, gap_line, status_line
from backpack_streams.demo.rates import RateWindow
from backpack_streams.demo.service_report import ServiceReport

__all__ = ["Board"]

RATE_WINDOW_SECONDS: Final = 5.0
SETTLED_SECONDS: Final = 1.0
"""So long the list of markets must have stood before all of it can count as LIVE."""
_LAG_ROUNDS: Final = 50
_STREAM_START: Final = "STREAM_START"
_DEPTH: Final = "market.depth"
_SEEDS: Final = "market.book_snapshot"


class Board:
    """Everything seen since the demo began. `started_at` is when that was."""

    def __init__(self, started_at: float) -> None:
        self._started_at = started_at
        self._expected: frozenset[str] = frozenset()
        self._expected_since = started_at
        self._markets: dict[str, MarketBook] = {}
        self._updates: Counter[str] = Counter()
        self._update_rates = RateWindow(RATE_WINDOW_SECONDS)
        self._broken: set[str] = set()
        self._first_ends: Mapping[str, int] = {}
        self._ends: Mapping[str, int] = {}
        self._topic_rates = RateWindow(RATE_WINDOW_SECONDS)
        self._depth_records_read = 0
        self._gaps: Counter[str] = Counter()
        self._dead_letters = 0
        self._services: dict[str, ServiceReport | None] = {}
        self._notes: dict[str, str] = {}
        self._frame_rates = RateWindow(RATE_WINDOW_SECONDS)
        self._newest_engine_us = 0
        self._lags_us: deque[int] = deque(maxlen=_LAG_ROUNDS)
        self.news = NewsDesk()
        self.all_live_after: float | None = None
        """Seconds from the start until every open market's book was `LIVE` for the first time."""

    # What happens.

    def saw_listing(self, open_symbols: Iterable[str], at: float) -> None:
        """The exchange's open markets, as Kafka has them: the books to expect."""
        expected = frozenset(open_symbols)
        if expected != self._expected:
            self._expected, self._expected_since = expected, at

    def saw_update(self, update: BookUpdate) -> None:
        """One event of one book."""
        market, outcome = update
        symbol = market.symbol
        self._markets[symbol] = market
        self._updates[symbol] += 1
        if outcome is Outcome.APPLIED:
            engine_us = market.engine_time
            if engine_us is not None and engine_us > self._newest_engine_us:
                self._newest_engine_us = engine_us
        elif outcome is Outcome.BROKE:
            self._broken.add(symbol)
            self.news.add(status_line(market))
        elif symbol in self._broken and market.status is Status.LIVE:
            self._broken.discard(symbol)
            self.news.add(f"{symbol} is LIVE again at update {market.last_update_id}")

    def saw_round_end(self, now_us: int) -> None:
        """The updates that Kafka gave at once have all been seen; the newest of them tells the lag."""
        if self._newest_engine_us:
            self._lags_us.append(now_us - self._newest_engine_us)
            self._newest_engine_us = 0

    def saw_ends(self, ends: Mapping[str, int], depth_records_read: int, at: float) -> None:
        """How many records each topic has had so far (its name without prefix), and how many of depth were read here."""
        if not self._first_ends:
            self._first_ends = ends
            self._depth_records_read = -depth_records_read
        self._ends = ends
        self._depth_records_read = self._depth_records_read if depth_records_read < 0 else depth_records_read
        self._topic_rates.add(at, ends)

    def saw_gap(self, gap: Mapping[str, Any]) -> None:
        """A record of the gap topic."""
        self._gaps[str(gap["reason"])] += 1
        if gap["reason"] != _STREAM_START:
            self.news.add(gap_line(gap))

    def saw_dead_letter(self, letter: Mapping[str, Any]) -> None:
        """A record of the dead letter topic."""
        self._dead_letters += 1
        self.news.add(dead_letter_line(letter))

    def saw_service(self, name: str, report: ServiceReport | None, note: str, at: float) -> None:
        """What a service says of itself, None where it does not answer; `note` is the last line of its log."""
        before = self._services.get(name)
        was_ready, is_ready = bool(before and before.is_ready), bool(report and report.is_ready)
        if is_ready != was_ready:
            reasons = "; ".join(report.reasons) if report else "it does not answer"
            self.news.add(f"{name} ready" if is_ready else f"{name} not ready: {reasons}")
        self._services[name] = report
        self._notes[name] = note
        frames = {each: float(known.frames) for each, known in self._services.items() if known}
        self._frame_rates.add(at, {"frames": sum(frames.values())})
