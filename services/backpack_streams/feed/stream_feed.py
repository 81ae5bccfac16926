"""One stream on its way into Kafka: in order, each message once, every hole on record. Sans I/O."""

from collections.abc import Callable
from typing import Any, Protocol

from backpack_streams.errors import BackpackStreamsError
from backpack_streams.exchange.streams import StreamKind
from backpack_streams.exchange.wire import UnreadableMessageError
from backpack_streams.feed import reports
from backpack_streams.feed.family import Family, Reading, RowEncoder
from backpack_streams.feed.sequence import CandleChain, Candles, Chain, Held, Latest, Verdict

MOST_IDS = 1 << 63
"""Avro's long ends here; so do the exchange's ids."""


OUTAGE_MICROS = 5_000_000
"""How long there is no socket before books are told that they are cut off."""
RESUMED_MICROS = 3_000_000
"""How long after an outage a stream may be silent before what it missed is in doubt."""


class Out(Protocol):
    """Where records of one partition go; False says that there is no room."""

    def append(self, key: bytes | None, value: bytes | None, timestamp_ms: int) -> bool:
        """Takes a record; `timestamp_ms` is milliseconds since the Unix epoch."""


class Surroundings(Protocol):
    """What a stream asks of the producer it belongs to."""

    links: int
    """How many sockets deliver at the moment."""
    outages: int
    """How many times all sockets were down."""
    lost_us: int
    """When the last socket went the last time (microseconds since the Unix epoch), 0 if none has."""
    regained_us: int
    """When there was a socket again."""

    def has_room(self) -> bool:
        """Whether the buffer for Kafka is well below its limit again."""

    def carries(self, symbol: str) -> bool:
        """Whether this producer publishes that symbol; asked where one stream brings every market."""

    def gap(self, feed: "StreamFeed", reason: str, detail: str, **bounds: int | None) -> None:
        """Puts on record what is missing."""

    def lost(self, feed: "StreamFeed", payload: bytes, error: BackpackStreamsError) -> None:
        """Puts on record, whole, what could not be published."""

    def delivered_first(self, feed: "StreamFeed") -> None:
        """The stream delivered for the first time."""

    def lane(self, topic: str, key: bytes) -> Out:
        """Where records of `key` go."""


