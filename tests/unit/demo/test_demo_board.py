from typing import Any

import pytest

from backpack_streams.books import BookUpdate, MarketBook, Outcome, Status
from backpack_streams.demo.board import SETTLED_SECONDS, Board
from backpack_streams.demo.service_report import ServiceReport

ONE = 10**18
ENGINE_US = 1_795_000_000_000_000


def seeded(symbol: str, last_id: int = 10) -> BookUpdate:
    market = MarketBook(symbol)
    outcome = market.on_seed(last_id, ENGINE_US, [(100 * ONE, 2 * ONE)], [(101 * ONE, ONE // 2)])
    return BookUpdate(market, outcome)


def followed(update: BookUpdate, first: int, last: int, engine_us: int = ENGINE_US + 5) -> BookUpdate:
    market = update._market
    return BookUpdate(market, market.on_update(first, last, engine_us, [(100 * ONE, 3 * ONE)], []))


def board(**ends: int) -> Board:
    return Board(100.0, {"market.depth": 0, "market.book_snapshot": 0, **ends})


def live_board(*symbols: str) -> Board:
    shown = board()
    shown.saw_listing(symbols, at=101.0)
    for symbol in symbols:
        shown.saw_update(seeded(symbol))
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
    shown.saw_update(seeded("SOL_USDC"))
    shown.tick(110.0)
    assert live_after(shown) is None
    shown.saw_update(seeded("BTC_USDC"))
    shown.tick(114.25)
    assert live_after(shown) == 14.25
    assert shown.news.take() == ["all 2 books LIVE after 14.2 s"]


def test_it_is_said_once_and_stays_what_it_was() -> None:
    shown = live_board("SOL_USDC")
    shown.tick(105.0)
    shown.news.take()
    shown.saw_listing(["SOL_USDC", "BTC_USDC"], at=106.0)
    shown.tick(110.0)
    shown.saw_update(seeded("BTC_USDC"))
    shown.tick(120.0)
    assert live_after(shown) == 5.0
    assert shown.news.take() == []


def test_no_market_known_is_not_all_live() -> None:
    shown = board()
    shown.tick(200.0)
    assert live_after(shown) is None
    assert not shown.totals(200.0).is_all_live


def test_a_list_of_markets_that_just_grew_is_waited_for() -> None:
    shown = live_board("SOL_USDC")
    shown.tick(101.0 + SETTLED_SECONDS / 2)
    assert live_after(shown) is None
    shown.saw_listing(["SOL_USDC"], at=101.9)
    shown.tick(101.0 + SETTLED_SECONDS)
    assert live_after(shown) == 1.0 + SETTLED_SECONDS


def test_a_book_that_nothing_reached_in_this_demo_is_not_live() -> None:
    shown = board()
    shown.saw_listing(["SOL_USDC"], at=101.0)
    shown.tick(110.0)
    [row] = shown.book_rows(ENGINE_US)
    assert live_after(shown) is None
    assert row.status is Status.SYNCING
    assert (row.bid, row.ask, row.last_update_id, row.age_seconds) == (None, None, None, None)


def test_a_market_that_closed_is_not_waited_for_nor_shown() -> None:
    shown = live_board("SOL_USDC", "BTC_USDC")
    shown.saw_listing(["SOL_USDC"], at=102.0)
    assert [row.symbol for row in shown.book_rows(ENGINE_US)] == ["SOL_USDC"]
    assert shown.totals(110.0).is_all_live


# ---- books


def test_a_row_holds_the_touch_exactly() -> None:
    shown = live_board("SOL_USDC")
    shown.saw_update(followed(seeded("SOL_USDC"), 11, 12))
    [row] = shown.book_rows(ENGINE_US + 2_000_005)
    assert row.bid == ("100", "3")
    assert row.ask == ("101", "0.5")
    assert (row.last_update_id, row.age_seconds, row.is_live) == (12, 2.0, True)


def test_rows_come_by_symbol_whatever_its_case() -> None:
    shown = live_board("kSHIB_USDC", "SOL_USDC", "BTC_USDC")
    assert [row.symbol for row in shown.book_rows(0)] == ["BTC_USDC", "kSHIB_USDC", "SOL_USDC"]


def test_updates_a_second_are_of_each_book_alone() -> None:
    shown = live_board("BTC_USDC", "SOL_USDC")
    shown.tick(110.0)
    update = seeded("SOL_USDC")
    for last_id in range(11, 31):
        shown.saw_update(followed(update, last_id, last_id))
    shown.tick(112.0)
    assert [row.updates_per_second for row in shown.book_rows(0)] == [0, 10]


def test_a_book_that_breaks_is_news_and_so_is_its_return() -> None:
    shown = live_board("SOL_USDC")
    update = seeded("SOL_USDC")
    broke = followed(update, 15, 15)
    assert broke.outcome is Outcome.BROKE
    shown.saw_update(broke)
    assert not shown.totals(105.0).is_all_live
    assert shown.news.take() == ["SOL_USDC is STALE: update 15 does not follow 10"]
    market = broke._market
    shown.saw_update(BookUpdate(market, market.on_seed(20, ENGINE_US + 9, [], [])))
    assert shown.news.take() == ["SOL_USDC is LIVE again at update 20"]
    assert shown.totals(105.0).is_all_live


# ---- topics and lag


def test_topics_count_what_came_since_the_demo_began() -> None:
    shown = board(**{"market.depth": 1000, "market.trade": 50})
    shown.saw_ends({"market.depth": 1000, "market.trade": 50, "market.book_snapshot": 0}, 0, at=101.0)
    shown.saw_ends({"market.depth": 1040, "market.trade": 50, "market.book_snapshot": 12}, 35, at=103.0)
    assert [(row.topic, row.records, row.records_per_second) for row in shown.topic_rows()] == [
        ("market.depth", 40, 20.0),
        ("market.book_snapshot", 12, 6.0),
    ]
    totals = shown.totals(103.0)
    assert (totals.records_per_second, totals.seeds, totals.unread_records) == (26.0, 12, 5)


def test_records_that_were_read_after_the_count_are_not_owed() -> None:
    shown = board()
    shown.saw_ends({"market.depth": 10}, 14, at=101.0)
    assert shown.totals(101.0).unread_records == 0


def test_lag_is_the_age_of_the_newest_update_of_a_round() -> None:
    shown = live_board("SOL_USDC")
    assert shown.totals(101.0).lag is None
    update = seeded("SOL_USDC")
    for last_id, engine_us in ((11, ENGINE_US), (12, ENGINE_US + 90_000)):
        shown.saw_update(followed(update, last_id, last_id, engine_us))
    shown.saw_round_end(ENGINE_US + 100_000)
    shown.saw_round_end(ENGINE_US + 900_000)
    lag = shown.totals(101.0).lag
    assert lag is not None
    assert (lag.median_millis, lag.worst_millis) == (10, 10)


def test_updates_that_waited_for_the_reader_do_not_tell_the_lag() -> None:
    shown = live_board("SOL_USDC")
    shown.saw_update(followed(seeded("SOL_USDC"), 11, 11))
    shown.saw_backlog_end()
    shown.saw_round_end(ENGINE_US + 900_000)
    assert shown.totals(101.0).lag is None


# ---- losses and services


def test_the_beginning_of_a_stream_is_no_gap() -> None:
    shown = board()
    shown.saw_gap(gap("STREAM_START", last_id=None))
    assert shown.news.take() == []
    shown.saw_gap(gap("SEQUENCE_BREAK"))
    assert shown.news.take() == ["gap in depth.SOL_USDC between 4 and 9: SEQUENCE_BREAK, an update is missing"]
    totals = shown.totals(101.0)
    assert (totals.gaps, totals.streams_begun) == (1, 1)


@pytest.mark.parametrize(
    ("ids", "where"),
    [({"next_id": None}, " between 4 and ?"), ({"last_id": None, "next_id": None}, "")],
    ids=["no end", "no ids"],
)
def test_a_gap_says_what_it_knows(ids: dict[str, None], where: str) -> None:
    shown = board()
    shown.saw_gap(gap("DISCONNECTED", **ids))
    assert shown.news.take() == [f"gap in depth.SOL_USDC{where}: DISCONNECTED, an update is missing"]


def test_dead_letters_are_counted_and_told() -> None:
    shown = board()
    shown.saw_dead_letter({"source": "WEBSOCKET", "origin": "", "reason": "UNPARSABLE", "detail": "x" * 500})
    [line] = shown.news.take()
    assert line.startswith("dead letter from WEBSOCKET: UNPARSABLE, xxx")
    assert len(line) < 200
    assert shown.totals(101.0).dead_letters == 1


def test_a_flood_of_news_is_cut_short() -> None:
    shown = board()
    for _ in range(500):
        shown.saw_gap(gap("SEQUENCE_BREAK"))
    lines = shown.news.take()
    assert len(lines) == 11
    assert lines[-1] == "... and 490 more such lines"
    assert shown.news.take() == []
    assert shown.totals(101.0).gaps == 500


def test_no_flood_drowns_a_milestone() -> None:
    shown = live_board("SOL_USDC")
    for _ in range(500):
        shown.saw_gap(gap("SEQUENCE_BREAK"))
    shown.saw_service("rest-poller", ServiceReport(True), "", at=104.0)
    shown.tick(105.0)
    assert shown.news.take()[10:] == [
        "rest-poller ready",
        "all 1 books LIVE after 5.0 s",
        "... and 490 more such lines",
    ]


def test_frames_are_those_of_all_services() -> None:
    shown = board()
    shown.saw_service("market-producer", ServiceReport(True, frames=100), "", at=101.0)
    shown.saw_service("perp-producer", ServiceReport(True, frames=10), "", at=101.0)
    shown.saw_service("market-producer", ServiceReport(True, frames=300, waiting_bytes=7), "", at=103.0)
    shown.saw_service("perp-producer", ServiceReport(True, frames=30, waiting_bytes=1), "", at=103.0)
    totals = shown.totals(103.0)
    assert totals.frames_per_second == 115
    assert totals.waiting_bytes == 8


def test_a_service_that_becomes_ready_or_ceases_to_be_is_news() -> None:
    shown = board()
    shown.saw_service("rest-poller", ServiceReport(False, ("starting",)), "", at=101.0)
    assert shown.news.take() == []
    [row] = shown.service_rows()
    assert (row.is_ready, row.note) == (False, "starting")
    shown.saw_service("rest-poller", ServiceReport(True), "", at=102.0)
    shown.saw_service("rest-poller", ServiceReport(True), "", at=103.0)
    assert shown.news.take() == ["rest-poller ready"]
    shown.saw_service("rest-poller", ServiceReport(False, ("Kafka is late",)), "WARNING no answer", at=104.0)
    assert shown.news.take() == ["rest-poller is not ready: Kafka is late"]
    assert shown.service_rows()[0].note == "WARNING no answer"
