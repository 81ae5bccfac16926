"""The exchange's REST rate limits for the whole process: one queue, served by priority.

The limits are those of Backpack's support pages: 2,000 requests per minute and address, 30 per minute for historical endpoints. The
exchange sends no rate-limit header, so the client counts for itself.
"""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

import msgspec

from backpack_streams.errors import ExchangeError, UsageError
from backpack_streams.exchange.limit_queue import (
    LimitClass,
    LimitQueue,
    LimitQueueFullError,
    Priority,
    TokenBucket,
    Turn,
)

__all__ = [
    "LimitClass",
    "LimitCounters",
    "LimitQueueFullError",
    "LimitSettings",
    "LimiterClosedError",
    "Priority",
    "RateLimiter",
    "TokenBucket",
]

GENERAL_REQUESTS_PER_MINUTE: Final = 2_000
HISTORICAL_REQUESTS_PER_MINUTE: Final = 30

_BURST_SHARE = 0.1
"""The part of a minute's budget that may go at once; the rest is spread evenly, so that no minute exceeds the budget."""
_FEWEST_REQUESTS_PER_MINUTE = 2
_SHORTEST_TIMER_SECONDS = 0.001


class LimiterClosedError(ExchangeError):
    """The limiter was closed before the request, or while it waited."""


@dataclass(frozen=True, slots=True)
class LimitSettings:
    """How much of the exchange's limits this process uses.

    Attributes:
        share: part of each limit in use, above 0 and up to 1; the rest is left to other users of the same address.
        general_per_minute: the exchange's limit on all requests.
        historical_per_minute: the exchange's limit on klines, funding rates and trade history.
        longest_queue: how many requests may wait before more are rejected.
        most_in_flight: how many requests are in flight at once.
    """

    share: float = 0.5
    general_per_minute: int = GENERAL_REQUESTS_PER_MINUTE
    historical_per_minute: int = HISTORICAL_REQUESTS_PER_MINUTE
    longest_queue: int = 5_000
    most_in_flight: int = 8

    def budget_per_minute(self, limit_class: LimitClass) -> float:
        """How many requests of a class may be sent in any minute."""
        is_general = limit_class is LimitClass.GENERAL
        return (self.general_per_minute if is_general else self.historical_per_minute) * self.share

    def bucket(self, limit_class: LimitClass, now: float) -> TokenBucket:
        """Make the bucket of a class, which never exceeds the share in any 60 seconds.

        Raises:
            UsageError: the share is out of range, or leaves fewer than two requests per minute.
        """
        if not 0 < self.share <= 1:
            raise UsageError(f"the share of the rate limit must be above 0 and at most 1, not {self.share}")
        is_general = limit_class is LimitClass.GENERAL
        limit_per_minute = self.general_per_minute if is_general else self.historical_per_minute
        budget_per_minute = self.budget_per_minute(limit_class)
        if budget_per_minute < _FEWEST_REQUESTS_PER_MINUTE:
            raise UsageError(
                f"a share of {self.share} leaves {budget_per_minute:g} {limit_class} requests per minute; "
                f"set at least {_FEWEST_REQUESTS_PER_MINUTE / limit_per_minute:.3f}"
            )
        burst = max(1.0, budget_per_minute * _BURST_SHARE)
        return TokenBucket(burst, (budget_per_minute - burst) / 60, now)


class LimitCounters(msgspec.Struct):
    """The request counts of one class so far.

    Attributes:
        granted: turns granted.
        waited_seconds: the sum of their waits (seconds).
        refused: answers that asked to wait: 429, 418, and 403 with Retry-After.
        left: turns returned unused, because the call was cancelled or out of time.
        turned_away: requests rejected because the queue was full.
    """

    granted: int = 0
    waited_seconds: float = 0.0
    refused: int = 0
    left: int = 0
    turned_away: int = 0


