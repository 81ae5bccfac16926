"""Fits the demo's state on a screen: how many lines each part gets, and what is left out first. Sans I/O."""

from collections.abc import Sequence
from typing import Final, NamedTuple

from backpack_streams.demo.rows import BookRow, TopicRow

__all__ = ["HEADER_LINES", "STATUS_LINES", "Lines", "busiest", "fit", "most_telling"]

HEADER_LINES: Final = 6
STATUS_LINES: Final = 5
_BOOK_HEADING_LINES: Final = 1
_TOPIC_LINES_AT_LEAST: Final = 2
_NEWS_LINES_AT_LEAST: Final = 1
_NEWS_LINES_AT_MOST: Final = 5


class Lines(NamedTuple):
    """Lines for each part that can be cut, without headings."""

    books: int
    topics: int
    news: int


def fit(height: int, *, books: int, topics: int, news: int) -> Lines:
    """Divide a screen of `height` lines among the parts. If it is too small, news are cut first, then topics, then books."""
    books, topics, news = max(1, books), max(1, topics), min(news, _NEWS_LINES_AT_MOST)
    room = height - HEADER_LINES - STATUS_LINES - _BOOK_HEADING_LINES
    missing = books + topics + news - room
    given = min(max(0, missing), max(0, news - _NEWS_LINES_AT_LEAST))
    news, missing = news - given, missing - given
    given = min(max(0, missing), max(0, topics - _TOPIC_LINES_AT_LEAST))
    topics, missing = topics - given, missing - given
    return Lines(max(1, books - max(0, missing)), topics, news)


def most_telling(rows: Sequence[BookRow], lines: int) -> list[BookRow]:
    """Return all rows if they fit; else rows of books that are not LIVE first, with one line left to count the rest."""
    if len(rows) <= lines:
        return list(rows)
    by_need = sorted(range(len(rows)), key=lambda place: rows[place].is_live)
    return [rows[place] for place in sorted(by_need[: max(1, lines - 1)])]


def busiest(rows: Sequence[TopicRow], most: int) -> list[TopicRow]:
    """Return the `most` topics with the highest rates, in their original order."""
    by_rate = sorted(range(len(rows)), key=lambda place: -rows[place].records_per_second)
    return [rows[place] for place in sorted(by_rate[:most])]
