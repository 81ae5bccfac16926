"""An audit is requested for a book that stands still while trades occur outside it; not for a moving book, and not continually."""

from backpack_streams.audits.audit_requests import SPACING_SECONDS, STANDSTILL_SECONDS, AuditRequests
from backpack_streams.books.market_book import MarketBook, Outcome

SYMBOL = "SOL_USDC"


def market() -> MarketBook:
    book = MarketBook(SYMBOL)
    book.on_snapshot(10, 10_000, [(100, 1)], [(105, 1)])
    return book


def suspected(requests: AuditRequests, book: MarketBook, now: float) -> str | None:
    return requests.on_tick({SYMBOL: book}, now).get(SYMBOL)


def test_trades_outside_a_book_that_stands_still_are_suspicious() -> None:
    for price in (99, 106):
        book, requests = market(), AuditRequests()
        requests.on_trade(book, price, 1.0)
        assert suspected(requests, book, 1.0 + STANDSTILL_SECONDS - 0.1) is None
        told = suspected(requests, book, 1.0 + STANDSTILL_SECONDS)
        assert told is not None
        assert told.endswith("the book still stands at update 10")
        assert suspected(requests, book, 1000.0) is None


def test_trades_at_or_inside_the_touch_are_not_suspicious() -> None:
    book, requests = market(), AuditRequests()
    for price in (100, 102, 105):
        requests.on_trade(book, price, 1.0)
    assert suspected(requests, book, 100.0) is None


def test_a_book_that_moves_is_not_suspected() -> None:
    book, requests = market(), AuditRequests()
    requests.on_trade(book, 99, 1.0)
    book.on_update(11, 11, 11_000, [(90, 1)], [])
    assert suspected(requests, book, 1.0 + STANDSTILL_SECONDS) is None
    requests.on_trade(book, 99, 5.0)
    assert suspected(requests, book, 5.0 + STANDSTILL_SECONDS) is not None


def test_further_trades_do_not_postpone_the_suspicion() -> None:
    book, requests = market(), AuditRequests()
    for tenth in range(10 * int(STANDSTILL_SECONDS) + 1):
        requests.on_trade(book, 99, 1.0 + tenth / 10)
    assert suspected(requests, book, 1.0 + STANDSTILL_SECONDS) is not None


def test_a_book_that_is_not_live_or_no_longer_ours_is_not_suspected() -> None:
    book, requests = market(), AuditRequests()
    requests.on_trade(book, 99, 1.0)
    assert requests.on_tick({}, 100.0) == {}
    requests.on_trade(book, 99, 1.0)
    book.on_outage("no socket")
    assert suspected(requests, book, 100.0) is None
    requests.on_trade(book, 99, 1.0)
    assert suspected(requests, book, 100.0) is None


def test_one_book_is_suspected_at_most_once_a_minute() -> None:
    book, requests = market(), AuditRequests()
    found = []
    for second in range(int(2.5 * SPACING_SECONDS)):
        requests.on_trade(book, 99, float(second))
        found.append(suspected(requests, book, float(second)))
    assert sum(1 for each in found if each) == 3


def test_a_book_that_crosses_is_reported_at_once_and_one_broken_by_a_gap_is_not() -> None:
    book, requests = market(), AuditRequests()
    outcome = book.on_update(11, 11, 11_000, [(106, 1)], [])
    assert outcome is Outcome.BROKE
    assert requests.on_broken(book, outcome, 1.0) == "crossed after update 11"
    assert requests.on_broken(book, outcome, 2.0) is None
    assert suspected(requests, book, 1.0 + SPACING_SECONDS - 0.1) is None
    assert suspected(requests, book, 1.0 + SPACING_SECONDS) == "crossed after update 11"
    book.on_snapshot(11, 11_000, [(100, 1)], [(105, 1)])
    assert suspected(requests, book, 1000.0) is None
    book.on_outage("no socket")
    assert suspected(requests, book, 2000.0) is None
    other = market()
    assert AuditRequests().on_broken(other, other.on_update(15, 15, 15_000, [], []), 1.0) is None
    assert AuditRequests().on_broken(other, Outcome.BUFFERED, 1.0) is None
