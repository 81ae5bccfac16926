"""The rate limiter's async shell: waiters are woken, cancelled waiters leave cleanly, and counters report what happened."""

import asyncio
import random

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from backpack_streams.errors import UsageError
from backpack_streams.exchange.limits import (
    LimitClass,
    LimiterClosedError,
    LimitQueueFullError,
    LimitSettings,
    Priority,
    RateLimiter,
)

# Slow tests do not fail.
unhurried = hypothesis_settings(deadline=None)

GENERAL, HISTORICAL = LimitClass.GENERAL, LimitClass.HISTORICAL
FAST = LimitSettings(share=1.0, general_per_minute=600_000, historical_per_minute=600_000, most_in_flight=1)


async def use(limiter: RateLimiter, name: str, served: list[str], priority: Priority = Priority.SNAPSHOT) -> None:
    async with limiter.turn(GENERAL, priority):
        served.append(name)
        await asyncio.sleep(0)


async def settled() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


@unhurried
@given(
    share=st.floats(min_value=0.07, max_value=1.0),
    limit_class=st.sampled_from(LimitClass),
    window_starts=st.floats(min_value=0, max_value=200),
)
def test_no_minute_exceeds_the_share_of_the_limit(share: float, limit_class: LimitClass, window_starts: float) -> None:
    settings = LimitSettings(share=share)
    bucket = settings.bucket(limit_class, 0.0)
    now, taken = window_starts, 0
    while now < window_starts + 60:
        taken += bucket.take(now)
        now += max(bucket.seconds_until_token(now), 1e-6)
    limit = 2_000 if limit_class is GENERAL else 30
    assert limit * share * 0.75 - 1 <= taken <= limit * share + 1e-6


@pytest.mark.parametrize("share", [0.0, -1.0, 1.5, 0.01, float("nan")])
def test_a_nonsensical_share_is_refused(share: float) -> None:
    with pytest.raises(UsageError, match="share"):
        RateLimiter(LimitSettings(share=share))


async def test_waiters_are_served_by_priority_as_slots_become_free() -> None:
    limiter = RateLimiter(FAST)
    served: list[str] = []
    async with limiter.turn(GENERAL, Priority.SNAPSHOT):
        tasks = [
            asyncio.create_task(use(limiter, f"{priority.name}{number}", served, priority))
            for number in range(2)
            for priority in reversed(Priority)
        ]
        await settled()
        assert served == []
        assert limiter.queue_length() == limiter.queue_length(GENERAL) == 8
        assert limiter.in_flight == 1
    await asyncio.gather(*tasks)
    expected = [f"{priority.name}{number}" for priority in Priority for number in range(2)]
    assert served == expected
    assert limiter.in_flight == limiter.queue_length() == 0
    assert limiter.counters(GENERAL).granted == 9
    assert limiter.counters(HISTORICAL).granted == 0


async def test_waiters_for_an_empty_bucket_wake_without_a_call() -> None:
    settings = LimitSettings(share=1.0, general_per_minute=6_000, historical_per_minute=600, most_in_flight=100)
    limiter = RateLimiter(settings)
    served: list[str] = []
    async with asyncio.timeout(10):
        # 600 go at once, the others at 90 per second.
        await asyncio.gather(*(use(limiter, str(number), served) for number in range(620)))
    assert served == [str(number) for number in range(620)]
    assert limiter.counters(GENERAL).waited_seconds > 0


async def test_a_cancelled_waiter_leaves_and_the_next_one_is_served() -> None:
    limiter = RateLimiter(FAST)
    served: list[str] = []
    async with limiter.turn(GENERAL, Priority.SNAPSHOT):
        tasks = [asyncio.create_task(use(limiter, name, served)) for name in "abc"]
        await settled()
        tasks[0].cancel()
        await settled()
        assert limiter.queue_length() == 2
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(results[0], asyncio.CancelledError)
    assert served == ["b", "c"]
    assert limiter.counters(GENERAL).left == 1
    assert limiter.counters(GENERAL).granted == 3


async def test_a_waiter_cancelled_at_the_moment_of_its_grant_returns_the_turn() -> None:
    limiter = RateLimiter(FAST)
    served: list[str] = []
    async with limiter.turn(GENERAL, Priority.SNAPSHOT):
        tasks = [asyncio.create_task(use(limiter, name, served)) for name in "ab"]
        await settled()
    # The turn is granted to "a", whose task has not run since then.
    assert limiter.in_flight == 1
    tasks[0].cancel()
    await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 5)
    assert served == ["b"]
    assert limiter.in_flight == limiter.queue_length() == 0


