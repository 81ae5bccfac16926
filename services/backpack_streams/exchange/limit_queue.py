"""Decides which REST request is sent next, and when: token buckets, priorities and pauses, without I/O and without a clock."""

import random
from collections import OrderedDict
from collections.abc import Mapping
from enum import IntEnum, StrEnum

from backpack_streams.backoff import Backoff
from backpack_streams.errors import ExchangeError

_ROUNDING_TOKENS = 1e-9
"""The rounding error that adding up refills may cause. Without it a waiter would wake just before its token is whole."""
_SHORTEST_PAUSE_SECONDS = 1.0
_LONGEST_PAUSE_SECONDS = 600.0
_PAUSE_BACKOFF_BASE_SECONDS = 2.0
_PAUSE_BACKOFF_CAP_SECONDS = 60.0
_OVERTAKES_IN_A_ROW = 9


class LimitClass(StrEnum):
    """Which of the exchange's limits a request counts against."""

    GENERAL = "general"
    HISTORICAL = "historical"
    """Klines, funding rates and trade history: they have their own limit, and count against the general one as well."""


class Priority(IntEnum):
    """Which request goes first: the lowest value; among equals, the oldest."""

    GAP_SNAPSHOT = 0
    SNAPSHOT = 1
    REFERENCE = 2
    HISTORY = 3


class LimitQueueFullError(ExchangeError):
    """The queue is full, so the request was rejected."""


class TokenBucket:
    """Tokens refilled at a constant rate up to a capacity; each request takes one.

    In any window of t seconds at most capacity + t * refill tokens are taken. `now` is in monotonic seconds throughout; a step back counts
    as no time.
    """

    __slots__ = ("_refill_per_second", "_tokens", "_updated_at", "capacity")

    def __init__(self, capacity: float, refill_per_second: float, now: float) -> None:
        """Start full.

        Args:
            capacity: the maximum number of tokens.
            refill_per_second: tokens per second.
            now: the time (monotonic seconds).

        Raises:
            ValueError: the capacity is below 1, or there is no refill, so that a request might wait forever.
        """
        if capacity < 1 or refill_per_second <= 0:
            raise ValueError(f"a bucket of {capacity} tokens refilled by {refill_per_second}/s never lets a request go")
        self.capacity = capacity
        self._refill_per_second = refill_per_second
        self._tokens = capacity
        self._updated_at = now

    def available(self, now: float) -> float:
        """The tokens at `now`, including a fraction."""
        elapsed_seconds = max(0.0, now - self._updated_at)
        return min(self.capacity, self._tokens + elapsed_seconds * self._refill_per_second)

    def can_take(self, now: float) -> bool:
        """Whether a whole token is available."""
        return self.available(now) + _ROUNDING_TOKENS >= 1

    def take(self, now: float) -> bool:
        """Take one token if available; return whether it was."""
        if not self.can_take(now):
            return False
        self._settle(self.available(now) - 1, now)
        return True

    def give_back(self, now: float) -> None:
        """Return a token whose request was never sent."""
        self._settle(min(self.capacity, self.available(now) + 1), now)

    def drain(self, until: float) -> None:
        """Be empty until `until`, and refill from then on."""
        self._tokens = 0.0
        self._updated_at = until

    def seconds_until_token(self, now: float) -> float:
        """The time until a whole token is available, in seconds; 0 if one is."""
        if self.can_take(now):
            return 0.0
        not_refilling_seconds = max(0.0, self._updated_at - now)
        return not_refilling_seconds + (1 - self.available(now)) / self._refill_per_second

    def _settle(self, tokens: float, now: float) -> None:
        self._tokens = tokens
        self._updated_at = max(now, self._updated_at)


