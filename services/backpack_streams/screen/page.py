"""A whole page: state, health and markets, arranged on the lines of a terminal. Sans I/O."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from backpack_streams.screen.figures import count
from backpack_streams.screen.health import health_lines, kafka_trouble, messages_per_second, not_live_lines
from backpack_streams.screen.lines import Line, Part, Tone, cut, line
from backpack_streams.screen.market_rows import MarketRow
from backpack_streams.screen.market_table import market_table
from backpack_streams.screen.view import View

__all__ = ["divided", "headline", "lines_of_all", "market_lines", "summary", "trouble_lines", "whole"]

_HEADING_LINES: Final = 1
_MARKETS_AT_LEAST: Final = 4
"""Lines that the markets with their heading get before health gets any."""
_EVERY_LINE: Final = 10_000


def headline(title: str, view: View) -> Line:
    """Return the first line: the number of LIVE books, messages per second, and the time (UTC).

    Args:
        title: the text at its beginning.
        view: the markets and the plant.
    """
    live, expected = view.live_books, view.expected_books
    tone = Tone.GOOD if 0 < live == expected and view.is_current else Tone.WARN
    return line(
        Part(title, Tone.STRONG),
        "   ",
        Part(f"{live} of {expected} books LIVE", tone),
        f"   {count(messages_per_second(view))} messages/s",
        Part(f"   {datetime.fromtimestamp(view.time_us // 1_000_000, UTC):%H:%M:%S} UTC", Tone.DIM),
    )


def trouble_lines(view: View) -> list[Line]:
    """Return a line that says why the rest may be out of date; no line while Kafka answers."""
    trouble = kafka_trouble(view)
    return [line(Part(trouble, Tone.BAD))] if trouble else []


def market_lines(
    rows: Sequence[MarketRow],
    width: int,
    height: int,
    order: str = "",
    first: int = 0,
    *,
    is_search: bool = False,
) -> list[Line]:
    """Return the heading and the rows that fit, and if not all do, a line that counts the others.

    Args:
        rows: the markets in the order to show.
        width: the maximum width of a line, in characters.
        height: the maximum number of lines.
        order: the name of the column whose title is highlighted; empty for none.
        first: index of the first row to show; it is reduced so that the page is full.
        is_search: whether a search chose the rows, which matters for the text if there are none.
    """
    if not rows:
        nothing = "no market matches" if is_search else "no market is known yet"
        return [cut(line(Part(nothing, Tone.WARN)), width)][: max(0, height)]
    room = max(1, height - _HEADING_LINES)
    if len(rows) <= room:
        return market_table(rows, width, order)[: max(0, height)]
    first = max(0, min(first, len(rows) - room + 1))
    shown = rows[first : first + room - 1]
    live = sum(row.is_live for row in rows) - sum(row.is_live for row in shown)
    rest = f"{first + 1}-{first + len(shown)} of {len(rows)} markets; {live} of the others LIVE"
    lines = market_table(shown, width, order, all_rows=rows)
    return [*lines, cut(line(Part(rest, Tone.DIM)), width)][: max(0, height)]


def divided(view: View, markets: int, width: int, height: int) -> tuple[list[Line], int]:
    """Return the lines of health, and how many lines are left for the markets.

    Health gets the lines that the markets leave, or up to half of all lines if that is more. A few lines of markets are
    always left.

    Args:
        view: the markets and the plant.
        markets: the number of markets to show.
        width: the maximum width of a line, in characters.
        height: the number of lines to divide.
    """
    all_markets = _HEADING_LINES + max(1, markets)
    for_health = max(height - all_markets - 1, min(height // 2, height - min(all_markets, _MARKETS_AT_LEAST)))
    health = [cut(each, width) for each in health_lines(view, for_health)]
    gap = [line()] if height - len(health) > _MARKETS_AT_LEAST else []
    return [*health, *gap], height - len(health) - len(gap)


def lines_of_all(view: View) -> int:
    """Return how many lines health and all markets need."""
    return len(health_lines(view, _EVERY_LINE)) + 1 + _HEADING_LINES + max(1, len(view.rows))


def whole(title: str, view: View, rows: Sequence[MarketRow], width: int, order: str = "") -> list[Line]:
    """Return the whole page, however many lines it has.

    Args:
        title: the text at the beginning of the first line.
        view: the markets and the plant.
        rows: the markets in the order to show.
        width: the maximum width of a line of the markets, in characters.
        order: the name of the column whose title is highlighted; empty for none.
    """
    return [
        headline(title, view),
        *trouble_lines(view),
        *health_lines(view, _EVERY_LINE),
        line(),
        *market_lines(rows, width, _EVERY_LINE, order, is_search=bool(view.rows)),
    ]


def summary(title: str, view: View) -> list[Line]:
    """Return the headline, and a line for each problem: Kafka does not answer, or books are not LIVE."""
    return [headline(title, view), *trouble_lines(view), *not_live_lines(view)]
