"""Past watermarks in order, each at the exchange's time of its publication. Sans I/O.

A watermark carries its producer's time, books are as of an exchange time, and clocks may be wrong. Three facts narrow down when a
watermark was really published:

- The updates that its instance wrote just before it carry both the receive time by that clock and the exchange's time. So the clock's
  *difference* is known once any market of the partitions read has moved while the instance covered it.
- It is not older than the updates below the offsets that it names, nor than the watermarks before it in the topic.
- An exchange snapshot states the end of the watermarks' topic when it was requested: a watermark before that offset is not younger than
  the snapshot.

If none of this is known, for example with quiet markets, the clock is trusted. A slow clock then makes books STALE that were not; a fast
clock keeps no book LIVE beyond the next snapshot.
"""

import logging
from bisect import bisect_left
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from aiokafka.structs import ConsumerRecord

from backpack_streams.bus.codec import Codec
from backpack_streams.errors import CodecError
from backpack_streams.topic_partition import TopicPartition

__all__ = ["PastWatermark", "PastWatermarks"]

logger = logging.getLogger(__name__)

_OBSERVED: Final = 10_000
"""Observations kept per partition: half an hour at a few per second."""
_OFFSETS_BACK: Final = 2_000
_LOOKED_AHEAD: Final = 512
_OBSERVATIONS_A_LOOK: Final = 20
_LOOK_MICROS: Final = 100_000
_SLACK_MICROS: Final = 1_000_000
_RECENT_MICROS: Final = 3_000_000
_BOUND_MICROS: Final = 5_000_000
"""Maximum assumed difference between the clocks of REST servers and of the matching engine."""


class PastWatermark(NamedTuple):
    """A watermark, and when it was published (µs, by the exchange's clock)."""

    at_us: int
    record: ConsumerRecord
    row: Mapping[str, Any]


class _Observation(NamedTuple):
    """An update: its offset, its receive time, and by how much that clock was ahead of the exchange's (µs)."""

    offset: int
    received_us: int
    difference: int


@dataclass(slots=True)
class _Clock:
    """What is known of one instance's clock."""

    difference: int = 0
    is_known: bool = False
    published_us: int = 0
    complete_through: int = 0
    offsets: Mapping[TopicPartition, int] = field(default_factory=dict)


class _Time(NamedTuple):
    """When a watermark was published (µs, exchange's clock), and its clock's lead; `is_known`: the lead was measured by updates."""

    at_us: int
    difference: int
    is_known: bool


class _Waiting:
    """A watermark that is not due yet."""

    __slots__ = ("offsets", "record", "row")

    def __init__(self, record: ConsumerRecord, row: Mapping[str, Any], offsets: Mapping[TopicPartition, int]) -> None:
        self.record = record
        self.row = row
        self.offsets = offsets


