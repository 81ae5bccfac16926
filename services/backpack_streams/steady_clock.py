"""A clock for ages: nobody sets it, no time daemon changes its speed, and it goes on while the host is suspended."""

import time
from collections.abc import Callable
from typing import Final

__all__ = ["steady_seconds"]

_SECOND: Final = 1_000_000_000


def _clock() -> Callable[[], float]:
    """Linux has no such clock, but the parts of one (clock_gettime(2)): CLOCK_MONOTONIC_RAW is never slewed, and CLOCK_BOOTTIME is ahead of
    CLOCK_MONOTONIC by the time of all suspensions.
    """
    try:
        raw, boot, monotonic = time.CLOCK_MONOTONIC_RAW, time.CLOCK_BOOTTIME, time.CLOCK_MONOTONIC
    except AttributeError:  # another system
        return time.monotonic
    now = time.clock_gettime_ns

    def seconds() -> float:
        return (now(raw) + now(boot) - now(monotonic)) / _SECOND

    return seconds


steady_seconds: Final = _clock()
"""Return the time in seconds since a moment that is the same for all processes of the host until it restarts."""
