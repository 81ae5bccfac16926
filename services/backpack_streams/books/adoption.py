"""Decides whether a snapshot may become the book of a market, given all that is known to be missing, wrong or ended. Sans I/O.

A single REST answer may be old. If it contradicts a book that a producer vouches for, a second answer has to confirm it. The second must
be received so much later that it cannot be older than the first.
"""

from enum import Enum
from math import inf
from typing import Final, NamedTuple

from backpack_streams.books.snapshot import BaseSnapshot, Snapshot
from backpack_streams.sequencing.restart import (
    TOLERANCE_MICROSECONDS,
    Position,
    restarted_by_snapshot,
    snapshot_is_outdated,
)
from backpack_streams.sequencing.runs import OLDEST_ANSWER_SECONDS

__all__ = ["REST_OLD_SECONDS", "Adoption", "Contradiction", "Epoch"]

REST_OLD_SECONDS: Final = OLDEST_ANSWER_SECONDS
"""Maximum age of the exchange's REST answer when it is received."""
FUTURE_SECONDS: Final = 60.0
"""An update stamped this much later than both the reader's clock and a snapshot's receive time cannot be the exchange's."""
_MICROS: Final = 1_000_000


class Epoch(NamedTuple):
    """Start of the current sequence after a restart (engine time, µs): anything older belongs to the previous sequence."""

    start: int
    is_from_snapshot: bool
    """The time comes from a snapshot, so from the REST server's clock, which may be off."""

    @property
    def earliest(self) -> int:
        """Earliest possible start, by the engine's clock."""
        return self.start - TOLERANCE_MICROSECONDS if self.is_from_snapshot else self.start


class Contradiction(Enum):
    """How an answer of the exchange may contradict the known state."""

    RESTARTED = "its sequence restarted"
    AHEAD = "updates are missing, though none shows it"
    UNKNOWN = "it knows nothing of what came last"


class _Witness(NamedTuple):
    """A snapshot that contradicts the known state, and the position of the book at that time."""

    what: Contradiction
    book_id: int
    last_update_id: int
    base: BaseSnapshot

    def seconds_before(self, base: BaseSnapshot) -> float | None:
        """Return how much earlier it was received than another answer; by engine times if both receive times are unknown."""
        times = self.base.received_time, base.received_time
        if times == (None, None):
            times = self.base.engine_time, base.engine_time
        earlier, later = times
        return None if earlier is None or later is None else (later - earlier) / _MICROS