class PastWatermarks:
    """Takes the records of the watermarks' partition and observations of updates; gives watermarks as they become due.

    `positions` holds the next offset of each depth partition; the caller keeps it up to date.
    """

    def __init__(
        self, codec: Codec, topic_partition: TopicPartition, depth_topic: str, asked: Iterable[tuple[int, int]] = ()
    ) -> None:
        """Prepare without watermarks.

        Args:
            codec: decodes the records.
            topic_partition: the partition of the watermarks.
            depth_topic: full name of the topic of updates.
            asked: for each snapshot, the end offset of `topic_partition` when the exchange was asked, and the time of its answer
                (µs since the Unix epoch).
        """
        self.topic_partition = topic_partition
        self.positions: dict[TopicPartition, int] = {}
        self.next_look_us = 0
        """No watermark is looked for before this moment."""
        self.undecodable_records = 0
        self._codec = codec
        self._depth_topic = depth_topic
        self._queue: deque[ConsumerRecord] = deque()
        self._next: deque[_Waiting] = deque()
        self._is_resting = False
        self._clocks: dict[str, _Clock] = {}
        self._observed: dict[TopicPartition, list[_Observation]] = {}
        self._asked = sorted(asked)
        self._at_us = 0
        self._observations = 0
        self._blocked: tuple[int, int] | None = None

    # Reading --------------------------------------------------------------------------------------------------

    @property
    def is_hungry(self) -> bool:
        """Whether the partition has more watermarks, but none of them was delivered."""
        return not self._queue and not self._next and not self._is_resting

    @property
    def is_resting(self) -> bool:
        """Whether the partition was read to its end."""
        return self._is_resting

    def feed(self, records: Iterable[ConsumerRecord]) -> None:
        """Take the next records of the watermarks' partition."""
        self._queue.extend(records)
        self.next_look_us = 0
        self._blocked = None

    def rest(self) -> None:
        """Mark the partition as read to its end."""
        self._is_resting = True

    def wake(self) -> None:
        """Mark the partition as having more records."""
        self._is_resting = False

    def observe(self, topic_partition: TopicPartition, offset: int, engine_us: int, received_us: int) -> None:
        """Note an update that was read, possibly long before it is due.

        Args:
            topic_partition: its depth partition.
            offset: its offset.
            engine_us: its engine time (µs since the Unix epoch).
            received_us: its receive time, by the clock of the instance that wrote it.
        """
        observed = self._observed.setdefault(topic_partition, [])
        if observed and observed[-1].offset >= offset:  # the topic was recreated
            observed.clear()
        observed.append(_Observation(offset, received_us, received_us - engine_us))
        self._observations += 1
        if len(observed) > 2 * _OBSERVED:
            del observed[:_OBSERVED]

    # Order ----------------------------------------------------------------------------------------------------

    def due(self, now_us: int, *, at_once: bool = False) -> Iterator[PastWatermark]:
        """Yield the watermarks published up to `now_us`, in topic order. Looks only every 0.1 s, unless `at_once`."""
        if not at_once and now_us < self.next_look_us:
            return
        self.next_look_us = now_us + _LOOK_MICROS
        while self._fill(1) and self._is_due(now_us):
            yield self._pop(now_us)

    def is_through(self, limit_us: int | None) -> bool:
        """Return whether all watermarks up to this time were given (None: all there are)."""
        if self.is_hungry:
            return False
        if not self._fill(1):
            return self._is_resting
        return limit_us is not None and not self._is_due(limit_us)

    def rest_of(self) -> Iterator[PastWatermark]:
        """Yield all watermarks read so far, whatever their time."""
        while self._fill(1):
            yield self._pop(None)

    def _pop(self, now_us: int | None) -> PastWatermark:
        waiting = self._next.popleft()
        self._blocked = None
        at_us = self._time_of(waiting).at_us
        self._note(waiting)
        self._at_us = max(self._at_us, at_us if now_us is None else min(at_us, now_us))
        return PastWatermark(self._at_us, waiting.record, waiting.row)

    def _is_due(self, now_us: int) -> bool:
        head, time = self._next[0], self._time_of(self._next[0])
        is_reached = self._is_reached(head)
        if is_reached and time.at_us <= now_us:
            return True
        if is_reached and time.is_known:
            self.next_look_us = max(self.next_look_us, time.at_us)
            return False
        # Only its own clock gives its time: a later watermark, published after it, may confirm that it is due.
        if self._blocked is not None and now_us < self._blocked[0] and self._observations < self._blocked[1]:
            return False
        is_odd, next_us = time.at_us > self._at_us + _BOUND_MICROS, now_us + _RECENT_MICROS
        self._fill(_LOOKED_AHEAD)
        if not is_reached and time.at_us <= now_us and self._is_void(head):
            return True
        for each in self._next:
            time = self._time_of(each)
            if is_odd or time.is_known:
                if time.at_us <= now_us and self._is_reached(each):
                    return True
                if time.at_us > now_us:
                    next_us = min(next_us, time.at_us)
        self._blocked = next_us, self._observations + _OBSERVATIONS_A_LOOK
        return False

    def _is_reached(self, waiting: _Waiting) -> bool:
        return all(offset <= self.positions.get(each, offset) for each, offset in waiting.offsets.items())

    def _is_void(self, waiting: _Waiting) -> bool:
        """Return whether its offsets belong to a topic that was recreated since: its instance names lower ones later."""
        return any(
            each.offsets.get(topic_partition, offset) < offset
            for each in self._next
            if each.row["instance"] == waiting.row["instance"]
            for topic_partition, offset in waiting.offsets.items()
        )

    def _fill(self, count: int) -> bool:
        """Decode up to `count` waiting watermarks; False if there is none."""
        while len(self._next) < count and self._queue:
            record = self._queue.popleft()
            try:
                row = self._codec.decode(record.value or b"")[1]
                offsets = {
                    (topic["topic"], partition): offset
                    for topic in row["offsets"]
                    if topic["topic"] == self._depth_topic
                    for partition, offset in enumerate(topic["next_offsets"])
                    if offset >= 0
                }
                brings_updates = any(topic["topic"] == self._depth_topic for topic in row["offsets"])
                if brings_updates and row.keys() >= {"instance", "published_time", "complete_through", "interval_ms"}:
                    self._next.append(_Waiting(record, row, offsets))
            except (CodecError, KeyError) as error:
                self.undecodable_records += 1
                where = {"topic": record.topic, "partition": record.partition, "offset": record.offset}
                logger.warning("a watermark cannot be read", extra=where | {"error": str(error)})
        return bool(self._next)

    # Publication time -----------------------------------------------------------------------------------------

    def _clock(self, waiting: _Waiting) -> _Clock:
        return self._clocks.setdefault(waiting.row["instance"], _Clock())

    def _time_of(self, waiting: _Waiting) -> _Time:
        """Return when the watermark was published."""
        clock, published = self._clock(waiting), int(waiting.row["published_time"])
        step = published - clock.published_us
        is_regular = 0 <= step <= waiting.row["interval_ms"] * 1000 + _SLACK_MICROS
        told = self._told_by_updates(waiting, clock if is_regular else None)
        if told is not None:
            return _Time(published - told, told, True)
        if is_regular and clock.is_known:
            return _Time(published - clock.difference, clock.difference, True)
        set_back = step if clock.published_us and step < -_SLACK_MICROS else 0
        difference = clock.difference + set_back
        bound = self._bound(waiting)
        if bound is not None and published - difference > bound + _BOUND_MICROS:
            self._fill(_LOOKED_AHEAD)
            others = (each for each in self._next if each.row["instance"] == waiting.row["instance"])
            bounded = ((int(each.row["published_time"]), self._bound(each)) for each in others)
            difference = max([published - bound, *(other - by_us for other, by_us in bounded if by_us is not None)])
        return _Time(published - difference, difference, False)

    def _bound(self, waiting: _Waiting) -> int | None:
        """Return its latest possible time: that of the first snapshot which names a later end of the topic; None without one."""
        return min((time for end, time in self._asked if end > waiting.record.offset), default=None)

    def _note(self, waiting: _Waiting) -> None:
        """Remember a watermark that is given, to judge the next one of its instance."""
        clock, time = self._clock(waiting), self._time_of(waiting)
        clock.difference, clock.is_known = time.difference, time.is_known
        clock.published_us, clock.complete_through = (
            int(waiting.row["published_time"]),
            int(waiting.row["complete_through"]),
        )
        clock.offsets = waiting.offsets

    def _told_by_updates(self, waiting: _Waiting, before: _Clock | None) -> int | None:
        """Return the clock's lead by the updates that the instance wrote since its last watermark; None if none was observed."""
        published = int(waiting.row["published_time"])
        since_us = published - _RECENT_MICROS if before is None else before.complete_through - _SLACK_MICROS
        told: int | None = None
        for topic_partition, end in waiting.offsets.items():
            start = end - _OFFSETS_BACK if before is None else before.offsets.get(topic_partition, end - _OFFSETS_BACK)
            observed = self._observed.get(topic_partition, [])
            first, last = (bisect_left(observed, offset, key=lambda each: each.offset) for offset in (start, end))
            for each in observed[first:last]:
                if since_us <= each.received_us <= published + _SLACK_MICROS:
                    told = each.difference if told is None else min(told, each.difference)
        return told
