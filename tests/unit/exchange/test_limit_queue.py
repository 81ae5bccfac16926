"""The rate limiter's core: it never exceeds the rate, keeps priorities, starves no waiter, and loses nothing when waiters leave."""

import random
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from backpack_streams.exchange.limit_queue import (
    LimitClass,
    LimitQueue,
    LimitQueueFullError,
    Priority,
    TokenBucket,
    Turn,
)

# Slow tests do not fail.
unhurried = hypothesis_settings(deadline=None)

ROUNDING_TOKENS = 1e-6
GENERAL, HISTORICAL = LimitClass.GENERAL, LimitClass.HISTORICAL

steps = st.lists(st.floats(min_value=0, max_value=5, allow_nan=False), min_size=1, max_size=120)
capacities = st.floats(min_value=1, max_value=20, allow_nan=False)
rates = st.floats(min_value=0.05, max_value=50, allow_nan=False)


def queue_of(
    *,
    general: tuple[float, float] = (1_000.0, 1_000.0),
    historical: tuple[float, float] = (1_000.0, 1_000.0),
    longest_queue: int = 1_000,
    most_in_flight: int = 1_000,
    seed: int = 1,
) -> LimitQueue:
    return LimitQueue(
        {GENERAL: TokenBucket(*general, now=0.0), HISTORICAL: TokenBucket(*historical, now=0.0)},
        longest_queue=longest_queue,
        most_in_flight=most_in_flight,
        rng=random.Random(seed),
    )


def assert_within(grants: Sequence[float], capacity: float, rate: float) -> None:
    """In every window there are at most capacity + rate * window grants."""
    for first, start in enumerate(grants):
        for last in range(first, len(grants)):
            assert last - first + 1 <= capacity + rate * (grants[last] - start) + ROUNDING_TOKENS


@unhurried
@given(capacity=capacities, rate=rates, steps=steps)
def test_a_bucket_never_grants_more_than_capacity_and_refill(capacity: float, rate: float, steps: list[float]) -> None:
    bucket, now, grants = TokenBucket(capacity, rate, now=0.0), 0.0, []
    for step in steps:
        now += step
        while bucket.take(now):
            grants.append(now)
    assert_within(grants, capacity, rate)


@unhurried
@given(capacity=capacities, rate=rates, steps=steps)
def test_a_bucket_has_a_token_exactly_when_it_says(capacity: float, rate: float, steps: list[float]) -> None:
    bucket, now = TokenBucket(capacity, rate, now=0.0), 0.0
    for step in steps:
        now += step
        while bucket.take(now):
            pass
        wait_seconds = bucket.seconds_until_token(now)
        assert wait_seconds > 0
        assert not bucket.can_take(now + wait_seconds * 0.99 - 1e-6)
        # One nanosecond for the rounding of adding a small wait to a large clock.
        now += wait_seconds + 1e-9
        assert bucket.take(now)


def test_a_clock_that_goes_back_adds_no_tokens() -> None:
    bucket = TokenBucket(1, 1, now=100.0)
    assert bucket.take(100.0)
    assert not bucket.take(50.0)
    assert not bucket.take(100.5)
    assert bucket.take(101.0)


@pytest.mark.parametrize(("capacity", "rate"), [(0.5, 1), (1, 0), (1, -1)])
def test_a_bucket_that_could_never_grant_is_refused(capacity: float, rate: float) -> None:
    with pytest.raises(ValueError, match="never"):
        TokenBucket(capacity, rate, now=0.0)


asks = st.tuples(st.just("ask"), st.sampled_from(LimitClass), st.sampled_from(Priority))
events = st.lists(
    st.one_of(
        asks,
        asks,
        st.tuples(st.just("pass"), st.floats(min_value=0, max_value=3, allow_nan=False)),
        st.tuples(st.just("finish"), st.integers(0, 100)),
        st.tuples(st.just("leave"), st.integers(0, 100)),
        st.tuples(
            st.just("refused"),
            st.sampled_from(LimitClass),
            st.one_of(st.none(), st.floats(min_value=0, max_value=4, allow_nan=False)),
        ),
    ),
    max_size=150,
)


class Simulation:
    """Drives a queue as a shell would, on its own clock, and records every grant."""

    def __init__(self, queue: LimitQueue) -> None:
        self.queue = queue
        self.now = 0.0
        self.waiting: list[Turn] = []
        self.held: list[Turn] = []
        self.used: list[Turn] = []

    def serve(self) -> None:
        for turn in self.queue.grant(self.now):
            self.waiting.remove(turn)
            self.held.append(turn)
            self.used.append(turn)

    def let_pass(self, seconds: float) -> None:
        """Let time pass, waking exactly when the queue asks to."""
        end = self.now + seconds
        while (wait_seconds := self.queue.seconds_until_grant(self.now)) is not None and self.now + wait_seconds < end:
            self.now += max(wait_seconds, 0.001)
            self.serve()
        self.now = max(end, self.now)
        self.serve()

    def play(self, event: tuple[object, ...]) -> None:
        match event:
            case ("ask", LimitClass() as limit_class, Priority() as priority):
                self.waiting.append(self.queue.ask(limit_class, priority, self.now))
            case ("pass", float() as seconds):
                self.let_pass(seconds)
            case ("finish", int() as index) if self.held:
                self.queue.finish(self.held.pop(index % len(self.held)))
            case ("leave", int() as index) if self.waiting:
                self.queue.leave(self.waiting.pop(index % len(self.waiting)), self.now)
            case ("refused", LimitClass() as limit_class, retry_after) if retry_after is None or isinstance(
                retry_after, float
            ):
                self.queue.refused(limit_class, retry_after, self.now)
        self.serve()