class Adoption:
    """The evidence against snapshots of one market, the pending snapshot, and the contradicting snapshot that awaits confirmation.

    `newest` is the newest known update of the current sequence; None before the first.
    """

    __slots__ = ("_doubted_since", "_floor", "_is_cut_off", "_not_before", "_pending", "_witness", "_wrong", "epoch")

    def __init__(self) -> None:
        self.epoch: Epoch | None = None
        """The current sequence, if it is known to have restarted."""
        # Minimum id of a snapshot that includes all updates known to be missing.
        self._floor = 0
        # Since when (µs) it is uncertain whether update `_floor` exists; None: it does.
        self._doubted_since: int | None = None
        self._is_cut_off = False
        # Where and when an audit found books of this market wrong; books based on an earlier snapshot are wrong as well.
        self._wrong: Position | None = None
        # When the exchange did not have updates that were in the topic (µs, our clock): older snapshots prove nothing about them.
        self._not_before: int | None = None
        self._pending: Snapshot | None = None
        self._witness: _Witness | None = None

    # Evidence -------------------------------------------------------------------------------------------------

    def begin_epoch(self, epoch: Epoch | None) -> None:
        """Start a new sequence: evidence from the previous one no longer counts, except that sockets are down.

        Args:
            epoch: the start of the new sequence; None if it is unknown.
        """
        self.epoch = epoch
        self.demand(0)
        self._wrong = self._not_before = self._pending = self._witness = None

    def demand(self, floor: int, doubted_since: int | None = None) -> None:
        """Require a snapshot to reach an update before it may become the book.

        Args:
            floor: lowest acceptable update id of a snapshot; 0 accepts any.
            doubted_since: since when (µs since the Unix epoch) it is uncertain whether update `floor` exists; None if
                it exists.
        """
        self._floor, self._doubted_since = floor, doubted_since

    def on_cut_off(self) -> None:
        """Record that no socket brings updates: no book would stay right, whatever its snapshot."""
        self._is_cut_off = True

    def on_connected(self) -> None:
        """Record that a socket brings updates."""
        self._is_cut_off = False

    def on_wrong(self, wrong: Position) -> None:
        """Record that an audit found a book wrong.

        Snapshots based on an earlier snapshot of the exchange are refused from now on: they contain the same error.

        Args:
            wrong: the update id that the book had reached, and when the audit found it wrong (µs since the Unix epoch).
        """
        self._wrong = wrong

    def on_ahead(self, seen_time: int, floor: int) -> None:
        """Record that the topic was ahead of the exchange: only answers that were received since then count.

        Args:
            seen_time: when the exchange turned out to be behind (µs since the Unix epoch, our clock).
            floor: lowest acceptable update id of a snapshot; 0 accepts any.
        """
        self._not_before = seen_time
        self.demand(floor)

    # Pending snapshot -----------------------------------------------------------------------------------------

    @property
    def pending_id(self) -> int | None:
        """Id of the pending snapshot; None without one."""
        return None if self._pending is None else self._pending.last_update_id

    def keep(self, snapshot: Snapshot) -> bool:
        """Keep a snapshot ahead of the book in case the sequence breaks; False if the pending one is further ahead."""
        if self._pending is not None and self._pending.last_update_id > snapshot.last_update_id:
            return False
        self._pending = snapshot
        return True

    def take_pending(self) -> Snapshot | None:
        """Return the pending snapshot and clear it."""
        pending, self._pending = self._pending, None
        return pending

    def drop_pending(self, up_to: float = inf) -> None:
        """Drop the pending snapshot, which lacks what came after it; only if its id is at most `up_to`.

        Args:
            up_to: highest update id to drop; by default any.
        """
        if self._pending is not None and self._pending.last_update_id <= up_to:
            self._pending = None

    # Decisions ------------------------------------------------------------------------------------------------

    def is_useless(self, snapshot: Snapshot, newest: Position | None, now_us: int) -> bool:
        """Return whether a snapshot says nothing about a live book, as one of a sequence that ended.

        Args:
            snapshot: the snapshot to judge.
            newest: the newest known update of the current sequence; None before the first.
            now_us: the current time by our clock (µs since the Unix epoch).
        """
        if self._is_set_in_future(snapshot.base, newest, now_us):  # its time does not show which sequence is older
            return self._wrong is not None and is_from_before(snapshot.base, self._wrong)
        return self.refusal(snapshot, newest, dropped_to=0) is not None

    def _is_set_in_future(self, base: BaseSnapshot, newest: Position | None, now_us: int) -> bool:
        times = (None if self.epoch is None else self.epoch.start, None if newest is None else newest.engine_time)
        return any(is_in_future(each, base, now_us) for each in times)

    def refusal(self, snapshot: Snapshot, newest: Position | None, dropped_to: int) -> str | None:
        """Return why a snapshot cannot become the book, whatever updates wait; None if it can.

        Args:
            snapshot: the snapshot to judge.
            newest: the newest known update of the current sequence; None before the first.
            dropped_to: highest id among the updates that were dropped from the buffer; 0 if none was.
        """
        snapshot_id, base = snapshot.last_update_id, snapshot.base
        if self._is_cut_off:
            return f"snapshot {snapshot_id} would not stay right: no socket brings the updates after it"
        if self._wrong is not None and is_from_before(base, self._wrong):
            return (
                f"snapshot {snapshot_id} is based on the exchange's snapshot {base.last_update_id}, "
                f"and an audit found the book wrong at update {self._wrong.last_id}"
            )
        if self._not_before is not None and not is_received_since(base, self._not_before):
            return f"snapshot {snapshot_id} is based on one from before an audit that found updates which the exchange never sent"
        floor = max(self._floor, dropped_to)
        if snapshot_id < floor:
            return f"snapshot {snapshot_id} behind update {floor}"
        time = snapshot.engine_time
        if self.epoch is not None and time is not None and time < self.epoch.start:
            return f"snapshot {snapshot_id} is of the sequence that ended"
        if newest is not None and snapshot_is_outdated(newest, snapshot_id, time):
            return f"snapshot {snapshot_id} is ahead of update {newest.last_id} yet older: of a sequence that ended"
        return None

    def hear(self, snapshot: Snapshot, newest: Position | None, now_us: int) -> bool:
        """Take a snapshot for a book that is not live, before judging it; True if the newest known state is to be forgotten.

        This is the case if that state is stamped in the future and two answers do not include it. A second answer can also confirm that
        the exchange has not moved since an unreadable record.

        Args:
            snapshot: the snapshot to judge afterwards.
            newest: the newest known update of the current sequence; None before the first.
            now_us: the current time by our clock (µs since the Unix epoch).
        """
        if self._is_set_in_future(snapshot.base, newest, now_us):
            return self.is_agreed(snapshot, Contradiction.UNKNOWN)
        if self._doubted_since is None:
            self._witness = None
            return False
        stands = snapshot.last_update_id == self._floor - 1 and is_received_since(snapshot.base, self._doubted_since)
        if stands and self.is_agreed(snapshot, Contradiction.UNKNOWN):
            self.demand(snapshot.last_update_id)
        return False

    def forget_future(self, snapshot: Snapshot, floor: int, now_us: int) -> None:
        """Forget the state stamped in the future; a snapshot has to include everything else that has come.

        Args:
            snapshot: the second of two answers that agree; its receive time and our clock decide what is in the future.
            floor: highest known update id that is not stamped in the future; a snapshot has to reach it.
            now_us: the current time by our clock (µs since the Unix epoch).
        """
        if self.epoch is not None and is_in_future(self.epoch.start, snapshot.base, now_us):
            self.epoch = None
        self.demand(floor)
        self._witness = None

    def is_agreed(self, snapshot: Snapshot, what: Contradiction, book_id: int = 0) -> bool:
        """Take a snapshot that contradicts the known state; True if an earlier one agrees and cannot be of the same moment.

        Args:
            snapshot: the contradicting snapshot. It becomes the one to agree with, unless an earlier one still counts.
            what: how it contradicts the known state. Two snapshots agree only if they do so in the same way.
            book_id: the book's current update id. If the book has advanced since the earlier snapshot, that one no
                longer counts.

        Returns:
            Whether two snapshots agree that were received at least `REST_OLD_SECONDS` apart. If the receive times of
            both are unknown, their engine times count.
        """
        before, new = self._witness, _Witness(what, book_id, snapshot.last_update_id, snapshot.base)
        if before is not None and before[:2] == new[:2] and before.last_update_id <= new.last_update_id:
            seconds = before.seconds_before(snapshot.base)
            if seconds is not None and 0 <= seconds < REST_OLD_SECONDS:
                return False  # keep the first one: the interval counts from there
            self._witness = new
            return seconds is not None and seconds > 0
        self._witness = new
        return False

    def on_consistent(self, base: BaseSnapshot) -> None:
        """Take an answer that fits the current sequence: it refutes an earlier answer that reported a restart."""
        witness = self._witness
        if witness is not None and witness.what is Contradiction.RESTARTED and (witness.seconds_before(base) or 0) > 0:
            self._witness = None


