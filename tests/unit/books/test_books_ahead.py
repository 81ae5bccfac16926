"""A topic ahead of everything the exchange sent: the book leaves LIVE, and only a snapshot from after the finding restores it."""

import pytest

from backpack_streams.audits.auditing import AHEAD_SECONDS, AuditResult, BookAuditor, ExchangeBook
from backpack_streams.books.known_gaps import KnownGaps
from backpack_streams.books.market_book import BaseSnapshot, MarketBook, Outcome, Status

SECOND = 1_000_000
LEVELS = ([(9, 1)], [(11, 1)])
START = 1000 * SECOND
SEEN = START + 60 * SECOND
BEFORE, AFTER = BaseSnapshot(10, START, SEEN - 1), BaseSnapshot(10, START, SEEN)


def beyond(forged: int = 1) -> MarketBook:
    """The exchange is at 10; the topic has updates up to 10 + `forged` that the exchange never sent."""
    market = MarketBook("SOL_USDC")
    market.on_snapshot(10, START, *LEVELS, base=BEFORE)
    for number in range(11, 11 + forged):
        assert market.on_update(number, number, START + SECOND, [(8, 7)], []) is Outcome.APPLIED
    return market


def test_the_book_leaves_live_and_a_snapshot_with_a_lower_id_restores_it() -> None:
    market = beyond()
    assert market.on_ahead(11, SEEN, "never sent") is Outcome.BROKE
    assert (market.status, market.reason) == (Status.STALE, "never sent")
    assert market.on_snapshot(10, START, *LEVELS, base=AFTER) is Outcome.RESYNCED
    assert (market.status, market.last_update_id, market.book.to_lines()[0]) == (
        Status.LIVE,
        10,
        market.book.to_lines()[0],
    )
    assert market.on_update(11, 11, SEEN + SECOND, [(7, 1)], []) is Outcome.APPLIED
    assert [price for price, _ in market.book.depth_units()[0]] == [9, 7]
    assert market.on_ahead(11, SEEN, "told twice") is Outcome.IGNORED
    assert market.status is Status.LIVE


@pytest.mark.parametrize("base", [None, BEFORE, BaseSnapshot(50, SEEN, None), BaseSnapshot(50, SEEN, SEEN - 1)])
@pytest.mark.parametrize("snapshot_id", [10, 11, 50])
def test_no_snapshot_from_before_the_finding_restores_it(snapshot_id: int, base: BaseSnapshot | None) -> None:
    market = beyond()
    market.on_ahead(11, SEEN, "never sent")
    assert market.on_snapshot(snapshot_id, START + SECOND, *LEVELS, base=base) is Outcome.REFUSED
    assert "is based on one from before an audit" in market.reason
    assert market.status is Status.STALE


def test_a_book_that_went_on_needs_a_snapshot_at_or_past_its_position() -> None:
    market = beyond(forged=1)
    for number in (12, 13):
        market.on_update(number, number, SEEN + SECOND, [], [])
    market.on_ahead(11, SEEN, "never sent")
    assert market.on_snapshot(12, SEEN + SECOND, *LEVELS, base=AFTER) is Outcome.REFUSED
    assert market.on_snapshot(13, SEEN + SECOND, *LEVELS, base=AFTER) is Outcome.RESYNCED


def test_a_reader_that_starts_later_refuses_the_wrong_checkpoint() -> None:
    market = MarketBook("SOL_USDC", catching_up=True)
    assert market.on_ahead(11, SEEN, "never sent") is Outcome.BUFFERED
    assert market.on_snapshot(11, START + SECOND, *LEVELS, base=BEFORE) is Outcome.REFUSED
    assert market.on_snapshot(10, START, *LEVELS, base=AFTER) is Outcome.RESYNCED
    market.release()
    assert (market.status, market.last_update_id) == (Status.LIVE, 10)


def test_a_pending_snapshot_from_before_the_finding_does_not_restore_it() -> None:
    market = beyond()
    assert market.on_snapshot(50, START + SECOND, *LEVELS, base=BEFORE) is Outcome.PENDING
    assert market.on_ahead(11, SEEN, "never sent") is Outcome.BROKE


