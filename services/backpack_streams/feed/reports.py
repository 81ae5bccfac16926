"""Rows of the operational topics: gaps, dead letters, stream states."""

from collections.abc import Iterable
from typing import Any

MAX_PAYLOAD_BYTES = 256 * 1024

STREAM_START = "STREAM_START"
SEQUENCE_BREAK = "SEQUENCE_BREAK"
SEQUENCE_RESTARTED = "SEQUENCE_RESTARTED"
RESTART = "RESTART"
DISCONNECTED = "DISCONNECTED"
SUBSCRIPTION_REFUSED = "SUBSCRIPTION_REFUSED"
SUBSCRIPTION_SILENT = "SUBSCRIPTION_SILENT"
NOT_SUBSCRIBED = "NOT_SUBSCRIBED"
BUFFER_FULL = "BUFFER_FULL"
UNREADABLE_FRAME = "UNREADABLE_FRAME"
REJECTED_BY_KAFKA = "REJECTED_BY_KAFKA"
AUDIT_MISMATCH = "AUDIT_MISMATCH"
COVERAGE_DISPROVED = "COVERAGE_DISPROVED"
REFILLED = "REFILLED"
REFILL_INCOMPLETE = "REFILL_INCOMPLETE"

UNPARSABLE = "UNPARSABLE"
UNKNOWN_STREAM = "UNKNOWN_STREAM"
VALUE_DOES_NOT_FIT = "VALUE_DOES_NOT_FIT"
ERROR_FRAME = "ERROR_FRAME"
CROSSED_SNAPSHOT = "CROSSED_SNAPSHOT"
INTERNAL = "INTERNAL"

CLOSING_REASONS = frozenset({REFILLED, REFILL_INCOMPLETE})
"""Reasons of records that report the result for an earlier gap."""
DEAD_LETTER_REASONS = (
    UNPARSABLE,
    UNKNOWN_STREAM,
    VALUE_DOES_NOT_FIT,
    ERROR_FRAME,
    CROSSED_SNAPSHOT,
    INTERNAL,
    REJECTED_BY_KAFKA,
)


def gap_row(
    *,
    stream: str,
    symbol: str,
    topic: str,
    reason: str,
    detail: str,
    service: str,
    detected_us: int,
    last_id: int | None = None,
    next_id: int | None = None,
    last_time_us: int | None = None,
    next_time_us: int | None = None,
    lost_records: int | None = None,
) -> dict[str, Any]:
    """A Gap record. Times are microseconds since the Unix epoch."""
    return {
        "stream": stream,
        "symbol": symbol,
        "topic": topic,
        "reason": reason,
        "last_id": last_id,
        "next_id": next_id,
        "last_time": last_time_us,
        "next_time": next_time_us,
        "lost_records": lost_records,
        "detail": detail,
        "service": service,
        "detected_time": detected_us,
    }


def dead_letter_row(
    *, source: str, origin: str, symbol: str, reason: str, detail: str, payload: bytes, service: str, received_us: int
) -> dict[str, Any]:
    """A DeadLetter record. A payload above `MAX_PAYLOAD_BYTES` is cut, and `payload_truncated` says so."""
    return {
        "source": source,
        "origin": origin,
        "symbol": symbol,
        "reason": reason,
        "detail": detail,
        "payload": payload[:MAX_PAYLOAD_BYTES],
        "payload_truncated": len(payload) > MAX_PAYLOAD_BYTES,
        "service": service,
        "received_time": received_us,
    }


def status_row(
    *,
    stream: str,
    symbol: str,
    status: str,
    detail: str,
    service: str,
    changed_us: int,
    error_code: int | None = None,
    last_id: int | None = None,
    last_received_us: int | None = None,
    missing: Iterable[str] = (),
) -> dict[str, Any]:
    """A StreamStatus record. Times are microseconds since the Unix epoch."""
    return {
        "stream": stream,
        "symbol": symbol,
        "status": status,
        "detail": detail,
        "error_code": error_code,
        "last_id": last_id,
        "last_received_time": last_received_us,
        "service": service,
        "changed_time": changed_us,
        "missing": list(missing),
    }
