"""Tells a sequence that began again, as after a relisting, from old duplicates and late snapshots. Sans I/O.

Update ids alone cannot: after a restart every update looks like an old duplicate, and a book that drops them all
stays frozen while it claims to be live. Engine time can: it never goes back, so a duplicate is not newer than the
update it is a copy of.

There is one rule, `is_later`. Two times of the matching engine are compared exactly, against the newest one of the
sequence, since a clock may step back. Where a REST server's time takes part there is one tolerance.
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
    "restarted_by_seed",
    "restarted_by_update",
    "seed_is_outdated",
    "update_is_outdated",
]

TOLERANCE_MICROSECONDS: Final = 10_000_000
"""How far the clocks of a REST server and of the matching engine may differ."""
AHEAD_AT_MOST_MICROSECONDS: Final = 3_600_000_000
"""A time further ahead of the present than this decides nothing: one record with an absurd time must not make all others look old."""


def is_later(time: int | None, than: int | None, tolerance_microseconds: int = 0, disowned: int = 0) -> bool:
    """Whether one time is later than another (µs); not so where one of them is unknown.

    `disowned`: a time that the sequence has had, and was set back from: what comes with it, or with one shortly before it, may be a copy.
    """
    if time is None or than is None or time - than <= tolerance_microseconds:
        return False
    return not than < disowned - AHEAD_AT_MOST_MICROSECONDS <= time <= disowned


def newest_of(time: int, known: int) -> int:
    """The newest time of a sequence after a message that simply followed; 0 where a time is unknown.

    Such a message is believed. If it is far behind the newest time, then that one was absurd, or the engine's clock was set.
    """
    return time if time > known or 0 < time < known - AHEAD_AT_MOST_MICROSECONDS else known


class SequenceTime:
    """The engine's time in one sequence, in microseconds; 0 where it is unknown."""

    __slots__ = ("_claim", "began_us", "disowned_us", "ended_us", "time_us")

    def __init__(self) -> None:
        self.time_us = 0
        """The newest time of the sequence."""
        self.began_us = 0
        """The first one after the ids began again."""
        self.ended_us = 0
        """The newest one of the sequence before."""
        self.disowned_us = 0
        """The newest time before a message far behind it followed all the same."""
        self._claim: tuple[int, int] | None = None

    def saw(self, time_us: int) -> None:
        """A message of the sequence that simply followed had this time."""
        known, self.time_us = self.time_us, newest_of(time_us, self.time_us)
        if self.time_us < known:
            self.disowned_us = known

    def begins_anew(
        self, last_id: int, time_us: int, tolerance_microseconds: int = 0, received_us: int | None = None
    ) -> bool:
        """Whether a message whose ids were passed long ago is nevertheless new. `received_us`: when it came, None if nobody knows.

        A time far ahead of our clock is absurd, or our clock is wrong: the next message of a sequence tells, and so it takes two.
        """
        if not is_later(time_us, self.time_us or None, tolerance_microseconds, self.disowned_us):
            return False
        if received_us is None or time_us <= received_us + AHEAD_AT_MOST_MICROSECONDS:
            return True
        before, self._claim = self._claim, (last_id, time_us)
        return before is not None and before[0] < last_id and 0 <= time_us - before[1] <= AHEAD_AT_MOST_MICROSECONDS

    def begin_anew(self, time_us: int | None, ended_us: int | None = None) -> None:
        """The ids began again, with a message of this time. `ended_us`: the newest time of the sequence before, if not the one here."""
        self.ended_us = self.time_us if ended_us is None else ended_us
        self.time_us = self.began_us = time_us or 0
        self.disowned_us = 0
        self._claim = None

    def is_of_before(self, time_us: int) -> bool:
        """Whether a time is of the sequence that ended: nearer to its end than to the beginning of this one.

        Nearer, because the clock may step back after a restart, and nothing of the new sequence may be lost for that.
        """
        return 0 < self.ended_us < self.began_us and time_us > 0 and 2 * time_us < self.ended_us + self.began_us


class Position(NamedTuple):
    """Newest update id known of a sequence, its engine time (µs, None unknown) and how far that may be off; `disowned` as in `is_later`."""

    last_id: int
    engine_time: int | None
    tolerance_microseconds: int = 0
    disowned: int = 0


def followed(position: Position | None, last_id: int, engine_time: int | None) -> Position:
    """The position after an update. A snapshot's time says nothing any more once there is an update's."""
    if position is None or position.tolerance_microseconds:
        return Position(last_id, engine_time)
    known = position.engine_time or 0
    newest = newest_of(engine_time or 0, known)
    return Position(last_id, newest or None, 0, known if newest < known else position.disowned)


def restarted_by_update(position: Position, last_id: int, engine_time: int | None) -> bool:
    """Whether an update whose id was passed long ago is nevertheless new."""
    return last_id <= position.last_id and is_later(
        engine_time, position.engine_time, position.tolerance_microseconds, position.disowned
    )


def restarted_by_seed(position: Position, last_update_id: int, engine_time: int | None) -> bool:
    """Whether a snapshot is far behind by id, less than half way, and yet clearly later.

    Half way, because a snapshot that is merely late is late by seconds of updates and may carry the time of the
    answer; a sequence that restarted begins near zero.
    """
    return 2 * last_update_id < position.last_id and is_later(engine_time, position.engine_time, TOLERANCE_MICROSECONDS)


def seed_is_outdated(position: Position, last_update_id: int, engine_time: int | None) -> bool:
    """Whether a snapshot is ahead by id and yet clearly earlier: it is of the sequence that ended."""
    return last_update_id >= position.last_id and is_later(position.engine_time, engine_time, TOLERANCE_MICROSECONDS)


def update_is_outdated(position: Position, last_id: int, engine_time: int | None) -> bool:
    """Whether an update is ahead by id, more than twice as far, and yet earlier: another producer still brings the sequence that ended.

    For a reader that does not know when the sequence began. If it knows, `SequenceTime.is_of_before` tells more.
    """
    return 2 * position.last_id < last_id and is_later(position.engine_time, engine_time, TOLERANCE_MICROSECONDS)
