"""News for people: one line each, and a flood of them is cut short. Sans I/O."""

from collections import deque
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from backpack_streams.books import MarketView

__all__ = ["NewsDesk", "book_left_live", "dead_letter_line", "gap_line"]

MOST_LINES_AT_ONCE: Final = 10
LINES_KEPT: Final = 20
_LONGEST_DETAIL_CHARACTERS: Final = 120


class _Line(NamedTuple):
    text: str
    is_milestone: bool


class NewsDesk:
    """Lines in order of arrival."""

    def __init__(self) -> None:
        self._waiting: list[str] = []
        self._left_out = 0
        self._latest: deque[_Line] = deque(maxlen=LINES_KEPT)
        self._latest_milestones: deque[_Line] = deque(maxlen=LINES_KEPT)

    def add(self, line: str) -> None:
        """Add a line. If lines arrive faster than `take` is called, the rest is only counted."""
        self._latest.append(_Line(line, is_milestone=False))
        if len(self._waiting) < MOST_LINES_AT_ONCE:
            self._waiting.append(line)
        else:
            self._left_out += 1

    def add_milestone(self, line: str) -> None:
        """Add a line that is never left out; there are few of them."""
        milestone = _Line(line, is_milestone=True)
        self._latest.append(milestone)
        self._latest_milestones.append(milestone)
        self._waiting.append(line)

    def take(self) -> list[str]:
        """Return the lines since the last call, oldest first: at most ten and the milestones, then how many were left out."""
        lines, self._waiting = self._waiting, []
        if self._left_out:
            lines.append(f"... and {self._left_out} more such lines")
            self._left_out = 0
        return lines

    @property
    def kept(self) -> int:
        """Number of lines that `latest` could return."""
        return len(self._latest)

    def latest(self, most: int) -> list[str]:
        """Return the last lines, oldest first, taken or not. Up to half of them are milestones that a flood would have washed away.

        Args:
            most: the maximum number of lines; of the last 20 lines and the last 20 milestones.
        """
        reserved = list(self._latest_milestones)[-(most // 2) :] if most // 2 else []
        lines = list(self._latest)[-most:] if most else []
        washed_away = [milestone for milestone in reserved if not any(milestone is line for line in lines)]
        for _ in washed_away:
            # Room for them is made by the oldest lines that are no milestones.
            lines.remove(next(line for line in lines if not line.is_milestone))
        return [line.text for line in (*washed_away, *lines)]


def book_left_live(market: MarketView) -> str:
    """Return the line for a book that is no longer LIVE."""
    return f"{market.symbol} is {market.status.value}: {market.reason}"


def gap_line(gap: Mapping[str, Any]) -> str:
    """Return the line for a `Gap` record."""
    last_id, next_id = gap["last_id"], gap["next_id"]
    where = "" if last_id is None and next_id is None else f" between {_id(last_id)} and {_id(next_id)}"
    return f"gap in {gap['stream']}{where}: {gap['reason']}, {_short(gap['detail'])}"


def dead_letter_line(letter: Mapping[str, Any]) -> str:
    """Return the line for a `DeadLetter` record."""
    return f"dead letter from {letter['origin'] or letter['source']}: {letter['reason']}, {_short(letter['detail'])}"


def _id(number: int | None) -> str:
    return "?" if number is None else str(number)


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST_DETAIL_CHARACTERS else line[: _LONGEST_DETAIL_CHARACTERS - 3] + "..."
