"""Writes what audits find: every audit on a topic of its own, and of a wrong book a gap, which takes it out of LIVE everywhere."""

import logging
from collections import deque
from collections.abc import Iterable, Sequence

from aiokafka.structs import ConsumerRecord
from prometheus_client.registry import Collector

from backpack_streams.book_builder.audits import BookAudits, Finding
from backpack_streams.books.vouching import Disproof
from backpack_streams.bus.decimals import UnscaledNumbers
from backpack_streams.bus.depth_reader import DepthReader
from backpack_streams.errors import CodecError
from backpack_streams.feed import reports
from backpack_streams.feed.measures import counts, value
from backpack_streams.feed.publishing import Publishing, now_us

logger = logging.getLogger(__name__)

AUDIT_TOPIC = "ops.book_audit"
DEPTH_TOPIC = "market.depth"
LOOK_SECONDS = 0.25
_FINDINGS_HELD = 10_000


class AuditWriter:
    """The shell round `BookAudits`."""

    def __init__(self, service: str, publishing: Publishing) -> None:
        self._service = service
        self._publishing = publishing
        self.audits = BookAudits(DepthReader(publishing.codec))
        self._encode = publishing.encoder(AUDIT_TOPIC)
        self._unwritten: deque[Finding] = deque(maxlen=_FINDINGS_HELD)
        self._number = UnscaledNumbers()
        self._next_look = 0.0

    def take_trades(self, batch: Sequence[ConsumerRecord]) -> None:
        """Trades of any market, to be held against the books."""
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
        """Writes what was found since; `now` is in monotonic seconds. What has no room waits, and is tried again."""
        if now >= self._next_look:
            self._next_look = now + LOOK_SECONDS
            self.audits.on_tick()
        for finding in self.audits.take_findings():
            self._unwritten.append(finding)
            if finding.wrong_id is not None:
                self._tell_everybody(finding, finding.wrong_id)
        while self._unwritten and self._send(self._unwritten[0]):
            self._unwritten.popleft()

    def _send(self, finding: Finding) -> bool:
        key = finding.symbol.encode()
        finding.row["service"] = self._service
        value = self._encode(finding.row)
        return self._publishing.lane(AUDIT_TOPIC, key).append(
            key, value, finding.row["audited_time"] // 1000, spare=finding.wrong_id is not None
        )

    def _tell_everybody(self, finding: Finding, wrong_id: int) -> None:
        """A book that every reader builds from the same records is wrong everywhere."""
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

    def tell_disproof(self, disproof: Disproof) -> None:
        """A book that was complete, producers said, was not: the stream is to be subscribed anew, and nobody's book is LIVE before that."""
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
        """What /metrics shows of audits."""
        return (
            counts(
                "book_audits",
                "Books compared with the exchange's, by result, and audits asked for (WANTED). MISMATCH must stay 0.",
                "result",
                lambda: self.audits.counts,
            ),
            value(
                "book_audit_age_seconds",
                "Time since the book that was compared least lately was compared; since it was first kept, where it never was. "
                "Of open markets alone.",
                self.audits.oldest_audit,
            ),
        )
