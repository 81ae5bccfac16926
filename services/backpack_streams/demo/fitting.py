"""Fits the demo's own lines on a screen: which commands to try can be copied, how many news, which programs come first. Sans I/O."""

from collections.abc import Sequence
from typing import Final, NamedTuple

from backpack_streams.demo.rows import ServiceRow

__all__ = ["HEADER_LINES", "STATUS_LINES", "TRY_LINES_AT_LEAST", "Lines", "commands_that_fit", "fit", "troubled_first"]

TRY_LINES_AT_LEAST: Final = 2
"""Lines of the header for commands to try."""
HEADER_LINES: Final = 4 + TRY_LINES_AT_LEAST
STATUS_LINES: Final = 2
_NEWS_LINES_AT_LEAST: Final = 1
_NEWS_LINES_AT_MOST: Final = 5


class Lines(NamedTuple):
    """Lines for each part of the screen, besides the header and the status."""

    plant: int
    """For health and markets."""
    news: int
    more_tries: int
    """For commands to try, besides those in the header; all or none."""


def fit(height: int, *, plant: int, news: int, more_tries: int) -> Lines:
    """Divide a screen.

    If it is too small, the further commands to try are left out, then the news is cut; health and markets take the
    rest.

    Args:
        height: lines of the screen.
        plant: lines that health and markets would take.
        news: lines of news that there are; at most 5 are shown.
        more_tries: commands to try besides those in the header.
    """
    room, news = max(0, height - HEADER_LINES - STATUS_LINES), min(news, _NEWS_LINES_AT_MOST)
    if plant + news + more_tries > room:
        more_tries = 0
        news = min(news, max(_NEWS_LINES_AT_LEAST, room - plant))
    news = min(news, room)
    return Lines(max(0, room - news - more_tries), news, more_tries)


def commands_that_fit(commands: Sequence[str], lines: int, width: int, file: str) -> list[str]:
    """Return all commands if each fits on a line, so that it can be copied; else the first that fits, and one that shows the file.

    Args:
        commands: the commands, the most important first.
        lines: lines that there are for them.
        width: characters of a line.
        file: path of the file that holds all of them.
    """
    fitting = [command for command in commands if len(command) <= width]
    if len(fitting) == len(commands) <= lines:
        return fitting
    return [*fitting[:1], f"cat {file}"]


def troubled_first(rows: Sequence[ServiceRow]) -> list[ServiceRow]:
    """Return programs that are not ready first, then those that were restarted: the end of the line may be cut off."""
    return sorted(rows, key=lambda row: (row.is_ready, not row.restarts))
