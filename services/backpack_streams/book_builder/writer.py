"""Writes tops, checkpoints and audits while this builder certainly owns the partitions."""

import time
from collections.abc import Callable, Iterable

from backpack_streams.book_builder.audit_writer import AUDIT_TOPIC, AuditWriter
from backpack_streams.book_builder.keeper import BookKeeper
from backpack_streams.book_builder.kept_book import KeptBook
from backpack_streams.book_builder.records import checkpoint_record, top_record
from backpack_streams.books.joining import SNAPSHOT_TOPIC
from backpack_streams.books.standing import Claim
from backpack_streams.publishing.publishing import Publishing, now_us

__all__ = ["TOPICS", "TOP_TOPIC", "BookWriter"]

TOP_TOPIC = "market.book_top"
TOPICS = frozenset({SNAPSHOT_TOPIC, TOP_TOPIC, AUDIT_TOPIC})
_CHECKPOINT_LOOK_SECONDS = 0.25


class BookWriter:
    """Writes the records that `BookKeeper` and `BookAudits` report as due."""

    def __init__(
        self,
        publishing: Publishing,
        keeper: BookKeeper,
        audits: AuditWriter,
        top_levels: int,
        may_write: Callable[[float], bool],
    ) -> None:
        """Prepare.

        Args:
            publishing: the publisher, codec and reporter.
            keeper: the books.
            audits: writes audit results.
            top_levels: levels per side of a top of book.
            may_write: whether the partitions are certainly owned at a time (monotonic seconds).
        """
        self._publishing = publishing
        self._keeper = keeper
        self._audits = audits
        self._top_levels = top_levels
        self._may_write = may_write
        publishing.tell_rejected = self._on_rejected
        self._encode_checkpoint = publishing.encoder(SNAPSHOT_TOPIC)
        self._encode_top = publishing.encoder(TOP_TOPIC)
        self._next_checkpoints = 0.0
        self.checkpoints_written = 0
        self.tops_written = 0
        self.last_checkpoint_at = time.monotonic()

    def write(self, now: float) -> None:
        """Write the records that are due. `now` is in monotonic seconds."""
        if not self._may_write(time.monotonic()):
            return
        self._audits.write(now)
        for disproof in () if self._keeper.intake.vouching is None else self._keeper.intake.vouching.take_disproofs():
            self._audits.report_disproof(disproof)
        for kept, top in self._keeper.tops(now):
            row = top_record(kept, top, self._top_levels, now_us())
            if self._send(TOP_TOPIC, kept, self._encode_top(row), row["engine_time"]):
                kept.on_top(top)
                self.tops_written += 1
        if now >= self._next_checkpoints:
            self._next_checkpoints = now + _CHECKPOINT_LOOK_SECONDS
            self._write_checkpoints(self._keeper.checkpoints(now))

    def write_last(self, partitions: Iterable[int]) -> None:
        """Write checkpoints of partitions that other builders may get next."""
        self._write_checkpoints(self._keeper.last_checkpoints(partitions))

    async def settled(self) -> None:
        """Wait until Kafka has acknowledged or finally refused all written records.

        Raises:
            BusError: the publisher failed or was closed first.
        """
        for key in [symbol.encode() for symbol in self._keeper.intake.books]:
            for topic in (SNAPSHOT_TOPIC, TOP_TOPIC):
                await self._publishing.partition_queue(topic, key).settled()

    def _on_rejected(self, topic: str, key: bytes) -> None:
        """Correct the notes about a refused record, which counted as written at handover."""
        if topic == SNAPSHOT_TOPIC:
            self._keeper.on_checkpoint_rejected(key.decode(), time.monotonic())
        elif topic == TOP_TOPIC:
            self._keeper.on_top_rejected(key.decode(), time.monotonic())

    def _write_checkpoints(self, due: Iterable[tuple[KeptBook, int]]) -> None:
        for kept, offset in due:
            runs = self._keeper.proving_runs(kept)
            row = checkpoint_record(kept, kept.topic_partition, offset, now_us(), runs)
            if self._send(SNAPSHOT_TOPIC, kept, self._encode_checkpoint(row), row["engine_time"]):
                claim = Claim(row["last_update_id"], runs)
                kept.on_checkpoint(row["last_update_id"], offset, claim, time.monotonic())
                self.checkpoints_written += 1
                self.last_checkpoint_at = time.monotonic()

    def _send(self, topic: str, kept: KeptBook, value: bytes, engine_time: int | None) -> bool:
        if not self._may_write(
            time.monotonic()
        ):  # checked each time: the process may have been suspended since the last one
            return False
        time_us = now_us() if engine_time is None else engine_time
        return self._publishing.partition_queue(topic, kept.key).append(kept.key, value, time_us // 1000)
