"""The candles of one market and interval, a bounded number, and longer candles summed up from minutes. Sans I/O."""

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from decimal import Context, Decimal, Inexact, InvalidOperation
from typing import Any, Final, NamedTuple

from backpack_streams.gateway.answers import Row
from backpack_streams.gateway.rows import candle_row, candle_time
from backpack_streams.gateway.windows import Entry, rows_after

__all__ = ["INTERVAL_MICROS", "MINUTE_MICROS", "Candle", "CandleWindow", "rolled", "unbroken"]

_EXACT: Final = Context(prec=120, traps=[Inexact, InvalidOperation])
MINUTE_MICROS: Final = 60_000_000
_HOUR: Final = 60 * MINUTE_MICROS
INTERVAL_MICROS: Final[Mapping[str, int]] = {
    "1s": 1_000_000,
    **{f"{minutes}m": minutes * MINUTE_MICROS for minutes in (1, 3, 5, 15, 30)},
    **{f"{hours}h": hours * _HOUR for hours in (1, 2, 4, 6, 8, 12)},
    "1d": 24 * _HOUR,
    "3d": 72 * _HOUR,
    "1w": 168 * _HOUR,
    "1month": 31 * 24 * _HOUR,
}
"""The length of each interval (µs); of a month, the longest."""
_ROLLED_AT_MOST: Final = 24 * _HOUR
"""Candles up to a day start at multiples of their length since the Unix epoch, so a time determines the start."""


class Candle(NamedTuple):
    """The newest state of a candle.

    Attributes:
        start_us: its start (µs since the Unix epoch).
        end_us: the start of the next candle (µs since the Unix epoch).
        is_closed: whether it is final.
        is_rest: whether it came from REST, or a part of it did.
        entry: its row with its sequence.
    """

    start_us: int
    end_us: int
    is_closed: bool
    is_rest: bool
    entry: Entry

    @property
    def row(self) -> Row:
        """The row of `/v1/klines`."""
        return self.entry.row


class CandleWindow:
    """The newest candles of one market and interval, by start."""

    __slots__ = ("_candles", "_dropped", "_most", "_starts", "sequence")

    def __init__(self, most: int) -> None:
        """Start empty.

        Args:
            most: the number of candles to keep.
        """
        self._most = most
        self._starts: list[int] = []
        self._candles: dict[int, Candle] = {}
        self._dropped = -1
        """The highest offset of a candle that is not, or no longer, in the window."""
        self.sequence = -1
        """The highest offset of the candles so far; -1 if there was none from Kafka."""

    def __len__(self) -> int:
        return len(self._starts)

    def take(self, record: Mapping[str, Any], offset: int) -> Candle | None:
        """Add a state of a candle.

        A closed candle is final. Of one that both a socket and REST have closed, the socket's figures count, and the quote volume
        of REST completes them.

        Args:
            record: a Kline record; times are µs since the Unix epoch.
            offset: the offset of the record; -1 for one that is not from Kafka.

        Returns:
            The candle; None if the state is not newer than the known one, or is too old for the window. A closed candle of Kafka is
            returned even if it is too old: it is a refill, which nobody has seen. A closed candle that REST brought first is
            returned once more when a record of it comes from Kafka, with the offset of that record.
        """
        start, as_of = record["start_time"], record["event_time"] or record["received_time"]
        entry = Entry(offset, candle_row(record), as_of)
        found = Candle(start, record["end_time"], record["is_closed"], record["source"] == "REST", entry)
        known = self._candles.get(start)
        if known is None:
            if len(self._starts) >= self._most and start < self._starts[0]:
                self._dropped = max(self._dropped, offset)
                return found if found.is_closed and offset >= 0 else None
            self._starts.insert(bisect_left(self._starts, start), start)
        elif known.is_closed:
            completed = _completed(known, found)
            if completed.row == known.row:
                return self._with_offset(known, offset)
            found = completed
        elif not found.is_closed and not _is_newer(found, known):
            return None
        self._candles[start] = found
        self.sequence = max(self.sequence, offset)
        if len(self._starts) > self._most:
            self._dropped = max(self._dropped, self._candles.pop(self._starts.pop(0)).entry.sequence)
        return found

    def _with_offset(self, known: Candle, offset: int) -> Candle | None:
        if known.entry.sequence >= 0 or offset < 0:
            return None
        self.sequence = max(self.sequence, offset)
        found = self._candles[known.start_us] = known._replace(entry=known.entry._replace(sequence=offset))
        return found

    def amend(self, candle: Candle, **fields: Any) -> Candle:
        """Change fields of the row of a candle, in the window too if it is there. Returns the new state of the candle."""
        amended = candle._replace(entry=candle.entry._replace(row={**candle.row, **fields}))
        if candle.start_us in self._candles:
            self._candles[candle.start_us] = amended
        return amended

    def newest(self, limit: int) -> list[Candle]:
        """Return at most `limit` candles, newest first."""
        return [self._candles[each] for each in reversed(self._starts[-limit:])]

    def after(self, sequence: int) -> list[Entry] | None:
        """Return the newest state of each candle with a higher offset, in the order of offsets.

        None if a candle may be missing, or if the offset was not reached yet.
        """
        return rows_after((candle.entry for candle in self._candles.values()), sequence, self._dropped)

    def since(self, start_us: int) -> list[Candle]:
        """Return the candles that start at `start_us` (µs since the Unix epoch) or later, oldest first."""
        return [self._candles[each] for each in self._starts[bisect_left(self._starts, start_us) :]]


