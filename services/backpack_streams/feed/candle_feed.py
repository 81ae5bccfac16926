"""A stream of candles: each closed one is there, or on record as missing. Sans I/O."""

from typing import Any

from backpack_streams.feed import reports
from backpack_streams.feed.family import Reading
from backpack_streams.feed.latest_feed import LatestFeed
from backpack_streams.feed.sequence import CandleChain, Candles

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
