"""Tells a sequence that began again, as after a relisting, from old duplicates and late snapshots.

Update ids alone cannot: after a restart every update looks like an old duplicate, and a book that drops them all
stays frozen while it claims to be live. Engine time can: it never goes back, so a duplicate is not newer than the
update it is a copy of.
"""

from typing import NamedTuple

__all__ = [
    "SEED_TOLERANCE_MICROSECONDS",
    "UPDATE_TOLERANCE_MICROSECONDS",
    "Position",
    "restarted_by_seed",
    "restarted_by_update",
    "seed_is_outdated",
    "update_is_outdated",
]

UPDATE_TOLERANCE_MICROSECONDS = 1_000_000
"""Between two updates: one clock, the matching engine's."""

SEED_TOLERANCE_MICROSECONDS = 10_000_000
"""Where a snapshot takes part: its time is the REST server's, which may be off."""


class Position(NamedTuple):
    """Newest update id known of a sequence, its engine time (µs, None unknown) and how far that may be trusted."""

    last_id: int
    engine_time: int | None
    tolerance_microseconds: int


def restarted_by_update(position: Position, last_id: int, engine_time: int | None) -> bool:
    """Whether an update whose id was passed long ago is nevertheless new."""
    return last_id <= position.last_id and _is_later(engine_time, position.engine_time, position.tolerance_microseconds)


def restarted_by_seed(position: Position, last_update_id: int, engine_time: int | None) -> bool:
    """Whether a snapshot is far behind by id, less than half way, and yet clearly later.

    Half way, because a snapshot that is merely late is late by seconds of updates and may carry the time of the
    answer; a sequence that restarted begins near zero.
    """
    return 2 * last_update_id < position.last_id and _is_later(
        engine_time, position.engine_time, SEED_TOLERANCE_MICROSECONDS
    )


def seed_is_outdated(position: Position, last_update_id: int, engine_time: int | None) -> bool:
    """Whether a snapshot is ahead by id and yet clearly earlier: it is of the sequence that ended."""
    return last_update_id >= position.last_id and _is_later(
        position.engine_time, engine_time, SEED_TOLERANCE_MICROSECONDS
    )


def update_is_outdated(position: Position, last_id: int, engine_time: int | None) -> bool:
    """Whether an update is ahead by id, more than twice as far, and yet earlier: another producer still brings the sequence that ended."""
    return 2 * position.last_id < last_id and _is_later(
        position.engine_time, engine_time, position.tolerance_microseconds
    )


def _is_later(time: int | None, than: int | None, tolerance_microseconds: int) -> bool:
    return time is not None and than is not None and time - than > tolerance_microseconds
