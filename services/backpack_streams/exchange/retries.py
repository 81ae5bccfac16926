"""Retries streams whose subscription was refused by an error about no stream name: when, and how many together.

Such an error is the exchange's own fault, so no stream is given up for it. Streams refused together are retried together three times, then
in halves down to single streams, each time after a longer wait. After the first subscription that succeeds, all others are retried at once.
"""

import random
from collections.abc import Iterable

from backpack_streams.backoff import Backoff
from backpack_streams.exchange.session_settings import SessionSettings
from backpack_streams.exchange.streams import is_private

_WHOLE_TRIES = 3


class Retries:
    """The waiting streams of one socket. Times are seconds of the session's clock."""

    def __init__(self, settings: SessionSettings, rng: random.Random | None = None) -> None:
        """Start without waiting streams. `rng` makes the jitter repeatable."""
        self._settings = settings
        self._backoff = Backoff(settings.refusal_base_seconds, settings.refusal_cap_seconds, rng)
        self._refusals: dict[str, int] = {}
        self._together: dict[str, int] = {}
        self._due_at: dict[str, float] = {}
        self._next_rush_at = float("-inf")

    def refuse(self, names: tuple[str, ...], now: float) -> float:
        """Note streams that were refused in one frame; return the wait until their next try (seconds)."""
        refusals = 1 + max(self._refusals.get(name, 0) for name in names)
        together = len(names) if refusals <= _WHOLE_TRIES else (len(names) + 1) // 2
        wait_seconds = self._backoff.delay_seconds(refusals - 1)
        for name in names:
            self._refusals[name], self._together[name] = refusals, together
            self._due_at[name] = now + wait_seconds
        return wait_seconds

    def forget(self, names: Iterable[str]) -> bool:
        """Forget streams that were accepted or are no longer wanted; return whether one of them had been refused."""
        found = [name for name in names if self._refusals.pop(name, None) is not None]
        for name in found:
            del self._together[name]
            self._due_at.pop(name, None)
        return bool(found)

    def rush(self, now: float) -> None:
        """A subscription succeeded, so the fault may be over: retry all at once, but not repeatedly."""
        if self._due_at and now >= self._next_rush_at:
            self._next_rush_at = now + self._settings.refusal_cap_seconds
            self._due_at = dict.fromkeys(self._due_at, now)

    def due_at(self) -> float | None:
        """When the next of them is due; None if none waits."""
        return min(self._due_at.values(), default=None)

    def take(self, now: float) -> tuple[str, ...]:
        """The names of the next frame."""
        taken: list[str] = []
        room = self._settings.subscribe_batch_streams
        for name, due_at in self._due_at.items():
            if due_at > now or (taken and is_private(name) is not is_private(taken[0])):
                continue
            room = min(room, self._together[name])
            if len(taken) >= room:
                break
            taken.append(name)
        for name in taken:
            del self._due_at[name]
        return tuple(taken)
