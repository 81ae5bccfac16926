"""One stream on its way into Kafka: the common part of all kinds of stream. Sans I/O."""

from typing import Any, Protocol

from backpack_streams.errors import BackpackStreamsError
from backpack_streams.exchange.streams import StreamKind
from backpack_streams.exchange.wire import UnreadableMessageError
from backpack_streams.feed import reports
from backpack_streams.feed.coverage import Break
from backpack_streams.feed.family import Family, Reading, RowEncoder


class Out(Protocol):
    """Takes the records of one partition; returns False if there is no room."""

    def append(self, key: bytes | None, value: bytes | None, timestamp_ms: int) -> bool:
        """Take a record; `timestamp_ms` is milliseconds since the Unix epoch."""


class Surroundings(Protocol):
    """What a stream needs from its producer."""

    now: float
    """Seconds of the monotonic clock at the last tick. Waiting times are measured by it."""

    def other_link(self, link: int) -> bool:
        """Whether another socket delivers as well."""

    def open_cause(self, feed: "StreamFeed") -> str | None:
        """The reason of the stream's open gap; None while a socket covers the stream."""

    def through(self, feed: "StreamFeed") -> float | None:
        """Until when everything sent on the stream has been received (monotonic seconds); None while no socket covers it."""

    def has_room(self) -> bool:
        """Whether the buffer for Kafka is well below its limit again."""

    def carries(self, symbol: str) -> bool:
        """Whether this producer publishes the symbol; asked if one stream brings every market."""

    def settled(self, feed: "StreamFeed") -> None:
        """The loss of the last break of coverage is on record, or there was none."""

    def gap(self, feed: "StreamFeed", reason: str, detail: str, **bounds: int | None) -> None:
        """Put missing records on record."""

    def lost(self, feed: "StreamFeed", payload: bytes, error: BackpackStreamsError) -> None:
        """Put a message that could not be published on record, whole."""

    def delivers(self, feed: "StreamFeed") -> None:
        """The stream delivers, for the first time or again."""

    def lane(self, topic: str, key: bytes) -> Out:
        """The partition queue for records of `key`."""


class StreamFeed:
    """The common part of all streams; subclasses implement `on_data` and `uncovered`.

    Attributes:
        last_link: the socket that brought the last message.
        is_settled: False while the next message has something to decide: what a break of coverage cost, or that the stream delivers again.
    """

    __slots__ = (
        "_encode",
        "_out",
        "_read",
        "_surroundings",
        "dropped_first_id",
        "dropped_last_id",
        "dropped_records",
        "dropped_since_us",
        "duplicates",
        "family",
        "frames",
        "is_delivering",
        "is_settled",
        "key",
        "kind",
        "last_link",
        "last_published_id",
        "last_received_us",
        "name",
        "published",
        "symbol",
        "topic",
        "was_amiss",
    )

    def __init__(
        self,
        name: str,
        kind: StreamKind,
        symbol: str | None,
        family: Family,
        topic: str,
        encode: RowEncoder,
        around: Surroundings,
    ) -> None:
        self.name = name
        self.kind = kind
        self.symbol = symbol or ""
        self.family = family
        self.topic = topic
        self.key = self.symbol.encode()
        self._read = family.read
        self._encode = encode
        self._surroundings = around
        self._out = around.lane(topic, self.key)
        self.frames = 0
        self.published = 0
        self.duplicates = 0
        self.dropped_records = 0
        self.dropped_since_us = 0
        self.dropped_first_id: int | None = None
        self.dropped_last_id: int | None = None
        self.last_published_id: int | None = None
        self.last_received_us = 0
        self.last_link: int | None = None
        self.is_settled = False
        self.is_delivering = False
        self.was_amiss = False

    def on_data(self, data: Any, link: int, received_us: int) -> None:
        """Take a message received on socket `link` at `received_us` (microseconds since the Unix epoch).

        Raises:
            BackpackStreamsError: the message cannot be read, or does not fit its record.
        """
        raise NotImplementedError

    def uncovered(self, gap: Break) -> None:
        """A time without coverage is over."""
        raise NotImplementedError

    def amiss(self) -> None:
        """The stream was dropped, was refused or fell silent: report its next message."""
        self.is_delivering = self.is_settled = False
        self.was_amiss = True

    def has_told(self, gap: Break) -> bool:
        """Whether a message that the socket brought before its confirmation has already shown the loss of the break."""
        # That message may belong to an earlier subscription on the socket, which ended when the stream was dropped.
        was_amiss, self.was_amiss = self.was_amiss, False
        return gap.is_new_link and self.last_link == gap.link_id and not was_amiss

    def held_since(self) -> float | None:
        """A moment (monotonic seconds) after which every held message was sent; None if no held message counts."""
        return None

    def on_tick(self, now: float) -> None:
        """Time passed (monotonic seconds): settle what has waited too long.

        One gap covers all records that were dropped while the buffer was full. With a gap for each, an hour without Kafka would make more
        reports than may wait.
        """
        if self.dropped_records and self._surroundings.has_room():
            self._report_dropped(None)

    def resume(self, last_id: int, time_us: int) -> None:
        """Take the last published record, as read from the topics. An earlier run or a parallel producer published it."""

    def _check_symbol(self, reading: Reading) -> None:
        if reading.symbol != self.symbol:
            raise UnreadableMessageError(f"{self.name}: the message is about {reading.symbol[:100]!r}")

    def _note_delivery(self) -> None:
        if not self.is_delivering:
            self.is_delivering = True
            self._surroundings.delivers(self)

    def _publish(self, reading: Reading, received_us: int) -> bool:
        """Publish the record; return False if the buffer has no room."""
        value = self._encode(reading.row, received_us)
        if self._out.append(self.key, value, (reading.time_us or received_us) // 1000):
            self.published += 1
            if self.dropped_records:
                self._report_dropped(reading.first_id)
            self.last_published_id = reading.last_id
            return True
        self._drop(reading)
        return False

    def _drop(self, reading: Reading) -> None:
        if not self.dropped_records:
            self.dropped_first_id = reading.first_id
            self.dropped_since_us = self.last_received_us
        self.dropped_last_id = reading.last_id
        self.dropped_records += 1

    def _report_dropped(self, next_id: int | None) -> None:
        lost, self.dropped_records = self.dropped_records, 0
        chained = self.family.chained
        self._surroundings.gap(
            self,
            reports.BUFFER_FULL,
            f"Kafka was too slow or gone for too long: the buffer was full and {lost} records had no room",
            last_id=self.last_published_id if chained else None,
            next_id=(next_id if next_id is not None else self._after_dropped()) if chained else None,
            last_time_us=None if chained else self.dropped_since_us or None,
            next_time_us=self.last_received_us or None,
            lost_records=lost,
        )

    def _after_dropped(self) -> int | None:
        return None if self.dropped_last_id is None else self.dropped_last_id + 1
