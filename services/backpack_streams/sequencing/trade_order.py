"""The trades of one market in order of their ids, each once, with gaps reported. Sans I/O."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import Final, Generic, NamedTuple, TypeVar

from backpack_streams.sequencing.restart import TOLERANCE_MICROSECONDS, SequenceTime
from backpack_streams.sequencing.spans import Span, Spans

__all__ = ["RANGES_AT_MOST", "Gap", "Given", "TradeOrder"]

RANGES_AT_MOST: Final = 10_000
"""The number of id ranges remembered per market."""

T = TypeVar("T")


class Gap(NamedTuple):
    """The trades `first_id` to `last_id` (inclusive) of a market are missing: no producer brought them in time.

    If they come later, they are delivered then, marked as late.
    """

    symbol: str
    first_id: int
    last_id: int


class Given(NamedTuple, Generic[T]):
    """A trade for the user. `is_late`: a trade that should follow it was delivered before."""

    item: T
    is_late: bool = False


class _Held(NamedTuple, Generic[T]):
    since: float
    item: T


@dataclass(slots=True)
class TradeOrder(Generic[T]):
    """Orders the trades of one market, from any number of producers and copies. `since` and `now` are monotonic seconds."""

    symbol: str
    next_id: int | None = None
    held: dict[int, _Held[T]] = field(default_factory=dict)
    """In order of arrival."""
    duplicates: int = 0
    _seen: Spans = field(default_factory=lambda: Spans(RANGES_AT_MOST))
    _seen_before: Spans = field(default_factory=Spans)
    """The ids of the sequence that ended."""
    _queue: list[int] = field(default_factory=list)
    _time: SequenceTime = field(default_factory=SequenceTime)
    """Its newest time is the latest possible value of the engine's time."""

    def offer(
        self,
        trade_id: int,
        time_us: int,
        item: T,
        now: float,
        *,
        is_engine_time: bool,
        received_us: int | None = None,
    ) -> Iterator[Given[T] | Gap]:
        """Take a trade; yield it and what it releases, as far as the order allows.

        Args:
            trade_id: its id.
            time_us: the exchange's time (µs since the Unix epoch), 0 if unknown.
            item: what to deliver for it.
            now: monotonic seconds.
            is_engine_time: False if `time_us` is a REST or event time, which is of another clock.
            received_us: when it was received, by our clock (µs since the Unix epoch); None if unknown.
        """
        tolerance = 0 if is_engine_time else TOLERANCE_MICROSECONDS
        if self.next_id is None:
            self.next_id = trade_id
        elif self._time.is_of_before(time_us):  # another producer still publishes the sequence that ended
            yield from self._give_of_before(trade_id, item)
            return
        elif trade_id < self.next_id and self._time.begins_anew(trade_id, time_us, tolerance, received_us):
            yield from self.give_up()
            self._begin_anew(trade_id, time_us)
        # Refills come from another clock and out of order: they show how late it is, never that it is earlier than thought.
        if trade_id >= self.next_id and time_us and (is_engine_time or time_us + tolerance > self._time.time_us):
            self._time.saw(time_us + tolerance)
        if trade_id in self._seen:
            self.duplicates += 1
            return
        self._seen.add(trade_id, trade_id + 1)
        if trade_id < self.next_id:
            yield Given(item, is_late=True)
        elif trade_id > self.next_id:
            self.held[trade_id] = _Held(now, item)
            heappush(self._queue, trade_id)
        else:
            yield Given(item)
            self.next_id += 1
            yield from self._release()

    def tick(self, now: float, patience_seconds: float) -> Iterator[Given[T] | Gap]:
        """Release trades that have waited for `patience_seconds`, each after the gap before it."""
        while self.held and now - self.waits_since() >= patience_seconds:
            yield from self._skip()

    def lost(self, span: Span) -> Iterator[Given[T] | Gap]:
        """A source that would know reports that these ids (start inclusive, end exclusive) will not come: release what waits for them."""
        while self.held and self.next_id is not None:
            first = self._queue[0]
            if not (span[0] <= self.next_id and first <= span[1]):
                return
            yield from self._skip()

    def give_up(self) -> Iterator[Given[T] | Gap]:
        """Release everything that waits, with the gaps in between."""
        while self.held:
            yield from self._skip()

    def skip_hole(self) -> Iterator[Given[T] | Gap]:
        """Report the first gap and release what follows it."""
        if self.held:
            yield from self._skip()

    def waits_since(self) -> float:
        """When the trade that has waited longest came (monotonic seconds); 0 if none waits."""
        return next(iter(self.held.values())).since if self.held else 0.0

    def _skip(self) -> Iterator[Given[T] | Gap]:
        assert self.next_id is not None  # a trade is held, so one came before
        first = self._queue[0]
        yield Gap(self.symbol, self.next_id, first - 1)
        self.next_id = first
        yield from self._release()

    def _release(self) -> Iterator[Given[T]]:
        assert self.next_id is not None  # as above
        while self._queue and self._queue[0] == self.next_id:
            self.next_id += 1
            yield Given(self.held.pop(heappop(self._queue)).item)

    def _give_of_before(self, trade_id: int, item: T) -> Iterator[Given[T]]:
        if trade_id in self._seen_before:
            self.duplicates += 1
            return
        self._seen_before.add(trade_id, trade_id + 1)
        yield Given(item, is_late=True)

    def _begin_anew(self, trade_id: int, time_us: int) -> None:
        self.next_id = trade_id
        self._time.begin_anew(time_us)
        self._seen_before, self._seen = self._seen, Spans(RANGES_AT_MOST)
