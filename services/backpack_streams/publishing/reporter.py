"""Publishes reports of problems: gaps, dead letters and stream states, counted by reason."""

import logging
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Protocol

from backpack_streams.bus.codec import Encoder
from backpack_streams.exchange.streams import CHANNELS, split_stream
from backpack_streams.publishing import reports
from backpack_streams.publishing.sources import WEBSOCKET

logger = logging.getLogger(__name__)

WAITING_REPORTS = 20_000
"""Reports kept while the buffer for Kafka has no room for them."""
WAITING_BYTES = 8 * 1024 * 1024
"""The default limit of the values of waiting reports together."""

_LOGGED_HEX = 4_000
"""How much of a lost report is logged: all of a gap or a state, the beginning of a long dead letter."""

STATUS_TOPIC = "ops.stream_status"
NO_CHANNEL = "other"
"""The channel of gaps in data without a stream: polled rows, books."""

Report = tuple[str, bytes, bytes, int]
"""Topic, key, value, timestamp in milliseconds since the Unix epoch."""


class ReportOut(Protocol):
    """Accepts the reports of one partition, as `PartitionQueue` does."""

    def append(self, key: bytes | None, value: bytes | None, timestamp_ms: int, spare: bool = False) -> bool:
        """Hand over a record. Returns False if the buffer is full; the record is then not queued.

        Args:
            key: the Kafka key.
            value: the encoded record.
            timestamp_ms: the record's timestamp (ms since the Unix epoch).
            spare: whether the record may use a tenth more of the buffer.
        """


class Reporter:
    """Publishes gaps, dead letters and stream states of one service.

    A report without room in the buffer waits in memory, and `on_tick` retries it. Reports of one service keep their order.

    Attributes:
        lost_reports: how many reports will never reach Kafka.
        dead_letters: how many dead letters there were, by reason.
    """

    def __init__(
        self,
        service: str,
        partition_queue: Callable[[str, bytes], ReportOut],
        encoder: Callable[[str], Encoder],
        most_waiting_bytes: int = WAITING_BYTES,
    ) -> None:
        """Prepare.

        Args:
            service: the name of the service, which every report carries.
            partition_queue: returns the queue for a topic (without prefix) and a Kafka key.
            encoder: returns the encoder of a topic (without prefix).
            most_waiting_bytes: the limit for the values of all reports that wait for room.
        """
        self._service = service
        self._most_waiting_bytes = most_waiting_bytes
        self._waiting_bytes = 0
        self._partition_queue = partition_queue
        self._encode = {topic: encoder(topic) for topic in ("ops.gap", "ops.dead_letter", "ops.stream_status")}
        self._waiting: deque[Report] = deque()
        self.lost_reports = 0
        self.lost_losses = 0
        """Lost reports that would have named a loss. From the first one on, this instance vouches for nothing."""
        self.gaps: dict[tuple[str, str], int] = {}
        """By channel and reason. Records that close a gap are not counted."""
        self.dead_letters: dict[str, int] = {}

    @property
    def waiting_reports(self) -> int:
        """How many reports wait for room."""
        return len(self._waiting)

    def expect(self, channel: str, reasons: Iterable[str]) -> None:
        """Count gaps for these reasons from 0: an alert on an increase would miss the first gap if its counter began at 1.

        Args:
            channel: the channel, such as `depth`, or `NO_CHANNEL`.
            reasons: reasons that may occur.
        """
        for reason in reasons:
            self.gaps.setdefault((channel, reason), 0)

    def gap(self, *, stream: str, reason: str, detected_us: int, **row: Any) -> None:
        """Publish a gap, or the result of a backfill. Results (`CLOSING_REASONS`) are not counted.

        Args:
            stream: the stream as the exchange names it, such as `depth.BTC_USDC_PERP`.
            reason: one of the reasons in `reports`.
            detected_us: when it was found (µs since the Unix epoch).
            row: the other arguments of `gap_row`, without the service.
        """
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
        """Publish a message, whole, that could not be published as what it should have been.

        Args:
            reason: one of `DEAD_LETTER_REASONS`.
            detail: what was wrong, in one sentence.
            received_us: when it was received (µs since the Unix epoch).
            source: where it came from: WEBSOCKET, REST or KAFKA.
            row: the other arguments of `dead_letter_row`, without the service.
        """
        self.dead_letters[reason] = self.dead_letters.get(reason, 0) + 1
        logger.error("dead letter", extra={"reason": reason, "detail": detail, "origin": row.get("origin")})
        record = reports.dead_letter_row(
            source=source, reason=reason, detail=detail, received_us=received_us, service=self._service, **row
        )
        self._send("ops.dead_letter", source, record, received_us)

    def status(self, *, stream: str, changed_us: int, **row: Any) -> None:
        """Publish the state of a stream. The record's key is the stream.

        Args:
            stream: the stream as the exchange names it.
            changed_us: when the state began (µs since the Unix epoch).
            row: the other arguments of `status_row`, without the service.
        """
        record = reports.status_row(stream=stream, changed_us=changed_us, service=self._service, **row)
        self._send("ops.stream_status", stream, record, changed_us)

    def on_tick(self) -> None:
        """Retry reports that found no room, in order, until one finds none again."""
        while self._waiting and self._hand_over(*self._waiting[0]):
            self._waiting_bytes -= len(self._waiting.popleft()[2])

    def _send(self, topic: str, key: str, record: dict[str, Any], time_us: int) -> None:
        clean = {name: _encodable(value) for name, value in record.items()}
        report = topic, _encodable(key).encode(), self._encode[topic](clean), time_us // 1000
        if self._waiting or not self._hand_over(*report):
            self._keep(report)

    def _hand_over(self, topic: str, key: bytes, value: bytes, timestamp_ms: int) -> bool:
        return self._partition_queue(topic, key).append(key, value, timestamp_ms, spare=True)

    def _keep(self, report: Report) -> None:
        topic, _, value, _ = report
        if len(self._waiting) < WAITING_REPORTS and self._waiting_bytes + len(value) <= self._most_waiting_bytes:
            self._waiting.append(report)
            self._waiting_bytes += len(value)
            return
        self.lose(topic, value, "no room is left even for reports")

    def lose(self, topic: str, value: bytes, why: str) -> None:
        """Count a report that will never reach Kafka, and log it; the log then holds the only copy.

        Args:
            topic: its topic, without prefix.
            value: the encoded record, of which the log gets at most the first 2,000 bytes, as hexadecimal digits.
            why: the reason, for the log.
        """
        self.lost_reports += 1
        self.lost_losses += topic != STATUS_TOPIC
        logger.error("a report is lost", extra={"topic": topic, "why": why, "value": value.hex()[:_LOGGED_HEX]})


def _encodable(value: Any) -> Any:
    """Replace half surrogate pairs in the exchange's text: UTF-8 cannot encode them."""
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else value
