"""What a reader of records gives its user: each record once, and of a candle no state that is older than what was given. Sans I/O."""

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from backpack_streams.sequencing.spans import Spans
from backpack_streams.sequencing.trade_order import RANGES_AT_MOST, Given

PATIENCE_SECONDS: Final = 10.0
"""How long trades wait for the ones before them, which a refill may still bring."""
HELD_AT_MOST: Final = 50_000
"""Trades of all markets that may wait; beyond that the oldest hole is told."""
RECENT: Final = 4_096
"""Records of a market that are remembered, of topics whose records have no ids."""


@dataclass(slots=True)
class CandleOrder:
    """The candles of one market and interval: each state once, and none of a candle that was given closed. Times in microseconds."""

    duplicates: int = 0
    _closed: Spans = field(default_factory=lambda: Spans(RANGES_AT_MOST))
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
