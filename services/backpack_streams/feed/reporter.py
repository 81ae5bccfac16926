"""Tells Kafka what went wrong: gaps, dead letters and the states of streams, counted by reason."""

import logging
from collections.abc import Callable
from typing import Any, Protocol

from backpack_streams.bus.codec import Encoder
from backpack_streams.feed import reports
from backpack_streams.feed.family import WEBSOCKET

logger = logging.getLogger(__name__)


class ReportOut(Protocol):
    """Where reports of one partition go; False says that there is no room even for them."""

    def append(self, key: bytes | None, value: bytes | None, timestamp_ms: int, spare: bool = False) -> bool:
        """Takes a record; `timestamp_ms` is milliseconds since the Unix epoch."""


class Reporter:
    """Publishes gaps, dead letters and stream states of one service."""

    def __init__(
        self, service: str, lane: Callable[[str, bytes], ReportOut], encoder: Callable[[str], Encoder]
    ) -> None:
        self._service = service
        self._lane = lane
        self._encode = {topic: encoder(topic) for topic in ("ops.gap", "ops.dead_letter", "ops.stream_status")}
        self.gaps: dict[str, int] = {}
        self.dead_letters: dict[str, int] = {}

    def gap(self, *, stream: str, reason: str, detected_us: int, **row: Any) -> None:
        """Puts a gap on record."""
        self.gaps[reason] = self.gaps.get(reason, 0) + 1
        logger.warning(
            "gap", extra={"stream": stream, "reason": reason, **{k: v for k, v in row.items() if v is not None}}
        )
        record = reports.gap_row(stream=stream, reason=reason, service=self._service, detected_us=detected_us, **row)
        self._send("ops.gap", record["symbol"], record, detected_us)

    def dead_letter(self, *, reason: str, detail: str, received_us: int, source: str = WEBSOCKET, **row: Any) -> None:
        """Puts something that could not be published on record, whole."""
        self.dead_letters[reason] = self.dead_letters.get(reason, 0) + 1
        logger.error("dead letter", extra={"reason": reason, "detail": detail, "origin": row.get("origin")})
        record = reports.dead_letter_row(
            source=source, reason=reason, detail=detail, received_us=received_us, service=self._service, **row
        )
        self._send("ops.dead_letter", source, record, received_us)

    def status(self, *, stream: str, changed_us: int, **row: Any) -> None:
        """Says how a stream is."""
        record = reports.status_row(stream=stream, changed_us=changed_us, service=self._service, **row)
        self._send("ops.stream_status", stream, record, changed_us)

    def _send(self, topic: str, key: str, record: dict[str, Any], time_us: int) -> None:
        taken = self._lane(topic, key.encode()).append(
            key.encode(), self._encode[topic](record), time_us // 1000, spare=True
        )
        if not taken:
            logger.error("no room left even for a report", extra={"topic": topic, "record": repr(record)[:500]})
