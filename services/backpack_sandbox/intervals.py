"""Candle intervals: the bucket of a time, and its end."""

from datetime import UTC, datetime

DAY_SECONDS = 86_400
_WEEK_SECONDS = 7 * DAY_SECONDS
_FIRST_MONDAY_SECONDS = 4 * DAY_SECONDS  # 1970-01-05
_UNIT_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": DAY_SECONDS}


def bucket(interval: str, at_seconds: int) -> tuple[int, int]:
    """Return start and end (exclusive) of the candle of `interval` that holds `at_seconds`, in seconds since the Unix epoch.

    Weeks begin on Monday, months on their first day, all in UTC.

    Args:
        interval: one of the exchange's, such as `1s`, `15m`, `1d`, `1w`, `1month`.
        at_seconds: seconds since the Unix epoch.
    """
    if interval == "1month":
        return _month(at_seconds)
    if interval == "1w":
        start = (at_seconds - _FIRST_MONDAY_SECONDS) // _WEEK_SECONDS * _WEEK_SECONDS + _FIRST_MONDAY_SECONDS
        return start, start + _WEEK_SECONDS
    length = int(interval[:-1]) * _UNIT_SECONDS[interval[-1]]
    start = at_seconds // length * length
    return start, start + length


def _month(at_seconds: int) -> tuple[int, int]:
    moment = datetime.fromtimestamp(at_seconds, UTC)
    start = moment.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    end = start.replace(year=start.year + start.month // 12, month=start.month % 12 + 1)
    return int(start.timestamp()), int(end.timestamp())


def naive_iso(at_seconds: int, separator: str = "T") -> str:
    """Format a time as the exchange does: ISO 8601 in UTC without a zone, whole seconds.

    Args:
        at_seconds: seconds since the Unix epoch.
        separator: between date and time: `T` on the socket, a blank in `/klines`.
    """
    return datetime.fromtimestamp(at_seconds, UTC).strftime(f"%Y-%m-%d{separator}%H:%M:%S")
