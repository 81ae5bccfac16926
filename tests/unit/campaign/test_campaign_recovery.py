"""Who shows books has come back once each open market is LIVE between where the exchange was and where it is."""

from typing import Any

import pytest

from faults.campaign.judge import Sight
from faults.campaign.readers import Standing
from faults.campaign.recovery import behind, seconds_until_back, standing_of

SECOND = 1_000_000


def at(**ids: int) -> dict[str, Any]:
    return {symbol: {"depth": {"last_update_id": update_id}} for symbol, update_id in ids.items()}


@pytest.mark.parametrize(
    ("book", "lacking"),
    [
        (Standing("LIVE", 100), []),
        (Standing("LIVE", 120), []),
        (Standing("LIVE", 99), ["A: LIVE at 99, the exchange is at 100 to 120"]),
        (Standing("LIVE", 121), ["A: LIVE at 121, the exchange is at 100 to 120"]),
        (Standing("STALE", 110), ["A: STALE"]),
        (Standing("LIVE", None), ["A: LIVE"]),
        (None, ["A: no book"]),
    ],
)
def test_a_book_is_back_or_not(book, lacking):
    assert behind({"A": book} if book else {}, ["A"], at(A=100, B=5), at(A=120, B=5)) == lacking


def test_markets_that_are_not_asked_for_do_not_count():
    assert behind({"B": Standing("STALE", 1)}, [], at(A=1, B=5), at(A=1, B=5)) == []


def top(symbol: str, seconds: float, update_id: int, status: str = "LIVE") -> Sight:
    return Sight("book_top", int(seconds * SECOND), symbol, status, update_id, b"")


def test_the_newest_sight_counts():
    sights = [top("A", 1, 5, "STALE"), top("B", 1, 7), top("A", 2, 6)]
    assert standing_of(sights) == {"A": Standing("LIVE", 6), "B": Standing("LIVE", 7)}


def test_tops_are_back_when_the_last_of_them_is():
    tops = [top("A", 90, 100), top("B", 95, 50, "STALE"), top("B", 112, 60)]
    assert seconds_until_back(tops, ["A", "B"], at(A=100, B=60), 100 * SECOND) == (12.0, [])


def test_a_top_that_is_lost_again_is_not_back():
    tops = [top("A", 101, 100), top("A", 110, 100, "STALE"), top("A", 130, 101), top("A", 140, 102)]
    assert seconds_until_back(tops, ["A"], at(A=100), 100 * SECOND) == (30.0, [])
    seconds, missing = seconds_until_back(tops[:2], ["A", "B"], at(A=100, B=1), 100 * SECOND)
    assert missing == [f"{symbol}: not LIVE, or not where the exchange was" for symbol in "AB"]
    assert seconds == 0.0


def test_a_top_of_before_that_is_where_the_exchange_was_is_back_at_once():
    assert seconds_until_back([top("A", 50, 100)], ["A"], at(A=100), 100 * SECOND) == (0.0, [])
    _, missing = seconds_until_back([top("A", 150, 99)], ["A"], at(A=100), 100 * SECOND)
    assert missing


def test_a_top_that_shows_what_the_exchange_had_is_back_though_only_levels_below_it_moved_since():
    def shows(sight: Sight, update_id: int) -> bool:
        return (sight.last_update_id, update_id) == (98, 100)

    tops = [top("A", 50, 97), top("A", 90, 98)]
    assert seconds_until_back(tops, ["A"], at(A=100), 100 * SECOND, shows) == (0.0, [])
    _, missing = seconds_until_back([*tops, top("A", 95, 98, "STALE")], ["A"], at(A=100), 100 * SECOND, shows)
    assert missing
    _, missing = seconds_until_back(tops[:1], ["A"], at(A=100), 100 * SECOND, shows)
    assert missing
