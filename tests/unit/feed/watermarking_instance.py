"""A producer instance with one stream, whose queues and clock a test sets, and the watermarks it makes."""

from dataclasses import dataclass, field
from typing import Any

from backpack_streams.exchange.session_actions import CoverageEvent, SocketProven, StreamsActive
from backpack_streams.feed.coverage import Coverage
from backpack_streams.feed.moments import Moment
from backpack_streams.feed.watermarks import Watermarks
from unit.feed.recorded_queues import encoder

SECOND = 1_000_000
S = "depth.X"


@dataclass
class PartitionQueue:
    topic: str = "backpack.market.depth"
    partition: int = 0
    done: int = 0
    handed_over: int = 0

    @property
    def next_offset(self) -> int:
        return 1000 + self.done if self.done else -1


@dataclass
class Between:
    """What is between the sockets and Kafka, as set by the test."""

    partitions: list[PartitionQueue] = field(default_factory=lambda: [PartitionQueue()])
    held: float | None = None
    owes: bool = False
    rejected: int = 0

    def partition_queues(self) -> list[PartitionQueue]:
        return self.partitions

    def held_since(self) -> float | None:
        return self.held

    def owes_reports(self) -> bool:
        return self.owes

    def rejected_records(self) -> int:
        return self.rejected


class Instance:
    """One stream that a socket covers from second 10 on, and its watermarks."""

    def __init__(self, interval_ms: int = 1000) -> None:
        self.between = Between()
        self.coverage = Coverage()
        self.coverage.want([S])
        self.coverage.resume({S: None})
        self.now = 10.0
        self.take(StreamsActive((S,), 0, 10.0))
        self.marks = Watermarks("market-producer", self.coverage, self.between, interval_ms, lambda: "me")

    @property
    def moment(self) -> Moment:
        return Moment(self.now, round(self.now * SECOND))

    def take(self, event: CoverageEvent) -> None:
        self.coverage.take(event, self.moment)

    def proven(self, through: float) -> None:
        self.now = through
        self.take(SocketProven(0, through))

    def mark(self, at: float) -> None:
        """Everything is proven until then, and a mark is set."""
        self.proven(at)
        self.marks.mark(self.moment)

    def says(self) -> dict[str, Any] | None:
        """The record that can be published, handed over; the schema accepts it."""
        row = self.marks.next_row(self.moment)
        if row is not None:
            encoder("ops.watermark")(row)
            self.marks.published(row)
        return row

    def through(self) -> float | None:
        row = self.says()
        return None if row is None else row["complete_through"] / SECOND
