"""Broken books are fetched first, and the exchange is never asked too often."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backpack_streams.rest_poller.snapshot_plan import (
    AUDIT_SPACING_SECONDS,
    FIRST_RETRY_SECONDS,
    LONGEST_RETRY_SECONDS,
    RECHECK_SECONDS,
)
from unit.rest_poller.seeded_plans import REFRESH, drained, plan_of, seeded


class UpperEnd(random.Random):
    """Draws the longest delay allowed."""

    def uniform(self, a: float, b: float) -> float:
        return b


# ---- who is next


def test_every_open_market_is_wanted_at_once_and_only_once() -> None:
    plan = plan_of("A", "B.C")
    plan.set_open(["A", "B.C"], 1.0)
    requests = drained(plan, 1.0)
    assert sorted(request.symbol for request in requests) == ["A", "B.C"]
    assert not any(request.urgent for request in requests)
    assert all(request.minimum_id is None for request in requests)


@given(st.permutations(["gap", "gap2", "old", "new"]))
def test_gaps_go_first_and_then_the_longest_overdue_books(order: list[str]) -> None:
    plan = seeded("gap", "gap2", "old", "new", refresh=0.0)
    times = {"gap": 80.0, "gap2": 90.0}
    for symbol in order:
        if symbol in times:
            plan.gap(symbol, 500, 510, times[symbol])
    plan.set_open(["gap", "gap2"], 60.0)
    plan.set_open(["gap", "gap2", "old"], 60.0)
    plan.set_open(["gap", "gap2", "old", "new"], 70.0)
    assert [request.symbol for request in drained(plan, 100.0)] == ["gap", "gap2", "old", "new"]


def test_nothing_is_next_before_it_is_due() -> None:
    plan = seeded("A")
    assert plan.next(REFRESH - 0.1) is None
    assert plan.next_due() == REFRESH
    request = plan.next(REFRESH)
    assert request is not None
    assert not request.urgent


def test_without_a_refresh_interval_a_book_with_a_snapshot_is_not_fetched_again() -> None:
    plan = seeded("A", refresh=0.0)
    assert plan.next(1e9) is None
    assert plan.next_due() is None


def test_a_gap_makes_a_waiting_request_urgent_and_due() -> None:
    plan = seeded("A")
    assert plan.gap("A", 200, 210, 5.0)
    [request] = drained(plan, 5.0)
    assert (request.urgent, request.minimum_id) == (True, 209)
    assert plan.open_requests() == 1
    plan.done(request, 300, 6.0)
    assert plan.open_requests() == 0


def test_the_oldest_open_gap_is_the_one_that_has_waited_longest() -> None:
    plan = seeded("A", "B")
    assert plan.oldest_open_seconds(9.0) == 0.0, "a book that is fetched without a gap is no open gap"
    plan.gap("A", 200, 210, 10.0)
    plan.gap("B", 200, 210, 12.0)
    plan.gap("A", 210, 220, 13.0)
    assert plan.oldest_open_seconds(20.0) == 10.0
    [first, second] = drained(plan, 20.0)
    assert plan.oldest_open_seconds(20.0) == 10.0, "it is being fetched"
    plan.gap(first.symbol, 220, 230, 21.0)
    plan.failed(first, 22.0)
    assert plan.oldest_open_seconds(30.0) == 20.0, "a try that failed does not make it younger"
    plan.done(second, 300, 30.0)
    [again] = drained(plan, 30.0)
    plan.failed(again, 31.0)
    assert plan.oldest_open_seconds(40.0) == 30.0
    [last] = drained(plan, 100.0)
    plan.done(last, 300, 100.0)
    assert plan.oldest_open_seconds(100.0) == 0.0


def test_a_gap_that_opens_during_a_fetch_is_fetched_afterwards() -> None:
    plan = plan_of("A")
    [first] = drained(plan, 0.0)
    assert plan.gap("A", 200, 210, 1.0)
    assert plan.next(1.0) is None  # one request per symbol at a time
    assert plan.next_due() is None
    plan.done(first, 150, 2.0)
    [second] = drained(plan, 2.0)
    assert (second.urgent, second.minimum_id) == (True, 209)


def test_consecutive_gaps_are_one_request_that_reaches_past_the_newest() -> None:
    plan = seeded("A")
    for number in range(50):
        plan.gap("A", 200 + number, 210 + number, 5.0 + number)
    [request] = drained(plan, 100.0)
    assert request.minimum_id == 258


# ---- audits


def test_an_audit_request_comes_after_gaps_and_before_the_rest() -> None:
    plan = seeded("A", "B", "C")
    plan.set_open(["A", "B", "C", "D"], 50.0)
    assert plan.request_audit("B", 60.0)
    assert plan.gap("C", 500, 510, 70.0)
    assert [request.symbol for request in drained(plan, 70.0)] == ["C", "B", "D"]


def test_an_audit_request_outlives_a_failure() -> None:
    plan = seeded("A")
    plan.set_open(["A", "B"], 59.0)
    plan.request_audit("A", 60.0)
    plan.failed(drained(plan, 60.0)[0], 60.0)
    plan.set_open(["A", "B", "C"], 60.0)
    assert next(request.symbol for request in drained(plan, 61.0)) == "A"


def test_a_recent_snapshot_answers_an_audit_request() -> None:
    plan = seeded("A")
    assert not plan.request_audit("A", AUDIT_SPACING_SECONDS - 0.1)
    assert not plan.request_audit("closed", 60.0)
    assert plan.next(AUDIT_SPACING_SECONDS) is None
    assert plan.request_audit("A", AUDIT_SPACING_SECONDS)
    assert plan.next(AUDIT_SPACING_SECONDS) is not None


@pytest.mark.parametrize("refresh", [0.0, REFRESH])
def test_a_wrong_book_gets_a_snapshot_from_its_position_on_and_is_soon_rechecked(refresh: float) -> None:
    plan = seeded("A", at_id=90, refresh=refresh)
    assert plan.found_wrong("A", 100, 5.0)
    assert not plan.found_wrong("closed", 100, 5.0)
    [request] = drained(plan, 5.0)
    assert request.urgent
    assert [plan.accepts(request, last_id, 0.0) for last_id in (99, 100, 101)] == [False, True, True]
    plan.done(request, 100, 6.0)
    assert plan.next_due() == 6.0 + RECHECK_SECONDS
    [again] = drained(plan, 6.0 + RECHECK_SECONDS)
    assert not again.urgent
    plan.done(again, 100, 40.0)
    assert plan.next_due() == (40.0 + refresh if refresh else None)


def test_a_topic_ahead_of_the_exchange_gets_any_snapshot_taken_after_its_end() -> None:
    plan = seeded("A", at_id=90)
    plan.gap("A", 90, 101, 4.0)
    assert plan.not_before_us("A") == 0
    assert plan.found_ahead("A", 7_000_000, 5.0)
    assert not plan.found_ahead("closed", 7_000_000, 5.0)
    [request] = drained(plan, 5.0)
    assert request.urgent
    assert plan.accepts(request, 89, 0.0)
    assert plan.not_before_us("A") == 7_000_000
    plan.done(request, 89, 6.0)
    assert plan.next_due() == 6.0 + RECHECK_SECONDS


@pytest.mark.parametrize("is_fetching", [True, False])
def test_offsets_of_watermarks_are_void_once_their_topic_was_recreated(is_fetching: bool) -> None:
    plan = plan_of("X")
    request = plan.next(0.0)
    assert request is not None
    if is_fetching:
        plan.watermarks_recreated()
    plan.done(request, 100, 0.0, watermark_offset=600_000)
    if not is_fetching:
        plan.watermarks_recreated()
    assert plan.coverage_restarted("X", 0, 1.0)
    again = plan.next(1.0)
    assert again is not None
    plan.done(again, 100, 2.0, watermark_offset=3)
    assert not plan.coverage_restarted("X", 2, 3.0)


def test_a_book_that_is_covered_again_is_fetched_unless_it_was_fetched_since() -> None:
    plan = plan_of("X")
    request = plan.next(0.0)
    assert request is not None
    plan.done(request, 100, 0.0, watermark_offset=7)
    assert not plan.coverage_restarted("X", 6, 1.0)
    assert plan.coverage_restarted("X", 7, 1.0)
    assert not plan.coverage_restarted("closed", 7, 1.0)
    again = plan.next(1.0)
    assert again is not None
    assert again.audit_requested, "ahead of those that are merely due"


# ---- failures


@given(st.integers(1, 60))
def test_retries_are_increasingly_delayed_up_to_a_limit(failures: int) -> None:
    plan = plan_of("A", refresh=0.0, rng=UpperEnd())
    now, delays = 0.0, []
    for _ in range(failures):
        [request] = drained(plan, now)
        delays.append(plan.failed(request, now))
        now += delays[-1]
    assert delays[0] == FIRST_RETRY_SECONDS
    assert delays == sorted(delays)
    assert all(FIRST_RETRY_SECONDS <= delay <= LONGEST_RETRY_SECONDS for delay in delays)


def test_a_success_forgets_the_failures() -> None:
    plan = plan_of("A", rng=UpperEnd())
    [request] = drained(plan, 0.0)
    plan.failed(request, 0.0)
    [request] = drained(plan, 10.0)
    plan.done(request, 5, 10.0)
    [request] = drained(plan, 10.0 + REFRESH)
    assert plan.failed(request, 0.0) == FIRST_RETRY_SECONDS


def test_an_abandoned_fetch_is_due_again_at_once_and_reaches_past_gaps_found_meanwhile() -> None:
    plan = seeded("A")
    plan.gap("A", 200, 210, 5.0)
    [request] = drained(plan, 5.0)
    plan.give_back(request)
    assert plan.oldest_open_seconds(6.0) == 1.0
    [again] = drained(plan, 6.0)
    assert (again.urgent, again.minimum_id, again.attempts) == (True, 209, 0)
    plan.gap("A", 300, 310, 7.0)
    plan.give_back(again)
    [last] = drained(plan, 7.0)
    assert (last.urgent, last.minimum_id) == (True, 309)


# ---- markets come and go


def test_a_closed_market_is_forgotten() -> None:
    plan = plan_of("A", "B")
    plan.set_open(["B"], 1.0)
    assert [request.symbol for request in drained(plan, 1.0)] == ["B"]
    assert not plan.gap("A", 5, 9, 2.0)
    assert drained(plan, 1e9) == []


@pytest.mark.parametrize("ends", ["done", "failed", "give_back"])
def test_a_market_that_closes_while_it_is_fetched_is_not_requested_again(ends: str) -> None:
    plan = plan_of("A")
    [request] = drained(plan, 0.0)
    plan.set_open([], 1.0)
    if ends == "done":
        plan.done(request, 5, 2.0)
    elif ends == "failed":
        plan.failed(request, 2.0)
    else:
        plan.give_back(request)
    assert plan.next_due() is None
    assert plan.open_requests() == 0


def test_a_market_that_opens_again_is_wanted_again() -> None:
    plan = seeded("A")
    plan.set_open([], 1.0)
    plan.set_open(["A"], 2.0)
    assert [request.symbol for request in drained(plan, 2.0)] == ["A"]


def test_the_minimum_of_a_closed_market_does_not_apply_once_it_is_listed_again() -> None:
    plan = seeded("A", at_id=5000)
    plan.gap("A", 6000, 6010, 1.0)
    plan.set_open([], 2.0)
    plan.set_open(["A"], 3.0)
    [request] = drained(plan, 3.0)
    assert plan.accepts(request, 1, 0.0)
