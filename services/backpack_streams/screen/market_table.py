"""The markets as a table that fits a width: columns without room are left out, the least important first. Sans I/O."""

from collections.abc import Callable, Collection, Sequence
from typing import Final, NamedTuple

from backpack_streams.screen.figures import NONE, age, compact, percent, price
from backpack_streams.screen.lines import Line, Part, Tone, cut, line
from backpack_streams.screen.market_rows import MarketRow

__all__ = ["columns_that_fit", "market_table"]

_GAP: Final = "  "
_BOOK_WIDTH: Final = 14
"""Minimum width of the status of a book, as in `SYNCING  1.2 s`."""
_STATUS_TONES: Final = {"LIVE": Tone.GOOD, "SYNCING": Tone.WARN, "STALE": Tone.BAD}


class _Column(NamedTuple):
    name: str
    title: str
    show: Callable[[MarketRow], str]


_SYMBOL: Final = _Column("symbol", "market", lambda row: row.symbol)
_FIGURES: Final = (
    _Column("bid", "bid", lambda row: row.bid[0] if row.bid else NONE),
    _Column("ask", "ask", lambda row: row.ask[0] if row.ask else NONE),
    _Column("price", "price", lambda row: price(row.price)),
    _Column("change", "24 h", lambda row: percent(row.change)),
    _Column("volume", "volume", lambda row: compact(row.quote_volume)),
    _Column("funding", "funding", lambda row: percent(row.funding_rate, 4)),
    _Column("interest", "interest", lambda row: compact(row.interest_value)),
)
_IMPORTANCE: Final = ("price", "change", "volume", "funding", "interest", "bid", "ask")


def columns_that_fit(widths: Sequence[tuple[str, int]], room: int) -> frozenset[str]:
    """Return the names of the columns that fit.

    The first column without room ends the selection, so that no column takes the place of a more important one.

    Args:
        widths: name and width of each column, the most important first. A column also needs the two blanks before it.
        room: the available characters.
    """
    shown = []
    for name, wide in widths:
        room -= wide + len(_GAP)
        if room < 0:
            break
        shown.append(name)
    return frozenset(shown)


def market_table(
    rows: Sequence[MarketRow], width: int, order: str = "", *, all_rows: Sequence[MarketRow] = ()
) -> list[Line]:
    """Return a heading, and a line for each row.

    Args:
        rows: the markets to show.
        width: the maximum width of a line, in characters.
        order: the name of the column whose title is highlighted; empty for none.
        all_rows: rows that are shown at other times, so that columns keep their widths when the rows change.
    """
    measured = all_rows or rows
    widths = {each.name: _width(each, measured) for each in (_SYMBOL, *_FIGURES)}
    room = width - widths["symbol"] - len(_GAP) - _BOOK_WIDTH
    fitting = columns_that_fit([(name, widths[name]) for name in _IMPORTANCE], room)
    shown = [each for each in _FIGURES if each.name in fitting]
    heading = line(
        Part(f"{_SYMBOL.title:<{widths['symbol']}}", _heading_tone("symbol", order)),
        *(Part(f"{_GAP}{each.title:>{widths[each.name]}}", _heading_tone(each.name, order)) for each in shown),
        Part(f"{_GAP}book", _heading_tone("book", order)),
    )
    return [cut(each, width) for each in (heading, *(_line(row, shown, widths) for row in rows))]


def _width(column: _Column, rows: Collection[MarketRow]) -> int:
    return max(len(column.title), *(len(column.show(row)) for row in rows)) if rows else len(column.title)


def _heading_tone(name: str, order: str) -> Tone:
    return Tone.STRONG if name == order else Tone.LABEL


def _line(row: MarketRow, shown: Sequence[_Column], widths: dict[str, int]) -> Line:
    """Return the line of a market. If its book is not LIVE, its figures are dimmed, because they may not be current."""
    usual = Tone.PLAIN if row.is_live or not row.status else Tone.DIM
    cells = [Part(f"{row.symbol:<{widths['symbol']}}", usual)]
    for column in shown:
        tone = _direction(row) if column.name == "change" and usual is Tone.PLAIN else usual
        cells.append(Part(f"{_GAP}{column.show(row):>{widths[column.name]}}", tone))
    return line(*cells, _GAP, *_book(row))


def _direction(row: MarketRow) -> Tone:
    if not row.change:
        return Tone.PLAIN
    return Tone.UP if row.change > 0 else Tone.DOWN


def _book(row: MarketRow) -> list[Part]:
    if not row.status:
        return [Part("no book", Tone.DIM)]
    status = Part(row.status, _STATUS_TONES.get(row.status, Tone.DIM))
    if row.is_live:
        return [status, Part(f"{_GAP}{age(row.age_ms)}", Tone.DIM)]
    return [status, Part(f"{_GAP}{row.reason}")]