@unhurried
@given(events=events, seed=st.integers())
def test_every_waiter_is_served_and_no_window_exceeds_the_rate(events: list[tuple[object, ...]], seed: int) -> None:
    general, historical, most_in_flight = (4.0, 3.0), (2.0, 0.5), 3
    simulation = Simulation(queue_of(general=general, historical=historical, most_in_flight=most_in_flight, seed=seed))
    for event in events:
        simulation.play(event)
        assert simulation.queue.in_flight == len(simulation.held) <= most_in_flight
        assert simulation.queue.waiting() == len(simulation.waiting)
    # No wakeup is lost: once all held turns are finished, following `seconds_until_grant` alone serves every waiter.
    for _ in range(10_000):
        if not simulation.waiting:
            break
        while simulation.held:
            simulation.queue.finish(simulation.held.pop())
        simulation.serve()
        wait_seconds = simulation.queue.seconds_until_grant(simulation.now)
        if wait_seconds is not None:
            simulation.let_pass(wait_seconds + 0.001)
    assert simulation.waiting == []
    grants = [turn.granted_at for turn in simulation.used if turn.granted_at is not None]
    assert len(grants) == len(simulation.used)
    assert_within(grants, *general)
    assert_within(
        [turn.granted_at for turn in simulation.used if turn.granted_at and turn.limit_class is HISTORICAL], *historical
    )


@unhurried
@given(priorities=st.lists(st.sampled_from(Priority), max_size=60))
def test_higher_priorities_go_first_and_order_is_first_come_first_served_within_one(priorities: list[Priority]) -> None:
    queue = queue_of(most_in_flight=1)
    turns = [queue.ask(GENERAL, priority, 0.0) for priority in priorities]
    served: list[Turn] = []
    while granted := queue.grant(0.0):
        served += granted
        queue.finish(granted[0])
    assert sorted(turn.order for turn in served) == [turn.order for turn in turns]
    for priority in Priority:
        orders = [turn.order for turn in served if turn.priority is priority]
        assert orders == sorted(orders)
    overtakes = 0
    waiting = set(turns)
    for turn in served:
        best = min(waiting, key=lambda waiter: (waiter.priority, waiter.order))
        longest_waiting = min(waiting, key=lambda waiter: waiter.order)
        if turn is longest_waiting:
            overtakes = 0
        else:
            assert turn is best
            overtakes += 1
            assert overtakes <= 9
        waiting.remove(turn)


def test_a_snapshot_for_a_gap_overtakes_queued_history_requests() -> None:
    queue = queue_of(most_in_flight=1)
    for _ in range(50):
        queue.ask(GENERAL, Priority.HISTORY, 0.0)
    seed = queue.ask(GENERAL, Priority.GAP_SNAPSHOT, 0.0)
    assert queue.grant(0.0) == [seed]


def test_the_lowest_priority_is_served_despite_an_endless_stream_of_the_highest() -> None:
    queue = queue_of(most_in_flight=1)
    history = [queue.ask(GENERAL, Priority.HISTORY, 0.0) for _ in range(3)]
    grants_of_history = []
    for grant in range(60):
        queue.ask(GENERAL, Priority.GAP_SNAPSHOT, 0.0)
        (turn,) = queue.grant(0.0)
        queue.finish(turn)
        if turn in history:
            grants_of_history.append(grant)
    assert grants_of_history == [9, 19, 29]


def test_a_historical_request_also_costs_a_general_token() -> None:
    queue = queue_of(general=(3.0, 0.001), historical=(2.0, 0.001))
    turns = [queue.ask(HISTORICAL, Priority.HISTORY, 0.0) for _ in range(2)]
    turns += [queue.ask(GENERAL, Priority.HISTORY, 0.0) for _ in range(2)]
    assert queue.grant(0.0) == turns[:3]


def test_an_empty_historical_bucket_does_not_block_general_requests() -> None:
    queue = queue_of(historical=(1.0, 0.1))
    first, blocked = (queue.ask(HISTORICAL, Priority.GAP_SNAPSHOT, 0.0) for _ in range(2))
    general = queue.ask(GENERAL, Priority.HISTORY, 0.0)
    assert queue.grant(0.0) == [first, general]
    assert queue.seconds_until_grant(0.0) == pytest.approx(10.0)
    assert queue.grant(10.0) == [blocked]


