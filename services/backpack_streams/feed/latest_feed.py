"""A stream that is only ordered: no message goes back in time, and times without coverage go on record. Sans I/O."""

from collections.abc import Iterable
from typing import Any

from backpack_streams.errors import BackpackStreamsError
from backpack_streams.feed.moments import Break
from backpack_streams.feed.sequence import Latest, Verdict, Waiting
from backpack_streams.feed.stream_feed import Received, StreamFeed
from backpack_streams.feed.stream_spec import Message


class LatestFeed(StreamFeed):
    """A stream that is only ordered: tickers, mark prices, liquidations."""

    __slots__ = ("_latest", "_many_symbols", "last_row")

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._latest: Latest[Received] = Latest()
        self._many_symbols = not self.symbol
        self.last_row: Any = None

    def uncovered(self, gap: Break) -> None:
        """Report the time without coverage itself: no later message shows what was lost in it."""
        self._surroundings.gap(self, gap.reason, gap.detail, last_time_us=gap.since_us, next_time_us=gap.until_us)
        self._surroundings.settled(self)

    def on_data(self, data: Any, socket: int, received_us: int) -> None:
        """Publish what no other socket has brought.

        Args:
            data: the `data` of the frame, as raw JSON.
            socket: the socket that brought it.
            received_us: when it was received (µs since the Unix epoch).

        Raises:
            BackpackStreamsError: the message cannot be read, is about another symbol, or does not fit its record.
        """
        self.frames += 1
        around, latest = self._surroundings, self._latest
        message = self._read(data, self.kind)
        if not self._many_symbols and message.symbol != self.symbol:
            self._check_symbol(message)
        mark, others = hash(bytes(data)), around.other_socket(socket)
        verdict = latest.offer(message.time_us, socket, mark, others, self.spec.every_message_counts)
        self.last_received_us, self.last_socket = received_us, socket
        if verdict is Verdict.HOLD:
            item = Received(message, socket, received_us, around.through(self))
            latest.hold(Waiting(message.time_us, message.last_id, mark, socket, around.now, item))
        elif verdict is Verdict.DUPLICATE and not self._is_missing(message):
            self.duplicates += 1
        else:
            if latest.held and not others:
                self._release(others)
            self._take(message, socket, mark, received_us)
        if latest.held:
            self._release(others)

    def left(self) -> None:
        """Forget the last messages as well: no socket brings copies of them any more."""
        super().left()
        self._latest.forget()
        self.last_row = None

    def on_tick(self, now: float) -> None:
        """Release messages that no other socket has brought in time."""
        super().on_tick(now)
        if self._latest.held:
            self._release(self.last_socket is not None and self._surroundings.other_socket(self.last_socket))

    def _held(self) -> Iterable[Received]:
        return (held.item for held in self._latest.held)

    def _release(self, others: bool) -> None:
        for held in self._latest.released(self._surroundings.now, others):
            if self._latest.is_copy(held.mark, held.socket):
                self.duplicates += 1
                continue
            message = held.item.message
            try:
                self._take(message, held.socket, held.mark, held.item.received_us)
            except BackpackStreamsError as error:
                self._surroundings.lost(self, repr(message.row).encode(), error)

    def _take(self, message: Message, socket: int, mark: int, received_us: int) -> None:
        self._latest.took(message.time_us, socket, mark)
        self.last_socket = socket
        if not self.is_settled:
            self.is_settled = True
            self._note_delivery()
        if self._many_symbols:
            self.key = message.symbol.encode()
            self._out = self._surroundings.partition_queue(self.topic, self.key)
        self.last_row = message.row
        if self._publish(message, received_us):
            self._took(message)

    def _is_missing(self, message: Message) -> bool:
        """Return whether a late message of another socket is needed nevertheless."""
        return False

    def _took(self, message: Message) -> None:
        """Called after the message was published."""