class RateLimiter:
    """Async shell of `LimitQueue`: requests wait here for their turn. One event loop, any number of tasks."""

    def __init__(
        self,
        settings: LimitSettings | None = None,
        *,
        rng: random.Random | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Start with full buckets.

        Args:
            settings: the share of the exchange's limits, and the bounds of the queue.
            rng: randomizes the pauses without `Retry-After`.
            clock: monotonic seconds.

        Raises:
            UsageError: the settings leave too few requests per minute.
        """
        self.settings = settings = settings or LimitSettings()
        now = clock()
        self._clock = clock
        self._queue = LimitQueue(
            {limit_class: settings.bucket(limit_class, now) for limit_class in LimitClass},
            longest_queue=settings.longest_queue,
            most_in_flight=settings.most_in_flight,
            rng=rng,
        )
        self._counters = {limit_class: LimitCounters() for limit_class in LimitClass}
        self._wakers: dict[Turn, asyncio.Future[None]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._is_closed = False

    @asynccontextmanager
    async def turn(self, limit_class: LimitClass, priority: Priority) -> AsyncIterator[Turn]:
        """Wait for a turn, and hold it inside the `async with`. A cancelled waiter leaves the queue and uses no tokens.

        Args:
            limit_class: the limit that the request counts against.
            priority: its priority.

        Raises:
            LimitQueueFullError: too many requests wait already.
            LimiterClosedError: the limiter is closed, or was closed during the wait.
        """
        turn = await self._wait_for_turn(limit_class, priority)
        try:
            yield turn
        finally:
            self._queue.finish(turn)
            self._serve()

    def refused(self, limit_class: LimitClass, retry_after_seconds: float | None = None) -> float:
        """Note an answer that asks to wait: pause the class or, with Retry-After, all classes. Returns the pause in
        seconds.

        Args:
            limit_class: the class of the request.
            retry_after_seconds: the value of the header, None without one.
        """
        self._counters[limit_class].refused += 1
        pause_seconds = self._queue.refused(limit_class, retry_after_seconds, self._clock())
        self._serve()
        return pause_seconds

    def accepted(self, limit_class: LimitClass) -> None:
        """Note an answer that does not ask to wait."""
        self._queue.accepted(limit_class, self._clock())

    def counters(self, limit_class: LimitClass) -> LimitCounters:
        """The running counters of the class, for metrics: a live view, to be read only."""
        return self._counters[limit_class]

    def queue_length(self, limit_class: LimitClass | None = None) -> int:
        """How many requests wait, of one class or of all."""
        return self._queue.waiting(limit_class)

    def available_share(self, limit_class: LimitClass) -> float:
        """The share of a class's burst that is available now: 1 all, 0 none."""
        return self._queue.available_share(limit_class, self._clock())

    def paused_seconds(self, limit_class: LimitClass) -> float:
        """How long the class stays paused after a refusal, in seconds; 0 if it is not."""
        return self._queue.paused_seconds(limit_class, self._clock())

    @property
    def in_flight(self) -> int:
        """How many turns are held."""
        return self._queue.in_flight

    def close(self) -> None:
        """End all waits with `LimiterClosedError`; granted turns continue."""
        self._is_closed = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for turn, waker in self._wakers.items():
            self._queue.leave(turn, self._clock())
            if not waker.done():
                waker.set_exception(_closed_error())
        self._wakers.clear()

    async def _wait_for_turn(self, limit_class: LimitClass, priority: Priority) -> Turn:
        if self._is_closed:
            raise _closed_error()
        counters = self._counters[limit_class]
        try:
            turn = self._queue.ask(limit_class, priority, self._clock())
        except LimitQueueFullError:
            counters.turned_away += 1
            raise
        waker = asyncio.get_running_loop().create_future()
        self._wakers[turn] = waker
        self._serve()
        try:
            await waker
        except asyncio.CancelledError:
            # The turn may have been granted at the moment of the cancellation: it is returned all the same.
            self._wakers.pop(turn, None)
            self._queue.leave(turn, self._clock())
            counters.left += 1
            self._serve()
            raise
        counters.granted += 1
        counters.waited_seconds += turn.waited_seconds
        return turn

    def _serve(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._is_closed:
            return
        for turn in self._queue.grant(self._clock()):
            waker = self._wakers.pop(turn)
            if not waker.done():
                waker.set_result(None)
        wait_seconds = self._queue.seconds_until_grant(self._clock())
        if wait_seconds is not None:
            self._timer = asyncio.get_running_loop().call_later(max(wait_seconds, _SHORTEST_TIMER_SECONDS), self._serve)


def _closed_error() -> LimiterClosedError:
    return LimiterClosedError("the REST rate limiter is closed, so the request was not sent; the process is stopping")
