"""An exchange that knows the truth, sockets that lose data in flight, a slow Kafka, and producers that are killed."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from backpack_streams.exchange.session_actions import Cause, CoverageEvent, SocketProven, StreamsActive, StreamsInactive
from backpack_streams.feed.coverage import Coverage, Moment
from backpack_streams.feed.delivery import Delivery, LastPublished
from backpack_streams.feed.handover import Handover
from backpack_streams.feed.read_pause import ReadPause
from backpack_streams.feed.router import FrameRouter
from backpack_streams.feed.start import Start
from backpack_streams.feed.tails import Last, _note, last_of
from backpack_streams.feed.untold import Untold
from backpack_streams.feed.watermarks import Watermarks
from backpack_streams.publishing.reporter import Reporter
from unit.feed.recorded_queues import CODEC, SERVICE, STREAM_SPECS, depth_frame, encoder, ticker_frame, trade_frame

SECOND = 1_000_000
CHAINED = ("depth.X", "trade.X")
LATEST = "bookTicker.X"
STREAMS = (*CHAINED, LATEST)
TOPICS = {"depth.X": "market.depth", "trade.X": "market.trade", LATEST: "market.book_ticker"}
ID_FIELDS = {"depth.X": "last_update_id", "trade.X": "trade_id", LATEST: "update_id"}


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


@dataclass(frozen=True)
class Pong:
    """The answer to a Ping sent at a given moment; `confirms`: the streams whose SUBSCRIBE preceded it."""

    pinged: float
    confirms: tuple[str, ...] = ()


@dataclass
class Socket:
    """What is in flight, in order, and what the session knows."""

    queue: list[Message | Pong] = field(default_factory=list)
    subscribed: set[str] = field(default_factory=set)
    active: dict[str, float] = field(default_factory=dict)
    proven: float = float("-inf")
    is_cut: bool = False


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
        handover = Handover(self.router.feeds)
        for row in self.kafka.of("ops.watermark"):
            handover.take(row)
        handover.begin(now)
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


class World:
    """All parts together. Time is in seconds, the same for the exchange and the producer."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.kafka = Kafka()
        self.sent: dict[str, list[Message]] = {name: [] for name in STREAMS}
        self.sockets: dict[int, Socket] = {}
        self.next_socket = 0
        self.runs = 0
        self.wanted = set(STREAMS)
        self.is_slow = False
        self.run = self._begin()

    # The exchange and its sockets.

    def send(self, stream: str) -> None:
        self.now += 0.001
        message = Message(stream, len(self.sent[stream]) + 1, self.now)
        self.sent[stream].append(message)
        for socket in self.sockets.values():
            if stream in socket.subscribed and not socket.is_cut:
                socket.queue.append(message)

    def open(self) -> None:
        self.sockets[self.next_socket] = Socket()
        self.next_socket += 1

    def subscribe(self, socket_id: int, streams: set[str]) -> None:
        """The exchange takes a SUBSCRIBE and the Ping after it."""
        socket = self.sockets[socket_id]
        new = streams & self.wanted
        if not socket.is_cut:
            socket.subscribed |= new
            socket.queue.append(Pong(self.now, tuple(sorted(new))))

    def ping(self, socket_id: int) -> None:
        if not self.sockets[socket_id].is_cut:
            self.sockets[socket_id].queue.append(Pong(self.now))

    def deliver(self, socket_id: int, count: int | None = None) -> None:
        socket = self.sockets[socket_id]
        for item in socket.queue[:count]:
            self.now += 0.001
            if isinstance(item, Message):
                self.run.frame(socket_id, item, self.now)
                continue
            new = tuple(name for name in item.confirms if name not in socket.active and name in self.wanted)
            if new:
                socket.active.update(dict.fromkeys(new, self.now))
                self.run.event(StreamsActive(new, socket_id, self.now), self.now)
            if item.pinged > socket.proven:
                socket.proven = item.pinged
                self.run.event(SocketProven(socket_id, item.pinged), self.now)
        del socket.queue[:count]

    def cut(self, socket_id: int, arrives: int) -> None:
        """The socket breaks: this part of the data in flight arrives, and nothing that is sent later."""
        self.sockets[socket_id].is_cut = True
        del self.sockets[socket_id].queue[arrives:]

    def lose(self, socket_id: int) -> None:
        """The session detects that the socket is gone."""
        socket = self.sockets.pop(socket_id)
        self._inactive(socket_id, socket, set(socket.active), Cause.DISCONNECTED)

    def _inactive(self, socket_id: int, socket: Socket, streams: set[str], cause: Cause) -> None:
        by_through: dict[float, list[str]] = {}
        for name in sorted(streams):
            by_through.setdefault(max(socket.active.pop(name), socket.proven), []).append(name)
        for through, names in sorted(by_through.items()):
            self.run.event(StreamsInactive(tuple(names), socket_id, through, cause), self.now)

    def want(self, streams: set[str]) -> None:
        """Set the market list to exactly these names."""
        gone = self.wanted - streams
        self.wanted = streams
        self.run.want(streams)
        for socket_id, socket in self.sockets.items():
            socket.subscribed -= gone
            # An answer to an earlier request says nothing about a new one.
            socket.queue = [
                Pong(item.pinged, tuple(name for name in item.confirms if name not in gone))
                if isinstance(item, Pong)
                else item
                for item in socket.queue
            ]
            self._inactive(socket_id, socket, gone & socket.active.keys(), Cause.UNSUBSCRIBED)

    # The producer and Kafka.

    def _begin(self) -> Run:
        self.runs += 1
        return Run(self.runs, self.kafka, self.now, self.wanted)

    def find_out(self) -> None:
        self.run.find_out(self.now)

    def kill(self, kept: Mapping[str, float]) -> None:
        """`kept`: by topic, the share of the records in flight to Kafka that arrived."""
        for topic, partition_queue in self.kafka.topics.items():
            partition_queue.acknowledge(round(len(partition_queue.pending) * kept.get(topic, 0.0)))
            partition_queue.pending.clear()
        self.sockets.clear()
        self.run = self._begin()

    def stop(self) -> None:
        """Sockets close, Kafka gets what is left, and the instance publishes its final watermark."""
        for socket_id in list(self.sockets):
            self.lose(socket_id)
        if self.run.start.is_over:
            self.run.router.on_tick(*self.run.moment)
            self.acknowledge()
            self.check_watermark(self.run.publish(self.run.marks.last_row(Moment(self.now, us(self.now)))))
        self.acknowledge()
        self.run = self._begin()

    def acknowledge(self) -> None:
        for partition_queue in self.kafka.topics.values():
            partition_queue.acknowledge(len(partition_queue.pending))

    def tick(self, seconds: float) -> None:
        for _ in range(round(seconds * 4)):
            self.now += 0.25
            self.check_watermark(self.run.tick(self.now))
            if not self.is_slow:
                self.acknowledge()

    # Invariants.

    def published(self, stream: str) -> list[int]:
        return [row[ID_FIELDS[stream]] for row in self.kafka.of(TOPICS[stream])]

    def first_stated(self, stream: str) -> float:
        """Since when a stream is served: its first coverage for which it is recorded that nothing is known from before."""
        intervals = [each for row in self.kafka.of("ops.watermark") for each in row["coverage"] or ()]
        settled = [each for each in intervals if each["since"] is not None and each["is_settled"]]
        found = [each["since"] for each in settled if stream in each["streams"]]
        return float(min(found) / SECOND + 1e-6)

    def missing(self, stream: str, since: float, until: float) -> list[Message]:
        """Messages sent in this period that are neither in Kafka nor in a gap of their stream."""
        there = set(self.published(stream))
        gaps = [gap for gap in self.kafka.of("ops.gap") if gap["stream"] == stream]
        return [
            message
            for message in self.sent[stream]
            if since <= message.sent <= until
            and message.number not in there
            and not any(_holds(gap, message) for gap in gaps)
        ]

    def check_watermark(self, row: Mapping[str, Any] | None) -> None:
        """Everything it claims is in Kafka when it is made."""
        if row is None or row["coverage"] is None:
            return
        for interval in row["coverage"]:
            if interval["since"] is None:
                continue
            until = row["complete_through"] if interval["until"] is None else interval["until"]
            for stream in interval["streams"]:
                # Times of records are rounded to microseconds.
                lost = self.missing(stream, interval["since"] / SECOND + 1e-6, until / SECOND - 1e-6)
                assert not lost, ("claimed, and not in Kafka", row, lost)

    def check_run(self) -> None:
        """This run published nothing twice."""
        for stream in STREAMS:
            partition_queue = self.kafka.topics.get(TOPICS[stream])
            waiting = [] if partition_queue is None else [CODEC.decode(value)[1] for value in partition_queue.pending]
            rows = (
                []
                if partition_queue is None
                else [*partition_queue.records, *waiting][self.run.first_rows.get(partition_queue.topic, 0) :]
            )
            numbers = [row[ID_FIELDS[stream]] for row in rows]
            assert len(numbers) == len(set(numbers)), (stream, numbers)
            if stream != LATEST:
                assert numbers == sorted(numbers)

    def end(self) -> None:
        """Everything works again for 10 s: then every message sent is in Kafka or in a gap."""
        self.is_slow = False
        self.want(set(STREAMS))
        for socket_id, socket in list(self.sockets.items()):
            self.deliver(socket_id)
            if socket.is_cut:
                self.lose(socket_id)
        self.open()
        socket_id = self.next_socket - 1
        self.subscribe(socket_id, set(STREAMS))
        self.deliver(socket_id)
        if not self.run.start.is_over:
            self.find_out()
        for _ in range(10):
            self.ping(socket_id)
            self.deliver(socket_id)
            self.tick(1.0)
        self.check_run()
        for stream in STREAMS:
            lost = self.missing(stream, self.first_stated(stream), self.now)
            assert not lost, (lost, [gap for gap in self.kafka.of("ops.gap") if gap["stream"] == stream])


def _holds(gap: Mapping[str, Any], message: Message) -> bool:
    """Whether a message lies within a gap: by ids if it names any, otherwise by time."""
    number, sent_us = message.number, us(message.sent)
    if message.stream != LATEST and (gap["last_id"] is not None or gap["next_id"] is not None):
        if gap["last_id"] is not None and number <= gap["last_id"]:
            return False
        return number < gap["next_id"] if gap["next_id"] is not None else sent_us <= gap["next_time"]
    return (gap["last_time"] is None or gap["last_time"] <= sent_us) and sent_us <= gap["next_time"]
