from typing import Any

import pytest

from backpack_streams.books import MarketBook, Outcome
from backpack_streams.demo.board import SETTLED_SECONDS, Board
from backpack_streams.demo.program_states import ProgramStates
from shown_plant import ShownPlant

ONE = 10**18
ENGINE_US = 1_795_000_000_000_000


def seeded(symbol: str, last_id: int = 10) -> MarketBook:
    market = MarketBook(symbol)
    market.on_snapshot(last_id, ENGINE_US, [(100 * ONE, 2 * ONE)], [(101 * ONE, ONE // 2)])
    return market


def board() -> Board:
    return Board(100.0, ProgramStates(lambda _: None), ShownPlant(()).view)


def live_board(*symbols: str) -> Board:
    shown = board()
    shown.saw_listing(symbols, at=101.0)
    for symbol in symbols:
        shown.saw_book(seeded(symbol).view)
    return shown


def gap(reason: str, **fields: Any) -> dict[str, Any]:
    row = {"stream": "depth.SOL_USDC", "reason": reason, "last_id": 4, "next_id": 9, "detail": "an update\nis missing"}
    return row | fields


# ---- the milestone


def live_after(shown: Board) -> float | None:
    return shown.all_live_after_seconds


def test_all_books_are_live_when_every_open_market_is() -> None:
    shown = board()
    shown.saw_listing(["SOL_USDC", "BTC_USDC"], at=101.0)
    shown.saw_book(seeded("SOL_USDC").view)
    shown.tick(110.0)
    assert live_after(shown) is None
    shown.saw_book(seeded("BTC_USDC").view)
    shown.tick(114.25)
    assert live_after(shown) == 14.25
    assert shown.news.take() == ["all 2 books LIVE after 14.2 s"]


def test_the_milestone_is_reported_once_and_keeps_its_time() -> None:
    shown = live_board("SOL_USDC")
    shown.tick(105.0)
    shown.news.take()
    shown.saw_listing(["SOL_USDC", "BTC_USDC"], at=106.0)
    shown.tick(110.0)
    shown.saw_book(seeded("BTC_USDC").view)
    shown.tick(120.0)
    assert live_after(shown) == 5.0
    assert shown.news.take() == []


def test_without_known_markets_not_all_books_are_live() -> None:
    shown = board()
    shown.tick(200.0)
    assert live_after(shown) is None
    assert not shown.totals(200.0).is_all_live


def test_a_market_list_that_just_grew_is_waited_for() -> None:
    shown = live_board("SOL_USDC")
    shown.tick(101.0 + SETTLED_SECONDS / 2)
    assert live_after(shown) is None
    shown.saw_listing(["SOL_USDC"], at=101.9)
    shown.tick(101.0 + SETTLED_SECONDS)
    assert live_after(shown) == 1.0 + SETTLED_SECONDS


def test_a_book_without_data_is_not_live() -> None:
    shown = board()
    shown.saw_listing(["SOL_USDC"], at=101.0)
    shown.tick(110.0)
    assert live_after(shown) is None


def test_a_closed_market_is_not_waited_for() -> None:
    shown = live_board("SOL_USDC", "BTC_USDC")
    shown.saw_listing(["SOL_USDC"], at=102.0)
    totals = shown.totals(110.0)
    assert (totals.live_books, totals.expected_books, totals.is_all_live) == (1, 1, True)


# ---- books


def test_a_broken_book_is_news_and_so_is_its_recovery() -> None:
    shown = live_board("SOL_USDC")
    market = seeded("SOL_USDC")
    assert market.on_update(15, 15, ENGINE_US + 5, [], []) is Outcome.BROKE
    shown.saw_book(market.view)
    assert not shown.totals(105.0).is_all_live
    assert shown.news.take() == ["SOL_USDC is STALE: update 15 does not follow 10"]
    market.on_snapshot(20, ENGINE_US + 9, [], [])
    shown.saw_book(market.view)
    assert shown.news.take() == ["SOL_USDC is LIVE again at update 20"]
    assert shown.totals(105.0).is_all_live


def test_a_book_that_broke_and_recovered_between_two_looks_is_news_too() -> None:
    shown = live_board("SOL_USDC")
    market = seeded("SOL_USDC")
    assert market.on_update(15, 15, ENGINE_US + 5, [], []) is Outcome.BROKE
    market.on_snapshot(20, ENGINE_US + 9, [], [])
    shown.saw_book(market.view)
    assert shown.news.take() == ["SOL_USDC was not LIVE for a moment", "SOL_USDC is LIVE again at update 20"]
    shown.saw_book(market.view)
    assert shown.news.take() == []


def test_a_book_without_coverage_is_news_once_and_so_is_its_recovery() -> None:
    shown = live_board("SOL_USDC")
    market = seeded("SOL_USDC")
    market.hold("no producer has vouched for depth.SOL_USDC")
    shown.saw_book(market.view)
    shown.saw_book(market.view)
    assert shown.news.take() == ["SOL_USDC is SYNCING: no producer has vouched for depth.SOL_USDC"]
    market.release()
    shown.saw_book(market.view)
    assert shown.news.take() == ["SOL_USDC is LIVE again at update 10"]


def test_a_book_that_was_never_live_is_no_news() -> None:
    shown = board()
    shown.saw_book(MarketBook("SOL_USDC").view)
    assert shown.news.take() == []


def test_the_recovery_of_all_books_is_reported_with_its_time() -> None:
    shown = live_board("SOL_USDC", "BTC_USDC")
    market = seeded("SOL_USDC")
    shown.tick(110.0)
    market.on_update(15, 15, ENGINE_US + 5, [], [])
    shown.saw_book(market.view)
    shown.tick(111.0)
    shown.tick(112.0)
    shown.news.take()
    market.on_snapshot(20, ENGINE_US + 9, [], [])
    shown.saw_book(market.view)
    shown.tick(113.5)
    shown.tick(114.0)
    assert shown.news.take() == ["SOL_USDC is LIVE again at update 20", "all 2 books LIVE again after 2.5 s"]


# ---- losses


def test_the_start_of_a_stream_is_no_gap() -> None:
    shown = board()
    shown.saw_gap(gap("STREAM_START", last_id=None))
    assert shown.news.take() == []
    shown.saw_gap(gap("SEQUENCE_BREAK"))
    assert shown.news.take() == ["gap in depth.SOL_USDC between 4 and 9: SEQUENCE_BREAK, an update is missing"]
    assert shown.totals(101.0).gaps == 1


@pytest.mark.parametrize(
    ("ids", "where"),
    [({"next_id": None}, " between 4 and ?"), ({"last_id": None, "next_id": None}, "")],
    ids=["no end", "no ids"],
)
def test_a_gap_shows_the_ids_it_knows(ids: dict[str, None], where: str) -> None:
    shown = board()
    shown.saw_gap(gap("DISCONNECTED", **ids))
    assert shown.news.take() == [f"gap in depth.SOL_USDC{where}: DISCONNECTED, an update is missing"]


def test_dead_letters_are_counted_and_reported() -> None:
    shown = board()
    shown.saw_dead_letter({"source": "WEBSOCKET", "origin": "", "reason": "UNPARSABLE", "detail": "x" * 500})
    [line] = shown.news.take()
    assert line.startswith("dead letter from WEBSOCKET: UNPARSABLE, xxx")
    assert len(line) < 200
    assert shown.totals(101.0).dead_letters == 1


def test_a_flood_of_news_is_truncated() -> None:
    shown = board()
    for _ in range(500):
        shown.saw_gap(gap("SEQUENCE_BREAK"))
    lines = shown.news.take()
    assert len(lines) == 11
    assert lines[-1] == "... and 490 more such lines"
    assert shown.news.take() == []
    assert shown.totals(101.0).gaps == 500


def test_a_flood_does_not_push_a_milestone_off_the_screen() -> None:
    shown = board()
    for milestone in ("one", "two", "three"):
        shown.news.add_milestone(milestone)
    assert shown.news.latest(5) == ["one", "two", "three"]
    for number in range(500):
        shown.news.add(f"line {number}")
    assert shown.news.latest(5) == ["two", "three", "line 497", "line 498", "line 499"]
    shown.news.add_milestone("four")
    assert shown.news.latest(5) == ["three", "line 497", "line 498", "line 499", "four"]
    assert shown.news.latest(1) == ["four"]
    assert shown.news.latest(0) == []


def test_a_flood_does_not_suppress_a_milestone() -> None:
    shown = live_board("SOL_USDC")
    for _ in range(500):
        shown.saw_gap(gap("SEQUENCE_BREAK"))
    shown.news.add_milestone("rest-poller ready")
    shown.tick(105.0)
    assert shown.news.take()[10:] == [
        "rest-poller ready",
        "all 1 books LIVE after 5.0 s",
        "... and 490 more such lines",
    ]
