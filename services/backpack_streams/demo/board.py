"""The demo's state, computed from events: books, rates, gaps, lag, and news. Sans I/O, and without a clock.

Times are seconds on one monotonic clock; `_us` are microseconds since the Unix epoch. Topics have their names without the prefix.
"""

from collections import Counter, deque
from collections.abc import Iterable, Mapping
from statistics import median
from typing import Any, Final

from backpack_streams.books import BookUpdate, MarketView, Outcome, Status
from backpack_streams.demo.news import NewsDesk, book_left_live, dead_letter_line, gap_line
from backpack_streams.demo.rates import RateWindow
from backpack_streams.demo.rows import BookRow, Lag, ServiceRow, TopicRow, Totals, book_row
from backpack_streams.demo.service_report import ServiceReport

__all__ = ["Board"]

RATE_WINDOW_SECONDS: Final = 5.0
SETTLED_SECONDS: Final = 1.0
"""How long the list of markets must be unchanged before all of it can count as LIVE."""
_LAG_ROUNDS: Final = 20
_STREAM_START: Final = "STREAM_START"
_NO_LOSS: Final = frozenset({_STREAM_START, "REFILLED"})
_DEPTH: Final = "market.depth"
_SEEDS: Final = "market.book_snapshot"
_ALL_FRAMES: Final = "frames"


