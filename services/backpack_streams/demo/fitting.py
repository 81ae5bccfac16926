"""What of the demo's state fits on a screen: which part gets how many lines, and what is left out first. Sans I/O."""

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
    """Lines for each part that can be cut, headings not counted."""

    books: int
    topics: int
    news: int


def fit(height: int, *, books: int, topics: int, news: int) -> Lines:
    """Share out a screen among what there is to show: where it is short, news give way first, then topics, then books."""
    books, topics, news = max(1, books), max(1, topics), min(news, _NEWS_LINES_AT_MOST)
    room = height - HEADER_LINES - STATUS_LINES - _BOOK_HEADING_LINES
    missing = books + topics + news - room
    given = min(max(0, missing), max(0, news - _NEWS_LINES_AT_LEAST))
    news, missing = news - given, missing - given
    given = min(max(0, missing), max(0, topics - _TOPIC_LINES_AT_LEAST))
    topics, missing = topics - given, missing - given
    return Lines(max(1, books - max(0, missing)), topics, news)


def most_telling(rows: Sequence[BookRow], lines: int) -> list[BookRow]:
    """All rows where there are lines for them; else those of books that are not LIVE first, with a line kept to say so."""
    if len(rows) <= lines:
        return list(rows)
    by_need = sorted(range(len(rows)), key=lambda place: rows[place].is_live)
    return [rows[place] for place in sorted(by_need[: max(1, lines - 1)])]


def busiest(rows: Sequence[TopicRow], most: int) -> list[TopicRow]:
    """The `most` topics that records come to fastest, in the order they were in."""
    by_rate = sorted(range(len(rows)), key=lambda place: -rows[place].records_per_second)
    return [rows[place] for place in sorted(by_rate[:most])]
