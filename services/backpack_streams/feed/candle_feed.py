"""A stream of candles: every closed candle is either published or on record as missing. Sans I/O."""

from typing import Any

from backpack_streams.feed.latest_feed import LatestFeed
from backpack_streams.feed.moments import Break
from backpack_streams.feed.sequence import CLOSING_SECONDS, CandleChain, Candles
from backpack_streams.feed.stream_spec import Message
from backpack_streams.publishing import reports
from backpack_streams.sequencing.candle_times import candle_end, candle_start

_NOT_CLOSED = (reports.SEQUENCE_BREAK, "the closed state of candles did not come")


class CandleFeed(LatestFeed):
    """A stream of candles: ordered like other streams, and each closed candle begins where the previous one ended.

    The bounds of its gaps are candle times, not times of receipt: the start of the first missing candle, and the start of the first candle
    that is present again.
    """

    __slots__ = ("_break", "_break_due", "_candles", "_dropped_until", "_interval", "_reason")

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._candles = CandleChain()
        self._interval = self.kind.parameter or ""
        self._dropped_until = 0
        self._reason = _NOT_CLOSED
        self._break: Break | None = None
        self._break_due = 0.0

    def resume(self, last_id: int, time_us: int) -> None:
        """Continue after the last closed candle in Kafka.

        Args:
            last_id: its end; if Kafka has no closed candle, the start of the oldest open one (µs since the Unix epoch).
            time_us: ignored.
        """
        self._candles.until = last_id

    def uncovered(self, gap: Break) -> None:
        """A break is a loss only if a candle closed in it: the next message shows that, or the clock if none comes."""
        if self._candles.until is None:
            super().uncovered(gap)
            return
        self._reason = gap.reason, gap.detail
        if self.has_told(gap) and not self._candles.awaits_closing:
            self._surroundings.settled(self)
        else:
            self._break, self._break_due = gap, self._surroundings.now + CLOSING_SECONDS

    @property
    def is_idle(self) -> bool:
        """Whether nothing is held, and nothing is to be reported."""
        return super().is_idle and self._break is None and not self._candles.awaits_closing

    def on_tick(self, now: float) -> None:
        """Report candles whose closed state did not come in time.

        Args:
            now: present time (monotonic seconds).
        """
        super().on_tick(now)
        self._tell(self._candles.overdue(now))
        if self._break is not None and now >= self._break_due:
            gap, self._break = self._break, None
            self._surroundings.settled(self)
            self._tell_what_closed_by(gap.until_us)

    def _tell_what_closed_by(self, until_us: int) -> None:
        """Report the candles that closed before a moment of our clock.

        Only a candle moves the chain: our clock may be ahead, and then what the chain passes over would be lost without a record.
        """
        first = self._candles.until
        assert first is not None, "uncovered keeps a break only where candles are known"
        present = candle_start(self._interval, first, until_us)
        self._tell((first, present) if present > first else None)

    def _is_missing(self, message: Message) -> bool:
        return bool(message.row["is_closed"]) and self._candles.misses(message.row["start_time"])

    def _took(self, message: Message) -> None:
        row = message.row
        self._tell(self._candles.took(row["start_time"], self._end(row), row["is_closed"], self._surroundings.now))
        is_told = self._break is not None and self._break.socket_id == self.last_socket
        if is_told and not self._candles.awaits_closing:  # a closed state that may be missing is not on record yet
            self._break = None
            self._surroundings.settled(self)
        if row["is_closed"]:
            self._reason = _NOT_CLOSED

    def _end(self, row: Any) -> int:
        """Return where the next candle starts. The end that the exchange names is not needed for that, and may be absurd."""
        return candle_end(self._interval, row["start_time"])

    def _tell(self, lost: Candles | None) -> None:
        if lost is not None:
            self._surroundings.gap(self, *self._reason, last_time_us=lost[0], next_time_us=lost[1])

    def _drop(self, message: Message, received_us: int) -> None:
        super()._drop(message, received_us)
        row = message.row
        if self._candles.until is None:
            self._candles.until = row["start_time"]
        if row["is_closed"]:
            self._dropped_until = max(self._dropped_until, self._end(row))

    def _report_dropped(self, next_id: int | None) -> None:
        """The next message replaces open states that found no room. Report the bounds of the closed ones."""
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