class StreamFeed:
    """What all streams have in common; `on_data` is what differs."""

    __slots__ = (
        "_encode",
        "_out",
        "_outages",
        "_read",
        "_surroundings",
        "dropped_first_id",
        "dropped_last_id",
        "dropped_records",
        "dropped_since_us",
        "duplicates",
        "family",
        "frames",
        "key",
        "kind",
        "last_published_id",
        "last_received_us",
        "name",
        "published",
        "resumed_us",
        "symbol",
        "topic",
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
        self._outages = around.outages
        self.frames = 0
        self.published = 0
        self.duplicates = 0
        self.dropped_records = 0
        self.dropped_since_us = 0
        self.dropped_first_id: int | None = None
        self.dropped_last_id: int | None = None
        self.last_published_id: int | None = None
        self.last_received_us = 0
        self.resumed_us = 0

    def on_data(self, data: Any, link: int, received_us: int) -> None:
        """A message came. Raises `BackpackStreamsError` for one that cannot be read or does not fit."""
        raise NotImplementedError

    def on_tick(self, now_us: int) -> None:
        """Time passed: what waited too long is settled.

        One gap tells of all that was dropped while the buffer was full: told piece by piece, an hour without Kafka would make more
        reports than can wait.
        """
        if self.dropped_records and self._surroundings.has_room():
            self._report_dropped(None)

    def resume(self, last_id: int, time_us: int, received_us: int) -> None:
        """What was published last, as the topics tell: by an earlier run, or by another producer beside this one."""
        raise NotImplementedError

    def _publish(self, reading: Reading, received_us: int) -> bool:
        """False when the buffer had no room for it."""
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


class ChainedFeed(StreamFeed):
    """A stream whose ids follow on each other: depth, trades."""

    __slots__ = ("_chain", "_is_first", "_outage_is_open", "_settled_outage_us", "_start_id")

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._chain: Chain[Reading] = Chain()
        self._is_first = True
        self._start_id = 0
        self._outage_is_open = False
        self._settled_outage_us = 0

    def resume(self, last_id: int, time_us: int, received_us: int) -> None:
        """The chain goes on from `last_id`; a hole before the first message is told as one."""
        self._chain.took(last_id, time_us)
        self.last_published_id = last_id

    def on_data(self, data: Any, link: int, received_us: int) -> None:
        """The next message goes out at once; any other is judged."""
        self.frames += 1
        self.last_received_us = received_us
        reading = self._read(data, self.kind)
        chain = self._chain
        last_id, time_us = reading.last_id, reading.time_us
        if reading.first_id == chain.next_id and not self._is_first and reading.first_id <= last_id:
            self._publish(reading, received_us)
            chain.next_id = last_id + 1
            if time_us > chain.time_us:  # noqa: PLR1730  # max() would cost a call for each frame
                chain.time_us = time_us
            if not chain.held:
                return
        else:
            if not 0 <= reading.first_id <= last_id < MOST_IDS:
                raise UnreadableMessageError(f"{self.name}: ids {reading.first_id} to {last_id} make no sense")
            if chain.held:
                self._release(received_us)
            self._out_of_turn(reading, received_us, self._surroundings.links)
        if chain.held:
            self._release(received_us)

    def on_tick(self, now_us: int) -> None:
        """Messages that waited long enough for the ones before them go out, after a gap."""
        super().on_tick(now_us)
        if self._chain.held:
            self._release(now_us)
        if self._settled_outage_us != self._surroundings.lost_us and self.family.wants_seed(self.kind):
            self._watch_outage(now_us)

    def _watch_outage(self, now_us: int) -> None:
        """A hole shows at the next message. Where none comes, because no socket is up or the market is quiet, what was lost would
        never show, and books would pass for live: so an outage is told when it lasts, and when it is over.
        """
        around = self._surroundings
        if around.links:
            if now_us - around.regained_us < RESUMED_MICROS:
                return
            if not self._is_first and (self._outage_is_open or self.last_received_us <= around.lost_us):
                self._tell_outage("no socket was up, and the stream has not said since what was missed", now_us)
            self._outage_is_open = False
            self._settled_outage_us = around.lost_us
        elif not self._outage_is_open and not self._is_first and now_us - around.lost_us >= OUTAGE_MICROS:
            self._outage_is_open = True
            self._tell_outage("no socket is up", None)

    def _tell_outage(self, detail: str, over_us: int | None) -> None:
        next_id = self._chain.next_id
        self._surroundings.gap(
            self,
            reports.DISCONNECTED,
            detail,
            last_id=None if next_id is None else next_id - 1,
            last_time_us=self.last_received_us or None,
            next_time_us=over_us,
        )

    def unreadable(self) -> None:
        """A message of this stream was lost since it could not be read: what it held is missing."""
        last_id = None if self._chain.next_id is None else self._chain.next_id - 1
        self._surroundings.gap(
            self,
            reports.UNREADABLE_FRAME,
            "a frame could not be read; it is among the dead letters",
            last_id=last_id,
            lost_records=1,
        )

    def _release(self, now_us: int) -> None:
        for held in self._chain.released(now_us, self._surroundings.links):
            try:
                self._out_of_turn(held.item, held.since_us, links=1)
            except BackpackStreamsError as error:
                self._surroundings.lost(self, repr(held.item.row).encode(), error)

    def _out_of_turn(self, reading: Reading, received_us: int, links: int) -> None:
        chain = self._chain
        verdict = chain.offer(reading.first_id, reading.last_id, reading.time_us, links)
        if verdict is Verdict.DUPLICATE:
            self.duplicates += 1
            if reading.last_id < self._start_id:
                self._came_before_the_start(reading, received_us)
            return
        if verdict is Verdict.HOLD:
            chain.hold(Held(reading.first_id, reading.last_id, reading.time_us, received_us, reading))
            return
        if verdict is Verdict.HOLE and self._is_first:
            self._break(reports.RESTART, "the producer was away", reading, received_us)
        elif verdict is Verdict.HOLE:
            self._break(reports.SEQUENCE_BREAK, "the exchange's sequence has a hole", reading, received_us)
        elif verdict is Verdict.OVERLAP and self.family.wants_seed(self.kind):
            self._break(reports.SEQUENCE_BREAK, "two updates overlap", reading, received_us)
        elif verdict is Verdict.RESTARTED:
            chain.begin_anew(reading.time_us)
            self._break(reports.SEQUENCE_RESTARTED, "the exchange began its sequence anew", reading, received_us)
        elif chain.next_id is None and self.family.wants_seed(self.kind):
            self._break(reports.STREAM_START, "nothing is known of the stream before this", reading, received_us)
        elif chain.next_id is None:
            self._start_id = reading.first_id
        if self._is_first:
            self._is_first = False
            self._surroundings.delivered_first(self)
        self._publish(reading, received_us)
        chain.took(reading.last_id, reading.time_us)

    def _came_before_the_start(self, reading: Reading, received_us: int) -> None:
        """Another socket began earlier than the one whose message was taken first: publishing it now would turn the order round."""
        self._surroundings.gap(
            self,
            reports.SEQUENCE_BREAK,
            "another socket brought it after a later message had been published",
            last_id=reading.first_id - 1,
            next_id=self._start_id,
            next_time_us=received_us,
            lost_records=1,
        )

    def _break(self, reason: str, detail: str, reading: Reading, received_us: int) -> None:
        self._outage_is_open = False  # this gap asks for the seed
        expected = self._chain.next_id
        overlaps = expected is not None and reading.first_id < expected <= reading.last_id
        self._surroundings.gap(
            self,
            reason,
            detail,
            last_id=None if expected is None else expected - 1,
            next_id=expected if overlaps else reading.first_id,
            last_time_us=None,
            next_time_us=received_us,
        )


class LatestFeed(StreamFeed):
    """A stream whose messages are only ordered: tickers, mark prices, liquidations."""

    __slots__ = ("_latest", "_many_symbols")

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._latest = Latest()
        self._many_symbols = not self.symbol

    def resume(self, last_id: int, time_us: int, received_us: int) -> None:
        """Only the time counts: what was missed since has no ids."""
        self.resumed_us = received_us

    def on_tick(self, now_us: int) -> None:
        """A socket that is up again is reason enough to ask for the last value: the stream's next message may be a minute away."""
        super().on_tick(now_us)
        around = self._surroundings
        if self.family.conflated and self.last_received_us and around.links and self._outages != around.outages:
            self._outages = around.outages
            self._note_outage(reports.DISCONNECTED, "no socket was up", self.last_received_us, now_us)

    def on_data(self, data: Any, link: int, received_us: int) -> None:
        """Whatever another socket has not brought goes out."""
        self.frames += 1
        around = self._surroundings
        reading = self._read(data, self.kind)
        verdict = self._latest.offer(
            reading.last_id, reading.time_us, link, bytes(data), around.links, self.family.records_outages
        )
        if verdict is Verdict.DUPLICATE and not self._is_missing(reading):
            self.duplicates += 1
            self.last_received_us = received_us
            return
        if not self.last_received_us:
            around.delivered_first(self)
            self._note_outage(reports.RESTART, "the producer was away", self.resumed_us, received_us)
        elif self._outages != around.outages:
            self._note_outage(reports.DISCONNECTED, "no socket was up", self.last_received_us, received_us)
        self._outages = around.outages
        self.last_received_us = received_us
        if self._many_symbols:
            if not around.carries(reading.symbol):
                return
            self.key = reading.symbol.encode()
            self._out = around.lane(self.topic, self.key)
        if self._publish(reading, received_us):
            self._took(reading, received_us)

    def _is_missing(self, reading: Reading) -> bool:
        """Whether a message that came late on another socket is wanted all the same."""
        return False

    def _took(self, reading: Reading, received_us: int) -> None:
        """The message went out."""

    def _note_outage(self, reason: str, detail: str, last_us: int, received_us: int) -> None:
        family = self.family
        if last_us and not family.covered_by_subscription and (family.records_outages or family.conflated):
            self._surroundings.gap(self, reason, detail, last_time_us=last_us, next_time_us=received_us)


_NOT_CLOSED = (reports.SEQUENCE_BREAK, "the closed state of candles did not come")


class CandleFeed(LatestFeed):
    """A stream of candles: ordered like others, and each closed candle begins where the one before it ended.

    The bounds of its gaps are times of candles, not of receipt: where the first missing candle starts, and where the first one that
    is there again does.
    """

    __slots__ = ("_candles", "_dropped_until", "_reason")

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._candles = CandleChain()
        self._dropped_until = 0
        self._reason = _NOT_CLOSED

    def resume(self, last_id: int, time_us: int, received_us: int) -> None:
        """The candles go on where the last closed one ended (`last_id`, microseconds)."""
        self._candles.until, self.resumed_us = last_id, received_us

    def on_tick(self, now_us: int) -> None:
        """Closings that did not come in time are a gap."""
        super().on_tick(now_us)
        self._tell(self._candles.overdue(now_us))

    def _is_missing(self, reading: Reading) -> bool:
        return bool(reading.row["is_closed"]) and self._candles.misses(reading.row["start_time"])

    def _note_outage(self, reason: str, detail: str, last_us: int, received_us: int) -> None:
        """An outage is a loss only if a candle closed meanwhile."""
        if last_us:
            self._reason = reason, detail

    def _took(self, reading: Reading, received_us: int) -> None:
        row = reading.row
        self._tell(self._candles.took(row["start_time"], row["end_time"], row["is_closed"], received_us))
        if row["is_closed"]:
            self._reason = _NOT_CLOSED

    def _tell(self, lost: Candles | None) -> None:
        if lost is not None:
            self._surroundings.gap(self, *self._reason, last_time_us=lost[0], next_time_us=lost[1])

    def _drop(self, reading: Reading) -> None:
        super()._drop(reading)
        row = reading.row
        if self._candles.until is None:
            self._candles.until = row["start_time"]
        if row["is_closed"]:
            self._dropped_until = max(self._dropped_until, row["end_time"])

    def _report_dropped(self, next_id: int | None) -> None:
        """Open states that had no room are replaced by the next one; of closed ones the bounds are told."""
        lost_records, self.dropped_records = self.dropped_records, 0
        lost = self._candles.skip_to(self._dropped_until)
        self._surroundings.gap(
            self,
            reports.BUFFER_FULL,
            f"Kafka was too slow or gone for too long: the buffer was full and {lost_records} records had no room",
            last_time_us=lost and lost[0],
            next_time_us=lost and lost[1],
            lost_records=lost_records,
        )


def feed_for(family: Family) -> Callable[..., StreamFeed]:
    """The class of feed that a family's streams need."""
    if family.candles:
        return CandleFeed
    return ChainedFeed if family.chained else LatestFeed