def is_in_future(time: int | None, base: BaseSnapshot, now_us: int) -> bool:
    """Return whether a time (µs) is too far in the future to be the exchange's, by an answer's receive time and by our clock.

    One of these two clocks may be wrong. If the receive time is unknown, the answer's engine time counts.

    Args:
        time: the time to judge, in µs since the Unix epoch; None is never in the future.
        base: the base snapshot of the answer that is compared with it.
        now_us: the current time by our clock (µs since the Unix epoch).
    """
    known = base.engine_time if base.received_time is None else base.received_time
    return time is not None and known is not None and time > max(known, now_us) + FUTURE_SECONDS * _MICROS


def is_received_since(base: BaseSnapshot, time: int) -> bool:
    """Return whether the exchange's answer was received at a moment or later; False if its receive time is unknown.

    Args:
        base: the base snapshot, which states the receive time.
        time: the moment, in µs since the Unix epoch.
    """
    return base.received_time is not None and base.received_time >= time


def is_from_before(base: BaseSnapshot, wrong: Position) -> bool:
    """Return whether a book with this base snapshot contains what an audit found wrong; False if the sequence restarted since.

    Args:
        base: the base snapshot of the book.
        wrong: the update id that the wrong book had reached, and when the audit found it wrong.
    """
    return base.last_update_id < wrong.last_id and not restarted_by_snapshot(
        wrong, base.last_update_id, base.engine_time
    )
