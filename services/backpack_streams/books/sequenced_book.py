"""A book with its sequence of updates, and the updates that wait for a snapshot. Sans I/O."""

from collections.abc import Callable

from backpack_streams.books.adoption import Adoption, Contradiction, Epoch, is_in_future
from backpack_streams.books.followed_book import FollowedBook
from backpack_streams.books.snapshot import BaseSnapshot, Levels, Snapshot
from backpack_streams.books.status import Outcome, Presentation, Status
from backpack_streams.books.update_buffer import Update, UpdateBuffer
from backpack_streams.errors import BookError
from backpack_streams.sequencing.chain import Chain, Verdict
from backpack_streams.sequencing.restart import (
    TOLERANCE_MICROSECONDS,
    Position,
    followed,
    restarted_by_snapshot,
    restarted_by_update,
    update_is_outdated,
)

__all__ = ["SequencedBook"]

_APPLY, _BREAK = Verdict.APPLY, Verdict.BREAK
_LIVE = Status.LIVE
_APPLIED, _DUPLICATE = Outcome.APPLIED, Outcome.DUPLICATE


class SequencedBook:
    """Takes updates and snapshots in Kafka's order; its book is intact, or known to be broken.

    - A snapshot makes the book live at once if nothing read so far contradicts it, even if it is ahead of the updates: it is right as of
      its id, updates up to that id are duplicates, and the one after it must connect. `Adoption` decides.
    - A break in the sequence ends `LIVE` before the book changes. Only an exhausted truncated side and a crossed book are found after an
      update has been applied; the status leaves `LIVE` in the same call.
    - A sequence may restart (a relisting); `sequencing/restart.py` describes the detection. A single snapshot does not replace an intact
      book that a producer vouches for: a second snapshot has to confirm the restart.

    `book` is always the same object. Levels passed in are kept by reference until used: do not change them.
    """

    __slots__ = (
        "_adoption",
        "_buffer",
        "_chain",
        "_late_to",
        "_newest",
        "_reason",
        "_resumes_to",
        "_shown",
        "_state",
        "_wall_us",
        "base",
        "book",
        "breaks",
        "duplicates",
        "engine_time",
    )

    def __init__(self, shown: Presentation, buffer: UpdateBuffer, reason: str, wall_us: Callable[[], int]) -> None:
        """Prepare. `reason`: why the book is not live yet; `wall_us`: clock, in µs since the Unix epoch."""
        self.book = FollowedBook()
        self.engine_time: int | None = None
        """Engine time (µs) of the book's last update, or of its snapshot if no update has followed."""
        self.duplicates = 0
        self.breaks = 0
        """How often the book left `LIVE`."""
        self.base: BaseSnapshot | None = None
        """Base snapshot of `book`: the exchange's snapshot that it is based on; None before the first."""
        self._shown = shown
        self._state = Status.SYNCING
        self._reason = reason
        self._wall_us = wall_us
        self._chain = Chain()
        self._buffer = buffer
        self._adoption = Adoption()
        # While not live: position of the newest known update.
        self._newest: Position | None = None
        # After a gap, while nothing else is wrong: the id up to which the waiting updates continue the book.
        self._resumes_to: int | None = None
        # Last id of the newest update that was dropped as part of an ended sequence.
        self._late_to = 0

    # Position -------------------------------------------------------------------------------------------------

    @property
    def is_whole(self) -> bool:
        """Whether every update since the snapshot continues the sequence, whether or not a producer vouches for that."""
        return self._state is _LIVE

    @property
    def last_update_id(self) -> int | None:
        """Id of the last update that `book` includes; None before the first snapshot."""
        return self._chain.last_id

    @property
    def newest_id(self) -> int:
        """Id of the newest update seen, whether or not `book` includes it; 0 before the first."""
        newest = self._position()
        return 0 if newest is None else newest.last_id

    def _position(self) -> Position | None:
        last_id = self._chain.last_id
        if self._state is not _LIVE or last_id is None:
            return self._newest
        if self._chain.is_sequenced:
            return self._chain.position
        return Position(last_id, self.engine_time, TOLERANCE_MICROSECONDS)

    # Events ---------------------------------------------------------------------------------------------------

    def on_update(self, first_id: int, last_id: int, engine_time: int | None, bids: Levels, asks: Levels) -> Outcome:
        """Take one depth update.

        Args:
            first_id: the exchange's `U`.
            last_id: the exchange's `u`.
            engine_time: its time (µs since the Unix epoch); None if unknown.
            bids: (price, quantity) in units of 10**-18; quantities are absolute, and zero deletes a level.
            asks: the same for the asks.

        Returns:
            APPLIED, DUPLICATE, BUFFERED, BROKE, RESUMED, or RESYNCED if the sequence broke and the pending snapshot
            restored the book.
        """
        if self._state is not _LIVE:
            return self._wait(Update(first_id, last_id, engine_time, bids, asks))
        verdict = self._chain.offer(first_id, last_id, engine_time)
        if verdict is _APPLY:
            try:
                is_sound = self.book.follow_update(bids, asks)
            except BookError as error:
                return self._break(f"update {last_id} cannot be applied: {error}", floor=last_id)
            self.engine_time = engine_time
            return _APPLIED if is_sound else self._break_unsound()
        update = Update(first_id, last_id, engine_time, bids, asks)
        return self._break_chain(update) if verdict is _BREAK else self._drop_duplicate(update)

    def on_snapshot(
        self,
        last_update_id: int,
        engine_time: int | None,
        bids: Levels,
        asks: Levels,
        *,
        bids_complete: bool = True,
        asks_complete: bool = True,
        base: BaseSnapshot | None = None,
    ) -> Outcome:
        """Take a snapshot.

        Args:
            last_update_id: id of the last update that it includes.
            engine_time: its time (µs since the Unix epoch); None if unknown.
            bids: (price, quantity) in units of 10**-18, in any order.
            asks: the same for the asks.
            bids_complete: False if the snapshot's limit truncated the bids.
            asks_complete: the same for the asks.
            base: its base snapshot; None if it is the exchange's own and its receive time is unknown.

        Returns:
            RESYNCED, PENDING, IGNORED, REFUSED, or BROKE if it was used and the updates waiting for it have a gap.
        """
        now_us, base = self._wall_us(), base or BaseSnapshot(last_update_id, engine_time)
        snapshot = Snapshot(last_update_id, engine_time, bids, asks, bids_complete, asks_complete, base)
        if is_in_future(engine_time, base, now_us):  # an impossible time is no evidence
            snapshot = snapshot.without_time()
        newest = self._position()
        if newest is not None and restarted_by_snapshot(newest, last_update_id, snapshot.engine_time):
            if self._is_believed() and not self._adoption.is_agreed(snapshot, Contradiction.RESTARTED, newest.last_id):
                return Outcome.IGNORED
            reason = f"sequence restarted: snapshot {last_update_id} is later than update {newest.last_id}"
            self._begin_epoch(reason, Epoch(snapshot.engine_time or 0, is_from_snapshot=True))
        elif self._state is _LIVE:
            return self._consider(snapshot)
        elif self._adoption.hear(snapshot, newest, now_us):
            self._forget_future(snapshot, now_us)
        refusal = self._adopt(snapshot)
        if refusal is None:
            return self._follow_buffer()
        self._reason = refusal
        return Outcome.REFUSED

    # While live -----------------------------------------------------------------------------------------------

    def _is_believed(self) -> bool:
        return self._state is _LIVE and self._shown.standing.is_vouched

    def _drop_late(self, last_id: int) -> Outcome:
        """Drop an update of the ended sequence, which another producer still delivers."""
        self._late_to = max(self._late_to, last_id)
        self.duplicates += 1
        return _DUPLICATE

    def _drop_duplicate(self, update: Update) -> Outcome:
        newest = self._position()
        if newest is not None and restarted_by_update(newest, update.last_id, update.engine_time):
            self._restart(newest, update)
            return Outcome.BROKE
        self.duplicates += 1
        return _DUPLICATE

    def _break_chain(self, update: Update) -> Outcome:
        newest = self._position()
        if newest is not None and update_is_outdated(newest, update.last_id, update.engine_time):
            return self._drop_late(update.last_id)
        self._leave_live(f"update {update.first_id} does not follow {self.last_update_id}", floor=0)
        self._keep(update)
        self._resumes_to = self.last_update_id
        return self._try_pending()

    def _break_unsound(self) -> Outcome:
        last_id = self._chain.last_id or 0
        problem = "crossed" if self.book.is_crossed else "coverage exhausted"
        return self._break(f"{problem} after update {last_id}", floor=last_id)

    def _break(self, reason: str, floor: int, doubted_since: int | None = None) -> Outcome:
        self._leave_live(reason, floor, doubted_since)
        return self._try_pending()

    def _leave_live(self, reason: str, floor: int, doubted_since: int | None = None) -> None:
        self._newest = self._position()
        self._state = Status.STALE
        self._reason = reason
        self._adoption.demand(floor, doubted_since)
        self._resumes_to = None
        self._shown.changed_at = self.engine_time
        self.breaks += 1

    def _try_pending(self) -> Outcome:
        pending = self._adoption.take_pending()
        if pending is None or self._adopt(pending) is not None:
            return Outcome.BROKE
        return self._follow_buffer()

    def _consider(self, snapshot: Snapshot) -> Outcome:
        """Decide what to do with a snapshot that does not contradict a live book."""
        if self._adoption.is_useless(snapshot, self._position(), self._wall_us()):
            return Outcome.IGNORED
        last_id = self._chain.last_id or 0
        self._adoption.drop_pending(up_to=last_id)
        if snapshot.last_update_id < last_id:
            return Outcome.IGNORED
        self._adoption.on_consistent(snapshot.base)
        if snapshot.last_update_id == last_id:
            return self._widen(snapshot)
        if not self._adoption.keep(snapshot):
            return Outcome.IGNORED
        if self._shown.has_watermark or not self._adoption.is_agreed(snapshot, Contradiction.AHEAD, last_id):
            return Outcome.PENDING
        return self._break(f"the exchange is ahead of update {last_id}, and no update has come since", last_id)

    def _widen(self, snapshot: Snapshot) -> Outcome:
        """Take a snapshot at the book's own update id if it knows more of a truncated side."""
        if not self.book.is_widened_by(snapshot):
            return Outcome.IGNORED
        self.book.follow_snapshot(*snapshot.sides)
        self.base = snapshot.base
        return Outcome.RESYNCED

    # While not live -------------------------------------------------------------------------------------------

    def _doubt(self, reason: str) -> Outcome:
        self._adoption.drop_pending()  # the pending snapshot lacks the newest updates
        self._resumes_to = None
        if self._state is _LIVE:
            return self._break(reason, self.newest_id)
        self._reason = reason
        return Outcome.BUFFERED

    def _wait(self, update: Update) -> Outcome:
        newest, time_us = self._newest, update.engine_time
        if time_us is not None and self._chain.is_of_before(time_us):
            return self._drop_late(update.last_id)
        if newest is not None and restarted_by_update(newest, update.last_id, time_us):
            self._restart(newest, update)
            return Outcome.BUFFERED
        if newest is not None and update_is_outdated(newest, update.last_id, time_us):
            return self._drop_late(update.last_id)
        self._keep(update)
        return self._resume()

    def _resume(self) -> Outcome:
        """Resume from the current book if all missing updates have arrived and none was dropped."""
        if self._resumes_to is None or self._newest is None or self._buffer.dropped:
            return Outcome.BUFFERED
        self._resumes_to = self._buffer.reach(self._resumes_to)
        if self._resumes_to < self._newest.last_id:
            return Outcome.BUFFERED
        self._resumes_to = None
        self._become_live(self.engine_time)
        self._follow_buffer()
        return Outcome.RESUMED if self._state is _LIVE else Outcome.BROKE

    def _keep(self, update: Update) -> None:
        self._buffer.append(update)
        if self._newest is None or update.last_id > self._newest.last_id:
            self._adoption.on_connected()
            self._newest = followed(self._newest, update.last_id, update.engine_time)

    def _restart(self, newest: Position, update: Update) -> None:
        reason = f"sequence restarted: update {update.last_id} is later than update {newest.last_id}"
        self._begin_epoch(reason, Epoch(update.engine_time or 0, is_from_snapshot=False))
        self._keep(update)

    def _begin_epoch(self, reason: str, epoch: Epoch | None) -> None:
        if self._state is _LIVE:
            self._leave_live(reason, floor=0)
        if epoch is None or epoch is not self._adoption.epoch:
            ended = None if self._newest is None else self._newest.engine_time
            self._chain.begin_anew(None if epoch is None else epoch.earliest, ended or 0)
        self._adoption.begin_epoch(epoch)
        self._resumes_to = self._newest = None
        self._reason = reason
        self._late_to = 0
        self._buffer.clear()

    def _forget_future(self, snapshot: Snapshot, now_us: int) -> None:
        """Drop the state that an update stamped in the future has blocked."""
        genuine = (each.last_id for each in self._buffer if not is_in_future(each.engine_time, snapshot.base, now_us))
        self._adoption.forget_future(snapshot, max(*genuine, self._late_to, self.last_update_id or 0), now_us)
        if self._adoption.epoch is None:
            self._chain.begin_anew(None)
        self._newest = self._resumes_to = None
        self._buffer.clear()

    def _adopt(self, snapshot: Snapshot) -> str | None:
        """Make the book live from a snapshot; if it is refused, return why and change nothing."""
        snapshot_id = snapshot.last_update_id
        refusal = self._adoption.refusal(snapshot, self._newest, self._buffer.dropped_to)
        if refusal is not None or (refusal := self._buffer.gap_after(snapshot_id)) is not None:
            return refusal
        try:
            self.book.follow_snapshot(*snapshot.sides)
        except BookError as error:
            return f"snapshot {snapshot_id} refused: {error}"
        self._chain.start_at(snapshot_id, snapshot.engine_time)
        self.base = snapshot.base
        self._become_live(snapshot.engine_time)
        return None

    def _become_live(self, engine_time: int | None) -> None:
        self.engine_time = self._shown.changed_at = engine_time
        self._state = _LIVE
        self._reason = ""

    def _follow_buffer(self) -> Outcome:
        """Offer the waiting updates after the snapshot, in the order of their ids; after a gap they wait again."""
        for update in self._buffer.take_all():
            self.on_update(*update)
        return Outcome.RESYNCED if self._state is _LIVE else Outcome.BROKE
