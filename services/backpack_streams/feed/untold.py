"""Finds records that are missing without a gap on record: the report was lost with the producer that made it. Sans I/O.

Data and gaps are in different partitions. If a producer is killed in between, Kafka may have the records after a gap but not the gap
itself. The next producer continues after it and would never see it.
"""

from bisect import bisect_right
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

_GAPS_AT_MOST = 1_000
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

    __slots__ = ("_began", "_gaps", "_next", "_time_us", "first", "first_received_us")

    def __init__(self, first: int, received_us: int) -> None:
        self.first = first
        self.first_received_us = received_us
        self._began: list[int] = []
        """When the exchange's ids restarted: half way between the last message before and the first one after, since clocks may step."""
        self._gaps: list[tuple[int, Span]] = []
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
            self._gaps = [*self._gaps[-_GAPS_AT_MOST:], (len(self._began), Span(self._next, span.first))]
        elif self._gaps:
            self._fill(span, len(self._began))
        self._next = max(self._next or span.until, span.until)
        self._time_us = max(self._time_us, time_us)

    def untold(self, told: Iterable[_Told]) -> list[Span]:
        kept = self._gaps
        for span, time_us in told:
            self._fill(span, bisect_right(self._began, time_us) if time_us else len(self._began))
        left, self._gaps = self._gaps, kept
        return [gap for _, gap in left]

    def _fill(self, span: Span, age: int) -> None:
        self._gaps = [(of, part) for of, gap in self._gaps for part in (_without([gap], span) if of == age else [gap])]

    def _fills(self, span: Span) -> bool:
        age = len(self._began)
        return any(of == age and span.first < gap.until and gap.first < span.until for of, gap in self._gaps)


class Untold:
    """Finds unreported gaps. Pass the records of the topics and of `ops.gap`, each partition in order; then ask."""

    def __init__(self, now_us: int) -> None:
        """Prepare without records.

        Args:
            now_us: the wall clock (µs since the Unix epoch). A later time was written by a clock that was wrong.
        """
        self._now_us = now_us
        self._sequences: dict[tuple[str, str], _Sequence] = {}
        self._told: dict[str, list[_Told]] = {}
        self._told_since_us: dict[str, int] = {}

    def record(self, topic: str, name: str, row: Mapping[str, Any]) -> None:
        """Take a record of a sequenced stream; other records are ignored.

        Args:
            topic: the full name of its topic.
            name: its type: `DepthUpdate`, `Trade` or `Kline`, of which only closed ones count.
            row: its decoded fields.
        """
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
        """Return whether a gap record of the stream begins at this moment or later."""
        return self._told_since_us.get(stream, 0) >= since_us

    def of(
        self, stream: str, topic: str, symbol: str, interval: str | None = None, covered_until_us: int | None = None
    ) -> list[Span]:
        """Return the ranges of a stream that are missing in its topic and are in none of its gap records.

        Args:
            stream: the name of the stream, as in gap records.
            topic: the full name of its topic.
            symbol: the market.
            interval: the interval of a candle stream; None for other streams.
            covered_until_us: when an earlier instance's coverage ended (µs since the Unix epoch). If even the first
                record is later, everything before it is missing.
        """
        sequence = self._sequences.get((topic, symbol if interval is None else f"{interval}.{symbol}"))
        if sequence is None:
            return []
        told = self._told.get(stream, [])
        before: list[Span] = []
        if covered_until_us is not None and sequence.first_received_us > covered_until_us:
            before = [Span(0, sequence.first)] if not any(each.span.until == sequence.first for each in told) else []
        return before + sequence.untold(told)


def _without(gaps: Iterable[Span], span: Span) -> list[Span]:
    """Remove `span` from the ranges."""
    left: list[Span] = []
    for gap in gaps:
        if span.until <= gap.first or gap.until <= span.first:
            left.append(gap)
            continue
        if gap.first < span.first:
            left.append(Span(gap.first, span.first))
        if span.until < gap.until:
            left.append(Span(span.until, gap.until))
    return left
