"""A stream that is only ordered: no message goes back in time, and times without coverage go on record. Sans I/O."""

from typing import Any, NamedTuple

from backpack_streams.errors import BackpackStreamsError
from backpack_streams.feed.coverage import Break
from backpack_streams.feed.family import Reading
from backpack_streams.feed.sequence import Latest, Verdict, Waiting
from backpack_streams.feed.stream_feed import StreamFeed


class _Held(NamedTuple):
    """A held message. `through`: until when its stream had been received completely when it came; None if the stream was not covered."""

    reading: Reading
    received_us: int
    through: float | None


class LatestFeed(StreamFeed):
    """A stream that is only ordered: tickers, mark prices, liquidations."""

    __slots__ = ("_latest", "_many_symbols", "last_row")

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._latest: Latest[_Held] = Latest()
        self._many_symbols = not self.symbol
        self.last_row: Any = None

    def uncovered(self, gap: Break) -> None:
        """Report the time without coverage itself: no later message shows what was lost in it."""
        self._surroundings.gap(self, gap.reason, gap.detail, last_time_us=gap.since_us, next_time_us=gap.until_us)
        self._surroundings.settled(self)

    def held_since(self) -> float | None:
        """Until when the stream had been received completely when the first held message came. All held messages were sent after that."""
        found = (held.item.through for held in self._latest.held)
        return min((through for through in found if through is not None), default=None)

    def on_data(self, data: Any, link: int, received_us: int) -> None:
        """Publish what no other socket has brought."""
        self.frames += 1
        around, latest = self._surroundings, self._latest
        reading = self._read(data, self.kind)
        if not self._many_symbols and reading.symbol != self.symbol:
            self._check_symbol(reading)
        mark, others = hash(bytes(data)), around.other_link(link)
        verdict = latest.offer(reading.time_us, link, mark, others, self.family.every_message_counts)
        self.last_received_us, self.last_link = received_us, link
        if verdict is Verdict.HOLD:
            item = _Held(reading, received_us, around.through(self))
            latest.hold(Waiting(reading.time_us, reading.last_id, mark, link, around.now, item))
        elif verdict is Verdict.DUPLICATE and not self._is_missing(reading):
            self.duplicates += 1
        else:
            if latest.held and not others:
                self._release(others)
            self._take(reading, link, mark, received_us)
        if latest.held:
            self._release(others)

    def on_tick(self, now: float) -> None:
        """Release messages that no other socket has brought in time."""
        super().on_tick(now)
        if self._latest.held:
            self._release(self.last_link is not None and self._surroundings.other_link(self.last_link))

    def _release(self, others: bool) -> None:
        for held in self._latest.released(self._surroundings.now, others):
            if self._latest.is_copy(held.mark, held.link):
                self.duplicates += 1
                continue
            reading = held.item.reading
            try:
                self._take(reading, held.link, held.mark, held.item.received_us)
            except BackpackStreamsError as error:
                self._surroundings.lost(self, repr(reading.row).encode(), error)

    def _take(self, reading: Reading, link: int, mark: int, received_us: int) -> None:
        self._latest.took(reading.time_us, link, mark)
        self.last_link = link
        if not self.is_settled:
            self.is_settled = True
            self._note_delivery()
        if self._many_symbols:
            if not self._surroundings.carries(reading.symbol):
                return
            self.key = reading.symbol.encode()
            self._out = self._surroundings.lane(self.topic, self.key)
        self.last_row = reading.row
        if self._publish(reading, received_us):
            self._took(reading)

    def _is_missing(self, reading: Reading) -> bool:
        """Whether a late message of another socket is needed nevertheless."""
        return False

    def _took(self, reading: Reading) -> None:
        """Called after the message was published."""
