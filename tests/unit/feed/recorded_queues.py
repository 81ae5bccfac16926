"""Collects records in lists instead of Kafka; the test sets how much room there is."""

import json
from collections.abc import Iterable
from typing import Any, NamedTuple

from backpack_streams.bus.codec import Codec, Encoder
from backpack_streams.bus.topics import topic
from backpack_streams.exchange.session_actions import SocketProven, StreamsActive, StreamsInactive
from backpack_streams.feed.coverage import Coverage
from backpack_streams.feed.moments import Moment
from backpack_streams.feed.router import FrameRouter
from backpack_streams.feed.stream_feed import StreamFeed
from backpack_streams.market_producer.service import STREAM_SPECS as MARKET_STREAM_SPECS
from backpack_streams.perp_producer.service import STREAM_SPECS as PERP_STREAM_SPECS
from backpack_streams.publishing.reporter import Reporter

STREAM_SPECS = (*MARKET_STREAM_SPECS, *PERP_STREAM_SPECS)
SERVICE = "the-service"
CODEC = Codec()
_ENCODERS: dict[str, Encoder] = {}


def encoder(topic_name: str) -> Encoder:
    """Encoders are created once: most tests create many routers."""
    if topic_name not in _ENCODERS:
        _ENCODERS[topic_name] = CODEC.encoder(topic(topic_name).record, topic_name)
    return _ENCODERS[topic_name]


class Arrived(NamedTuple):
    topic: str
    key: bytes
    timestamp_ms: int
    record: dict[str, Any]


class Queues:
    """The partition queues of every topic; tests can remove the `room` for data and the `room_for_reports`."""

    def __init__(self) -> None:
        self.room = True
        self.room_for_reports = True
        self.arrived: list[Arrived] = []

    def partition_queue(self, topic_name: str, key: bytes) -> "RecordedQueue":
        return RecordedQueue(self, topic_name)

    def of(self, topic_name: str) -> list[dict[str, Any]]:
        return [each.record for each in self.arrived if each.topic == topic_name]

    @property
    def gaps(self) -> list[dict[str, Any]]:
        return self.of("ops.gap")

    @property
    def dead_letters(self) -> list[dict[str, Any]]:
        return self.of("ops.dead_letter")

    @property
    def statuses(self) -> list[dict[str, Any]]:
        return self.of("ops.stream_status")


class RecordedQueue:
    def __init__(self, partition_queues: Queues, topic_name: str) -> None:
        self._partition_queues = partition_queues
        self._topic = topic_name

    def append(self, key: bytes | None, value: bytes | None, timestamp_ms: int, spare: bool = False) -> bool:
        if not (self._partition_queues.room_for_reports if spare else self._partition_queues.room):
            return False
        assert key is not None
        assert value is not None
        self._partition_queues.arrived.append(Arrived(self._topic, key, timestamp_ms, CODEC.read(value)[1]))
        return True


class Plant:
    """A router with its surroundings: frames in, records out. Socket 0 (and socket 1 if `sockets` is 2) covers its streams from the
    beginning, unless `sockets` is 0. Another instance has covered the streams without ids until then; about those with ids nothing is
    known. The wall clock follows the monotonic one."""

    def __init__(self, streams: Iterable[str], sockets: int = 1, **more: Any) -> None:
        self.partition_queues = Queues()
        self.reporter = Reporter(SERVICE, self.partition_queues.partition_queue, encoder)
        self.error_frames: list[tuple[int, int, str]] = []
        self.coverage = Coverage()
        self.router = FrameRouter(
            STREAM_SPECS,
            self.coverage,
            self.partition_queues.partition_queue,
            encoder,
            self.reporter,
            lambda *error: self.error_frames.append(error),
            **more,
        )
        self.want(streams)
        self.now = 0.0
        self.coverage.resume({name: None for name, feed in self.router.feeds.items() if not feed.spec.sequenced})
        for socket in range(sockets):
            self.cover(socket)

    @property
    def moment(self) -> Moment:
        return Moment(self.now, round(self.now * 1_000_000))

    def want(self, streams: Iterable[str]) -> None:
        names = list(streams)
        self.router.want(names)
        self.coverage.want(names)

    def cover(self, socket: int, *streams: str, at: float | None = None) -> None:
        """The subscriptions (all if none are named) are confirmed on the socket, at the moment `at` if given."""
        self._to(at)
        self._take(StreamsActive(streams or tuple(self.router.feeds), socket, self.now))
        self.prove(socket)

    def prove(self, socket: int, at: float | None = None) -> None:
        """The socket has delivered everything until now."""
        self._to(at)
        self._take(SocketProven(socket, self.now))

    def uncover(self, socket: int, *streams: str, through: float | None = None, cause: str = "DISCONNECTED") -> None:
        """The socket no longer delivers these streams (all if none are named); it had delivered everything until `through`."""
        self._take(
            StreamsInactive(
                streams or tuple(self.router.feeds), socket, self.now if through is None else through, cause
            )
        )

    def tick(self, at: float | None = None) -> None:
        """Time passes until `at`."""
        self._to(at)
        self.router.on_tick(*self.moment)

    def _to(self, at: float | None) -> None:
        if at is not None:
            self.now = at

    def _take(self, event: StreamsActive | StreamsInactive | SocketProven) -> None:
        self.router.now, self.router.now_us = self.moment
        for gap in self.coverage.take(event, self.moment):
            self.router.on_break(gap)

    def send(self, frame: Any, socket: int = 0, at_us: int = 1) -> None:
        payload = frame if isinstance(frame, bytes) else json.dumps(frame).encode()
        self.router.on_frame(socket, payload, at_us)

    def feed(self, stream: str) -> StreamFeed:
        return self.router.feeds[stream]


def depth_frame(first_id: int, last_id: int, time_us: int, stream: str = "depth.X", **changes: Any) -> dict[str, Any]:
    data = {"e": "depth", "E": time_us, "T": time_us, "s": "X", "U": first_id, "u": last_id, "b": [], "a": []}
    return {"stream": stream, "data": data | changes}


def trade_frame(trade_id: int, time_us: int) -> dict[str, Any]:
    data = {"e": "trade", "E": time_us, "T": time_us, "s": "X", "t": trade_id, "p": "1", "q": "1", "m": True}
    return {"stream": "trade.X", "data": data}


def ticker_frame(update_id: int, time_us: int, price: str = "1") -> dict[str, Any]:
    data = {"e": "bookTicker", "E": time_us, "T": time_us, "s": "X", "u": update_id, "a": price, "A": "1"}
    return {"stream": "bookTicker.X", "data": data}


def liquidation_frame(time_us: int, symbol: str = "X", price: str = "1") -> dict[str, Any]:
    data = {"e": "liquidation", "E": time_us, "T": time_us, "s": symbol, "S": "Bid", "p": price, "q": "1"}
    return {"stream": "liquidation", "data": data}
