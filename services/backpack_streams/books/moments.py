"""Checks and converts moments and ages that users pass in."""

import math
import time
from datetime import UTC, datetime, timedelta
from typing import Final

from backpack_streams.books.listing import moment_text
from backpack_streams.books.timeline import Pace
from backpack_streams.errors import UsageError

__all__ = ["Moment", "checked_age", "checked_pace", "micros"]

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

Moment = datetime | int
"""A moment: a `datetime` (UTC if it has no zone), or microseconds since the Unix epoch."""


def micros(moment: Moment) -> int:
    """Return a moment as microseconds since the Unix epoch.

    Args:
        moment: a `datetime`, in UTC if it has no zone; an `int` is returned as it is.
    """
    if isinstance(moment, int):
        return moment
    return ((moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - _EPOCH) // timedelta(microseconds=1)


def checked_age(max_age: float | None) -> float | None:
    """Return a valid `max_age` in seconds; None for any age.

    Args:
        max_age: seconds above 0; None or infinity for any age.

    Raises:
        UsageError: it is not above 0.
    """
    if max_age is not None and not max_age > 0:
        raise UsageError(f"a max_age of {max_age} is invalid: give seconds above 0, or None to require no watermark")
    return None if max_age == math.inf else max_age


def checked_pace(from_us: int | None, until_us: int | None, pace: str) -> Pace | None:
    """Return the pace at which to replay the past; None for full speed, or if there is no past.

    Args:
        from_us: the moment at which the past begins (µs since the Unix epoch); None to read live.
        until_us: the moment at which it ends (µs since the Unix epoch); None for no end.
        pace: `max` or `real`.

    Raises:
        UsageError: the moments are inconsistent or in the future, or the pace is unknown.
    """
    if pace not in ("max", "real"):
        raise UsageError(f"pace {pace!r} is none; it is 'max' or 'real'")
    if from_us is None:
        if until_us is not None or pace == "real":
            raise UsageError("until and pace need from_time, the past moment at which reading begins")
        return None
    if from_us > time.time_ns() // 1000:
        raise UsageError(f"from_time {moment_text(from_us)} is in the future; leave it out to begin now")
    if until_us is not None and until_us < from_us:
        raise UsageError(f"until {moment_text(until_us)} is before from_time {moment_text(from_us)}")
    return Pace(from_us) if pace == "real" else None
