"""Tells Kafka what went wrong: gaps, dead letters and the states of streams, counted by reason."""

import logging
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Protocol

from backpack_streams.bus.codec import Encoder
from backpack_streams.exchange.streams import CHANNELS, split_stream
from backpack_streams.feed import reports
from backpack_streams.feed.family import WEBSOCKET

logger = logging.getLogger(__name__)

WAITING_REPORTS = 20_000
"""Reports kept while the buffer for Kafka has no room even for them."""
WAITING_BYTES = 8 * 1024 * 1024
"""What their values may take together, unless somebody says otherwise."""

_LOGGED_HEX = 4_000
"""Of a lost report: whole for gaps and states, the beginning of a long dead letter."""

STATUS_TOPIC = "ops.stream_status"
NO_CHANNEL = "other"
"""Of gaps in what comes from no stream of the exchange: polled rows, books."""

Report = tuple[str, bytes, bytes, int]
"""Topic, key, value, timestamp in milliseconds."""


class ReportOut(Protocol):
    """Where reports of one partition go; False says that there is no room even for them."""

    def append(self, key: bytes | None, value: bytes | None, timestamp_ms: int, spare: bool = False) -> bool:
        """Takes a record; `timestamp_ms` is milliseconds since the Unix epoch."""


class Reporter:
    """Publishes gaps, dead letters and stream states of one service."""

    def __init__(
        self,
        service: str,
        lane: Callable[[str, bytes], ReportOut],
        encoder: Callable[[str], Encoder],
        most_waiting_bytes: int = WAITING_BYTES,
    ) -> None:
        self._service = service
        self._most_waiting_bytes = most_waiting_bytes
        self._waiting_bytes = 0
        self._lane = lane
        self._encode = {topic: encoder(topic) for topic in ("ops.gap", "ops.dead_letter", "ops.stream_status")}
        self._waiting: deque[Report] = deque()
        self.lost_reports = 0
        self.lost_losses = 0
        """Of them those that would have said what is missing: from the first one on this instance can vouch for nothing."""
        self.gaps: dict[tuple[str, str], int] = {}
        """By channel and reason. Records that close a gap are none."""
        self.dead_letters: dict[str, int] = {}

    @property
    def waiting_reports(self) -> int:
        """Reports that wait for room."""
        return len(self._waiting)

    def expect(self, channel: str, reasons: Iterable[str]) -> None:
        """Gaps that may come are counted from 0 on: whoever watches a count sees the first one only then."""
        for reason in reasons:
            self.gaps.setdefault((channel, reason), 0)

    def gap(self, *, stream: str, reason: str, detected_us: int, **row: Any) -> None:
        """Puts a gap on record, or what became of one."""
        if reason not in reports.CLOSING_REASONS:
            channel = split_stream(stream)[0].channel
            key = channel if channel in CHANNELS else NO_CHANNEL, reason
            self.gaps[key] = self.gaps.get(key, 0) + 1
        level = logging.INFO if reason in (reports.STREAM_START, reports.REFILLED) else logging.WARNING
        logger.log(
            level, "gap", extra={"stream": stream, "reason": reason, **{k: v for k, v in row.items() if v is not None}}
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

    def on_tick(self) -> None:
        """Reports that had no room are tried again, in their order."""
        while self._waiting and self._hand_over(*self._waiting[0]):
            self._waiting_bytes -= len(self._waiting.popleft()[2])

    def _send(self, topic: str, key: str, record: dict[str, Any], time_us: int) -> None:
        clean = {name: _encodable(value) for name, value in record.items()}
        report = topic, _encodable(key).encode(), self._encode[topic](clean), time_us // 1000
        if self._waiting or not self._hand_over(*report):
            self._keep(report)

    def _hand_over(self, topic: str, key: bytes, value: bytes, timestamp_ms: int) -> bool:
        return self._lane(topic, key).append(key, value, timestamp_ms, spare=True)

    def _keep(self, report: Report) -> None:
        topic, _, value, _ = report
        if len(self._waiting) < WAITING_REPORTS and self._waiting_bytes + len(value) <= self._most_waiting_bytes:
            self._waiting.append(report)
            self._waiting_bytes += len(value)
            return
        self.lose(topic, value, "no room is left even for reports")

    def lose(self, topic: str, value: bytes, why: str) -> None:
        """Counts a report that Kafka will never hold; the log is where it can still be read."""
        self.lost_reports += 1
        self.lost_losses += topic != STATUS_TOPIC
        logger.error("a report is lost", extra={"topic": topic, "why": why, "value": value.hex()[:_LOGGED_HEX]})


def _encodable(value: Any) -> Any:
    """Text that the exchange sent may hold half a surrogate pair, which UTF-8 cannot carry."""
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else value
