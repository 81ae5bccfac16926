"""A stream with consecutive ids: in order, each message once, every gap on record. Sans I/O."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

from backpack_streams.errors import BackpackStreamsError
from backpack_streams.exchange.wire_errors import UnreadableMessageError
from backpack_streams.feed.moments import Break
from backpack_streams.feed.sequence import SocketChain, Verdict
from backpack_streams.feed.stream_feed import Received, StreamFeed
from backpack_streams.feed.stream_spec import Message
from backpack_streams.publishing import reports
from backpack_streams.sequencing.reordering import Held

MOST_IDS = 1 << 63
"""The limit of Avro's `long`, and of the exchange's ids."""
RESUMED_SECONDS = 3.0
"""How long after a break of coverage the next message may show by its ids what was lost. After that the break itself goes on record."""


class SequencedFeed(StreamFeed):
    """A stream with consecutive ids: depth, trades."""

    __slots__ = ("_break", "_break_due", "_chain")

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._chain: SocketChain[Received] = SocketChain()
        self._break: Break | None = None
        self._break_due = 0.0

    def resume(self, last_id: int, time_us: int) -> None:
        """Continue from the last record in Kafka; if the first message does not follow it, report a gap.

        Args:
            last_id: its last id.
            time_us: its engine time (µs since the Unix epoch), 0 if unknown.
        """
        self._chain.took(last_id, time_us)
        self.last_published_id = last_id

    def uncovered(self, gap: Break) -> None:
        """Keep the break until the ids of the next message show the loss. If the new socket has already brought a message, they have.

        Args:
            gap: the break. It is merged with an earlier one that is not settled yet.
        """
        if self.has_told(gap):
            self._break = None
            self._surroundings.settled(self)
            return
        if self._break is not None:  # an earlier break is not settled yet: merge them
            gap = replace(gap, reason=self._break.reason, detail=self._break.detail, since_us=self._break.since_us)
        self._break, self._break_due = gap, self._surroundings.now + RESUMED_SECONDS
        self.is_settled = False

    def on_data(self, data: Any, socket: int, received_us: int) -> None:
        """Publish the expected message at once. Judge any other, and one that is older than the last.

        Args:
            data: the `data` of the frame, as raw JSON.
            socket: the socket that brought it.
            received_us: when it was received (µs since the Unix epoch).

        Raises:
            BackpackStreamsError: the message cannot be read, is about another symbol, has impossible ids, or does not
                fit its record.
        """
        self.frames += 1
        self.last_received_us = received_us
        message = self._read(data, self.kind)
        if message.symbol != self.symbol:
            self._check_symbol(message)
        chain = self._chain
        first_id, last_id, time_us = message.first_id, message.last_id, message.time_us
        if first_id == chain.next_id and self.is_settled and first_id <= last_id and time_us >= chain.time_us:
            self.last_socket = socket
            self._publish(message, received_us)
            chain.next_id = last_id + 1
            chain.time_us = time_us
            if not chain.held:
                return
        else:
            if not 0 <= first_id <= last_id < MOST_IDS:
                raise UnreadableMessageError(f"{self.name}: ids {first_id} to {last_id} make no sense")
            if chain.held:
                self._release()
            self._out_of_turn(message, socket, received_us, self._surroundings.other_socket(socket))
            self.last_socket = socket
        if chain.held:
            self._release()

    @property
    def is_idle(self) -> bool:
        """Whether nothing is held, and nothing is to be reported."""
        return super().is_idle and self._break is None

    def on_tick(self, now: float) -> None:
        """Release messages that have waited long enough, after a gap; report a break that no message has explained in time."""
        super().on_tick(now)
        if self._chain.held:
            self._release()
        gap = self._break
        if gap is not None and now >= self._break_due:
            self._break = None
            self._surroundings.settled(self)
            self._surroundings.gap(
                self,
                gap.reason,
                f"{gap.detail}, and the stream has not said since what was missed",
                last_id=self._last_id(),
                last_time_us=gap.since_us,
                next_time_us=gap.until_us,
            )

    def unreadable(self) -> None:
        """Report a message of this stream as lost: it could not be read."""
        self._surroundings.gap(
            self,
            reports.UNREADABLE_FRAME,
            "a frame could not be read; it is among the dead letters",
            last_id=self._last_id(),
            lost_records=1,
        )

    def _held(self) -> Iterable[Received]:
        return (held.item for held in self._chain.held)

    def _last_id(self) -> int | None:
        return None if self._chain.next_id is None else self._chain.next_id - 1

    def _release(self) -> None:
        around = self._surroundings
        others = self.last_socket is not None and around.other_socket(self.last_socket)
        self._let_go(self._chain.released(around.now, others))

    def _let_go(self, messages: Iterator[Held[Received]]) -> None:
        for held in messages:
            message, socket, received_us, _ = held.item
            try:
                self._out_of_turn(message, socket, received_us, others=False)
            except BackpackStreamsError as error:
                self._surroundings.lost(self, repr(message.row).encode(), error)

    def _out_of_turn(self, message: Message, socket: int, received_us: int, others: bool) -> None:
        chain = self._chain
        verdict = chain.judge(message.first_id, message.last_id, message.time_us, others, received_us)
        if verdict is Verdict.RESTARTED and chain.held:  # the held messages belong to the sequence that ends
            self._let_go(chain.released(self._surroundings.now, others=False))
            verdict = chain.judge(message.first_id, message.last_id, message.time_us, others, received_us)
        if verdict is Verdict.DUPLICATE:
            self.duplicates += 1
            self._has_told(socket)  # the new socket repeats what is already published: nothing is missing in between
            return
        # The held messages precede this one, and the socket that could have filled the gap is gone: release all of them in order.
        is_behind_held = verdict is Verdict.GAP and any(each.first_id < message.first_id for each in chain.held)
        if verdict is Verdict.HOLD or is_behind_held:
            around = self._surroundings
            item = Received(message, socket, received_us, around.through(self))
            chain.hold(Held(message.first_id, message.last_id, around.now, item))
            if is_behind_held:
                self._let_go(chain.released(around.now, others=False))
            return
        self._tell_what_is_missing(verdict, message, socket, received_us)
        self._has_told(socket)
        self._note_delivery()
        self.is_settled = self._break is None
        self._publish(message, received_us)
        chain.took(message.last_id, message.time_us)

    def _has_told(self, socket: int) -> None:
        """Settle the break by a message of the socket that covers the stream again: its ids show the loss. An older socket's do not."""
        if self._break is not None and socket == self._break.socket_id:
            self._break = None
            self._surroundings.settled(self)

    def _tell_what_is_missing(self, verdict: Verdict, message: Message, socket: int, received_us: int) -> None:
        """Report what is missing before a message that does not simply follow."""
        chain, gap = self._chain, self._break
        if verdict is Verdict.RESTARTED:
            if self.dropped_records:  # their ids are of the sequence that ended: a report made later would mix both
                self._report_dropped(None)
            self.last_published_id = message.first_id - 1 if message.first_id else None
            chain.begin_anew(message.time_us)
            self._gap(reports.SEQUENCE_RESTARTED, "the exchange restarted its sequence", message, received_us)
        elif verdict is Verdict.OVERLAP:
            if self.spec.wants_snapshot(self.kind):
                self._gap(reports.SEQUENCE_BREAK, "two updates overlap", message, received_us)
        elif verdict is Verdict.GAP or chain.next_id is None:
            cause = self._surroundings.open_cause(self)
            if gap is not None:
                self._gap(gap.reason, gap.detail, message, received_us, gap.since_us)
            elif cause is not None:
                self._gap(cause, "a message came before its subscription was confirmed", message, received_us)
            elif chain.next_id is not None:
                self._gap(reports.SEQUENCE_BREAK, "ids are missing in the exchange's sequence", message, received_us)
            elif self._surroundings.other_socket(socket):
                detail = "it is the first message, and those before it may be on their way on another socket"
                self._gap(reports.STREAM_START, detail, message, received_us)

    def _gap(self, reason: str, detail: str, message: Message, received_us: int, since_us: int | None = None) -> None:
        expected = self._chain.next_id
        overlaps = expected is not None and message.first_id < expected <= message.last_id
        self._surroundings.gap(
            self,
            reason,
            detail,
            last_id=self._last_id(),
            next_id=expected if overlaps else message.first_id,
            last_time_us=since_us,
            next_time_us=received_us,
        )
