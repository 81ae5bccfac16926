"""Publishes on `ops.watermark`, once per interval, what this producer instance has covered and Kafka has acknowledged."""

import asyncio
import logging
import time
from collections.abc import Iterable

from prometheus_client.registry import Collector

from backpack_streams.bus.publisher import PartitionQueue
from backpack_streams.errors import BusError
from backpack_streams.feed.coverage import Coverage
from backpack_streams.feed.moments import Moment
from backpack_streams.feed.router import FrameRouter
from backpack_streams.feed.watermarks import WATERMARK, Watermarks
from backpack_streams.publishing.publishing import Publishing, now_us
from backpack_streams.runtime.collectors import count, value
from backpack_streams.steady_clock import steady_seconds

logger = logging.getLogger(__name__)

_SETTLE_SECONDS = 5.0
_LOOK_SECONDS = 0.05


class Vouching:
    """Makes and publishes the watermarks of one instance."""

    def __init__(
        self, service: str, publishing: Publishing, router: FrameRouter, coverage: Coverage, interval_ms: int
    ) -> None:
        """Prepare; nothing is published before `first`.

        Args:
            service: the name of the service, for the records.
            publishing: the partition queues, the encoders and the publisher.
            router: what is held or owed between the sockets and Kafka.
            coverage: when each stream was covered.
            interval_ms: time between two watermarks, in milliseconds.
        """
        self._publishing = publishing
        self._watermarks = Watermarks(service, coverage, _Progress(publishing, router), interval_ms)
        self._interval_seconds = interval_ms / 1000
        self._coverage = coverage
        self._generation = -1
        self._due = 0.0
        self._through_seconds: float | None = None
        self._started = steady_seconds()
        self.published = 0

    async def first(self) -> int:
        """Publish the coverage before the first record: then everything that follows in Kafka is known to be newer.

        Returns:
            The offset of the watermark in its partition.

        Raises:
            BusError: Kafka refuses it permanently, or the publisher has failed.
        """
        row = self._watermarks.first_row(Moment(time.monotonic(), now_us()))
        self._publish(row)
        partition_queue = self._publishing.partition_queue(WATERMARK, self._watermarks.instance.encode())
        if await partition_queue.settled():
            raise BusError(f"Kafka refuses records of topic {partition_queue.topic} for good; the log says why")
        return partition_queue.next_offset - 1

    def on_tick(self, now: Moment) -> None:
        """Set a mark if one is due or coverage has changed, and publish a watermark for what Kafka has acknowledged.

        Args:
            now: present time.
        """
        if now.seconds >= self._due or self._coverage.generation != self._generation:
            self._due = now.seconds + self._interval_seconds
            self._generation = self._coverage.generation
            self._watermarks.mark(now)
        row = self._watermarks.next_row(now)
        if row is not None:
            self._publish(row)

    async def last(self) -> None:
        """Publish the end of coverage after the sockets have closed, so that the next instance need not wait for further watermarks.

        Without an acknowledgement of everything within 5 s, this instance leaves without a last watermark.
        """
        deadline = time.monotonic() + _SETTLE_SECONDS
        while True:
            now = Moment(time.monotonic(), now_us())
            row = self._watermarks.last_row(now)
            if row is not None:
                self._publish(row)
                return
            if now.seconds > deadline:
                logger.warning("Kafka has not acknowledged everything; leaving without a last watermark")
                return
            await asyncio.sleep(_LOOK_SECONDS)

    def collectors(self) -> Iterable[Collector]:
        """Return the collectors for /metrics."""

        def age() -> float:
            return float("nan") if self._through_seconds is None else time.monotonic() - self._through_seconds

        return (
            value(
                "watermark_age_seconds",
                "Time since the moment through which this instance has vouched for its streams; NaN before the first watermark.",
                age,
            ),
            count("watermarks_published", "Watermarks handed to Kafka.", lambda: self.published),
        )

    def _publish(self, row: dict[str, object]) -> None:
        key = self._watermarks.instance.encode()
        partition_queue = self._publishing.partition_queue(WATERMARK, key)
        encode = self._publishing.encoder(WATERMARK)
        elapsed_us = int((steady_seconds() - self._started) * 1_000_000)
        encoded = encode({**row, "elapsed_us": elapsed_us})
        if partition_queue.append(key, encoded, int(str(row["published_time"])) // 1000, spare=True):
            self._watermarks.published(row)
            self.published += 1
            if self._watermarks.through is not None:
                self._through_seconds = self._watermarks.through.seconds


class _Progress:
    """What lies between the sockets and Kafka, for `Watermarks`."""

    def __init__(self, publishing: Publishing, router: FrameRouter) -> None:
        self._publisher = publishing.publisher
        self._router = router

    def partition_queues(self) -> Iterable[PartitionQueue]:
        return self._publisher.partition_queues()

    def held_since(self) -> float | None:
        return self._router.held_since()

    def owes_reports(self) -> bool:
        return self._router.owes_reports()

    def rejected_records(self) -> int:
        return self._publisher.rejected_records
