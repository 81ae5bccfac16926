"""An audit never accuses a correct book, always finds a wrong level that both books know, and says if it cannot compare."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backpack_streams.audits.auditing import (
    AHEAD_SECONDS,
    PATIENCE_SECONDS,
    Audit,
    AuditResult,
    BookAuditor,
    ExchangeBook,
    audit_now,
)
from backpack_streams.audits.comparison import compare
from backpack_streams.books.market_book import MarketBook, Outcome, Status
from backpack_streams.books.order_book import OrderBook, Side
from backpack_streams.books.recent_books import RecentBooks
from backpack_streams.books.update_buffer import Update

MATCH, MISMATCH, NOT_COMPARABLE = AuditResult
SECOND = 1_000_000
Levels = Sequence[tuple[int, int]]
Sides = tuple[dict[int, int], dict[int, int]]
BIDS, ASKS = range(81, 101), range(101, 121)


class Exchange:
    """A market kept in plain dicts: its updates, and its book after each of them."""

    def __init__(self, updates: Sequence[tuple[int, Levels, Levels]], snapshot: Sides) -> None:
        self.updates: list[Update] = []
        self.books: dict[int, Sides] = {100: snapshot}
        last, (bids, asks) = 100, (dict(snapshot[0]), dict(snapshot[1]))
        for ids, new_bids, new_asks in updates:
            self.updates.append(Update(last + 1, last + ids, (last + ids) * 1000, new_bids, new_asks))
            last += ids
            for levels, changes in ((bids, new_bids), (asks, new_asks)):
                for price, quantity in changes:
                    if quantity:
                        levels[price] = quantity
                    else:
                        levels.pop(price, None)
            self.books[last] = dict(bids), dict(asks)

    def snapshot(self, update_id: int, limit: int = 1000) -> ExchangeBook:
        bids, asks = self.books[update_id]
        best_bids, best_asks = sorted(bids.items(), reverse=True), sorted(asks.items())
        return ExchangeBook(
            update_id,
            update_id * 1000,
            best_bids[:limit],
            best_asks[:limit],
            len(best_bids) < limit,
            len(best_asks) < limit,
        )


def side(prices: range) -> st.SearchStrategy[dict[int, int]]:
    return st.dictionaries(st.sampled_from(prices), st.integers(1, 9), min_size=4, max_size=12)


def changes(prices: range) -> st.SearchStrategy[list[tuple[int, int]]]:
    """Leaves the levels at the touch alone, so that no truncated side runs empty, which audits do not handle."""
    return st.dictionaries(st.sampled_from(prices), st.integers(0, 9), max_size=3).map(lambda each: list(each.items()))


exchanges = st.builds(
    Exchange,
    st.lists(st.tuples(st.integers(1, 4), changes(BIDS[:-1]), changes(ASKS[1:])), min_size=1, max_size=20),
    st.tuples(side(BIDS), side(ASKS)).map(lambda sides: ({**sides[0], 100: 5}, {**sides[1], 101: 5})),
)


class Reader:
    """A book and its auditor, fed as book-builder feeds them."""

    def __init__(self, exchange: Exchange, limit: int = 1000, updates_a_copy: int = 3) -> None:
        self.market = MarketBook("SOL_USDC")
        self.auditor = BookAuditor(self.market, RecentBooks(updates_a_copy))
        self.load(exchange.snapshot(100, limit))

    def load(self, snapshot: ExchangeBook, now: float = 0.0, age_seconds: float = 0.0) -> Audit | None:
        outcome = self.market.on_snapshot(
            snapshot.last_update_id,
            snapshot.engine_time,
            snapshot.bids,
            snapshot.asks,
            bids_complete=snapshot.bids_complete,
            asks_complete=snapshot.asks_complete,
        )
        return self.auditor.on_snapshot(snapshot, outcome, now, age_seconds)

    def update(self, update: Update) -> Audit | None:
        return self.auditor.on_update(self.market.on_update(*update), *update)


def audited(reader: Reader, exchange: Exchange, snapshot: ExchangeBook, arrives: int) -> Audit | None:
    """The result of auditing a snapshot that arrives after this number of updates."""
    found: list[Audit | None] = []
    for number, update in enumerate(exchange.updates):
        if number == arrives:
            found.append(reader.load(snapshot))
        found.append(reader.update(update))
    if arrives >= len(exchange.updates):
        found.append(reader.load(snapshot))
    audits = [audit for audit in found if audit is not None]
    assert len(audits) <= 1
    return audits[0] if audits else None


@given(exchanges, st.integers(2, 14), st.integers(2, 14), st.integers(0, 20), st.data())
def test_a_correct_book_is_never_accused_whatever_both_books_know_and_whenever_the_snapshot_arrives(
    exchange: Exchange, our_limit: int, their_limit: int, arrives: int, data: st.DataObject
) -> None:
    update_id = data.draw(st.sampled_from(sorted(exchange.books)))
    reader = Reader(exchange, our_limit)
    audit = audited(reader, exchange, exchange.snapshot(update_id, their_limit), arrives)
    assert reader.market.status is Status.LIVE
    assert audit is not None
    assert (audit.result, audit.differences) == (MATCH, ())
    assert audit.update_id == update_id


@given(exchanges, st.integers(2, 14), st.integers(2, 14), st.integers(0, 20), st.data())
def test_a_wrong_level_that_both_books_know_is_always_found(
    exchange: Exchange, our_limit: int, their_limit: int, arrives: int, data: st.DataObject
) -> None:
    update_id = data.draw(st.sampled_from(sorted(exchange.books)[1:]))
    right = exchange.snapshot(update_id, their_limit)
    our_edge = min(price for price, _ in exchange.snapshot(100, our_limit).bids)
    is_ours_cut = len(exchange.books[100][0]) >= our_limit
    known = [
        price
        for price in BIDS
        if (right.bids_complete or price >= right.bids[-1][0]) and (not is_ours_cut or price >= our_edge)
    ]
    price = data.draw(st.sampled_from(known))
    true = dict(right.bids).get(price, 0)
    wrong = data.draw(st.integers(0, 10).filter(lambda quantity: quantity != true))
    bids = [(each, quantity) for each, quantity in right.bids if each != price] + ([(price, wrong)] if wrong else [])
    if not right.bids_complete and price == right.bids[-1][0] and not wrong:
        return  # the snapshot would only know less
    audit = audited(Reader(exchange, our_limit), exchange, right._replace(bids=bids), arrives)
    assert audit is not None
    assert audit.result is MISMATCH
    assert [(each.side, each.price, each.ours, each.theirs) for each in audit.differences] == [
        (Side.BID, price, true, wrong)
    ]
    assert audit.ours is not None
    assert audit.theirs is not None
    assert audit.ours != audit.theirs


@given(exchanges, st.integers(0, 20), st.data())
def test_a_snapshot_inside_an_update_is_compared_after_that_update(
    exchange: Exchange, arrives: int, data: st.DataObject
) -> None:
    wide = [update for update in exchange.updates if update.last_id > update.first_id]
    if not wide:
        return
    update = data.draw(st.sampled_from(wide))
    inside = data.draw(st.integers(update.first_id, update.last_id - 1))
    before = exchange.snapshot(update.first_id - 1)._replace(last_update_id=inside)
    audit = audited(Reader(exchange), exchange, before, arrives)
    assert audit is not None
    assert (audit.result, audit.update_id) == (MATCH, update.last_id)


def plain_exchange(updates: int = 10) -> Exchange:
    return Exchange([(1, [(100, 5 + number)], []) for number in range(updates)], ({100: 5}, {101: 5}))


def fed(exchange: Exchange, updates: int, updates_a_copy: int = 3) -> Reader:
    reader = Reader(exchange, updates_a_copy=updates_a_copy)
    for update in exchange.updates[:updates]:
        reader.update(update)
    return reader


def test_a_snapshot_ahead_waits_for_the_book() -> None:
    exchange = plain_exchange()
    reader = fed(exchange, 3)
    assert reader.load(exchange.snapshot(106)) is None
    assert reader.auditor.is_waiting
    assert [reader.update(update) for update in exchange.updates[3:5]] == [None, None]
    audit = reader.update(exchange.updates[5])
    assert audit is not None
    assert (audit.result, audit.update_id, audit.reached_id) == (MATCH, 106, 106)
    assert not reader.auditor.is_waiting


def test_a_second_snapshot_ahead_does_not_replace_the_first() -> None:
    exchange = plain_exchange()
    reader = fed(exchange, 3)
    reader.load(exchange.snapshot(106))
    second = reader.load(exchange.snapshot(108))
    assert second is not None
    assert second.result is NOT_COMPARABLE
    assert second.reason == "an earlier snapshot waits for the book to reach 106"
    results = [reader.update(update) for update in exchange.updates[3:]]
    assert [audit.update_id for audit in results if audit] == [106]


def test_a_snapshot_that_the_book_never_reaches_is_given_up() -> None:
    exchange = plain_exchange()
    reader = fed(exchange, 3)
    reader.load(exchange.snapshot(106), now=10.0)
    assert reader.auditor.on_tick(10.0 + PATIENCE_SECONDS - 0.1) is None
    audit = reader.auditor.on_tick(10.0 + PATIENCE_SECONDS)
    assert audit is not None
    assert (audit.result, audit.update_id) == (NOT_COMPARABLE, None)
    assert reader.auditor.on_tick(1e9) is None


def test_a_snapshot_older_than_the_kept_states_is_not_comparable() -> None:
    exchange = plain_exchange(200)
    reader = fed(exchange, 200)
    audit = reader.load(exchange.snapshot(101))
    assert audit is not None
    assert audit.result is NOT_COMPARABLE
    assert "older than what is kept" in audit.reason
    late = reader.load(exchange.snapshot(290))
    assert late is not None
    assert late.result is MATCH


def test_a_book_that_breaks_is_not_audited() -> None:
    exchange = plain_exchange()
    reader = fed(exchange, 3)
    reader.load(exchange.snapshot(109))
    reader.market.on_outage("no socket")
    audit = reader.auditor.on_outcome(Outcome.BROKE)
    assert audit is not None
    assert (audit.result, reader.auditor.is_waiting) == (NOT_COMPARABLE, False)
    assert reader.load(exchange.snapshot(102)) is None


def test_the_snapshot_that_loads_a_book_does_not_audit_it() -> None:
    exchange = plain_exchange()
    reader = fed(exchange, 3)
    gap = exchange.updates[5]
    assert reader.update(gap) is None
    assert reader.market.status is Status.STALE
    assert reader.load(exchange.snapshot(106)) is None
    assert reader.market.status is Status.LIVE
    audit = reader.load(exchange.snapshot(106))
    assert audit is not None
    assert audit.result is MATCH


def test_a_snapshot_that_widens_the_book_is_compared_with_the_book_before_widening() -> None:
    sides = {100: 5, 99: 1, 98: 1}, {101: 5, 102: 1, 103: 1}
    exchange = Exchange([(1, [(100, 6)], [])], sides)
    reader = Reader(exchange, limit=2)
    reader.update(exchange.updates[0]._replace(bids=[(100, 7)]))
    audit = reader.load(exchange.snapshot(101))
    assert audit is not None
    assert [(each.price, each.ours, each.theirs) for each in audit.differences] == [(100, 7, 6)]
    assert (
        audit.reason
        == "1 levels differ, the first at bid 0.0000000000000001: ours 0.000000000000000007, the exchange's 0.000000000000000006"
    )


@pytest.mark.parametrize(("seconds", "result"), [(-11, NOT_COMPARABLE), (-9, MATCH), (9, MATCH), (11, NOT_COMPARABLE)])
def test_a_snapshot_whose_time_contradicts_its_id_belongs_to_another_sequence(
    seconds: int, result: AuditResult
) -> None:
    exchange = plain_exchange()
    snapshot = exchange.snapshot(105)
    audit = fed(exchange, 10).load(snapshot._replace(engine_time=105_000 + seconds * SECOND))
    assert audit is not None
    assert audit.result is result


def test_a_quiet_market_may_be_compared_long_after_its_last_update() -> None:
    exchange = plain_exchange()
    audit = fed(exchange, 10).load(exchange.snapshot(110)._replace(engine_time=3600 * SECOND))
    assert audit is not None
    assert audit.result is MATCH


def test_a_snapshot_that_contradicts_itself_is_not_comparable() -> None:
    exchange = plain_exchange()
    audit = fed(exchange, 10).load(exchange.snapshot(105)._replace(asks=[(99, 1)]))
    assert audit is not None
    assert audit.result is NOT_COMPARABLE
    assert "contradicts itself" in audit.reason


def test_an_auditor_that_starts_late_begins_with_the_current_book() -> None:
    exchange = plain_exchange()
    market = fed(exchange, 5).market
    auditor = BookAuditor(market)
    audit = auditor.on_snapshot(exchange.snapshot(105), Outcome.IGNORED, 0.0)
    assert audit is not None
    assert audit.result is MATCH
    early = auditor.on_snapshot(exchange.snapshot(104), Outcome.IGNORED, 0.0)
    assert early is not None
    assert early.result is NOT_COMPARABLE


def test_a_book_that_was_replaced_unseen_is_not_accused_of_its_earlier_state() -> None:
    exchange = plain_exchange()
    reader = fed(exchange, 3)
    right = exchange.snapshot(106)
    reader.market.on_snapshot(106, right.engine_time, right.bids, right.asks)
    assert reader.market.on_unreadable("lost") is Outcome.RESYNCED
    results = [reader.update(exchange.updates[number]) for number in (6, 7, 8, 9)]
    assert (reader.market.last_update_id, results) == (110, [None] * 4)
    audit = reader.load(exchange.snapshot(109))
    assert audit is not None
    assert audit.result is MATCH


def test_a_book_is_ahead_of_the_exchange_only_by_an_answer_that_was_received_long_after_the_first() -> None:
    exchange = plain_exchange()
    reader = fed(exchange, 3)
    behind = exchange.snapshot(102)
    first = reader.load(behind, 100.0)
    assert first is not None
    assert first.result is MATCH
    now = 100.1 + AHEAD_SECONDS
    held_up = reader.load(behind, now, age_seconds=AHEAD_SECONDS - 0.5)
    assert held_up is not None
    assert held_up.result is MATCH
    later = reader.load(behind, now, age_seconds=0.1)
    assert later is not None
    assert (later.result, later.is_ahead) == (MISMATCH, True)


# ---- a held book


def test_a_held_book_is_compared_at_the_exact_id() -> None:
    exchange = plain_exchange()
    market = fed(exchange, 5).market
    assert audit_now(market, exchange.snapshot(106)) is None
    found = audit_now(market, exchange.snapshot(105))
    assert found is not None
    assert found.result is MATCH
    past = audit_now(market, exchange.snapshot(104))
    assert past is not None
    assert past.result is NOT_COMPARABLE
    assert past.reason.startswith("the book is past the exchange's 104, at 105")
    market.on_outage("no socket")
    stale = audit_now(market, exchange.snapshot(105))
    assert stale is not None
    assert (stale.result, stale.reason) == (NOT_COMPARABLE, "the book is STALE: no socket")


# ---- comparing


def test_levels_beyond_what_either_book_knows_are_not_compared() -> None:
    ours, theirs = OrderBook(), OrderBook()
    ours.load([(10, 1), (8, 1)], [(11, 1), (12, 2), (15, 9)], bids_complete=False)
    theirs.load([(10, 1), (8, 1), (7, 5)], [(11, 1), (13, 3)], asks_complete=False)
    found = compare(ours, theirs)
    assert found.differences == ((Side.ASK, 12, 2, 0), (Side.ASK, 13, 0, 3))
    assert (found.bids_to, found.asks_to, found.compared_levels) == (8, 13, 5)
