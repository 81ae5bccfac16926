"""Decides whether a snapshot may become the book of a market, by all that is known to be missing, wrong or over. Sans I/O.

One REST answer is a witness, not a judge: it may be old. Where it contradicts what vouches for itself, a second one has to agree that was
received so much later that it cannot be of before the first.
"""

from enum import Enum
from math import inf
from typing import Final, NamedTuple

from backpack_streams.books.snapshot import Root, Snapshot
from backpack_streams.sequencing.coverage import OLDEST_ANSWER_SECONDS
from backpack_streams.sequencing.restart import TOLERANCE_MICROSECONDS, Position, restarted_by_seed, seed_is_outdated

__all__ = ["REST_OLD_SECONDS", "Adoption", "Contradiction", "Epoch"]

REST_OLD_SECONDS: Final = OLDEST_ANSWER_SECONDS
"""The exchange's answer may be so old when it is received, and no older."""
FUTURE_SECONDS: Final = 60.0
"""An update stamped so much later than now, by the clocks of the reader and of who received a snapshot, was never the exchange's."""
_MICROS: Final = 1_000_000


class Epoch(NamedTuple):
    """When the sequence is known to have begun anew (engine time, µs): what is older belongs to the one before."""

    start: int
    is_from_snapshot: bool
    """A snapshot's time is the REST server's, which may be off."""

    @property
    def earliest(self) -> int:
        """When it began at the earliest, by the engine's clock."""
        return self.start - TOLERANCE_MICROSECONDS if self.is_from_snapshot else self.start


class Contradiction(Enum):
    """What one answer of the exchange may say against what is known."""

    RESTARTED = "its sequence began anew"
    AHEAD = "updates are missing, though none shows it"
    UNKNOWN = "it knows nothing of what came last"


class _Witness(NamedTuple):
    """A snapshot that contradicts what is known, and where the book was then."""

    what: Contradiction
    book_id: int
    last_update_id: int
    root: Root

    def seconds_before(self, root: Root) -> float | None:
        """How much earlier it was received than another answer; by the exchange's own times where neither says when."""
        times = self.root.received_time, root.received_time
        if times == (None, None):
            times = self.root.engine_time, root.engine_time
        earlier, later = times
        return None if earlier is None or later is None else (later - earlier) / _MICROS


