"""One stream on its way into Kafka: the common part of all kinds of stream. Sans I/O."""

from collections.abc import Iterable
from typing import Any, NamedTuple, Protocol

from backpack_streams.errors import BackpackStreamsError
from backpack_streams.exchange.streams import StreamKind
from backpack_streams.exchange.wire_errors import UnreadableMessageError
from backpack_streams.feed.moments import Break, Moment
from backpack_streams.feed.stream_spec import Message, RowEncoder, StreamSpec
from backpack_streams.publishing import reports


class Out(Protocol):
    """Takes the records of one partition; returns False if there is no room."""

    def append(self, key: bytes | None, value: bytes | None, timestamp_ms: int) -> bool:
        """Take a record; `timestamp_ms` is milliseconds since the Unix epoch."""


class Received(NamedTuple):
    """A message that is held. `through`: until when its stream had been received completely when it came; None if it was not covered."""

    message: Message
    socket: int
    received_us: int
    through: float | None


class Surroundings(Protocol):
    """What a stream needs from its producer."""

    now: float
    """Seconds of the monotonic clock at the last tick. Waiting times are measured by it."""

    def other_socket(self, socket: int) -> bool:
        """Return whether another socket delivers as well."""

    def open_cause(self, feed: "StreamFeed") -> str | None:
        """Return the reason of the stream's open gap; None while a socket covers the stream."""

    def through(self, feed: "StreamFeed") -> float | None:
        """Return until when everything sent on the stream has been received (monotonic seconds); None while no socket covers it."""

    def since(self, feed: "StreamFeed") -> float | None:
        """Return the moment since which the stream is covered (monotonic seconds); None while no socket covers it."""

    def has_room(self) -> bool:
        """Return whether the buffer for Kafka is well below its limit again."""

    def settled(self, feed: "StreamFeed") -> None:
        """Record that the loss of the last break of coverage is on record, or that there was none."""

    def gap(self, feed: "StreamFeed", reason: str, detail: str, **bounds: int | None) -> None:
        """Put missing records on record."""

    def lost(self, feed: "StreamFeed", payload: bytes, error: BackpackStreamsError) -> None:
        """Put a message that could not be published on record, whole."""

    def delivers(self, feed: "StreamFeed") -> None:
        """Report that the stream delivers, for the first time or again."""

    def partition_queue(self, topic: str, key: bytes) -> Out:
        """Return the partition queue for records of `key`."""


