"""Distinguishes a sequence that restarted, for example after a relisting, from old duplicates and late snapshots. Sans I/O.

Update ids alone do not suffice: after a restart every update looks like an old duplicate, and a book that drops them all stays frozen while
it claims to be live. Engine time does: it never goes back, so a duplicate is not newer than the update it is a copy of.

There is one rule, `is_later`. Two times of the matching engine are compared exactly, against the newest one of the sequence, since a clock
may step back. A comparison that involves a REST server's time has one tolerance. All times are microseconds since the Unix epoch.
"""

from typing import Final, NamedTuple

__all__ = [
    "AHEAD_AT_MOST_MICROSECONDS",
    "TOLERANCE_MICROSECONDS",
    "Position",
    "SequenceTime",
    "followed",
    "is_later",
    "newest_of",
    "restarted_by_snapshot",
    "restarted_by_update",
    "snapshot_is_outdated",
    "update_is_outdated",
]

TOLERANCE_MICROSECONDS: Final = 10_000_000
"""How far the clocks of a REST server and of the matching engine may differ."""
AHEAD_AT_MOST_MICROSECONDS: Final = 3_600_000_000
"""A time further ahead than this decides nothing: one record with an absurd time must not make all others look old."""


def is_later(time: int | None, than: int | None, tolerance_microseconds: int = 0, disowned: int = 0) -> bool:
    """Whether one time is later than another (µs); False if one of them is unknown.

    Args:
        time: the time to judge; None if unknown.
        than: the time to compare with; None if unknown.
        tolerance_microseconds: how much later it has to be.
        disowned: a time that the sequence once had and was set back from, 0 if none. A message with that time, or one shortly before it,
            may be a copy.
    """
    if time is None or than is None or time - than <= tolerance_microseconds:
        return False
    return not than < disowned - AHEAD_AT_MOST_MICROSECONDS <= time <= disowned


def newest_of(time: int, known: int) -> int:
    """The newest time of a sequence after a message that simply followed.

    Such a message is believed. If it is far behind the newest time, that time was absurd, or the engine's clock was set back.

    Args:
        time: the message's time (µs), 0 if unknown.
        known: the newest time so far (µs), 0 if unknown.
    """
    return time if time > known or 0 < time < known - AHEAD_AT_MOST_MICROSECONDS else known


class SequenceTime:
    """The engine times of one sequence, in microseconds; 0 if unknown."""

    __slots__ = ("_claim", "began_us", "disowned_us", "ended_us", "time_us")

    def __init__(self) -> None:
        self.time_us = 0
        """The newest time of the sequence."""
        self.began_us = 0
        """The first time after the ids restarted."""
        self.ended_us = 0
        """The newest time of the previous sequence."""
        self.disowned_us = 0
        """The newest time before a message that followed although it was far behind."""
        self._claim: tuple[int, int] | None = None

    def saw(self, time_us: int) -> None:
        """Note the time (µs, 0 if unknown) of a message that simply followed."""
        known, self.time_us = self.time_us, newest_of(time_us, self.time_us)
        if self.time_us < known:
            self.disowned_us = known

    def begins_anew(
        self, last_id: int, time_us: int, tolerance_microseconds: int = 0, received_us: int | None = None
    ) -> bool:
        """Whether a message with ids that were passed long ago is nevertheless new.

        If its time is far ahead of our clock, either the time is absurd or our clock is wrong. The next message of the sequence decides, so
        that it takes two.

        Args:
            last_id: its last id.
            time_us: its time (µs).
            tolerance_microseconds: how much later than the newest time it has to be.
            received_us: when it was received, by our clock (µs); None if unknown.
        """
        if not is_later(time_us, self.time_us or None, tolerance_microseconds, self.disowned_us):
            return False
        if received_us is None or time_us <= received_us + AHEAD_AT_MOST_MICROSECONDS:
            return True
        before, self._claim = self._claim, (last_id, time_us)
        return before is not None and before[0] < last_id and 0 <= time_us - before[1] <= AHEAD_AT_MOST_MICROSECONDS

    def begin_anew(self, time_us: int | None, ended_us: int | None = None) -> None:
        """Restart the ids with a message of this time.

        Args:
            time_us: the message's time (µs), None if unknown.
            ended_us: the newest time of the previous sequence (µs), if it is not the newest one noted here.
        """
        self.ended_us = self.time_us if ended_us is None else ended_us
        self.time_us = self.began_us = time_us or 0
        self.disowned_us = 0
        self._claim = None

    def is_of_before(self, time_us: int) -> bool:
        """Whether a time belongs to the sequence that ended: it is nearer to its end than to the beginning of this one.

        "Nearer", because the clock may step back after a restart, and that must not lose updates of the new sequence.
        """
        return 0 < self.ended_us < self.began_us and time_us > 0 and 2 * time_us < self.ended_us + self.began_us


class Position(NamedTuple):
    """The newest known id of a sequence.

    Attributes:
        last_id: the id.
        engine_time: its engine time (µs), None if unknown.
        tolerance_microseconds: how far `engine_time` may be off; above 0 for a snapshot.
        disowned: see `is_later`.
    """

    last_id: int
    engine_time: int | None
    tolerance_microseconds: int = 0
    disowned: int = 0


def followed(position: Position | None, last_id: int, engine_time: int | None) -> Position:
    """The position after an update. Once an update has a time, a snapshot's time no longer counts."""
    if position is None or position.tolerance_microseconds:
        return Position(last_id, engine_time)
    known = position.engine_time or 0
    newest = newest_of(engine_time or 0, known)
    return Position(last_id, newest or None, 0, known if newest < known else position.disowned)


def restarted_by_update(position: Position, last_id: int, engine_time: int | None) -> bool:
    """Whether an update with an id that was passed long ago is nevertheless new."""
    return last_id <= position.last_id and is_later(
        engine_time, position.engine_time, position.tolerance_microseconds, position.disowned
    )


def restarted_by_snapshot(position: Position, last_update_id: int, engine_time: int | None) -> bool:
    """Whether a REST snapshot is less than half as far by id and yet clearly later.

    "Half", because a snapshot that is merely late lags by seconds of updates, and may carry the time of the answer. A restarted sequence
    begins near zero.
    """
    return 2 * last_update_id < position.last_id and is_later(engine_time, position.engine_time, TOLERANCE_MICROSECONDS)


def snapshot_is_outdated(position: Position, last_update_id: int, engine_time: int | None) -> bool:
    """Whether a REST snapshot is ahead by id and yet clearly earlier: it belongs to the sequence that ended."""
    return last_update_id >= position.last_id and is_later(position.engine_time, engine_time, TOLERANCE_MICROSECONDS)


def update_is_outdated(position: Position, last_id: int, engine_time: int | None) -> bool:
    """Whether an update is more than twice as far by id and yet earlier: another producer still publishes the sequence that ended.

    For readers that do not know when the sequence began. If they do, `SequenceTime.is_of_before` is more exact.
    """
    return 2 * position.last_id < last_id and is_later(position.engine_time, engine_time, TOLERANCE_MICROSECONDS)
