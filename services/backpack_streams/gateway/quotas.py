"""Counts the requests of a key, in the last second and in the calendar month. Sans I/O: the caller passes the times."""

from collections import deque
from datetime import UTC, datetime, timedelta
from math import ceil
from typing import Final

from backpack_streams.gateway.access_errors import TooManyRequestsError
from backpack_streams.gateway.tiers import Tier

__all__ = ["Quota", "Usage"]

WINDOW_SECONDS: Final = 1.0
_MONTHS_KEPT: Final = 3


class Usage:
    """The number of requests of a key by calendar month (UTC).

    The last three months are kept: if the wall clock is set back and forth, no month is forgotten or counted twice.
    """

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}

    def count(self, month: str) -> int:
        """Return the number of requests in a month such as `2026-11`."""
        return self._counts.get(month, 0)

    def add(self, month: str) -> None:
        """Count one more request in a month such as `2026-11`."""
        if month not in self._counts and len(self._counts) >= _MONTHS_KEPT:
            del self._counts[min(self._counts)]
        self._counts[month] = self._counts.get(month, 0) + 1


class Quota:
    """Admits or refuses the requests of one key.

    In any span of one second, wherever it begins, at most as many requests are admitted as the tier allows. A refused
    request counts neither there nor in the month.
    """

    def __init__(self, tier: Tier, usage: Usage | None = None) -> None:
        """Start with no recent requests.

        Args:
            tier: the limits.
            usage: the requests of earlier months and of this one; None for none.
        """
        self.usage = usage or Usage()
        self._recent: deque[float] = deque(maxlen=tier.requests_per_second)
        self._tier = tier

    @property
    def tier(self) -> Tier:
        """The limits in force. New limits apply at once."""
        return self._tier

    @tier.setter
    def tier(self, tier: Tier) -> None:
        self._tier = tier
        self._recent = deque(self._recent, maxlen=tier.requests_per_second)

    def admit(self, monotonic: float, now: datetime) -> None:
        """Count a request.

        Args:
            monotonic: the time by a clock that never goes back (seconds).
            now: the wall clock's time, with a time zone; it determines the month.

        Raises:
            TooManyRequestsError: the request exceeds a limit; the error says when the next one is admitted.
        """
        month = now.astimezone(UTC).strftime("%Y-%m")
        self._check_second(monotonic)
        self._check_month(month, now)
        if self._tier.requests_per_second is not None:
            self._recent.append(monotonic)
        self.usage.add(month)

    def _check_second(self, monotonic: float) -> None:
        most = self._tier.requests_per_second
        if most is None or len(self._recent) < most:
            return
        wait = self._recent[0] + WINDOW_SECONDS - monotonic
        if wait > 0:
            raise TooManyRequestsError(
                f"more than {most} requests a second with this key; ask again after {wait:.3f} s, or use /v1/stream",
                retry_after_seconds=max(1, ceil(wait)),
            )

    def _check_month(self, month: str, now: datetime) -> None:
        most = self._tier.requests_per_month
        if most is not None and self.usage.count(month) >= most:
            raise TooManyRequestsError(
                f"the {most:,} requests of {month} with this key are used up; the next month begins at 00:00 UTC on its first day",
                retry_after_seconds=max(1, ceil((_next_month(now) - now).total_seconds())),
            )


def _next_month(now: datetime) -> datetime:
    first = now.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    return (first + timedelta(days=32)).replace(day=1)