class Adoption:
    """What is known against snapshots of one market, the snapshot that waits in case it is needed, and the one that has nobody to agree.

    `newest` is the newest update known of the sequence that is read, None before any.
    """

    __slots__ = ("_doubted_since", "_floor", "_is_cut_off", "_not_before", "_pending", "_witness", "_wrong", "epoch")

    def __init__(self) -> None:
        self.epoch: Epoch | None = None
        """The sequence that is read, where it is known to have begun anew."""
        # The id that a snapshot must reach to be past what is known to be missing.
        self._floor = 0
        # Since when (µs) it is not known whether the last update that it asks for was one at all; None: it was.
        self._doubted_since: int | None = None
        self._is_cut_off = False
        # Where and when an audit found books of this market to be wrong; what goes back to before that is wrong as well.
        self._wrong: Position | None = None
        # When the exchange did not have updates that were in the topic (µs, by our clock): older snapshots say nothing of that.
        self._not_before: int | None = None
        self._pending: Snapshot | None = None
        self._witness: _Witness | None = None

    # What is known --------------------------------------------------------------------------------------------

    def begin_epoch(self, epoch: Epoch | None) -> None:
        """The sequence has begun anew: nothing of before says anything about it, but for sockets that are down."""
        self.epoch = epoch
        self.demand(0)
        self._wrong = self._not_before = self._pending = self._witness = None

    def demand(self, floor: int, doubted_since: int | None = None) -> None:
        """A snapshot has to include this update. `doubted_since`: when something came (µs) that may not have been it; None: it is one."""
        self._floor, self._doubted_since = floor, doubted_since

    def on_cut_off(self) -> None:
        """No socket brings updates: a book would not stay right, whatever it is made of."""
        self._is_cut_off = True

    def on_connected(self) -> None:
        """A socket brings updates."""
        self._is_cut_off = False

    def on_wrong(self, wrong: Position) -> None:
        """An audit found a book to be wrong that had come so far."""
        self._wrong = wrong

    def on_beyond(self, seen_time: int, floor: int) -> None:
        """The exchange, asked then, had not come to where the topic was: only what it has answered since is to be believed."""
        self._not_before = seen_time
        self.demand(floor)

    # The snapshot that waits ----------------------------------------------------------------------------------

    @property
    def pending_id(self) -> int | None:
        """Id of the snapshot that waits."""
        return None if self._pending is None else self._pending.last_update_id

    def keep(self, snapshot: Snapshot) -> bool:
        """Keep a snapshot ahead of the book in case the chain breaks; False if one further ahead waits already."""
        if self._pending is not None and self._pending.last_update_id > snapshot.last_update_id:
            return False
        self._pending = snapshot
        return True

    def take_pending(self) -> Snapshot | None:
        """The snapshot that waits, which waits no more."""
        pending, self._pending = self._pending, None
        return pending

    def drop_pending(self, up_to: float = inf) -> None:
        """What waits knows nothing of what came after it; `up_to`: if it goes no further than that."""
        if self._pending is not None and self._pending.last_update_id <= up_to:
            self._pending = None

    # Questions ------------------------------------------------------------------------------------------------

    def goes_back_to_wrong(self, root: Root) -> bool:
        """Whether what goes back to this answer of the exchange holds what an audit found wrong."""
        return self._wrong is not None and is_from_before(root, self._wrong)

    def refusal(self, snapshot: Snapshot, newest: Position | None, dropped_to: int) -> str | None:
        """Why no book can be made of a snapshot, whatever waits to follow it; None if one can. `dropped_to`: the last update dropped."""
        seed_id, root = snapshot.last_update_id, snapshot.root
        if self._is_cut_off:
            return f"seed {seed_id} would not stay right: no socket brings the updates after it"
        if self._wrong is not None and is_from_before(root, self._wrong):
            return (
                f"seed {seed_id} goes back to the exchange's snapshot {root.last_update_id}, "
                f"and an audit found the book wrong at update {self._wrong.last_id}"
            )
        if self._not_before is not None and not is_received_since(root, self._not_before):
            return f"seed {seed_id} goes back to before an audit that found updates which the exchange never sent"
        floor = max(self._floor, dropped_to)
        if seed_id < floor:
            return f"seed {seed_id} behind update {floor}"
        time = snapshot.engine_time
        if self.epoch is not None and time is not None and time < self.epoch.start:
            return f"seed {seed_id} is of the sequence that ended"
        if newest is not None and seed_is_outdated(newest, seed_id, time):
            return f"seed {seed_id} is ahead of update {newest.last_id} yet older: of a sequence that ended"
        return None

    def hear(self, snapshot: Snapshot, newest: Position | None, now_us: int) -> bool:
        """Take a snapshot of a book that is not live, before it is judged; True if what came last is to be forgotten.

        That is so where it is stamped in the future and a second answer does not know of it. A second answer also tells that the exchange
        has not moved since something came that cannot be read.
        """
        times = (None if self.epoch is None else self.epoch.start, None if newest is None else newest.engine_time)
        if any(is_in_future(each, snapshot.root, now_us) for each in times):
            return self.is_agreed(snapshot, Contradiction.UNKNOWN)
        if self._doubted_since is None:
            self._witness = None
            return False
        stands = snapshot.last_update_id == self._floor - 1 and is_received_since(snapshot.root, self._doubted_since)
        if stands and self.is_agreed(snapshot, Contradiction.UNKNOWN):
            self.demand(snapshot.last_update_id)
        return False

    def forget_future(self, snapshot: Snapshot, floor: int, now_us: int) -> None:
        """Nothing that is stamped in the future counts; a snapshot has to include all else that has come."""
        if self.epoch is not None and is_in_future(self.epoch.start, snapshot.root, now_us):
            self.epoch = None
        self.demand(floor)
        self._witness = None

    def is_agreed(self, snapshot: Snapshot, what: Contradiction, book_id: int = 0) -> bool:
        """Take a snapshot that contradicts what is known; True if one before it says the same and cannot be of the same moment.

        `book_id`: where the book is. If it has gone on since the one before, that one says nothing any more.
        """
        before, new = self._witness, _Witness(what, book_id, snapshot.last_update_id, snapshot.root)
        if before is not None and before[:2] == new[:2] and before.last_update_id <= new.last_update_id:
            seconds = before.seconds_before(snapshot.root)
            if seconds is not None and 0 <= seconds < REST_OLD_SECONDS:
                return False  # the first of several counts
            self._witness = new
            return seconds is not None and seconds > 0
        self._witness = new
        return False

    def on_consistent(self, root: Root) -> None:
        """An answer of the exchange is of the sequence that is read: one that was received before it and says otherwise was wrong."""
        witness = self._witness
        if witness is not None and witness.what is Contradiction.RESTARTED and (witness.seconds_before(root) or 0) > 0:
            self._witness = None


def is_in_future(time: int | None, root: Root, now_us: int) -> bool:
    """Whether a time (µs) is so far in the future that it cannot be the exchange's, as of when its answer was received and of now.

    Of these two clocks one may be wrong. Where nobody knows when it was received, its own time counts.
    """
    known = root.engine_time if root.received_time is None else root.received_time
    return time is not None and known is not None and time > max(known, now_us) + FUTURE_SECONDS * _MICROS


def is_received_since(root: Root, time: int) -> bool:
    """Whether the exchange's answer was received at this time (µs) or later."""
    return root.received_time is not None and root.received_time >= time


def is_from_before(root: Root, wrong: Position) -> bool:
    """Whether a book that goes back to this snapshot holds what an audit found wrong; not so if the sequence began again since."""
    return root.last_update_id < wrong.last_id and not restarted_by_seed(wrong, root.last_update_id, root.engine_time)
