"""Parses the exchange's times: microseconds, ISO 8601, numbers of any unit; rejects impossible ones."""

from datetime import UTC, datetime
from functools import lru_cache

from backpack_streams.exchange.wire_errors import UnreadableMessageError, shown

EARLIEST_US = 946_684_800_000_000
"""2000-01-01. No message of the exchange is older. A time in another unit than microseconds appears older."""
LATEST_US = 4_102_444_800_000_000
"""2100-01-01. Later times are invalid, and would make all following messages look old."""


def sane_time_us(*moments: int | None) -> int:
    """The first plausible of these times (µs since the Unix epoch); 0 if none is."""
    for moment in moments:
        if moment is not None and EARLIEST_US <= moment < LATEST_US:
            return moment
    return 0


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@lru_cache(maxsize=4096)  # a candle repeats its bounds with every change
def micros_from_iso(text: str) -> int:
    """Microseconds since the Unix epoch of an ISO 8601 time; without a zone it is UTC, as the exchange sends it.

    Raises:
        UnreadableMessageError: it is not such a time.
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise UnreadableMessageError(f"not an ISO 8601 time: {shown(text)}") from error
    since = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - _EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


_SECONDS_BELOW = 10**11
_MILLIS_BELOW = 10**14
_MICROS_BELOW = 10**17
_MOST_DIGITS = 20


def micros_of_any_unit(moment: int | str) -> int:
    """Microseconds since the Unix epoch of a time in seconds, milliseconds, microseconds or nanoseconds, distinguished by
    size.

    From 1973 to 5138 the units do not overlap. ISO 8601 is accepted too.

    Args:
        moment: a number, or its text.

    Raises:
        UnreadableMessageError: it is not a time.
    """
    if isinstance(moment, str):
        if not moment.isascii() or not moment.isdecimal() or len(moment) > _MOST_DIGITS:
            return micros_from_iso(moment)
        moment = int(moment)
    if not 0 <= moment < 10**_MOST_DIGITS:
        raise UnreadableMessageError(f"{moment} is not a time since 1970")
    if moment < _SECONDS_BELOW:
        return moment * 1_000_000
    if moment < _MILLIS_BELOW:
        return moment * 1000
    return moment if moment < _MICROS_BELOW else moment // 1000
