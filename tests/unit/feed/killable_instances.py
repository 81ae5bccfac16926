"""Producer instances that a test can kill, the messages that they receive, and a slow Kafka that they write to."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from backpack_streams.exchange.session_actions import CoverageEvent
from backpack_streams.feed.coverage import Coverage
from backpack_streams.feed.delivery import Delivery, LastPublished
from backpack_streams.feed.handover import Handover
from backpack_streams.feed.moments import Moment
from backpack_streams.feed.read_pause import ReadPause
from backpack_streams.feed.router import FrameRouter
from backpack_streams.feed.start import Start
from backpack_streams.feed.tails import Last, _note, last_of
from backpack_streams.feed.untold import Untold
from backpack_streams.feed.watermarks import Watermarks
from backpack_streams.publishing.reporter import Reporter
from unit.feed.recorded_queues import CODEC, SERVICE, STREAM_SPECS, depth_frame, encoder, ticker_frame, trade_frame

SECOND = 1_000_000
SEQUENCED = ("depth.X", "trade.X")
LATEST = "bookTicker.X"
STREAMS = (*SEQUENCED, LATEST)
TOPICS = {"depth.X": "market.depth", "trade.X": "market.trade", LATEST: "market.book_ticker"}


def us(seconds: float) -> int:
    return round(seconds * SECOND)


@dataclass(frozen=True)
class Message:
    """A message that the exchange sent on a stream, and when."""

    stream: str
    number: int
    sent: float

    def payload(self) -> bytes:
        at = us(self.sent)
        if self.stream == LATEST:
            frame = ticker_frame(self.number, at)
        elif self.stream == "trade.X":
            frame = trade_frame(self.number, at)
        else:
            frame = depth_frame(self.number, self.number, at)
        return json.dumps(frame).encode()


class Partition:
    """A topic with one partition: what Kafka has, and what it has not acknowledged yet."""

    partition = 0

    def __init__(self, topic: str) -> None:
        self.topic = topic
        self.records: list[dict[str, Any]] = []
        self.values: list[bytes] = []
        self.pending: list[bytes] = []

    @property
    def done(self) -> int:
        return len(self.records)

    @property
    def next_offset(self) -> int:
        return len(self.records)

    @property
    def handed_over(self) -> int:
        return len(self.records) + len(self.pending)

    def append(self, key: bytes | None, value: bytes | None, timestamp_ms: int, spare: bool = False) -> bool:
        assert value is not None
        self.pending.append(value)
        return True

    def acknowledge(self, count: int) -> None:
        self.values += self.pending[:count]
        self.records += [CODEC.decode(value)[1] for value in self.pending[:count]]
        del self.pending[:count]


class Kafka:
    def __init__(self) -> None:
        self.topics: dict[str, Partition] = {}

    def partition_queue(self, topic: str, key: bytes) -> Partition:
        return self.topics.setdefault(topic, Partition(topic))

    def of(self, topic: str) -> list[dict[str, Any]]:
        return self.topics[topic].records if topic in self.topics else []

    def last(self, stream: str, until: int | None) -> tuple[LastPublished, int] | None:
        """The last record as the reader of tails finds it, and the moment from which messages before it may be missing."""
        found: dict[tuple[str, str], Last] = {}
        untold = Untold(1 << 62)
        topic = TOPICS[stream]
        for name in (topic, "ops.gap"):
            for value in self.topics[name].values if name in self.topics else ():
                _note(found, CODEC, name, value, untold)
        last = last_of(found, topic, "X")
        if last is None:
            return None
        # A message may have been sent before one that was received later: the fallback is when the last one was sent.
        return LastPublished(last.last_id, last.time_us, untold.of(stream, topic, "X", None, until)), last.time_us


class Run:
    """One producer instance, from its start until it is killed or stopped."""

    def __init__(self, number: int, kafka: Kafka, now: float, wanted: set[str]) -> None:
        self.kafka = kafka
        self.moment = Moment(now, us(now))
        self.coverage = Coverage()
        self.reporter = Reporter(SERVICE, kafka.partition_queue, encoder)
        self.router = FrameRouter(
            STREAM_SPECS, self.coverage, kafka.partition_queue, encoder, self.reporter, lambda *_: None, lambda _: None
        )
        self.start = Start(now)
        self.delivery = Delivery(self.coverage, self.router, ReadPause(lambda: None, lambda: None), self.start)
        self.marks = Watermarks(SERVICE, self.coverage, self, 1000, lambda: f"run {number}")
        self.mark_due = now
        self.first_rows = {topic: partition_queue.handed_over for topic, partition_queue in kafka.topics.items()}
        self.want(wanted)

    # Used by the watermarks.

    def partition_queues(self) -> Iterator[Partition]:
        return iter(self.kafka.topics.values())

    def held_since(self) -> float | None:
        return self.router.held_since()

    def owes_reports(self) -> bool:
        return self.router.owes_reports()

    def rejected_records(self) -> int:
        return 0

    # Called by the shell.

    def want(self, streams: set[str]) -> None:
        self.router.want(streams)
        self.coverage.want(streams)

    def event(self, event: CoverageEvent, now: float) -> None:
        self.moment = Moment(now, us(now))
        self.delivery.on_coverage(event, self.moment)

    def frame(self, socket_id: int, message: Message, now: float) -> None:
        self.delivery.on_frame(socket_id, message.payload(), us(now))

    def tick(self, now: float) -> Mapping[str, Any] | None:
        """Returns the watermark that was handed over."""
        self.moment = Moment(now, us(now))
        self.delivery.on_tick(self.moment, 0.0)
        if not self.start.is_over:
            return None
        if now >= self.mark_due:
            self.mark_due = now + 1.0
            self.marks.mark(self.moment)
        return self.publish(self.marks.next_row(self.moment))

    def publish(self, row: dict[str, Any] | None) -> Mapping[str, Any] | None:
        if row is not None:
            self.kafka.partition_queue("ops.watermark", b"").append(b"", encoder("ops.watermark")(row), 0)
            self.marks.published(row)
        return row

    def find_out(self, now: float) -> None:
        """Read what Kafka has."""
        handover = Handover(self.router.feeds, ("ops.watermark", 0))
        for row in self.kafka.of("ops.watermark"):
            handover.take(row)
        handover.begin(now, len(self.kafka.of("ops.watermark")))
        covered = handover.covered(self.coverage.is_covered)
        last: dict[str, LastPublished] = {}
        for name in self.router.feeds:
            found = self.kafka.last(name, covered.get(name))
            if found is not None:
                last[name] = found[0]
                covered.setdefault(name, found[1])
        self.moment = Moment(now, us(now))
        self.publish(self.marks.first_row(self.moment))
        partition_queue = self.kafka.partition_queue("ops.watermark", b"")
        partition_queue.acknowledge(len(partition_queue.pending))
        self.delivery.resume(last, covered, self.moment)
