"""What the topics show to be missing though no gap on record speaks of it: its report was lost with the producer that made it. Sans I/O.

Data and gaps are in different partitions. Kafka may have what came after a hole and lack the gap that tells of the hole, if the producer is
killed in between; the next one goes on behind the hole and would never see it.
"""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

_HOLES_AT_MOST = 1_000
"""Of one stream; an exchange that leaves more of them in its sequence shows that in today's gaps."""


class Span(NamedTuple):
    """Ids, or times where candles start, from `first` on to the one before `until`."""

    first: int
    until: int


class _Sequence:
    """The ids of one stream that were found, in whatever order and however often."""

    __slots__ = ("_holes", "_next", "_time_us", "first", "first_received_us")

    def __init__(self, first: int, received_us: int) -> None:
        self.first = first
        self.first_received_us = received_us
        self._holes: list[Span] = []
        self._next: int | None = None
        self._time_us = 0

    def found(self, span: Span, time_us: int) -> None:
        if self._next is not None and span.until <= self._next and time_us > self._time_us and not self._fills(span):
            self._next = None  # the exchange began anew
        if self._next is not None and span.first > self._next:
            self._holes = [*self._holes[-_HOLES_AT_MOST:], Span(self._next, span.first)]
        elif self._holes:
            self._holes = _without(self._holes, span)
        self._next = max(self._next or span.until, span.until)
        self._time_us = max(self._time_us, time_us)

    def untold(self, told: Iterable[Span]) -> list[Span]:
        holes = self._holes
        for span in told:
            holes = _without(holes, span)
        return holes

    def _fills(self, span: Span) -> bool:
        return any(span.first < hole.until and hole.first < span.until for hole in self._holes)


class Untold:
    """Give it the records of the topics and of `ops.gap`, each partition in its order; then ask."""

    def __init__(self) -> None:
        self._sequences: dict[tuple[str, str], _Sequence] = {}
        self._told: dict[str, list[Span]] = {}
        self._told_since_us: dict[str, int] = {}

    def record(self, topic: str, name: str, row: Mapping[str, Any]) -> None:
        """A record of a stream whose records follow on each other; others are ignored."""
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
        """A gap on record."""
        is_of_ids = row["last_id"] is not None or row["next_id"] is not None
        last, after = (row["last_id"], row["next_id"]) if is_of_ids else (row["last_time"], row["next_time"])
        if row["last_time"] is not None:
            self._told_since_us[row["stream"]] = max(row["last_time"], self._told_since_us.get(row["stream"], 0))
        if after is not None:
            first = 0 if last is None else last + 1 if is_of_ids else last
            self._told.setdefault(row["stream"], []).append(Span(first, after))

    def tells_of(self, stream: str, since_us: int) -> bool:
        """Whether a gap on record begins at this moment of the stream, or later."""
        return self._told_since_us.get(stream, 0) >= since_us

    def of(
        self, stream: str, topic: str, symbol: str, interval: str | None = None, covered_until_us: int | None = None
    ) -> list[Span]:
        """What is missing in `topic` of a stream and is in none of its gaps. Streams of candles give their interval.

        `covered_until_us`: when an earlier instance's coverage ended. If even the first record came later, what was before it is missing.
        """
        sequence = self._sequences.get((topic, symbol if interval is None else f"{interval}.{symbol}"))
        if sequence is None:
            return []
        told = self._told.get(stream, [])
        before: list[Span] = []
        if covered_until_us is not None and sequence.first_received_us > covered_until_us:
            before = [Span(0, sequence.first)] if not any(each.until == sequence.first for each in told) else []
        return before + sequence.untold(told)


def _without(holes: Iterable[Span], span: Span) -> list[Span]:
    """What is left of the holes without the span."""
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