async def test_a_waiter_cancelled_just_before_its_grant_returns_the_turn() -> None:
    limiter = RateLimiter(FAST)
    served: list[str] = []
    async with limiter.turn(GENERAL, Priority.SNAPSHOT):
        tasks = [asyncio.create_task(use(limiter, name, served)) for name in "ab"]
        await settled()
        tasks[0].cancel()  # reaches its task only after the slot below became free
    await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 5)
    assert served == ["b"]
    assert limiter.in_flight == limiter.queue_length() == 0


async def test_random_cancellations_lose_no_wakeup() -> None:
    rng = random.Random(11)
    settings = LimitSettings(share=1.0, general_per_minute=600_000, historical_per_minute=60_000, most_in_flight=3)
    limiter = RateLimiter(settings)
    served: list[str] = []
    tasks = []
    for number in range(300):
        tasks.append(asyncio.create_task(use(limiter, str(number), served, rng.choice(list(Priority)))))
        if rng.random() < 0.3:
            await asyncio.sleep(0)
        if rng.random() < 0.3:
            rng.choice(tasks).cancel()
    async with asyncio.timeout(20):
        results = await asyncio.gather(*tasks, return_exceptions=True)
    finished = [str(number) for number, result in enumerate(results) if result is None]
    assert set(finished) <= set(served)
    assert limiter.in_flight == limiter.queue_length() == 0


async def test_a_failing_user_frees_its_slot() -> None:
    limiter = RateLimiter(FAST)
    served: list[str] = []
    with pytest.raises(ZeroDivisionError):
        async with limiter.turn(GENERAL, Priority.SNAPSHOT):
            raise ZeroDivisionError
    await asyncio.wait_for(use(limiter, "next", served), 5)
    assert served == ["next"]


async def test_a_refusal_pauses_and_is_counted() -> None:
    limiter = RateLimiter(FAST)
    assert limiter.refused(HISTORICAL) >= 1
    assert limiter.paused_seconds(HISTORICAL) > 0.5
    assert limiter.paused_seconds(GENERAL) == 0
    assert (limiter.counters(HISTORICAL).refused, limiter.counters(GENERAL).refused) == (1, 0)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05), limiter.turn(HISTORICAL, Priority.GAP_SNAPSHOT):
            pytest.fail("a paused class let a request go")
    assert limiter.queue_length() == 0
    async with asyncio.timeout(5), limiter.turn(GENERAL, Priority.HISTORY):
        pass


async def test_a_pause_ends_by_itself() -> None:
    limiter = RateLimiter(FAST)
    served: list[str] = []
    limiter.refused(GENERAL, 1.0)
    await asyncio.wait_for(use(limiter, "after the pause", served), 20)
    assert served == ["after the pause"]
    assert limiter.counters(GENERAL).waited_seconds >= 0.9


async def test_a_full_queue_rejects_and_counts() -> None:
    settings = LimitSettings(
        share=1.0, general_per_minute=600_000, historical_per_minute=60_000, most_in_flight=1, longest_queue=1
    )
    limiter = RateLimiter(settings)
    served: list[str] = []
    async with limiter.turn(GENERAL, Priority.SNAPSHOT):
        waiter = asyncio.create_task(use(limiter, "waiter", served))
        await settled()
        with pytest.raises(LimitQueueFullError):
            await use(limiter, "too many", served)
    await waiter
    assert served == ["waiter"]
    assert limiter.counters(GENERAL).turned_away == 1


async def test_closing_ends_all_waits() -> None:
    limiter = RateLimiter(FAST)
    served: list[str] = []
    async with limiter.turn(GENERAL, Priority.SNAPSHOT):
        tasks = [asyncio.create_task(use(limiter, name, served)) for name in "ab"]
        await settled()
        limiter.close()
        results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(result) for result in results] == [LimiterClosedError, LimiterClosedError]
    with pytest.raises(LimiterClosedError):
        await use(limiter, "late", served)
    assert served == []
    assert limiter.queue_length() == limiter.in_flight == 0


async def test_the_remaining_share_of_the_budget_is_reported() -> None:
    now = 0.0
    limiter = RateLimiter(LimitSettings(share=0.5), clock=lambda: now)
    assert [limiter.settings.budget_per_minute(each) for each in (GENERAL, HISTORICAL)] == [1000.0, 15.0]
    assert limiter.available_share(GENERAL) == limiter.available_share(HISTORICAL) == 1.0
    async with limiter.turn(HISTORICAL, Priority.SNAPSHOT):
        assert limiter.available_share(GENERAL) == pytest.approx(0.99)
        assert limiter.available_share(HISTORICAL) == pytest.approx(1 / 3)
    limiter.refused(GENERAL, retry_after_seconds=10.0)
    now = 5.0
    assert limiter.available_share(GENERAL) == 0.0, "while it is paused"
    now = 100.0
    assert limiter.available_share(GENERAL) == 1.0
