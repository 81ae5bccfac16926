"""Detects duplicate records, from any producer and any delay: by ranges of ids, otherwise by recent hashes. Sans I/O."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from backpack_streams.books.streamed import sequence_time
from backpack_streams.bus.topics import COMPACT, Topic
from backpack_streams.sequencing.candle_times import candle_end
from backpack_streams.sequencing.restart import TOLERANCE_MICROSECONDS
from backpack_streams.sequencing.spans import Spans
from backpack_streams.sequencing.trade_order import RANGES_AT_MOST, Given

__all__ = ["CandleOrder", "Distinct", "IdRanges", "Recent", "identity_of"]

RECENT: Final = 50_000
"""Recent records remembered per partition, at least, of topics whose records have no ids; at most twice as many, about 8 MB."""
RECENT_MICROS: Final = 600_000_000
"""How long they are remembered, at least, if there are fewer."""
_SEQUENCES_AT_MOST: Final = 8
_OPEN_AT_MOST: Final = 64
"""How many open candles of a market and interval are remembered. Those whose closed state is lost leave only by this limit."""
CLOCKS_DIFFER_MICROS: Final = 3_600_000_000
"""How long after its receive time a candle may begin: the receiver's clock may be behind, for example in a wrong time zone."""
_CUT_MICROS: Final = 1_000
"""REST cuts times to milliseconds: a copy from the socket may look later by this much."""

_NEW: Final = Given(None)
_LATE: Final = Given(None, is_late=True)


@dataclass(slots=True)
class _Sequence:
    newest_us: int
    newest_id: int = -1
    seen: Spans = field(default_factory=lambda: Spans(RANGES_AT_MOST))


class IdRanges:
    """The ids of one market that were given, as ranges, for each sequence of ids that the exchange has started.

    Copies carry the exchange's time of the original. So a record later than all before it is no copy, whatever its ids: if these have
    appeared before, a new sequence has started. An older record belongs to the sequence of its time.
    """

    __slots__ = ("_sequences",)

    def __init__(self) -> None:
        self._sequences: list[_Sequence] = []

    def offer(self, first_id: int, last_id: int, time_us: int, *, is_engine_time: bool = True) -> Given[None] | None:
        """Take a record with consecutive ids; return None if all of its ids were given before.

        Args:
            first_id: its first id.
            last_id: its last id, inclusive.
            time_us: the exchange's time (µs since the Unix epoch), 0 if unknown.
            is_engine_time: False if the time is REST's or an event's, so from another clock.
        """
        tolerance = 0 if is_engine_time else TOLERANCE_MICROSECONDS
        sequences = self._sequences
        if not sequences:
            sequences.append(_Sequence(time_us))
        newest, copied_us = sequences[-1], time_us - tolerance - _CUT_MICROS
        sequence = next((each for each in sequences if copied_us <= each.newest_us), newest)
        if sequence.seen.covers(first_id, last_id + 1):
            if copied_us <= newest.newest_us:
                return None
            sequence = newest = self._begin_anew(time_us)
        elif last_id <= newest.newest_id and copied_us > newest.newest_us:
            sequence = newest = self._begin_anew(time_us)
        is_late = sequence is not newest or last_id < sequence.newest_id
        sequence.newest_us = max(sequence.newest_us, time_us + tolerance)
        sequence.newest_id = max(sequence.newest_id, last_id)
        sequence.seen.add(first_id, last_id + 1)
        return _LATE if is_late else _NEW

    def _begin_anew(self, time_us: int) -> _Sequence:
        sequence = _Sequence(time_us)
        self._sequences.append(sequence)
        del self._sequences[:-_SEQUENCES_AT_MOST]
        return sequence


class CandleOrder:
    """The candles of one market and interval: each state once, and no state of a candle given as closed. Times in microseconds."""

    __slots__ = ("_closed", "_interval", "_newest_start", "_open")

    def __init__(self, interval: str) -> None:
        """Create an empty memory.

        Args:
            interval: as the exchange names it. It tells where candles end; the end that a candle claims may be wrong.
        """
        self._interval = interval
        self._closed = Spans(RANGES_AT_MOST)
        self._newest_start = -1
        self._open: dict[int, int] = {}
        """By start, the time of the newest open state."""

    def offer(self, start_us: int, event_us: int, is_closed: bool, received_us: int) -> Given[None] | None:
        """Take a candle state, made at `event_us` (0 if unknown). Returns None if it was given before, or is older.

        Args:
            start_us: start of the candle.
            event_us: time of this state; of two open states of a candle, only the later one is new.
            is_closed: whether this is the final state.
            received_us: when it was received. A candle that begins much later than that makes no other one late.
        """
        if start_us in self._closed or (not is_closed and event_us <= self._open.get(start_us, -1)):
            return None
        is_late, end_us = start_us < self._newest_start, self._end(start_us)
        if start_us - received_us < max(end_us - start_us, CLOCKS_DIFFER_MICROS):
            self._newest_start = max(self._newest_start, start_us)
        if is_closed:
            self._closed.add(start_us, end_us)
            self._open.pop(start_us, None)
        else:
            self._open[start_us] = event_us
            if len(self._open) > _OPEN_AT_MOST:
                del self._open[next(iter(self._open))]
        return _LATE if is_late else _NEW

    def _end(self, start_us: int) -> int:
        try:
            return candle_end(self._interval, start_us)
        except ValueError:  # an interval that the exchange has added
            return start_us + 1


