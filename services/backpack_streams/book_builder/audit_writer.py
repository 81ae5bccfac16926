"""Publishes audit results: each audit to its own topic, and a gap for each wrong book, which takes that book out of LIVE
for every reader.
"""

import logging
from collections import deque
from collections.abc import Iterable, Sequence

from aiokafka.structs import ConsumerRecord
from prometheus_client.registry import Collector

from backpack_streams.book_builder.audits import BookAudits, Finding
from backpack_streams.books.disproof import Disproof
from backpack_streams.bus.decimals import UnscaledNumbers
from backpack_streams.bus.depth_reader import DepthReader
from backpack_streams.errors import CodecError
from backpack_streams.publishing import reports
from backpack_streams.publishing.publishing import Publishing, now_us
from backpack_streams.runtime.collectors import counts, value

logger = logging.getLogger(__name__)

AUDIT_TOPIC = "ops.book_audit"
DEPTH_TOPIC = "market.depth"
LOOK_SECONDS = 0.25
_FINDINGS_HELD = 10_000


class AuditWriter:
    """Connects `BookAudits` to Kafka."""

    def __init__(self, service: str, publishing: Publishing) -> None:
        """Prepare.

        Args:
            service: the value of the record's field `service`.
            publishing: the publisher, codec and reporter.
        """
        self._service = service
        self._publishing = publishing
        self.audits = BookAudits(DepthReader(publishing.codec))
        self._encode = publishing.encoder(AUDIT_TOPIC)
        self._unwritten: deque[Finding] = deque(maxlen=_FINDINGS_HELD)
        self._number = UnscaledNumbers()
        self._next_look = 0.0

    def take_trades(self, batch: Sequence[ConsumerRecord]) -> None:
        """Take trades of any market, to compare them with the books."""
        for record in batch:
            if record.key is None or not self.audits.follows(record.key):
                continue
            try:
                _, trade = self._publishing.codec.decode(record.value or b"")
                self.audits.on_trade(trade["symbol"], self._number[trade["price"]])
            except (CodecError, KeyError) as error:
                where = {"topic": record.topic, "partition": record.partition, "offset": record.offset}
                logger.warning("a trade cannot be read", extra=where | {"error": str(error)})

    def write(self, now: float) -> None:
        """Write new results. Those that do not fit into the send buffer are retried at the next call. `now` is in
        monotonic seconds.
        """
        if now >= self._next_look:
            self._next_look = now + LOOK_SECONDS
            self.audits.on_tick()
        for finding in self.audits.take_findings():
            self._unwritten.append(finding)
            if finding.wrong_id is not None:
                self._report_mismatch(finding, finding.wrong_id)
        while self._unwritten and self._send(self._unwritten[0]):
            self._unwritten.popleft()

    def _send(self, finding: Finding) -> bool:
        key = finding.symbol.encode()
        finding.row["service"] = self._service
        value = self._encode(finding.row)
        return self._publishing.partition_queue(AUDIT_TOPIC, key).append(
            key, value, finding.row["audited_time"] // 1000, spare=finding.wrong_id is not None
        )

    def _report_mismatch(self, finding: Finding, wrong_id: int) -> None:
        """Publish a gap for a wrong book: every reader builds it from the same records, so all of them have it wrong."""
        logger.error(
            "a book differs from the exchange's",
            extra={"symbol": finding.symbol, "detail": finding.detail},
        )
        self._publishing.reporter.gap(
            stream=f"depth.{finding.symbol}",
            symbol=finding.symbol,
            topic=DEPTH_TOPIC,
            reason=reports.AUDIT_MISMATCH,
            detail=finding.detail,
            detected_us=finding.row["audited_time"],
            last_id=wrong_id,
            next_id=finding.next_id,
            next_time_us=finding.seen_us,
        )

    def report_disproof(self, disproof: Disproof) -> None:
        """Publish a gap for a book that lacked updates although watermarks called it complete.

        No reader keeps such a book LIVE, and the producer subscribes to its stream again.
        """
        logger.error(
            "a book lacked updates although its stream was covered",
            extra={"symbol": disproof.symbol, "detail": disproof.why},
        )
        self._publishing.reporter.gap(
            stream=f"depth.{disproof.symbol}",
            symbol=disproof.symbol,
            topic=DEPTH_TOPIC,
            reason=reports.COVERAGE_DISPROVED,
            detail=disproof.why,
            detected_us=now_us(),
            last_id=disproof.last_id,
            next_id=disproof.snapshot_id + 1,
        )

    def collectors(self) -> Iterable[Collector]:
        """Return the audit metrics."""
        return (
            counts(
                "book_audits",
                "Books compared with the exchange's, by result, and audits requested (WANTED). MISMATCH must stay 0.",
                "result",
                lambda: self.audits.counts,
            ),
            value(
                "book_audit_age_seconds",
                "Time since the least recently compared book of an open market was compared, or was first kept if it never was.",
                self.audits.oldest_audit,
            ),
        )