@pytest.mark.parametrize("refused", LimitClass)
def test_retry_after_pauses_every_class(refused: LimitClass) -> None:
    queue = queue_of()
    assert queue.refused(refused, 7.0, now=100.0) == 7.0
    assert [queue.paused_seconds(each, 100.0) for each in LimitClass] == [7.0, 7.0]
    historical = queue.ask(HISTORICAL, Priority.GAP_SNAPSHOT, 100.0)
    general = queue.ask(GENERAL, Priority.HISTORY, 100.0)
    assert queue.grant(106.9) == []
    assert queue.grant(107.0) == []  # the buckets start empty: no burst after a pause
    assert queue.grant(107.2) == [historical, general]


def test_without_retry_after_only_the_refused_class_pauses() -> None:
    queue = queue_of()
    pause_seconds = queue.refused(HISTORICAL, None, now=100.0)
    assert pause_seconds >= 1
    historical = queue.ask(HISTORICAL, Priority.GAP_SNAPSHOT, 100.0)
    general = queue.ask(GENERAL, Priority.HISTORY, 100.0)
    assert queue.grant(100.0) == [general]
    assert queue.grant(100.0 + pause_seconds) == []
    assert queue.grant(100.1 + pause_seconds) == [historical]


def test_a_shorter_retry_after_does_not_end_an_earlier_pause() -> None:
    queue = queue_of()
    queue.refused(GENERAL, 100.0, now=0.0)
    queue.refused(HISTORICAL, 5.0, now=1.0)
    assert queue.paused_seconds(GENERAL, 1.0) == 99.0


def test_a_paused_general_class_also_stops_historical_requests() -> None:
    queue = queue_of()
    queue.refused(GENERAL, 5.0, now=0.0)
    turn = queue.ask(HISTORICAL, Priority.HISTORY, 0.0)
    assert queue.grant(4.9) == []
    assert queue.seconds_until_grant(4.9) == pytest.approx(0.101, abs=0.01)
    assert queue.grant(5.1) == [turn]


def test_without_retry_after_pauses_grow_and_accepted_requests_shorten_them() -> None:
    def longest_pause(rounds: int, *, accept: bool) -> float:
        queue = queue_of(seed=5)
        now, pauses = 0.0, []
        for _ in range(rounds):
            pauses.append(queue.refused(GENERAL, None, now))
            now += pauses[-1]
            if accept:
                queue.accepted(GENERAL, now)
        assert all(1 <= pause <= 61 for pause in pauses)
        return max(pauses)

    assert longest_pause(40, accept=True) <= 3
    assert longest_pause(40, accept=False) > 20


def test_refusals_of_requests_already_in_flight_do_not_lengthen_the_pause() -> None:
    queue = queue_of()
    pause_seconds = queue.refused(GENERAL, None, now=0.0)
    for _ in range(7):
        assert queue.refused(GENERAL, None, now=0.0) == pause_seconds
    # Nor does a late success from before the pause end it.
    queue.accepted(GENERAL, now=0.0)
    assert queue.paused_seconds(GENERAL, 0.0) == pause_seconds


def test_an_absurd_retry_after_is_bounded() -> None:
    queue = queue_of()
    assert queue.refused(GENERAL, 10**9, now=0.0) == 600
    assert queue_of().refused(GENERAL, 0.0, now=0.0) == 1


def test_a_full_queue_rejects_and_a_departing_waiter_makes_room() -> None:
    queue = queue_of(longest_queue=2)
    first, second = (queue.ask(GENERAL, Priority.SNAPSHOT, 0.0) for _ in range(2))
    with pytest.raises(LimitQueueFullError, match="2 REST requests are waiting already"):
        queue.ask(GENERAL, Priority.GAP_SNAPSHOT, 0.0)
    queue.leave(first, 0.0)
    third = queue.ask(GENERAL, Priority.SNAPSHOT, 0.0)
    assert queue.grant(0.0) == [second, third]


def test_an_unused_turn_returns_its_tokens_and_its_slot() -> None:
    queue = queue_of(general=(1.0, 0.001), historical=(1.0, 0.001), most_in_flight=1)
    unused, following = (queue.ask(HISTORICAL, Priority.HISTORY, 0.0) for _ in range(2))
    assert queue.grant(0.0) == [unused]
    assert queue.grant(0.0) == []
    queue.leave(unused, 0.0)
    assert queue.grant(0.0) == [following]


def test_no_wakeup_is_due_while_all_slots_are_in_flight() -> None:
    queue = queue_of(most_in_flight=1)
    first, second = (queue.ask(GENERAL, Priority.SNAPSHOT, 0.0) for _ in range(2))
    assert queue.grant(0.0) == [first]
    assert queue.seconds_until_grant(0.0) is None
    queue.finish(first)
    assert queue.seconds_until_grant(0.0) == 0
    assert queue.grant(0.0) == [second]
    assert second.waited_seconds == 0