class Board:
    """Everything seen since the demo began at `started_at`.

    `first_ends` is the number of records in each topic before this demo wrote any.
    """

    def __init__(self, started_at: float, first_ends: Mapping[str, int]) -> None:
        self._started_at = started_at
        self._first_ends = first_ends
        self._ends = first_ends
        self._topic_rates = RateWindow(RATE_WINDOW_SECONDS)
        self._expected: frozenset[str] = frozenset()
        self._expected_since = started_at
        self._markets: dict[str, MarketView] = {}
        self._updates: Counter[str] = Counter()
        self._update_rates = RateWindow(RATE_WINDOW_SECONDS)
        self._broken: set[str] = set()
        self._unread_records = 0
        self._gaps: Counter[str] = Counter()
        self._dead_letters = 0
        self._services: dict[str, ServiceReport] = {}
        self._notes: dict[str, str] = {}
        self._frame_rates = RateWindow(RATE_WINDOW_SECONDS)
        self._newest_engine_us = 0
        self._lags_us: deque[int] = deque(maxlen=_LAG_ROUNDS)
        self.news = NewsDesk()
        self.all_live_after_seconds: float | None = None
        """Seconds from the start until the books of all open markets were `LIVE` for the first time."""

    # Events.

    def saw_listing(self, open_symbols: Iterable[str], at: float) -> None:
        """Take the exchange's open markets from Kafka: the books to expect."""
        expected = frozenset(open_symbols)
        if expected != self._expected:
            self._expected, self._expected_since = expected, at

    def saw_update(self, update: BookUpdate) -> None:
        """Take one event of one book."""
        market, outcome = update.market, update.outcome
        symbol = market.symbol
        self._markets[symbol] = market
        self._updates[symbol] += 1
        if outcome is Outcome.APPLIED:
            engine_us = market.engine_time
            if engine_us is not None and engine_us > self._newest_engine_us:
                self._newest_engine_us = engine_us
        elif outcome is Outcome.BROKE:
            self._broken.add(symbol)
            self.news.add(book_left_live(market))
        elif symbol in self._broken and market.status is Status.LIVE:
            self._broken.discard(symbol)
            self.news.add(f"{symbol} is LIVE again at update {market.last_update_id}")

    def saw_backlog_end(self) -> None:
        """Forget the newest update: the updates so far had waited for this reader, so their age does not measure the lag."""
        self._newest_engine_us = 0

    def saw_round_end(self, now_us: int) -> None:
        """All updates that Kafka has just received are seen; the age of the newest one is the lag. `now_us` is the wall clock."""
        if self._newest_engine_us:
            self._lags_us.append(now_us - self._newest_engine_us)
            self._newest_engine_us = 0

    def saw_ends(self, ends: Mapping[str, int], depth_records_read: int, at: float) -> None:
        """Take the number of records in each topic now, and the number of depth records read here since the first ends."""
        self._ends = ends
        self._unread_records = max(0, self._records(_DEPTH) - depth_records_read)
        self._topic_rates.add(at, ends)

    def saw_gap(self, gap: Mapping[str, Any]) -> None:
        """Take a record of the gap topic. A record that marks the start of a stream, or a refilled gap, is no news."""
        self._gaps[gap["reason"]] += 1
        if gap["reason"] not in _NO_LOSS:
            self.news.add(gap_line(gap))

    def saw_dead_letter(self, letter: Mapping[str, Any]) -> None:
        """Take a record of the dead letter topic."""
        self._dead_letters += 1
        self.news.add(dead_letter_line(letter))

    def saw_service(self, name: str, report: ServiceReport, note: str, at: float) -> None:
        """Take a service's report; `note` is the latest trouble in its log if the service is not ready."""
        known = self._services.get(name)
        if report.is_ready and not (known and known.is_ready):
            self.news.add_milestone(f"{name} ready")
        elif known and known.is_ready and not report.is_ready:
            self.news.add_milestone(f"{name} is not ready: {'; '.join(report.reasons)}")
        self._services[name] = report
        self._notes[name] = note
        self._frame_rates.add(at, {_ALL_FRAMES: sum(each.frames for each in self._services.values())})

    def tick(self, at: float) -> None:
        """Let time pass: call it about once a second, and as soon as all books may be LIVE."""
        self._update_rates.add(at, self._updates.copy())
        if (
            self.all_live_after_seconds is None
            and self._expected
            and at - self._expected_since >= SETTLED_SECONDS
            and self._live_books() == len(self._expected)
        ):
            self.all_live_after_seconds = at - self._started_at
            self.news.add_milestone(f"all {len(self._expected)} books LIVE after {self.all_live_after_seconds:.1f} s")

    # Views.

    @property
    def expected_symbols(self) -> frozenset[str]:
        """The open markets."""
        return self._expected

    def book_rows(self, now_us: int) -> list[BookRow]:
        """Return the books of the open markets, by symbol."""
        return [
            book_row(symbol, self._markets.get(symbol), self._update_rates.rate(symbol), now_us)
            for symbol in sorted(self._expected, key=str.casefold)
        ]

    def topic_rows(self) -> list[TopicRow]:
        """Return the topics that hold a record of this demo, in their declared order."""
        rows = [TopicRow(topic, self._records(topic), self._topic_rates.rate(topic)) for topic in self._ends]
        return [row for row in rows if row.records]

    def service_rows(self) -> list[ServiceRow]:
        """Return the services that have answered at least once."""
        return [
            ServiceRow(name, report.is_ready, "" if report.is_ready else self._notes[name] or "; ".join(report.reasons))
            for name, report in self._services.items()
        ]

    def totals(self, at: float) -> Totals:
        """Return the totals."""
        return Totals(
            up_seconds=at - self._started_at,
            live_books=self._live_books(),
            expected_books=len(self._expected),
            frames_per_second=self._frame_rates.rate(_ALL_FRAMES),
            records_per_second=sum(self._topic_rates.rate(topic) for topic in self._ends),
            gaps=sum(times for reason, times in self._gaps.items() if reason not in _NO_LOSS),
            streams_begun=self._gaps[_STREAM_START],
            dead_letters=self._dead_letters,
            seeds=self._records(_SEEDS),
            lag=self._lag(),
            unread_records=self._unread_records,
            waiting_bytes=sum(report.waiting_bytes for report in self._services.values()),
        )

    def _live_books(self) -> int:
        """Count only books that received an update in this demo: one that an earlier run left in Kafka is not live."""
        known = (self._markets.get(symbol) for symbol in self._expected)
        return sum(1 for market in known if market is not None and market.status is Status.LIVE)

    def _records(self, topic: str) -> int:
        return self._ends.get(topic, 0) - self._first_ends.get(topic, 0)

    def _lag(self) -> Lag | None:
        if not self._lags_us:
            return None
        return Lag(median(self._lags_us) / 1000, max(self._lags_us) / 1000)