class Turn:
    """One request's position in the queue and, once granted, its permission to be sent. Times are monotonic seconds.

    Attributes:
        limit_class: the limit that the request counts against.
        priority: its priority.
        order: its number in order of arrival.
        asked_at: when it joined the queue.
        granted_at: when it was granted, None while it waits.
    """

    __slots__ = ("asked_at", "granted_at", "limit_class", "order", "priority")

    def __init__(self, limit_class: LimitClass, priority: Priority, order: int, asked_at: float) -> None:
        self.limit_class = limit_class
        self.priority = priority
        self.order = order
        self.asked_at = asked_at
        self.granted_at: float | None = None

    @property
    def waited_seconds(self) -> float:
        """How long it waited until it was granted, in seconds; 0 while it waits."""
        return 0.0 if self.granted_at is None else self.granted_at - self.asked_at


class LimitQueue:
    """Grants turns to waiting requests by priority, within the buckets, the pauses and the limit in flight.

    The order is `GAP_SNAPSHOT`, `SNAPSHOT`, `REFERENCE`, `HISTORY`, and first come, first served within a priority. A
    class that is paused or whose own bucket is empty never holds up the other class.

    No request starves: after nine consecutive grants that overtook an older request, the next grant goes to the oldest.
    A request with k older ones before it is therefore granted within 10 * (k + 1) grants that it could have had.
    """

    def __init__(
        self,
        buckets: Mapping[LimitClass, TokenBucket],
        *,
        longest_queue: int,
        most_in_flight: int,
        rng: random.Random | None = None,
    ) -> None:
        """Start without requests.

        Args:
            buckets: the bucket of each class.
            longest_queue: how many requests may wait.
            most_in_flight: how many turns may be held at once.
            rng: randomizes the pauses without `Retry-After`.
        """
        self._buckets = dict(buckets)
        self._longest_queue = longest_queue
        self._most_in_flight = most_in_flight
        self._waiting: dict[tuple[LimitClass, Priority], OrderedDict[int, Turn]] = {
            (limit_class, priority): OrderedDict() for limit_class in LimitClass for priority in Priority
        }
        self._paused_until = {limit_class: float("-inf") for limit_class in LimitClass}
        self._backoffs = {
            limit_class: Backoff(_PAUSE_BACKOFF_BASE_SECONDS, _PAUSE_BACKOFF_CAP_SECONDS, rng)
            for limit_class in LimitClass
        }
        self._orders = 0
        self._overtakes = 0
        self.in_flight = 0

    def ask(self, limit_class: LimitClass, priority: Priority, now: float) -> Turn:
        """Join the queue.

        Args:
            limit_class: the limit that the request counts against.
            priority: its priority.
            now: the time (monotonic seconds).

        Raises:
            LimitQueueFullError: the queue is full.
        """
        if self.waiting() >= self._longest_queue:
            raise LimitQueueFullError(
                f"{self._longest_queue} REST requests are waiting already, so this one was rejected; "
                "send fewer requests, or raise the share of the rate limit in use"
            )
        turn = Turn(limit_class, priority, self._orders, now)
        self._orders += 1
        self._waiting[limit_class, priority][turn.order] = turn
        return turn

    def leave(self, turn: Turn, now: float) -> None:
        """Return an unused turn, granted or not, with the tokens that it took."""
        if turn.granted_at is None:
            self._waiting[turn.limit_class, turn.priority].pop(turn.order, None)
            return
        for limit_class in _counted_classes(turn.limit_class):
            self._buckets[limit_class].give_back(now)
        self.finish(turn)

    def finish(self, _turn: Turn) -> None:
        """End a granted turn: its request was answered or failed, and no longer counts as in flight."""
        self.in_flight -= 1

    def grant(self, now: float) -> list[Turn]:
        """Grant all turns that may go now, in their order."""
        granted = []
        while self.in_flight < self._most_in_flight and (turn := self._next_turn(now)) is not None:
            del self._waiting[turn.limit_class, turn.priority][turn.order]
            for limit_class in _counted_classes(turn.limit_class):
                self._buckets[limit_class].take(now)
            turn.granted_at = now
            self.in_flight += 1
            granted.append(turn)
        return granted

    def seconds_until_grant(self, now: float) -> float | None:
        """When to call `grant` again, in seconds; None if only a new, finished or returned turn can change anything."""
        if self.in_flight >= self._most_in_flight:
            return None
        waits = [
            self._seconds_until_open(limit_class, now) for limit_class in LimitClass if self.waiting(limit_class) > 0
        ]
        return min(waits, default=None)

    def refused(self, limit_class: LimitClass, retry_after_seconds: float | None, now: float) -> float:
        """Note an answer that asks to wait. Returns the seconds for which the class is paused from now.

        With `Retry-After`, nothing is sent for that time (limited to 1 s to 10 min): it applies to the address, not to
        one limit. Without it, the whole class pauses with exponential backoff. Answers to requests that were in flight
        when the pause began do not extend a pause chosen by backoff.

        Args:
            limit_class: the class of the request.
            retry_after_seconds: the value of the header, None without one.
            now: the time (monotonic seconds).
        """
        if retry_after_seconds is not None:
            pause_seconds = min(max(retry_after_seconds, _SHORTEST_PAUSE_SECONDS), _LONGEST_PAUSE_SECONDS)
        elif self.paused_seconds(limit_class, now) > 0:
            pause_seconds = 0.0
        else:
            pause_seconds = _SHORTEST_PAUSE_SECONDS + self._backoffs[limit_class].next_delay_seconds()
        for paused in LimitClass if retry_after_seconds is not None else (limit_class,):
            self._paused_until[paused] = max(self._paused_until[paused], now + pause_seconds)
            self._buckets[paused].drain(self._paused_until[paused])
        return self.paused_seconds(limit_class, now)

    def accepted(self, limit_class: LimitClass, now: float) -> None:
        """Note an answer that does not ask to wait: unless the class is paused, its next pause is short again."""
        if self.paused_seconds(limit_class, now) == 0:
            self._backoffs[limit_class].reset()

    def available_share(self, limit_class: LimitClass, now: float) -> float:
        """The fill of a class's bucket: 1 full, 0 empty or drained by a pause."""
        bucket = self._buckets[limit_class]
        return bucket.available(now) / bucket.capacity

    def paused_seconds(self, limit_class: LimitClass, now: float) -> float:
        """How long the class stays paused, in seconds; 0 if it is not."""
        return max(0.0, self._paused_until[limit_class] - now)

    def waiting(self, limit_class: LimitClass | None = None) -> int:
        """How many turns wait, of one class or of all."""
        return sum(
            len(turns) for (queue_class, _), turns in self._waiting.items() if limit_class in (None, queue_class)
        )

    def _next_turn(self, now: float) -> Turn | None:
        is_open = {limit_class: self._seconds_until_open(limit_class, now) == 0 for limit_class in LimitClass}
        heads = [
            next(iter(turns.values()))
            for (limit_class, _), turns in self._waiting.items()
            if turns and is_open[limit_class]
        ]
        if not heads:
            return None
        longest_waiting = min(heads, key=lambda turn: turn.order)
        first = min(heads, key=lambda turn: (turn.priority, turn.order))
        if first is longest_waiting or self._overtakes == _OVERTAKES_IN_A_ROW:
            self._overtakes = 0
            return longest_waiting
        self._overtakes += 1
        return first

    def _seconds_until_open(self, limit_class: LimitClass, now: float) -> float:
        return max(
            max(self.paused_seconds(counted, now), self._buckets[counted].seconds_until_token(now))
            for counted in _counted_classes(limit_class)
        )


def _counted_classes(limit_class: LimitClass) -> tuple[LimitClass, ...]:
    if limit_class is LimitClass.HISTORICAL:
        return (LimitClass.HISTORICAL, LimitClass.GENERAL)
    return (LimitClass.GENERAL,)
