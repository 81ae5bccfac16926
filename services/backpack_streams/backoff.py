"""Retry delays: exponential growth with full jitter, so that clients do not return all at once after an outage.

Every retry of the project takes its delays from here. The module imports no other module of the project, so every package can use it.
"""

import random

_LARGEST_EXPONENT = 62
"""The exponent's limit: 2**62 base steps exceed any cap, and the power stays a small integer."""


class Backoff:
    """Delays that grow from a base to a cap, each drawn uniformly between 0 and the grown bound ("full jitter").

    Sans I/O: it computes delays and never sleeps. The scheme is that of the AWS Architecture Blog, "Exponential Backoff
    And Jitter": delay = uniform(0, min(cap, base * 2**attempt)).
    """

    __slots__ = ("_attempts", "_base_seconds", "_cap_seconds", "_random")

    def __init__(self, base_seconds: float, cap_seconds: float, rng: random.Random | None = None) -> None:
        """Start at `base_seconds` and never exceed `cap_seconds`; a seeded `rng` makes the jitter repeatable.

        Raises:
            ValueError: the base is not above 0, or the cap is below the base.
        """
        if not 0 < base_seconds <= cap_seconds:
            raise ValueError(f"backoff needs 0 < base <= cap, got base {base_seconds} s and cap {cap_seconds} s")
        self._base_seconds = base_seconds
        self._cap_seconds = cap_seconds
        # The generator need not be secure: jitter only spreads load.
        self._random = rng or random.Random()
        self._attempts = 0

    @property
    def attempts(self) -> int:
        """Number of delays drawn since the start or the last `reset`."""
        return self._attempts

    def next_delay_seconds(self) -> float:
        """Draw the next delay in seconds, from 0 to its bound, and raise the bound of the one after it."""
        delay_seconds = self.delay_seconds(self._attempts)
        self._attempts += 1
        return delay_seconds

    def delay_seconds(self, attempts: int) -> float:
        """Draw the delay in seconds that follows `attempts` earlier ones, for a caller that counts its attempts itself."""
        return self._random.uniform(0.0, self._bound_seconds(attempts))

    def _bound_seconds(self, attempts: int) -> float:
        return min(self._cap_seconds, self._base_seconds * (1 << min(attempts, _LARGEST_EXPONENT)))

    def reset(self) -> None:
        """Forget the failures: the next delay starts from the base again."""
        self._attempts = 0