class StreamFeed:
    """The common part of all streams; subclasses implement `on_data` and `uncovered`.

    Attributes:
        last_socket: the socket that brought the last message.
        last_published_id: the last id in Kafka; if the ids restarted and none of the new ones is there, the one before the first of them.
        is_settled: False while the next message has something to decide: what a break of coverage cost, or that the stream delivers again.
    """

    __slots__ = (
        "_encode",
        "_first_dropped",
        "_last_dropped",
        "_out",
        "_read",
        "_surroundings",
        "dropped_last_id",
        "dropped_records",
        "duplicates",
        "frames",
        "is_delivering",
        "is_settled",
        "key",
        "kind",
        "last_published_id",
        "last_received_us",
        "last_socket",
        "name",
        "published",
        "spec",
        "symbol",
        "topic",
        "was_amiss",
    )

    def __init__(
        self,
        name: str,
        kind: StreamKind,
        symbol: str | None,
        spec: StreamSpec,
        topic: str,
        encode: RowEncoder,
        around: Surroundings,
    ) -> None:
        """Prepare; the stream has no position before its first message or `resume`.

        Args:
            name: name of the stream, as subscribed to.
            kind: its channel and parameter.
            symbol: its market; None for a stream of all markets.
            spec: its stream spec.
            topic: its topic, without prefix.
            encode: makes the Kafka value from a parsed message and its receive time.
            around: what the stream needs from its producer.
        """
        self.name = name
        self.kind = kind
        self.symbol = symbol or ""
        self.spec = spec
        self.topic = topic
        self.key = self.symbol.encode()
        self._read = spec.read
        self._encode = encode
        self._surroundings = around
        self._out = around.partition_queue(topic, self.key)
        self.frames = 0
        self.published = 0
        self.duplicates = 0
        self.dropped_records = 0
        self._first_dropped = self._last_dropped = Moment(0.0, 0)
        self.dropped_last_id: int | None = None
        self.last_published_id: int | None = None
        self.last_received_us = 0
        self.last_socket: int | None = None
        self.is_settled = False
        self.is_delivering = False
        self.was_amiss = False

    def on_data(self, data: Any, socket: int, received_us: int) -> None:
        """Take a message received on socket `socket` at `received_us` (microseconds since the Unix epoch).

        Raises:
            BackpackStreamsError: the message cannot be read, or does not fit its record.
        """
        raise NotImplementedError

    def uncovered(self, gap: Break) -> None:
        """Take a time without coverage that is over.

        Args:
            gap: the break. Its `since_us` is None if the beginning is unknown.
        """
        raise NotImplementedError

    def amiss(self) -> None:
        """Note that the stream was dropped, was refused or fell silent: its next message is reported."""
        self.is_delivering = self.is_settled = False
        self.was_amiss = True

    def left(self) -> None:
        """Note that the stream is no longer wanted: keep what it needs to be wanted again, and what is still to be settled."""
        self.amiss()

    @property
    def is_idle(self) -> bool:
        """Whether nothing is held, and nothing is to be reported."""
        return not self.dropped_records and not any(True for _ in self._held())

    def has_told(self, gap: Break) -> bool:
        """Return whether a message that the socket brought before its confirmation has already shown the loss of the break.

        A message that is held has shown nothing yet.
        """
        # That message may belong to an earlier subscription on the socket, which ended when the stream was dropped.
        was_amiss, self.was_amiss = self.was_amiss, False
        if any(held.socket == gap.socket_id for held in self._held()):
            return False
        return gap.is_new_socket and self.last_socket == gap.socket_id and not was_amiss

    def held_since(self) -> float | None:
        """Return until when the stream had been received completely when the first held message came (monotonic seconds).

        All held messages that the stream's coverage speaks of were sent after that moment. If the stream was not covered when one came,
        that is the beginning of its coverage. None if no message is held, or the stream is not covered.
        """
        moments = (self._surroundings.since(self) if held.through is None else held.through for held in self._held())
        return min((each for each in moments if each is not None), default=None)

    def on_tick(self, now: float) -> None:
        """Note that time has passed: settle what has waited too long.

        One gap covers all records that were dropped while the buffer was full. With a gap for each, an hour without
        Kafka would make more reports than may wait.

        Args:
            now: present time (monotonic seconds).
        """
        if self.dropped_records and self._surroundings.has_room():
            self._report_dropped(None)

    def resume(self, last_id: int, time_us: int) -> None:
        """Take the last published record, as read from the topics. An earlier run or a parallel producer published it.

        Args:
            last_id: its last id; for candles, see `CandleFeed.resume`.
            time_us: its time (µs since the Unix epoch), 0 if unknown.
        """

    def _held(self) -> Iterable[Received]:
        """Return the messages that wait for others."""
        return ()

    def _check_symbol(self, message: Message) -> None:
        if message.symbol != self.symbol:
            raise UnreadableMessageError(f"{self.name}: the message is about {message.symbol[:100]!r}")

    def _note_delivery(self) -> None:
        if not self.is_delivering:
            self.is_delivering = True
            self._surroundings.delivers(self)

    def _publish(self, message: Message, received_us: int) -> bool:
        """Publish the record; return False if the buffer has no room."""
        value = self._encode(message.row, received_us)
        if self._out.append(self.key, value, (message.time_us or received_us) // 1000):
            self.published += 1
            if self.dropped_records:
                self._report_dropped(message.first_id)
            self.last_published_id = message.last_id
            return True
        self._drop(message, received_us)
        return False

    def _drop(self, message: Message, received_us: int) -> None:
        self._last_dropped = Moment(self._surroundings.now, received_us)
        if not self.dropped_records:
            self._first_dropped = self._last_dropped
        self.dropped_last_id = message.last_id
        self.dropped_records += 1

    def _report_dropped(self, next_id: int | None) -> None:
        lost, self.dropped_records = self.dropped_records, 0
        sequenced = self.spec.sequenced
        until = self._last_dropped if next_id is None else Moment(self._surroundings.now, self.last_received_us)
        since_us, until_us = self._first_dropped.bounds(until)
        self._surroundings.gap(
            self,
            reports.BUFFER_FULL,
            f"Kafka was too slow or gone for too long: the buffer was full and {lost} records had no room",
            last_id=self.last_published_id if sequenced else None,
            next_id=(next_id if next_id is not None else self._after_dropped()) if sequenced else None,
            last_time_us=None if sequenced else since_us,
            next_time_us=until.us if sequenced else until_us,
            lost_records=lost,
        )

    def _after_dropped(self) -> int | None:
        return None if self.dropped_last_id is None else self.dropped_last_id + 1