def _completed(known: Candle, found: Candle) -> Candle:
    """Return a closed candle as both states of it tell it.

    The exchange's socket says when a candle is final; REST may have been asked before that by our clock. A quote volume from REST
    belongs to a candle with the same volume only.
    """
    if not found.is_closed or found.is_rest == known.is_rest:
        return known
    stated, asked = (known, found) if found.is_rest else (found, known)
    row = stated.row
    is_completed = row["quote_volume"] is None and row["volume"] == asked.row["volume"]
    if is_completed:
        row = {**row, "quote_volume": asked.row["quote_volume"]}
    sequence = max(known.entry.sequence, found.entry.sequence)
    return stated._replace(is_rest=is_completed, entry=Entry(sequence, row, stated.entry.as_of))


def _is_newer(found: Candle, known: Candle) -> bool:
    """Return whether an open state replaces another one. REST does not say when it made its own, so a socket's counts more."""
    return (not found.is_rest, found.entry.as_of) > (not known.is_rest, known.entry.as_of)


def unbroken(candles: Sequence[Candle], limit: int) -> list[Candle]:
    """Return the newest candles without a gap, oldest first: each begins where the one before it ends.

    Args:
        candles: candles, oldest first.
        limit: the maximum number of candles.
    """
    found: list[Candle] = []
    for candle in reversed(candles):
        if len(found) >= limit or (found and candle.end_us != found[-1].start_us):
            break
        found.append(candle)
    return found[::-1]


def rolled(minutes: Sequence[Candle], length_us: int) -> list[Candle]:
    """Return candles of a longer interval, summed up from minutes, oldest first; none for intervals above a day.

    Only candles whose minutes are complete are returned: from the first minute on, without a gap. The newest one may be open.

    Args:
        minutes: candles of one minute, oldest first.
        length_us: the length of the interval (µs).
    """
    if not MINUTE_MICROS < length_us <= _ROLLED_AT_MOST:
        return []
    found: list[Candle] = []
    parts: list[Candle] = []
    for minute in minutes:
        start = minute.start_us // length_us * length_us
        if parts and minute.start_us != parts[-1].end_us:
            parts = []
        if minute.start_us == start:
            parts = [minute]
        elif parts:
            parts.append(minute)
        if parts and (minute.end_us == start + length_us or minute is minutes[-1]):
            found.append(_added(parts, start, start + length_us))
    return found


def _added(parts: Sequence[Candle], start_us: int, end_us: int) -> Candle:
    traded = [part.row for part in parts if part.row["open"] is not None]
    volumes = [part.row["quote_volume"] for part in parts]
    row = {
        "start": candle_time(start_us),
        "end": candle_time(end_us),
        "open": traded[0]["open"] if traded else None,
        "high": max((each["high"] for each in traded), default=None),
        "low": min((each["low"] for each in traded), default=None),
        "close": traded[-1]["close"] if traded else None,
        "volume": _sum(part.row["volume"] for part in parts),
        "quote_volume": None if None in volumes else _sum(volumes),
        "trades": sum(part.row["trades"] or 0 for part in parts),
    }
    last = parts[-1]
    is_closed = last.end_us == end_us and all(part.is_closed for part in parts)
    newest = max(part.entry.sequence for part in parts)
    is_rest = any(part.is_rest for part in parts)
    return Candle(start_us, end_us, is_closed, is_rest, Entry(newest, row, max(part.entry.as_of for part in parts)))


def _sum(numbers: Any) -> Decimal:
    total = Decimal(0)
    for number in numbers:
        if number is not None:
            total = _EXACT.add(total, number)
    return total.normalize(_EXACT)
