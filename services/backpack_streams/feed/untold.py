"""Finds records that are missing without a gap on record: the report was lost with the producer that made it. Sans I/O.

Data and gaps are in different partitions. If a producer is killed in between, Kafka may have the records after a gap but not the gap
itself. The next producer continues after it and would never see it.
"""

from bisect import bisect_right
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

_HOLES_AT_MOST = 1_000
"""Per stream. An exchange that leaves more gaps in its sequence than that shows them in today's gap records as well."""


class Span(NamedTuple):
    """Ids, or start times of candles, from `first` (inclusive) to `until` (exclusive)."""

    first: int
    until: int


class _Told(NamedTuple):
    """The range of a gap on record, and its time by our clock (µs, 0 if the record has none)."""

    span: Span
    time_us: int


class _Sequence:
    """The ids found of one stream, in any order, any number of times. After a restart of the ids, gaps from before it say nothing."""

    __slots__ = ("_began", "_holes", "_next", "_time_us", "first", "first_received_us")

    def __init__(self, first: int, received_us: int) -> None:
        self.first = first
        self.first_received_us = received_us
        self._began: list[int] = []
        """When the exchange's ids restarted: half way between the last message before and the first one after, since clocks may step."""
        self._holes: list[tuple[int, Span]] = []
        """Missing ranges, each with the number of restarts before it."""
        self._next: int | None = None
        self._time_us = 0

    def found(self, span: Span, time_us: int) -> None:
        if self._began and 0 < time_us < self._began[-1]:  # a backfill of a sequence that has ended
            self._fill(span, bisect_right(self._began, time_us))
            return
        if self._next is not None and span.until <= self._next and time_us > self._time_us and not self._fills(span):
            self._next = None
            self._began.append((self._time_us + time_us) // 2)
        if self._next is not None and span.first > self._next:
            self._holes = [*self._holes[-_HOLES_AT_MOST:], (len(self._began), Span(self._next, span.first))]
        elif self._holes:
            self._fill(span, len(self._began))
        self._next = max(self._next or span.until, span.until)
        self._time_us = max(self._time_us, time_us)

    def untold(self, told: Iterable[_Told]) -> list[Span]:
        kept = self._holes
        for span, time_us in told:
            self._fill(span, bisect_right(self._began, time_us) if time_us else len(self._began))
        left, self._holes = self._holes, kept
        return [hole for _, hole in left]

    def _fill(self, span: Span, age: int) -> None:
        self._holes = [
            (of, part) for of, hole in self._holes for part in (_without([hole], span) if of == age else [hole])
        ]

    def _fills(self, span: Span) -> bool:
        age = len(self._began)
        return any(of == age and span.first < hole.until and hole.first < span.until for of, hole in self._holes)


class Untold:
    """Finds unreported gaps. Pass the records of the topics and of `ops.gap`, each partition in order; then ask."""

    def __init__(self, now_us: int) -> None:
        """`now_us`: the wall clock (µs since the Unix epoch). A later time was written by a clock that was wrong."""
        self._now_us = now_us
        self._sequences: dict[tuple[str, str], _Sequence] = {}
        self._told: dict[str, list[_Told]] = {}
        self._told_since_us: dict[str, int] = {}

    def record(self, topic: str, name: str, row: Mapping[str, Any]) -> None:
        """Take a record of a sequenced stream; other records are ignored."""
        symbol = row.get("symbol", "")
        if name == "DepthUpdate":
            span = Span(row["first_update_id"], row["last_update_id"] + 1)
        elif name == "Trade":
            span = Span(row["trade_id"], row["trade_id"] + 1)
        elif name == "Kline" and row["is_closed"]:
            symbol, span = f"{row['interval']}.{symbol}", Span(row["start_time"], row["end_time"])
        else:
            return
        time_us = row.get("engine_time") or row.get("event_time") or 0
        key = topic, symbol
        if key not in self._sequences:
            self._sequences[key] = _Sequence(span.first, row["received_time"])
        self._sequences[key].found(span, time_us)

    def gap(self, row: Mapping[str, Any]) -> None:
        """Take a gap record."""
        is_of_ids = row["last_id"] is not None or row["next_id"] is not None
        last, after = (row["last_id"], row["next_id"]) if is_of_ids else (row["last_time"], row["next_time"])
        if row["last_time"] is not None and row["last_time"] <= self._now_us:
            self._told_since_us[row["stream"]] = max(row["last_time"], self._told_since_us.get(row["stream"], 0))
        if after is not None:
            first = 0 if last is None else last + 1 if is_of_ids else last
            time_us = row["next_time"] or row["last_time"] or row.get("detected_time") or 0
            self._told.setdefault(row["stream"], []).append(_Told(Span(first, after), time_us))

    def tells_of(self, stream: str, since_us: int) -> bool:
        """Whether a gap record of the stream begins at this moment or later."""
        return self._told_since_us.get(stream, 0) >= since_us

    def of(
        self, stream: str, topic: str, symbol: str, interval: str | None = None, covered_until_us: int | None = None
    ) -> list[Span]:
        """The ranges of a stream that are missing in `topic` and are in none of its gap records. Candle streams pass their interval.

        `covered_until_us`: when an earlier instance's coverage ended. If even the first record is later, everything before it is missing.
        """
        sequence = self._sequences.get((topic, symbol if interval is None else f"{interval}.{symbol}"))
        if sequence is None:
            return []
        told = self._told.get(stream, [])
        before: list[Span] = []
        if covered_until_us is not None and sequence.first_received_us > covered_until_us:
            before = [Span(0, sequence.first)] if not any(each.span.until == sequence.first for each in told) else []
        return before + sequence.untold(told)


def _without(holes: Iterable[Span], span: Span) -> list[Span]:
    """Remove `span` from the ranges."""
    left: list[Span] = []
    for hole in holes:
        if span.until <= hole.first or hole.until <= span.first:
            left.append(hole)
            continue
        if hole.first < span.first:
            left.append(Span(hole.first, span.first))
        if span.until < hole.until:
            left.append(Span(span.until, hole.until))
    return left
