"""Tables for people, and the same figures as JSON for programs."""

from collections.abc import Sequence
from functools import partial

Row = Sequence[str]

show = partial(print, flush=True)
"""Flushed, because progress goes to stderr in between."""


def table(title: str, heads: Row, rows: Sequence[Row]) -> str:
    """Text columns: the first left-aligned, the others right-aligned."""
    lines = [heads, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(heads))]

    def line_of(cells: Row) -> str:
        first, *others = (
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(cells, widths, strict=True))
        )
        return "  ".join([first, *others]).rstrip()

    ruler = "-" * (sum(widths) + 2 * (len(widths) - 1))
    return "\n".join(["", title, ruler, line_of(heads), ruler, *map(line_of, rows)])


def whole(number: float) -> str:
    """With a thousands separator: `117,000`."""
    return f"{number:,.0f}"


def one(number: float) -> str:
    """One decimal."""
    return f"{number:.1f}"


def two(number: float) -> str:
    """Two decimals."""
    return f"{number:.2f}"


def percent(share: float) -> str:
    """A share in percent."""
    return f"{100 * share:.1f} %"


def times(ratio: float) -> str:
    """A factor."""
    return f"{ratio:.1f} x"
