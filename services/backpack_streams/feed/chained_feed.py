"""A stream whose ids follow on each other: in order, each message once, every hole on record. Sans I/O."""

from typing import Any

from backpack_streams.errors import BackpackStreamsError
from backpack_streams.exchange.wire import UnreadableMessageError
from backpack_streams.feed import reports
from backpack_streams.feed.family import Reading
from backpack_streams.feed.sequence import Chain, Held, Verdict
from backpack_streams.feed.stream_feed import StreamFeed

MOST_IDS = 1 << 63
"""Avro's long ends here; so do the exchange's ids."""
OUTAGE_MICROS = 5_000_000
"""How long there is no socket before books are told that they are cut off."""
RESUMED_MICROS = 3_000_000
"""How long after an outage a stream may be silent before what it missed is in doubt."""


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

    def first_id_of(self, data: Any) -> int:
        """The id that a message begins with. Raises `BackpackStreamsError` for one that cannot be read."""
        return self._read(data, self.kind).first_id

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
