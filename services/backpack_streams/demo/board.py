"""The demo's milestones and news, computed from events: when books leave LIVE and come back, gaps, dead letters. Sans I/O.

Without a clock: times are seconds on one monotonic clock. Markets and health of the plant are the view that `top` shows.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from backpack_streams.books import MarketView, Status
from backpack_streams.demo.news import NewsDesk, book_left_live, dead_letter_line, gap_line
from backpack_streams.demo.program_states import ProgramStates
from backpack_streams.demo.rows import ServiceRow, Totals
from backpack_streams.screen.view import View

__all__ = ["Board"]

SETTLED_SECONDS: Final = 1.0
"""How long the list of markets must be unchanged before all of it can count as LIVE."""
_NO_LOSS: Final = frozenset({"STREAM_START", "REFILLED"})


class Board:
    """Everything seen since the demo began.

    Args:
        started_at: when it began, monotonic seconds.
        programs: the state of the programs, shown next to the markets.
        look: returns markets and health of the plant as they are now.

    Attributes:
        news: takes and keeps the lines about events.
    """

    def __init__(self, started_at: float, programs: ProgramStates, look: Callable[[], View]) -> None:
        self._started_at = started_at
        self._programs = programs
        self.look = look
        self._expected: frozenset[str] = frozenset()
        self._expected_since = started_at
        self._live: set[str] = set()
        self._breaks_when_live: dict[str, int] = {}
        """How often each book had left `LIVE` when it was last seen `LIVE`."""
        self._broken: set[str] = set()
        self._not_all_live_since: float | None = None
        self._gaps = 0
        self._dead_letters = 0
        self.news = NewsDesk()
        self.all_live_after_seconds: float | None = None
        """Seconds from the start until the books of all open markets were `LIVE` for the first time."""

    # Events.

    def saw_listing(self, open_symbols: Iterable[str], at: float) -> None:
        """Take the exchange's open markets from Kafka: the books to expect.

        Args:
            open_symbols: all of them.
            at: monotonic seconds; a change of the list restarts the time that it must be unchanged.
        """
        expected = frozenset(open_symbols)
        if expected != self._expected:
            self._expected, self._expected_since = expected, at

    def saw_book(self, market: MarketView) -> None:
        """Take a book that changed; tell when it leaves `LIVE`, for whatever reason, and when it is back.

        Changes are conflated, so a book may be back before anybody looks; its count of breaks tells.
        """
        symbol = market.symbol
        if market.status is not Status.LIVE:
            self._live.discard(symbol)
            if symbol in self._breaks_when_live and symbol not in self._broken:
                self._broken.add(symbol)
                self.news.add(book_left_live(market))
            return
        if symbol not in self._broken and market.breaks > self._breaks_when_live.get(symbol, market.breaks):
            self._broken.add(symbol)
            self.news.add(f"{symbol} was not LIVE for a moment")
        self._live.add(symbol)
        self._breaks_when_live[symbol] = market.breaks
        if symbol in self._broken:
            self._broken.discard(symbol)
            self.news.add(f"{symbol} is LIVE again at update {market.last_update_id}")

    def saw_gap(self, gap: Mapping[str, Any]) -> None:
        """Take a record of the gap topic. A record that marks the start of a stream, or a refilled gap, is no news.

        Args:
            gap: the decoded `Gap` record.
        """
        if gap["reason"] not in _NO_LOSS:
            self._gaps += 1
            self.news.add(gap_line(gap))

    def saw_dead_letter(self, letter: Mapping[str, Any]) -> None:
        """Take a record of the dead letter topic; each one counts and is news.

        Args:
            letter: the decoded `DeadLetter` record.
        """
        self._dead_letters += 1
        self.news.add(dead_letter_line(letter))

    def tick(self, at: float) -> None:
        """Let time pass: call it about once a second, and as soon as all books may be LIVE.

        Args:
            at: monotonic seconds. Milestones wait until the list of markets has been unchanged for a second.
        """
        if not self._expected or at - self._expected_since < SETTLED_SECONDS:
            return
        live, expected = self._live_books(), len(self._expected)
        if self.all_live_after_seconds is None:
            if live == expected:
                self.all_live_after_seconds = at - self._started_at
                self.news.add_milestone(f"all {expected} books LIVE after {self.all_live_after_seconds:.1f} s")
        elif self._broken & self._expected:
            self._not_all_live_since = self._not_all_live_since or at
        elif self._not_all_live_since is not None and live == expected:
            seconds, self._not_all_live_since = at - self._not_all_live_since, None
            self.news.add_milestone(f"all {expected} books LIVE again after {seconds:.1f} s")

    # Views.

    @property
    def expected_symbols(self) -> frozenset[str]:
        """The open markets."""
        return self._expected

    def service_rows(self) -> list[ServiceRow]:
        """Return the programs that were seen at least once."""
        return self._programs.rows()

    def totals(self, at: float) -> Totals:
        """Return the totals since the demo began.

        Args:
            at: monotonic seconds, for the time that the demo is up.
        """
        return Totals(
            up_seconds=at - self._started_at,
            live_books=self._live_books(),
            expected_books=len(self._expected),
            frames_per_second=self._programs.frames_per_second,
            gaps=self._gaps,
            dead_letters=self._dead_letters,
            waiting_bytes=self._programs.waiting_bytes,
            restarts=self._programs.restarts,
        )

    def _live_books(self) -> int:
        return len(self._live & self._expected)
