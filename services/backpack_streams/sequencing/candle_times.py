"""Starts and ends of candles, by their interval: the ends that records claim may be wrong."""

from datetime import UTC, datetime
from typing import Final

__all__ = ["candle_end", "candle_start"]

_UNIT_MICROS: Final = {"s": 1_000_000, "m": 60_000_000, "h": 3_600_000_000, "d": 86_400_000_000, "w": 604_800_000_000}
_MONTH: Final = "1month"
_LONGEST_MONTH_US: Final = 31 * _UNIT_MICROS["d"]


def candle_start(interval: str, start_us: int, at_us: int) -> int:
    """Return the start of the candle that contains `at_us`. Months begin on their first day, UTC.

    Args:
        interval: as the exchange names it, such as `1m` or `1month`.
        start_us: the start of an earlier candle (µs since the Unix epoch).
        at_us: the time (µs since the Unix epoch).

    Raises:
        ValueError: the interval is unknown.
    """
    if at_us <= start_us:
        return start_us
    if interval == _MONTH:
        try:
            moment = datetime.fromtimestamp(at_us / 1_000_000, UTC)
        except (OverflowError, ValueError, OSError):  # a time after the year 9999
            return start_us + (at_us - start_us) // _LONGEST_MONTH_US * _LONGEST_MONTH_US
        first = moment.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
        return max(start_us, int(first.timestamp()) * 1_000_000)
    length = candle_end(interval, start_us) - start_us
    return start_us + (at_us - start_us) // length * length


def candle_end(interval: str, start_us: int) -> int:
    """Return the end of a candle, which is the start of the next one.

    Args:
        interval: as the exchange names it, such as `1m` or `1month`.
        start_us: the start of the candle (µs since the Unix epoch).

    Raises:
        ValueError: the interval is unknown.
    """
    if interval == _MONTH:
        return candle_start(interval, start_us, start_us + _LONGEST_MONTH_US)
    count, unit = interval[:-1], _UNIT_MICROS.get(interval[-1:])
    if unit is None or not count.isdecimal() or int(count) < 1:
        raise ValueError(f"{interval!r} is no interval of candles: it is a number and one of {''.join(_UNIT_MICROS)}")
    return start_us + int(count) * unit
