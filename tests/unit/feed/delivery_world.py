"""An exchange that knows the truth, sockets that lose data in flight, and what must hold of all that is published."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from backpack_streams.exchange.session_actions import Cause, SocketProven, StreamsActive, StreamsInactive
from backpack_streams.feed.moments import Moment
from unit.feed.killable_instances import LATEST, SECOND, STREAMS, TOPICS, Kafka, Message, Run, us
from unit.feed.recorded_queues import CODEC

ID_FIELDS = {"depth.X": "last_update_id", "trade.X": "trade_id", LATEST: "update_id"}


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
