"""Books that are broken are fetched first, with a snapshot that reaches past the gap, and the exchange is never asked too often."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from backpack_streams.rest_poller.snapshot_plan import (
    AUDIT_SPACING_SECONDS,
    BEHIND_SECONDS,
    FIRST_RETRY_SECONDS,
    FRESH_SECONDS,
    LONGEST_RETRY_SECONDS,
    RECHECK_SECONDS,
    SnapshotPlan,
    SnapshotRequest,
)

REFRESH = 600.0


class UpperEnd(random.Random):
    """Draws the widest delay allowed."""

    def uniform(self, a: float, b: float) -> float:
        return b


def plan_of(*symbols: str, refresh: float = REFRESH, rng: random.Random | None = None) -> SnapshotPlan:
    plan = SnapshotPlan(refresh, rng)
    plan.set_open(symbols, 0.0)
    return plan


def drained(plan: SnapshotPlan, now: float) -> list[SnapshotRequest]:
    """Every request whose turn it is, in the order of the turns."""
    requests = []
    while (request := plan.next(now)) is not None:
        requests.append(request)
    return requests


def seeded(*symbols: str, at_id: int = 100, refresh: float = REFRESH) -> SnapshotPlan:
    plan = plan_of(*symbols, refresh=refresh)
    for request in drained(plan, 0.0):
        plan.done(request, at_id, 0.0)
    return plan


# ---- who is next


def test_every_open_market_is_wanted_at_once_and_once() -> None:
    plan = plan_of("A", "B.C")
    plan.set_open(["A", "B.C"], 1.0)
    requests = drained(plan, 1.0)
    assert sorted(request.symbol for request in requests) == ["A", "B.C"]
    assert not any(request.urgent for request in requests)
    assert all(request.minimum_id is None for request in requests)


@given(st.permutations(["gap", "gap2", "old", "new"]))
def test_gaps_go_first_and_then_what_was_due_longest(order: list[str]) -> None:
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


def test_without_a_refresh_interval_a_given_a_snapshot_book_is_left_alone() -> None:
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


def test_the_oldest_open_gap_is_the_one_that_has_waited_for_longest() -> None:
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


def test_a_gap_while_its_book_is_being_fetched_is_fetched_for_after_that() -> None:
    plan = plan_of("A")
    [first] = drained(plan, 0.0)
    assert plan.gap("A", 200, 210, 1.0)
    assert plan.next(1.0) is None  # one request a symbol at a time
    assert plan.next_due() is None
    plan.done(first, 150, 2.0)
    [second] = drained(plan, 2.0)
    assert (second.urgent, second.minimum_id) == (True, 209)


def test_gaps_in_a_row_are_one_request_that_reaches_past_the_newest() -> None:
    plan = seeded("A")
    for number in range(50):
        plan.gap("A", 200 + number, 210 + number, 5.0 + number)
    [request] = drained(plan, 100.0)
    assert request.minimum_id == 258


# ---- audits


def test_a_book_under_suspicion_comes_after_gaps_and_before_the_rest() -> None:
    plan = seeded("A", "B", "C")
    plan.set_open(["A", "B", "C", "D"], 50.0)
    assert plan.request_audit("B", 60.0)
    assert plan.gap("C", 500, 510, 70.0)
    assert [request.symbol for request in drained(plan, 70.0)] == ["C", "B", "D"]


def test_a_suspicion_outlives_a_failure() -> None:
    plan = seeded("A")
    plan.set_open(["A", "B"], 59.0)
    plan.request_audit("A", 60.0)
    plan.failed(drained(plan, 60.0)[0], 60.0)
    plan.set_open(["A", "B", "C"], 60.0)
    assert next(request.symbol for request in drained(plan, 61.0)) == "A"


def test_a_snapshot_of_a_moment_ago_answers_a_suspicion() -> None:
    plan = seeded("A")
    assert not plan.request_audit("A", AUDIT_SPACING_SECONDS - 0.1)
    assert not plan.request_audit("closed", 60.0)
    assert plan.next(AUDIT_SPACING_SECONDS) is None
    assert plan.request_audit("A", AUDIT_SPACING_SECONDS)
    assert plan.next(AUDIT_SPACING_SECONDS) is not None


@pytest.mark.parametrize("refresh", [0.0, REFRESH])
def test_a_wrong_book_is_given_a_snapshot_from_where_it_stood_and_looked_at_again_soon(refresh: float) -> None:
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


def test_a_topic_that_goes_past_the_exchange_is_given_a_snapshot_by_any_snapshot_from_its_end_on() -> None:
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


# ---- which snapshot is of use


@given(st.integers(2, 10**12), st.integers(-5, 5))
def test_a_snapshot_is_of_use_if_it_reaches_the_id_before_the_next_one(next_id: int, distance: int) -> None:
    plan = seeded("A", at_id=0)
    plan.gap("A", 0, next_id, 1.0)
    [request] = drained(plan, 1.0)
    assert plan.accepts(request, next_id - 1 + distance, 0.0) is (distance >= 0)


def test_without_a_gap_any_snapshot_is_of_use() -> None:
    plan = plan_of("A")
    [request] = drained(plan, 0.0)
    assert plan.accepts(request, 0, 0.0)


def test_a_gap_recalled_from_before_the_start_counts() -> None:
    plan = SnapshotPlan(REFRESH, random.Random(0))
    plan.recall("A", 80, 100)
    plan.set_open(["A"], 0.0)
    [request] = drained(plan, 0.0)
    assert not plan.accepts(request, 98, 0.0)
    assert plan.accepts(request, 99, 0.0)


def test_a_gap_of_which_no_end_is_known_does_not_lower_what_an_earlier_one_asks_for() -> None:
    plan = seeded("A")
    plan.gap("A", 180, 200, 1.0)
    plan.gap("A", None, None, 2.0)
    [request] = drained(plan, 2.0)
    assert not plan.accepts(request, 198, 0.0)


def test_a_gap_of_which_only_the_beginning_is_known_asks_for_what_is_behind_it() -> None:
    plan = seeded("A")
    assert plan.gap("A", 300, None, 1.0)
    [request] = drained(plan, 1.0)
    assert not plan.accepts(request, 300, 0.0)
    assert plan.accepts(request, 301, 0.0)


def test_a_sequence_that_began_anew_lowers_what_a_snapshot_must_reach() -> None:
    plan = seeded("A", at_id=5000)
    plan.gap("A", 4000, 4500, 1.0)
    assert plan.gap("A", 5000, 10, 2.0)
    [request] = drained(plan, 2.0)
    assert plan.accepts(request, 9, 0.0)


def test_a_snapshot_that_is_behind_is_asked_for_again() -> None:
    plan = seeded("A")
    plan.gap("A", 200, 210, 1.0)
    [request] = drained(plan, 1.0)
    assert not plan.accepts(request, 208, 0.0)
    delay = plan.failed(request, 1.0)
    assert plan.next(1.0 + delay - 0.01) is None
    [again] = drained(plan, 1.0 + delay)
    assert (again.symbol, again.urgent, again.minimum_id, again.attempts) == ("A", True, 209, 1)


def test_a_gap_that_a_fresh_snapshot_covers_asks_for_nothing() -> None:
    plan = seeded("A", at_id=100)
    assert not plan.gap("A", None, 101, 1.0)
    assert drained(plan, 1.0) == []
    assert plan.gap("A", None, 102, 1.0)


def test_a_snapshot_published_long_ago_covers_nothing() -> None:
    plan = seeded("A", at_id=100)
    assert plan.gap("A", None, 101, FRESH_SECONDS)


# ---- failures


@given(st.integers(1, 60))
def test_retries_come_later_and_later_but_never_too_late(failures: int) -> None:
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


# ---- markets come and go


def test_a_market_that_closed_is_forgotten() -> None:
    plan = plan_of("A", "B")
    plan.set_open(["B"], 1.0)
    assert [request.symbol for request in drained(plan, 1.0)] == ["B"]
    assert not plan.gap("A", 5, 9, 2.0)
    assert drained(plan, 1e9) == []


@pytest.mark.parametrize("ends", ["done", "failed"])
def test_a_market_that_closes_while_it_is_fetched_is_not_asked_for_again(ends: str) -> None:
    plan = plan_of("A")
    [request] = drained(plan, 0.0)
    plan.set_open([], 1.0)
    if ends == "done":
        plan.done(request, 5, 2.0)
    else:
        plan.failed(request, 2.0)
    assert plan.next_due() is None
    assert plan.open_requests() == 0


def test_a_market_that_opens_again_is_wanted_again() -> None:
    plan = seeded("A")
    plan.set_open([], 1.0)
    plan.set_open(["A"], 2.0)
    assert [request.symbol for request in drained(plan, 2.0)] == ["A"]


def test_what_a_closed_market_had_to_reach_does_not_hold_once_it_is_listed_again() -> None:
    plan = seeded("A", at_id=5000)
    plan.gap("A", 6000, 6010, 1.0)
    plan.set_open([], 2.0)
    plan.set_open(["A"], 3.0)
    [request] = drained(plan, 3.0)
    assert plan.accepts(request, 1, 0.0)


class Seeding(RuleBasedStateMachine):
    """Gaps, fetches, failures and listings in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.plan = SnapshotPlan(REFRESH, random.Random(0))
        self.now = 1000.0
        self.open: set[str] = set()
        self.fetching: dict[str, SnapshotRequest] = {}
        self.newest_gap: dict[str, int] = {}
        self.gap_without_snapshot: set[str] = set()
        self.published: dict[str, int] = {}

    symbols = st.sampled_from(["A", "B", "C.D"])

    @initialize(symbols=st.sets(symbols))
    def begin(self, symbols: set[str]) -> None:
        self.list_markets(symbols)

    @rule(symbols=st.sets(symbols))
    def list_markets(self, symbols: set[str]) -> None:
        self.plan.set_open(sorted(symbols), self.now)
        for gone in self.open - symbols:
            self.newest_gap.pop(gone, None)  # listed again, its ids may restart
        self.open = symbols
        self.gap_without_snapshot &= symbols

    @rule(symbol=symbols, last_id=st.integers(1, 1000), width=st.integers(1, 9))
    def gap(self, symbol: str, last_id: int, width: int) -> None:
        next_id = last_id + width
        self.newest_gap[symbol] = next_id
        if self.plan.gap(symbol, last_id, next_id, self.now):
            assert symbol in self.open
            self.gap_without_snapshot.add(symbol)

    @rule(seconds=st.sampled_from([0.0, 0.1, 1.0, 40.0, REFRESH]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def fetch(self) -> None:
        waiting = [request for request in self.plan._waiting.values() if request.symbol not in self.fetching]
        request = self.plan.next(self.now)
        due = [each for each in waiting if each.due <= self.now]
        if request is None:
            assert due == []
            return
        assert request.symbol not in self.fetching
        assert request.symbol in self.open
        assert request.urgent or not any(each.urgent for each in due)
        if request.symbol in self.newest_gap and not request.attempts:
            assert not self.plan.accepts(request, self.newest_gap[request.symbol] - 2, 0.0)
        self.fetching[request.symbol] = request

    @precondition(lambda self: self.fetching)
    @rule(data=st.data(), ahead=st.integers(-3, 3))
    def answer(self, data: st.DataObject, ahead: int) -> None:
        request = self.fetching.pop(data.draw(st.sampled_from(sorted(self.fetching))))
        snapshot_id = (request.minimum_id or 0) + ahead
        published = self.published.get(request.symbol, 0)
        if self.plan.accepts(request, snapshot_id, self.now):
            self.plan.done(request, snapshot_id, self.now)
            self.published[request.symbol] = snapshot_id
            if snapshot_id >= self.newest_gap.get(request.symbol, 0) - 1:
                self.gap_without_snapshot.discard(request.symbol)
        else:
            assert ahead < 0 or snapshot_id < published
            assert self.plan.failed(request, self.now) <= LONGEST_RETRY_SECONDS

    @invariant()
    def a_gap_is_never_forgotten(self) -> None:
        for symbol in self.gap_without_snapshot:
            waiting = self.plan._waiting.get(symbol)
            fetching = self.fetching.get(symbol)
            assert (waiting is not None and waiting.urgent) or (fetching is not None and fetching.urgent)

    @invariant()
    def every_open_market_is_waited_for_or_fetched(self) -> None:
        for symbol in self.open:
            assert symbol in self.plan._waiting or symbol in self.fetching

    @invariant()
    def nothing_waits_longer_than_a_refresh(self) -> None:
        due = self.plan.next_due()
        assert due is None or due <= self.now + REFRESH


TestSeeding = Seeding.TestCase
TestSeeding.settings = settings(max_examples=60, stateful_step_count=30)


def test_an_answer_that_is_older_than_one_before_is_no_proof_until_it_stays_so() -> None:
    plan = plan_of("X")
    request = plan.next(0.0)
    assert request is not None
    assert plan.accepts(request, 100, 0.0)
    plan.done(request, 100, 0.0)
    assert not plan.accepts(request, 99, 10.0), "a server that is behind"
    assert plan.accepts(request, 100, 11.0)
    assert not plan.accepts(request, 99, 20.0)
    assert not plan.accepts(request, 98, 20.0 + BEHIND_SECONDS - 1)
    assert plan.accepts(request, 97, 20.0 + BEHIND_SECONDS), "the ids have begun anew"


def test_what_an_earlier_run_published_counts_and_ids_that_begin_anew_are_no_older_ones() -> None:
    plan = plan_of("X")
    plan.recall_published("X", 100)
    request = plan.next(0.0)
    assert request is not None
    assert not plan.accepts(request, 99, 0.0)
    plan.gap("X", 100, 1, 1.0)
    assert plan.accepts(request, 5, 2.0)


def test_a_book_that_is_covered_anew_is_fetched_unless_it_was_fetched_since() -> None:
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
