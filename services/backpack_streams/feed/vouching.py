"""Publishes on `ops.watermark`, once per interval, what this producer instance has covered and Kafka has acknowledged."""

import asyncio
import logging
import time
from collections.abc import Iterable

from prometheus_client.registry import Collector

from backpack_streams.bus.publisher import Lane
from backpack_streams.errors import BusError
from backpack_streams.feed.coverage import Coverage, Moment
from backpack_streams.feed.measures import count, value
from backpack_streams.feed.publishing import Publishing, now_us
from backpack_streams.feed.router import FrameRouter
from backpack_streams.feed.watermarks import WATERMARK, Watermarks

logger = logging.getLogger(__name__)

_SETTLE_SECONDS = 5.0
_LOOK_SECONDS = 0.05


class Vouching:
    """Makes and publishes the watermarks of one instance."""

    def __init__(
        self, service: str, publishing: Publishing, router: FrameRouter, coverage: Coverage, interval_ms: int
    ) -> None:
        self._publishing = publishing
        self._watermarks = Watermarks(service, coverage, _Progress(publishing, router), interval_ms)
        self._interval_seconds = interval_ms / 1000
        self._coverage = coverage
        self._generation = -1
        self._due = 0.0
        self._through_seconds: float | None = None
        self.published = 0

    async def first(self) -> int:
        """Publish the coverage before the first record: then everything that follows in Kafka is known to be newer.

        Returns the offset of the watermark.

        Raises:
            BusError: Kafka refuses it permanently, or the publisher has failed.
        """
        row = self._watermarks.first_row(Moment(time.monotonic(), now_us()))
        self._publish(row)
        lane = self._publishing.lane(WATERMARK, self._watermarks.instance.encode())
        if await lane.settled():
            raise BusError(f"Kafka refuses records of topic {lane.topic} for good; the log says why")
        return lane.next_offset - 1

    def on_tick(self, now: Moment) -> None:
        """Time passed: set a mark if one is due or coverage has changed, and publish a watermark for what Kafka has acknowledged."""
        if now.seconds >= self._due or self._coverage.generation != self._generation:
            self._due = now.seconds + self._interval_seconds
            self._generation = self._coverage.generation
            self._watermarks.mark(now)
        row = self._watermarks.next_row(now)
        if row is not None:
            self._publish(row)

    async def last(self) -> None:
        """After the sockets have closed, publish the end of coverage, so that the next instance need not wait for further watermarks."""
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
        """The collectors for /metrics."""

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
        lane = self._publishing.lane(WATERMARK, key)
        encode = self._publishing.encoder(WATERMARK)
        if lane.append(key, encode(row), int(str(row["published_time"])) // 1000, spare=True):
            self._watermarks.published(row)
            self.published += 1
            if self._watermarks.through is not None:
                self._through_seconds = self._watermarks.through.seconds


class _Progress:
    """What lies between the sockets and Kafka, for `Watermarks`."""

    def __init__(self, publishing: Publishing, router: FrameRouter) -> None:
        self._publisher = publishing.publisher
        self._router = router

    def lanes(self) -> Iterable[Lane]:
        return self._publisher.lanes()

    def held_since(self) -> float | None:
        return self._router.held_since()

    def owes_reports(self) -> bool:
        return self._router.owes_reports()

    def rejected_records(self) -> int:
        return self._publisher.rejected_records
