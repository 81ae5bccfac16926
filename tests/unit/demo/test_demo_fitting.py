from hypothesis import given
from hypothesis import strategies as st

from backpack_streams.books import Status
from backpack_streams.demo.fitting import HEADER_LINES, STATUS_LINES, busiest, fit, most_telling
from backpack_streams.demo.rows import BookRow, TopicRow

FIXED_LINES = HEADER_LINES + STATUS_LINES + 1


def book(symbol: str, status: Status = Status.LIVE) -> BookRow:
    return BookRow(symbol, status, "", None, None, None, None, 0.0)


def test_all_is_shown_where_there_is_room() -> None:
    assert fit(60, books=12, topics=6, news=3) == (12, 6, 3)


def test_news_give_way_first_then_topics_then_books() -> None:
    assert fit(FIXED_LINES + 22, books=12, topics=6, news=5) == (12, 6, 4)
    assert fit(FIXED_LINES + 16, books=12, topics=6, news=5) == (12, 3, 1)
    assert fit(FIXED_LINES + 8, books=12, topics=6, news=5) == (5, 2, 1)


@given(
    height=st.integers(FIXED_LINES + 4, 200),
    books=st.integers(0, 600),
    topics=st.integers(0, 18),
    news=st.integers(0, 50),
)
def test_it_never_asks_for_more_than_the_screen_has(height: int, books: int, topics: int, news: int) -> None:
    lines = fit(height, books=books, topics=topics, news=news)
    assert sum(lines) + FIXED_LINES <= height
    assert lines.books >= 1


def test_books_that_are_not_live_are_never_the_ones_left_out() -> None:
    rows = [book("A"), book("B", Status.STALE), book("C"), book("D", Status.SYNCING), book("E")]
    assert [row.symbol for row in most_telling(rows, 5)] == ["A", "B", "C", "D", "E"]
    assert [row.symbol for row in most_telling(rows, 4)] == ["A", "B", "D"]
    assert [row.symbol for row in most_telling(rows, 3)] == ["B", "D"]
    assert [row.symbol for row in most_telling(rows, 1)] == ["B"]


def test_the_busiest_topics_keep_their_order() -> None:
    rows = [TopicRow("a", 1, 1.0), TopicRow("b", 1, 9.0), TopicRow("c", 1, 3.0)]
    assert [row.topic for row in busiest(rows, 2)] == ["b", "c"]
    assert busiest(rows, 9) == rows
