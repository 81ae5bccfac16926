"""Which snapshot is usable: one that reaches past the newest gap and is not older than the previous one."""

import random

from hypothesis import given
from hypothesis import strategies as st

from backpack_streams.rest_poller.snapshot_plan import BEHIND_SECONDS, FRESH_SECONDS, SnapshotPlan
from unit.rest_poller.seeded_plans import REFRESH, drained, plan_of, seeded


@given(st.integers(2, 10**12), st.integers(-5, 5))
def test_a_snapshot_is_usable_if_it_reaches_the_id_before_the_next_one(next_id: int, distance: int) -> None:
    plan = seeded("A", at_id=0)
    plan.gap("A", 0, next_id, 1.0)
    [request] = drained(plan, 1.0)
    assert plan.accepts(request, next_id - 1 + distance, 0.0) is (distance >= 0)


def test_without_a_gap_any_snapshot_is_usable() -> None:
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


def test_a_gap_without_a_known_end_does_not_lower_the_minimum_of_an_earlier_one() -> None:
    plan = seeded("A")
    plan.gap("A", 180, 200, 1.0)
    plan.gap("A", None, None, 2.0)
    [request] = drained(plan, 2.0)
    assert not plan.accepts(request, 198, 0.0)


def test_a_gap_with_only_a_known_beginning_requires_a_later_snapshot() -> None:
    plan = seeded("A")
    assert plan.gap("A", 300, None, 1.0)
    [request] = drained(plan, 1.0)
    assert not plan.accepts(request, 300, 0.0)
    assert plan.accepts(request, 301, 0.0)


def test_a_quiet_market_listed_again_with_ids_from_1_gets_a_snapshot_though_a_gap_names_its_old_ids() -> None:
    plan = seeded("A", at_id=5000)
    plan.set_open([], 1.0)
    plan.set_open(["A"], 2.0)
    plan.gap("A", 4999, None, 3.0)
    [request] = drained(plan, 3.0)
    assert plan.least_id(request) == 5000
    assert not plan.accepts(request, 3, 4.0), "the server may lag"
    assert plan.accepts(request, 3, 4.0 + BEHIND_SECONDS)
    plan.done(request, 3, 4.0 + BEHIND_SECONDS)
    [again] = drained(plan, 1000.0)
    assert plan.accepts(again, 3, 1000.0)
    assert not plan.accepts(again, 2, 1000.0), "and from then on the new ids count"


def test_a_gap_that_a_snapshot_has_closed_does_not_refuse_restarted_ids_for_ever() -> None:
    plan = seeded("A")
    plan.gap("A", 180, 200, 1.0)
    [request] = drained(plan, 1.0)
    assert not plan.accepts(request, 3, 1.0)
    assert not plan.accepts(request, 3, 1.0 + BEHIND_SECONDS), "nothing has closed the gap yet"
    plan.done(request, 200, 2.0)
    [again] = drained(plan, 1000.0)
    assert not plan.accepts(again, 3, 1000.0)
    assert plan.accepts(again, 3, 1000.0 + BEHIND_SECONDS)


def test_a_restarted_sequence_lowers_the_minimum() -> None:
    plan = seeded("A", at_id=5000)
    plan.gap("A", 4000, 4500, 1.0)
    assert plan.gap("A", 5000, 10, 2.0)
    [request] = drained(plan, 2.0)
    assert plan.accepts(request, 9, 0.0)


def test_a_snapshot_that_is_behind_is_requested_again() -> None:
    plan = seeded("A")
    plan.gap("A", 200, 210, 1.0)
    [request] = drained(plan, 1.0)
    assert not plan.accepts(request, 208, 0.0)
    delay = plan.failed(request, 1.0)
    assert plan.next(1.0 + delay - 0.01) is None
    [again] = drained(plan, 1.0 + delay)
    assert (again.symbol, again.urgent, again.minimum_id, again.attempts) == ("A", True, 209, 1)


def test_a_gap_covered_by_a_fresh_snapshot_requests_nothing() -> None:
    plan = seeded("A", at_id=100)
    assert not plan.gap("A", None, 101, 1.0)
    assert drained(plan, 1.0) == []
    assert plan.gap("A", None, 102, 1.0)


def test_a_snapshot_published_long_ago_covers_nothing() -> None:
    plan = seeded("A", at_id=100)
    assert plan.gap("A", None, 101, FRESH_SECONDS)


def test_an_answer_older_than_a_previous_one_is_no_proof_until_it_stays_so() -> None:
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


def test_snapshots_of_an_earlier_run_count_and_restarted_ids_are_not_older() -> None:
    plan = plan_of("X")
    plan.recall_published("X", 100)
    request = plan.next(0.0)
    assert request is not None
    assert not plan.accepts(request, 99, 0.0)
    plan.gap("X", 100, 1, 1.0)
    assert plan.accepts(request, 5, 2.0)
