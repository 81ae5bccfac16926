"""Records of the operational topics: gaps, dead letters, stream states."""

from collections.abc import Iterable, Mapping
from typing import Any

MAX_PAYLOAD_BYTES = 256 * 1024
"""Longer payloads of dead letters are cut."""

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
RECORDS_DELETED = "RECORDS_DELETED"
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
    """Return a Gap record. All times are microseconds since the Unix epoch.

    Args:
        stream: the stream as the exchange names it.
        symbol: the market; empty for a stream of all markets.
        topic: the topic in which records are missing, without prefix.
        reason: one of the constants above.
        detail: one sentence for people.
        service: the service that found it.
        detected_us: when it was found.
        last_id: id of the last record before the gap; None if unknown or if the stream has no ids.
        next_id: id of the first record after the gap; None as for `last_id`.
        last_time_us: when the last record before the gap was received, or until when the stream was covered; of a kline
            stream the start of the first missing candle. None if unknown.
        next_time_us: the same after the gap; None if unknown.
        lost_records: how many records were lost; None if unknown.
    """
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


def bounds_of(name: str, record: Mapping[str, Any]) -> dict[str, int]:
    """Return the arguments of `gap_row` that say which record is missing; none if its type has no consecutive ids or times.

    An open candle has none: a later state replaces it.

    Args:
        name: the type of the record, such as `Trade`.
        record: the decoded record.
    """
    match name:
        case "DepthUpdate":
            return {"last_id": record["first_update_id"] - 1, "next_id": record["last_update_id"] + 1}
        case "Trade":
            return {"last_id": record["trade_id"] - 1, "next_id": record["trade_id"] + 1}
        case "Kline" if record["is_closed"]:
            return {"last_time_us": record["start_time"], "next_time_us": record["end_time"]}
    return {}


def dead_letter_row(
    *, source: str, origin: str, symbol: str, reason: str, detail: str, payload: bytes, service: str, received_us: int
) -> dict[str, Any]:
    """Return a DeadLetter record.

    Args:
        source: where the message came from: WEBSOCKET, REST or KAFKA.
        origin: the stream, REST path or topic that it came by; empty if unknown.
        symbol: the market; empty if unknown.
        reason: one of `DEAD_LETTER_REASONS`.
        detail: what was wrong, in one sentence.
        payload: the bytes as received. Above `MAX_PAYLOAD_BYTES` they are cut, and `payload_truncated` is true.
        service: the service that reports it.
        received_us: when it was received (µs since the Unix epoch).
    """
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
    """Return a StreamStatus record. All times are microseconds since the Unix epoch.

    Args:
        stream: the stream as the exchange names it.
        symbol: the market; empty for a stream of all markets.
        status: SUBSCRIBED, LIVE, SILENT, REJECTED, DISCONNECTED or UNSUBSCRIBED; of a backfill BACKFILLING or BACKFILLED.
        detail: one sentence for people.
        service: the service that reports it.
        changed_us: when the state began.
        error_code: the code of the exchange's error frame, such as 4006; None if there was none.
        last_id: the last id published on the stream; None if there is none.
        last_received_us: when the last frame arrived; None if none did.
        missing: what a backfill could not fetch so far, in words; empty for a stream.
    """
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