class Recent:
    """Hashes of a partition's recent records, for records without ids, in two halves: the older is dropped when the younger is full."""

    __slots__ = ("_began_us", "_most", "_old", "_young")

    def __init__(self, most: int = RECENT) -> None:
        """Create an empty memory.

        Args:
            most: number of hashes after which the younger half becomes the older one; up to twice as many are
                remembered.
        """
        self._most = most
        self._young: set[int] = set()
        self._old: set[int] = set()
        self._began_us: int | None = None

    def __len__(self) -> int:
        return len(self._young) + len(self._old)

    def __contains__(self, identity: int) -> bool:
        return identity in self._young or identity in self._old

    def offer(self, identity: int, received_us: int) -> bool:
        """Return whether a record is new, and remember it.

        Args:
            identity: hash of what identifies the record (`identity_of`).
            received_us: its receive time (µs since the Unix epoch), which decides how long hashes are remembered.
        """
        if identity in self:
            return False
        if self._began_us is None:
            self._began_us = received_us
        if len(self._young) >= self._most or received_us > self._began_us + RECENT_MICROS:
            self._old, self._young, self._began_us = self._young, set(), received_us
        self._young.add(identity)
        return True


class Distinct:
    """Detects duplicates in the topics read. A copy of a record with ids is detected after any number of others. Without ids, detection is
    certain only within 50,000 other records of its partition and ten minutes. In a compacted topic, only a repetition of the latest value
    is a duplicate.
    """

    def __init__(self) -> None:
        self._ids: dict[tuple[str, str], IdRanges] = {}
        self._candles: dict[tuple[str, str], CandleOrder] = {}
        self._recent: dict[tuple[str, int], Recent] = {}
        self._partitions: dict[tuple[str, str], list[Recent]] = {}
        """By topic and key, the memories of the partitions that hold the key: one, unless partitions were added to the topic."""
        self._latest: dict[tuple[str, str], int] = {}
        self.duplicates = 0

    def offer(
        self, topic: Topic, partition: int, key: str, name: str, value: Mapping[str, Any] | None
    ) -> Given[None] | None:
        """Take a record; return None if it was given before.

        Args:
            topic: the topic of the record, whose cleanup policy decides what counts as a duplicate.
            partition: its partition.
            key: its key, usually the symbol.
            name: the type of the record, such as `Trade`.
            value: its decoded value; None for a tombstone.

        Raises:
            KeyError: a DepthUpdate, a Trade or a Kline lacks a field that identifies it.
        """
        given = self._offer(topic, partition, key, name, value)
        self.duplicates += given is None
        return given

    def _offer(
        self, topic: Topic, partition: int, key: str, name: str, value: Mapping[str, Any] | None
    ) -> Given[None] | None:
        if topic.cleanup == COMPACT:
            identity = 0 if value is None else identity_of(name, value)
            is_new = self._latest.get((topic.name, key)) != identity
            self._latest[topic.name, key] = identity
            return _NEW if is_new else None
        if value is None:
            return _NEW
        if name in _IDS:
            first, last = _IDS[name]
            ranges = self._ids.get((topic.name, key)) or self._ids.setdefault((topic.name, key), IdRanges())
            return ranges.offer(
                value[first], value[last], sequence_time(value), is_engine_time=value["engine_time"] is not None
            )
        if name == "Kline":
            interval = value["interval"]
            candles = self._candles.get((key, interval))
            if candles is None:
                candles = self._candles[key, interval] = CandleOrder(interval)
            event_us, received_us = value["event_time"] or 0, value["received_time"]
            return candles.offer(value["start_time"], event_us, value["is_closed"], received_us)
        is_new = self._offer_recent(
            (topic.name, key), partition, identity_of(name, value), value.get("received_time") or 0
        )
        return _NEW if is_new else None

    def _offer_recent(self, key: tuple[str, str], partition: int, identity: int, received_us: int) -> bool:
        here = self._recent.get((key[0], partition))
        if here is None:  # an empty one is false
            here = self._recent[key[0], partition] = Recent()
        met = self._partitions.setdefault(key, [])
        if here not in met:
            met.append(here)
        return not any(identity in each for each in met if each is not here) and here.offer(identity, received_us)


_IDS: Final = {"DepthUpdate": ("first_update_id", "last_update_id"), "Trade": ("trade_id", "trade_id")}
"""Records whose ids are consecutive: the fields of the first and the last id."""
NOT_OF_THE_RECORD: Final = frozenset({"received_time", "cache_age_seconds"})
"""Fields that describe how a record was received, not its content."""
IDENTITIES: Final[Mapping[str, tuple[str, ...]]] = {
    "BookSnapshot": ("symbol", "last_update_id", "engine_time", "origin", "delta_offset"),
    "FundingRate": ("symbol", "interval_end_time", "is_settled", "funding_rate"),
}
"""Fields that identify a record, if not all are needed."""


def identity_of(name: str, value: Mapping[str, Any]) -> int:
    """Return a hash of what identifies a record: two copies of it have the same.

    A REST value without a time of its own counts as new at each request.

    Args:
        name: the type of the record, such as `FundingRate`.
        value: its decoded fields.

    Returns:
        A hash that is valid only in this process, since Python salts the hashes of strings.
    """
    fields = IDENTITIES.get(name)
    if fields is None:
        is_dated = value.get("event_time") is not None or value.get("engine_time") is not None
        left_out = NOT_OF_THE_RECORD if is_dated or "raw" in value else frozenset({"cache_age_seconds"})
        fields = tuple(field for field in value if field not in left_out)
    return hash((name, *(repr(value.get(field)) for field in fields)))
