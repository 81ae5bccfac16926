"""`audit` compares each book once at the exact id, retries what cannot be compared, and finally says why."""

import json

from backpack_streams.audits.auditing import ExchangeBook
from backpack_streams.books.market_book import MarketBook
from backpack_streams.books.units import UNITS_PER_ONE
from backpack_streams.commands.audit.on_demand import AuditsOnDemand
from backpack_streams.commands.audit.report import as_json, as_table, not_compared_as_json


def market(symbol: str, last_id: int = 5) -> MarketBook:
    book = MarketBook(symbol)
    book.on_snapshot(last_id, 1, *levels())
    return book


def levels(bid: int = 10) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    return [(bid * UNITS_PER_ONE, UNITS_PER_ONE)], [(20 * UNITS_PER_ONE, UNITS_PER_ONE)]


def snapshot(last_id: int, bid: int = 10) -> ExchangeBook:
    return ExchangeBook(last_id, 1, *levels(bid))


def results(audits: AuditsOnDemand) -> dict[str, str]:
    return {symbol: audit.result.value for symbol, audit in audits.audits.items()}


def test_books_are_compared_once_and_a_few_at_a_time() -> None:
    books = {symbol: market(symbol) for symbol in "ABC"}
    audits = AuditsOnDemand(books, books)
    assert audits.next(2, 0.0) == ["A", "B"]
    audits.on_snapshot("A", snapshot(5), 0.0)
    audits.on_snapshot("B", snapshot(5, bid=11), 0.0)
    assert audits.next(2, 0.0) == ["C"]
    audits.on_snapshot("C", snapshot(5), 0.0)
    assert (results(audits), audits.is_done) == ({"A": "MATCH", "B": "MISMATCH", "C": "MATCH"}, True)
    assert audits.not_compared() == {}


def test_a_book_behind_its_snapshot_is_compared_when_it_gets_there() -> None:
    books = {"A": market("A")}
    audits = AuditsOnDemand(books, books)
    audits.on_snapshot("A", snapshot(7), 0.0)
    for update_id, is_done in ((6, False), (7, True)):
        assert audits.is_waiting
        books["A"].on_update(update_id, update_id, 1, [], [])
        audits.on_book("A")
        assert audits.is_done is is_done


def test_a_comparison_that_is_not_possible_is_retried_after_the_others() -> None:
    books = {symbol: market(symbol) for symbol in "AB"}
    audits = AuditsOnDemand(books, books)
    audits.on_snapshot("A", snapshot(4), 0.0)
    assert audits.next(2, 0.0) == ["B"]  # the exchange has a second to reach the position of A
    assert audits.next(2, 1.0) == ["B", "A"]
    past = "the book is past the exchange's 4, at 5: that says something once it has been so for 20 s; give a longer --timeout"
    assert audits.not_compared()["A"] == past
    audits.on_failure("B", "the exchange gave no book: 503")
    assert audits.next(2, 1.0) == ["A", "B"]
    assert audits.not_compared() == {"A": past, "B": "the exchange gave no book: 503"}


def test_a_book_that_stays_ahead_of_the_exchange_for_long_is_wrong() -> None:
    books = {"A": market("A")}
    audits = AuditsOnDemand(books, books)
    for asked_at in (0.0, 19.9):
        audits.on_snapshot("A", snapshot(4), asked_at)
        assert not audits.is_done
    audits.on_snapshot("A", snapshot(4, bid=11), 20.0)
    assert results(audits) == {"A": "MISMATCH"}
    audit = audits.audits["A"]
    assert (audit.is_ahead, audit.reached_id, audit.update_id, len(audit.differences)) == (True, 5, None, 2)
    assert audit.reason.startswith(
        "update 5 is not the exchange's: 20 s and more after the book had come to it, the exchange was at 4"
    )
    assert as_table(audits.audits, {}).splitlines()[1].endswith("5, and the exchange at 4")


def test_a_book_that_moves_or_that_the_exchange_reaches_is_not_called_wrong() -> None:
    books = {"A": market("A"), "B": market("B")}
    audits = AuditsOnDemand(books, books)
    for symbol in books:
        audits.on_snapshot(symbol, snapshot(4), 0.0)
    books["A"].on_update(6, 6, 1, [], [])
    audits.on_snapshot("A", snapshot(5), 20.0)  # late answers, of a market that moves
    audits.on_snapshot("A", snapshot(5), 39.0)
    audits.on_snapshot("B", snapshot(5), 20.0)
    assert results(audits) == {"B": "MATCH"}
    audits.on_snapshot("A", snapshot(5), 40.0)
    assert results(audits) == {"A": "MISMATCH", "B": "MATCH"}


def test_a_book_that_does_not_reach_its_snapshot_gets_a_newer_one() -> None:
    books = {"A": market("A")}
    audits = AuditsOnDemand(books, books)
    audits.on_snapshot("A", snapshot(9), 0.0)
    why = "the book stands at update 5, and updates up to the exchange's 9 have not come"
    assert audits.not_compared() == {"A": why}
    audits.forget_snapshots()
    assert (audits.is_waiting, audits.next(9, 0.0), audits.not_compared()) == (False, ["A"], {"A": why})


def test_books_that_are_not_live_wait_and_say_why() -> None:
    books = {"A": MarketBook("A"), "B": market("B")}
    audits = AuditsOnDemand(books, ["A", "B", "C"])
    assert audits.next(9, 0.0) == ["B"]
    audits.on_snapshot("B", snapshot(9), 0.0)
    books["B"].on_outage("no socket is up")
    audits.on_tick()
    assert not audits.is_waiting
    assert audits.not_compared() == {
        "A": "the book is SYNCING: no snapshot yet",
        "B": "the book is STALE: no socket is up",
        "C": "Kafka has no such book",
    }


def test_the_report_names_every_difference() -> None:
    books = {"A": market("A"), "LONG_NAME": market("LONG_NAME")}
    audits = AuditsOnDemand(books, books)
    audits.on_snapshot("LONG_NAME", snapshot(5, bid=11), 0.0)
    audit = audits.audits["LONG_NAME"]
    row = json.loads(as_json(audit))
    assert (row["result"], row["update_id"], row["compared_levels"], row["different_levels"]) == ("MISMATCH", 5, 3, 2)
    assert row["differences"] == [
        {"side": "bid", "price": "11", "ours": "0", "exchange": "1"},
        {"side": "bid", "price": "10", "ours": "1", "exchange": "0"},
    ]
    assert json.loads(not_compared_as_json("A", "why"))["reason"] == "why"
    table = as_table(audits.audits, audits.not_compared()).splitlines()
    assert table[1].split() == ["A", "NOT_COMPARABLE", "time", "was", "up", "before", "its", "turn"]
    assert table[2].split() == ["LONG_NAME", "MISMATCH", "3", "2", "5"]
    assert table[3].strip() == "bid 11: ours 0, the exchange's 1"
