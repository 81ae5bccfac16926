"""What a reader of records gives its user: each record once, trades in the order of their ids, holes told as such. Sans I/O."""

from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import Any, Final, Generic, NamedTuple, TypeVar

from backpack_streams.books.spans import Span, Spans

PATIENCE_SECONDS: Final = 10.0
"""How long trades wait for the ones before them, which a refill may still bring."""
HELD_AT_MOST: Final = 50_000
"""Trades of all markets that may wait; beyond that the oldest hole is told."""
RECENT: Final = 4_096
"""Records of a market that are remembered, of topics whose records have no ids."""
NEW_SEQUENCE_MICROS: Final = 1_000_000
"""A lower id at a time later than this after all before is the begin of a new sequence."""
_RANGES_AT_MOST: Final = 10_000

T = TypeVar("T")


class Hole(NamedTuple):
    """Trades `first_id` to `last_id` of a market are missing: nobody has brought them in time.

    Should they come after all, they are given then, marked as late.
    """

    symbol: str
    first_id: int
    last_id: int


class Given(NamedTuple, Generic[T]):
    """Something to hand to the user. `is_late`: what should have followed it was given before."""

    item: T
    is_late: bool = False


class _Held(NamedTuple, Generic[T]):
    since: float
    item: T


@dataclass(slots=True)
class TradeOrder(Generic[T]):
    """The trades of one market, whoever publishes them and how often. `since` and `now` are monotonic seconds."""

    symbol: str
    next_id: int | None = None
    held: dict[int, _Held[T]] = field(default_factory=dict)
    """In the order of arrival."""
    duplicates: int = 0
    _seen: Spans = field(default_factory=lambda: Spans(_RANGES_AT_MOST))
    _queue: list[int] = field(default_factory=list)
    _newest_us: int = 0
    _began_us: int = 0

    def offer(self, trade_id: int, time_us: int, item: T, now: float) -> Iterator[Given[T] | Hole]:
        """A trade came; `time_us` is the exchange's time in microseconds. Gives what its coming sets free."""
        if self.next_id is None:
            self.next_id = trade_id
        elif time_us < self._began_us and trade_id >= self.next_id:  # somebody still brings the sequence that ended
            self.duplicates += 1
            return
        elif trade_id < self.next_id and time_us > self._newest_us + NEW_SEQUENCE_MICROS:
            yield from self.give_up()
            self._begin_anew(trade_id, time_us)
        self._newest_us = max(self._newest_us, time_us)
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

    def tick(self, now: float, patience_seconds: float) -> Iterator[Given[T] | Hole]:
        """Time passed: what waited for long enough is given, after the hole before it."""
        while self.held and now - self.waits_since() >= patience_seconds:
            yield from self._skip()

    def lost(self, span: Span) -> Iterator[Given[T] | Hole]:
        """Somebody who would know says that these ids (from, to before) will not come."""
        while self.held and self.next_id is not None:
            first = self._queue[0]
            if not (span[0] <= self.next_id and first <= span[1]):
                return
            yield from self._skip()

    def give_up(self) -> Iterator[Given[T] | Hole]:
        """All that waits, and the holes between."""
        while self.held:
            yield from self._skip()

    def skip_hole(self) -> Iterator[Given[T] | Hole]:
        """What follows on the first hole, after it."""
        if self.held:
            yield from self._skip()

    def waits_since(self) -> float:
        """Since when the trade that has waited for longest does."""
        return next(iter(self.held.values())).since if self.held else 0.0

    def _skip(self) -> Iterator[Given[T] | Hole]:
        assert self.next_id is not None  # something is held, so something came
        first = self._queue[0]
        yield Hole(self.symbol, self.next_id, first - 1)
        self.next_id = first
        yield from self._release()

    def _release(self) -> Iterator[Given[T]]:
        assert self.next_id is not None  # as above
        while self._queue and self._queue[0] == self.next_id:
            self.next_id += 1
            yield Given(self.held.pop(heappop(self._queue)).item)

    def _begin_anew(self, trade_id: int, time_us: int) -> None:
        self.next_id = trade_id
        self._began_us = time_us - 1_000  # REST's times are cut to milliseconds
        self._seen = Spans(_RANGES_AT_MOST)


@dataclass(slots=True)
class CandleOrder:
    """The candles of one market and interval: each state once, and none of a candle that was given closed. Times in microseconds."""

    duplicates: int = 0
    _closed: Spans = field(default_factory=lambda: Spans(_RANGES_AT_MOST))
    _newest_start: int = -1
    _open: tuple[int, int] = (-1, -1)

    def offer(self, start_us: int, end_us: int, event_us: int, is_closed: bool) -> Given[None] | None:
        """A state of a candle came, made at `event_us` (0 if nobody says). None for what was given already, or is older."""
        if start_us in self._closed or (not is_closed and (start_us, event_us) <= self._open):
            self.duplicates += 1
            return None
        is_late = start_us < self._newest_start
        self._newest_start = max(self._newest_start, start_us)
        if is_closed:
            self._closed.add(start_us, end_us)
        else:
            self._open = start_us, event_us
        return Given(None, is_late)


class Recent:
    """The last records of a market in a topic without ids; with `most` 1 only an immediate repetition is a duplicate."""

    __slots__ = ("_most", "_seen", "duplicates")

    def __init__(self, most: int = RECENT) -> None:
        self._most = most
        self._seen: OrderedDict[int, None] = OrderedDict()
        self.duplicates = 0

    def offer(self, identity: int) -> bool:
        """Whether it is new."""
        if identity in self._seen:
            self.duplicates += 1
            return False
        self._seen[identity] = None
        if len(self._seen) > self._most:
            self._seen.popitem(last=False)
        return True


NOT_OF_THE_RECORD: Final = frozenset({"received_time", "cache_age_seconds"})
"""Fields that say how a record came here, not what it is."""
IDENTITIES: Final[Mapping[str, tuple[str, ...]]] = {
    "DepthUpdate": ("first_update_id", "last_update_id", "engine_time"),
    "BookSnapshot": ("last_update_id", "engine_time", "origin", "delta_offset"),
    "FundingRate": ("interval_end_time", "is_settled", "funding_rate"),
}
"""Fields that tell one record from another, where not all are needed."""


def identity_of(name: str, value: Mapping[str, Any]) -> int:
    """What makes a record the one it is, as a hash: two copies of it have the same.

    A value that REST gave without a time of its own is a new one each time it was asked for.
    """
    fields = IDENTITIES.get(name)
    if fields is None:
        is_dated = value.get("event_time") is not None or value.get("engine_time") is not None
        left_out = NOT_OF_THE_RECORD if is_dated or "raw" in value else frozenset({"cache_age_seconds"})
        fields = tuple(field for field in value if field not in left_out)
    return hash((name, *(repr(value.get(field)) for field in fields)))