def test_the_gap_record_carries_the_finding() -> None:
    gaps, market = KnownGaps(), beyond()
    gap = {"symbol": "SOL_USDC", "stream": "depth.SOL_USDC", "reason": "AUDIT_MISMATCH", "last_id": 11, "next_id": 11}
    gaps.take(gap | {"next_time": SEEN, "detected_time": SEEN + 5}, 0.0)
    assert [outcome for _, outcome in gaps.due({"SOL_USDC": market}, {}, 0.0)] == [Outcome.BROKE]
    assert "the exchange never sent" in market.reason
    assert market.on_snapshot(10, START, *LEVELS, base=AFTER) is Outcome.RESYNCED


class Audited:
    """A book at 11 whose exchange keeps answering that it is at 10."""

    def __init__(self) -> None:
        self.market = beyond(forged=0)
        self.auditor = BookAuditor(self.market)
        self.update(11)

    def update(self, number: int) -> None:
        outcome = self.market.on_update(number, number, START + SECOND, [(8, 7)], [])
        self.auditor.on_update(outcome, number, number, START + SECOND, [(8, 7)], [])

    def snapshot(self, last_id: int, now: float, age_seconds: float = 0.5) -> tuple[AuditResult, bool]:
        levels = ([*LEVELS[0], (8, 7)] if last_id >= 11 else LEVELS[0], LEVELS[1])
        audit = self.auditor.on_snapshot(ExchangeBook(last_id, START, *levels), Outcome.IGNORED, now, age_seconds)
        assert audit is not None
        return audit.result, audit.is_ahead


MATCH, BEYOND = (AuditResult.MATCH, False), (AuditResult.MISMATCH, True)


def test_the_auditor_calls_a_book_wrong_that_has_stayed_ahead_for_long() -> None:
    audited = Audited()
    assert audited.snapshot(10, 0.0) == MATCH  # compared at 10: the books were equal there
    assert audited.snapshot(10, AHEAD_SECONDS + 0.4) == MATCH  # received half a second before
    assert audited.snapshot(10, AHEAD_SECONDS + 0.5) == BEYOND


def test_an_answer_that_was_long_in_transit_does_not_count() -> None:
    audited = Audited()
    audited.snapshot(10, 0.0)
    assert audited.snapshot(10, 2 * AHEAD_SECONDS, age_seconds=AHEAD_SECONDS) == MATCH
    assert audited.snapshot(10, 2 * AHEAD_SECONDS, age_seconds=AHEAD_SECONDS - 0.1) == BEYOND


def test_a_book_that_moves_is_not_called_wrong_by_late_answers() -> None:
    audited = Audited()
    audited.snapshot(10, 0.0)
    audited.update(12)
    assert audited.snapshot(11, AHEAD_SECONDS) == MATCH
    assert audited.snapshot(12, AHEAD_SECONDS + 1) == MATCH


def test_another_snapshot_is_requested_once_if_the_book_stands_still() -> None:
    audited = Audited()
    assert audited.auditor.wants_snapshot(99.0) == ""
    audited.snapshot(10, 100.0)
    assert audited.auditor.wants_snapshot(100.0 + AHEAD_SECONDS - 0.1) == ""
    assert "has stood at update 11 for 20 s" in audited.auditor.wants_snapshot(100.0 + AHEAD_SECONDS)
    assert audited.auditor.wants_snapshot(100.0 + AHEAD_SECONDS) == ""
    assert audited.snapshot(10, 100.0 + AHEAD_SECONDS + 0.2, age_seconds=0.1) == BEYOND
    moving = Audited()
    moving.snapshot(10, 0.0)
    moving.update(12)
    assert moving.auditor.wants_snapshot(AHEAD_SECONDS) == ""


def test_a_snapshot_that_contradicts_itself_finds_nothing_wrong() -> None:
    audited = Audited()
    audited.snapshot(10, 0.0)
    crossed = ExchangeBook(10, START, [(12, 1)], [(11, 1)])
    audit = audited.auditor.on_snapshot(crossed, Outcome.IGNORED, AHEAD_SECONDS)
    assert audit is not None
    assert audit.result is AuditResult.NOT_COMPARABLE
