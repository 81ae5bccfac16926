from hypothesis import given
from hypothesis import strategies as st

from backpack_streams.demo.fitting import (
    HEADER_LINES,
    STATUS_LINES,
    commands_that_fit,
    fit,
    troubled_first,
)
from backpack_streams.demo.rows import ServiceRow

FIXED_LINES = HEADER_LINES + STATUS_LINES


def test_everything_is_shown_if_there_is_room() -> None:
    assert fit(60, plant=20, news=3, more_tries=4) == (60 - FIXED_LINES - 7, 3, 4)


def test_further_commands_are_dropped_first_then_news_then_the_plant() -> None:
    assert fit(FIXED_LINES + 27, plant=20, news=3, more_tries=4) == (20, 3, 4)
    assert fit(FIXED_LINES + 26, plant=20, news=3, more_tries=4) == (23, 3, 0)
    assert fit(FIXED_LINES + 22, plant=20, news=5, more_tries=4) == (20, 2, 0)
    assert fit(FIXED_LINES + 12, plant=20, news=5, more_tries=4) == (11, 1, 0)


@given(st.integers(1, 200), st.integers(0, 600), st.integers(0, 50), st.integers(0, 6))
def test_the_lines_never_exceed_the_screen(height: int, plant: int, news: int, more_tries: int) -> None:
    lines = fit(height, plant=plant, news=news, more_tries=more_tries)
    assert sum(lines) == max(0, height - FIXED_LINES)
    assert min(lines) >= 0


def test_commands_that_do_not_fit_on_the_screen_are_in_the_file() -> None:
    commands = ["book BTC", "kill -9 1", "curl 'a long one'"]
    assert commands_that_fit(commands, 3, 80, "try.txt") == commands
    assert commands_that_fit(commands, 2, 80, "try.txt") == ["book BTC", "cat try.txt"]
    assert commands_that_fit(commands, 3, 12, "try.txt") == ["book BTC", "cat try.txt"]
    assert commands_that_fit(commands, 3, 7, "try.txt") == ["cat try.txt"]
    assert commands_that_fit([], 2, 80, "try.txt") == []


def test_programs_in_trouble_come_first() -> None:
    rows = [ServiceRow("a", True, ""), ServiceRow("b", True, "", restarts=1), ServiceRow("c", False, "ended")]
    assert [row.name for row in troubled_first(rows)] == ["c", "b", "a"]
