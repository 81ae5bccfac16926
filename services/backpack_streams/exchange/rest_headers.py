"""Durations in header fields of REST answers, in seconds."""

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime


def age_seconds(header: str | None) -> int | None:
    """Seconds of an `Age` header (RFC 9111, 5.1); None if there is no valid one."""
    return int(header) if header is not None and _is_small_number(header) else None


def retry_after_seconds(header: str | None, now_us: int) -> float | None:
    """Seconds of a `Retry-After` header (RFC 9110, 10.2.3), a number or an HTTP date; None if it is neither."""
    if header is None:
        return None
    if _is_small_number(header):
        return float(header)
    try:
        moment = parsedate_to_datetime(header)
    except (ValueError, OverflowError):  # no date either: as if there were no header
        return None
    moment = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    return max(0.0, (moment - datetime.fromtimestamp(now_us // 1_000_000, UTC)).total_seconds())


def _is_small_number(header: str) -> bool:
    return header.isascii() and header.isdigit() and len(header) <= 9
