"""Limits the requests of a client on one stream with a token bucket. Sans I/O: the caller passes the times."""

from typing import Final

__all__ = ["Allowance", "cost_of"]

BURST: Final = 200.0
"""Tokens of a full bucket."""
PER_SECOND: Final = 20.0
"""Tokens added per second."""
_SUBSCRIPTIONS_FOR_ONE: Final = 50


class Allowance:
    """The token bucket of one client, full at first."""

    def __init__(self, now: float, burst: float = BURST, per_second: float = PER_SECOND) -> None:
        """Start with a full bucket.

        Args:
            now: the time (monotonic seconds).
            burst: the capacity, in tokens.
            per_second: the tokens added per second.
        """
        self._burst, self._per_second = burst, per_second
        self._left, self._at = burst, now

    def spend(self, cost: float, now: float) -> bool:
        """Take tokens out of the bucket.

        Args:
            cost: how many tokens.
            now: the time (monotonic seconds).

        Returns:
            Whether there were enough; if not, none is taken.
        """
        self._left = min(self._burst, self._left + (now - self._at) * self._per_second)
        self._at = now
        if cost > self._left:
            return False
        self._left -= cost
        return True


def cost_of(subscriptions: int) -> float:
    """Return the tokens that a request costs: 1, and 1 more for each 50 subscriptions.

    Args:
        subscriptions: channels times markets of the request.
    """
    return 1 + subscriptions / _SUBSCRIPTIONS_FOR_ONE
