"""The book of one market with its sequence and status, without I/O: events in, a book that is right or says it isn't."""

from collections.abc import Sequence
from enum import Enum
from typing import NamedTuple

from backpack_streams.books.order_book import OrderBook
from backpack_streams.books.restart import (
    SEED_TOLERANCE_MICROSECONDS,
    UPDATE_TOLERANCE_MICROSECONDS,
    Position,
    restarted_by_seed,
    restarted_by_update,
    seed_is_outdated,
)
from backpack_streams.books.sequencer import Sequencer, Verdict
from backpack_streams.books.update_buffer import Update, UpdateBuffer
from backpack_streams.errors import BookError

__all__ = ["DEFAULT_BUFFERED_UPDATES", "MarketBook", "Outcome", "Status"]

DEFAULT_BUFFERED_UPDATES = 20_000

Levels = Sequence[tuple[int, int]]


class Status(Enum):
    """What a book may be used for."""

    SYNCING = "SYNCING"
    """No usable seed yet, or still catching up: not to be used."""
    LIVE = "LIVE"
    """Seeded, and every update since follows on the last."""
    STALE = "STALE"
    """Was live until something went wrong (`reason`): the last good state, not the present one."""


class Outcome(Enum):
    """What one event did to the book."""

    APPLIED = "applied"
    """The update followed on the last."""
    DUPLICATE = "duplicate"
    """The update is included already."""
    BUFFERED = "buffered"
    """The book is not live: the update waits for a seed."""
    BROKE = "broke"
    """The book left `LIVE`; it needs a seed."""
    RESEEDED = "reseeded"
    """The book was replaced by a seed and is live (or live once released)."""
    KEPT = "kept"
    """The seed is ahead of a live book: kept in case the chain breaks."""
    IGNORED = "ignored"
    """A live book has no use for the seed."""
    CAUGHT_UP = "caught up"
    """The reader has reached the present: the book shows its own status from now on."""
    REFUSED = "refused"
    """The seed cannot be used (`reason`); the book is not live."""


class _Seed(NamedTuple):
    last_update_id: int
    engine_time: int | None
    bids: Levels
    asks: Levels
    bids_complete: bool
    asks_complete: bool


_APPLY, _BREAK = Verdict.APPLY, Verdict.BREAK
_LIVE = Status.LIVE
_APPLIED, _DUPLICATE = Outcome.APPLIED, Outcome.DUPLICATE


class MarketBook:
    """One market's book, fed with updates and seeds in the order in which Kafka has them.

    - A seed makes the book live at once if nothing that was read contradicts it: also one ahead of the updates, since
      it is right as of its id; updates up to that id are duplicates, and the one after it must connect.
    - Whatever breaks the chain ends `LIVE` before the book changes. Only a truncated side that runs empty or a book
      that comes out crossed are found after an update has been applied; the status leaves `LIVE` in the same call.
    - Sequences may begin again (a relisting): `restart` says how that is noticed.

    `book` stays the same object for good. Levels handed in are kept by reference until used: do not change them.
    """

    __slots__ = (
        "_buffer",
        "_candidate",
        "_epoch_start",
        "_is_cut_off",
        "_is_held",
        "_newest",
        "_reason",
        "_seed_floor",
        "_sequencer",
        "_state",
        "book",
        "breaks",
        "dropped_updates",
        "duplicates",
        "engine_time",
        "since",
        "symbol",
    )

    def __init__(
        self, symbol: str, *, catching_up: bool = False, buffered_updates: int = DEFAULT_BUFFERED_UPDATES
    ) -> None:
        self.symbol = symbol
        self.book = OrderBook()
        self.engine_time: int | None = None
        """Engine time (µs) of the book's last update, or its seed's if none has followed."""
        self.since: int | None = None
        """Engine time (µs) the book was at when it took its status; None if that is unknown."""
        self.duplicates = 0
        self.breaks = 0
        """How often the book left `LIVE`."""
        self.dropped_updates = 0
        """Updates lost to a full buffer, ever."""
        self._state = Status.SYNCING
        self._reason = "no seed yet"
        self._is_held = catching_up
        self._is_cut_off = False
        self._sequencer = Sequencer()
        self._buffer = UpdateBuffer(buffered_updates)
        self._candidate: _Seed | None = None
        # While not live: the newest update known, and the id a seed must reach to be past what is known to be missing.
        self._newest: Position | None = None
        self._seed_floor = 0
        # Engine time at which the sequence is known to have begun again; older seeds belong to the one before.
        self._epoch_start: int | None = None

    def __repr__(self) -> str:
        return f"<MarketBook {self.symbol} {self.status.value} at {self.last_update_id}: {self.book!r}>"

    @property
    def status(self) -> Status:
        """`SYNCING` while held, whatever the chain says."""
        return Status.SYNCING if self._is_held else self._state

    @property
    def reason(self) -> str:
        """Why the book is not live, in a few words; empty if it is."""
        if self._state is _LIVE:
            return "catching up" if self._is_held else ""
        if self._buffer.dropped:
            return f"{self._reason}; buffer full, oldest updates dropped: {self._buffer.dropped}"
        return self._reason

    @property
    def last_update_id(self) -> int | None:
        """Last update id that `book` includes; None before the first seed."""
        return self._sequencer.last_id

    @property
    def newest_id(self) -> int:
        """Last update id that was seen, whether `book` includes it or not; 0 before the first."""
        newest = self._position()
        return 0 if newest is None else newest.last_id

    @property
    def buffered_updates(self) -> int:
        """How many updates wait for a seed."""
        return len(self._buffer)

    @property
    def candidate_id(self) -> int | None:
        """Id of the seed kept ahead of the live book; one that stays ahead for long says that updates do not arrive."""
        candidate = self._candidate
        if candidate is None or candidate.last_update_id <= (self.last_update_id or 0):
            return None
        return candidate.last_update_id

    def hold(self) -> None:
        """Show `SYNCING` until `release`, though the chain may be whole: the reader is still in the past."""
        self._is_held = True

    def release(self) -> None:
        """Show the chain's own status: the reader has caught up."""
        if self._is_held:
            self._is_held = False
            self.since = self.engine_time

    def on_update(self, first_id: int, last_id: int, engine_time: int | None, bids: Levels, asks: Levels) -> Outcome:
        """Take one depth update: `U`, `u`, engine time in µs, absolute levels in units of 10**-18.

        Returns APPLIED, DUPLICATE, BUFFERED, BROKE, or RESEEDED if the chain broke and a seed kept ahead healed it.
        """
        if self._state is not _LIVE:
            return self._wait(Update(first_id, last_id, engine_time, bids, asks))
        verdict = self._sequencer.offer(first_id, last_id)
        if verdict is _APPLY:
            try:
                is_sound = self.book.apply(bids, asks)
            except BookError as error:
                return self._break(f"update {last_id} cannot be applied: {error}", seed_floor=last_id)
            self.engine_time = engine_time
            return _APPLIED if is_sound else self._break_unsound()
        if verdict is _BREAK:
            return self._break_chain(Update(first_id, last_id, engine_time, bids, asks))
        return self._drop_duplicate(Update(first_id, last_id, engine_time, bids, asks))

    def on_seed(
        self,
        last_update_id: int,
        engine_time: int | None,
        bids: Levels,
        asks: Levels,
        *,
        bids_complete: bool = True,
        asks_complete: bool = True,
    ) -> Outcome:
        """Take a snapshot, its levels in any order, in units of 10**-18; engine time in µs.

        Returns RESEEDED, KEPT, IGNORED, REFUSED, or BROKE if it was used and the updates waiting for it have a hole.
        """
        seed = _Seed(last_update_id, engine_time, bids, asks, bids_complete, asks_complete)
        newest = self._position()
        if newest is not None and restarted_by_seed(newest, last_update_id, engine_time):
            reason = f"sequence restarted: seed {last_update_id} is later than update {newest.last_id}"
            self._begin_epoch(reason, engine_time)
        elif self._state is _LIVE:
            return self._consider(seed)
        refusal = self._adopt(seed)
        if refusal is None:
            return self._follow_buffer()
        self._reason = refusal
        return Outcome.REFUSED

    def on_unreadable(self, reason: str) -> Outcome:
        """Take note that something of this market is missing: a record that cannot be decoded, a gap with no end yet.

        Only a seed past everything seen so far makes the book live again. Returns BROKE, RESEEDED or BUFFERED.
        """
        newest = self._position()
        seed_floor = 0 if newest is None else newest.last_id + 1
        if self._state is _LIVE:
            return self._break(reason, seed_floor)
        # A seed past the floor includes everything that waits.
        self._buffer.clear()
        self._seed_floor = seed_floor
        self._reason = reason
        return Outcome.BUFFERED

    def on_outage(self, reason: str) -> Outcome:
        """Take note that no socket brings this market's updates: until one does, no seed makes the book live, for it would not stay right.

        Ends with an update that is new, or with `on_outage_over`. Returns BROKE or BUFFERED.
        """
        self._is_cut_off = True
        return self._doubt(reason)

    def on_outage_over(self, reason: str) -> Outcome:
        """Take note that a socket is up again, and that nobody knows what was missed: a seed from now on tells, also one at the same id.

        Returns BROKE or BUFFERED.
        """
        self._is_cut_off = False
        return self._doubt(reason)

    def _doubt(self, reason: str) -> Outcome:
        newest = self._position()
        self._candidate = None  # it knows nothing of what came after it
        if self._state is _LIVE:
            return self._break(reason, 0 if newest is None else newest.last_id)
        self._reason = reason
        return Outcome.BUFFERED

    # While live -----------------------------------------------------------------------------------------------

    def _position(self) -> Position | None:
        last_id = self._sequencer.last_id
        if self._state is not _LIVE or last_id is None:
            return self._newest
        is_chained = self._sequencer.is_chained
        tolerance = UPDATE_TOLERANCE_MICROSECONDS if is_chained else SEED_TOLERANCE_MICROSECONDS
        return Position(last_id, self.engine_time, tolerance)

    def _drop_duplicate(self, update: Update) -> Outcome:
        newest = self._position()
        if newest is not None and restarted_by_update(newest, update.last_id, update.engine_time):
            self._restart(newest, update)
            return Outcome.BROKE
        self.duplicates += 1
        return _DUPLICATE

    def _break_chain(self, update: Update) -> Outcome:
        self._leave_live(f"update {update.first_id} does not follow {self.last_update_id}", seed_floor=0)
        self._keep(update)
        return self._try_candidate()

    def _break_unsound(self) -> Outcome:
        last_id = self._sequencer.last_id or 0
        problem = "crossed" if self.book.is_crossed else "coverage exhausted"
        return self._break(f"{problem} after update {last_id}", seed_floor=last_id)

    def _break(self, reason: str, seed_floor: int) -> Outcome:
        self._leave_live(reason, seed_floor)
        return self._try_candidate()

    def _leave_live(self, reason: str, seed_floor: int) -> None:
        self._newest = self._position()
        self._state = Status.STALE
        self._reason = reason
        self._seed_floor = seed_floor
        self.since = self.engine_time
        self.breaks += 1

    def _try_candidate(self) -> Outcome:
        candidate, self._candidate = self._candidate, None
        if candidate is None or self._adopt(candidate) is not None:
            return Outcome.BROKE
        return self._follow_buffer()

    def _consider(self, seed: _Seed) -> Outcome:
        last_id = self._sequencer.last_id or 0
        if seed.last_update_id < last_id:
            return Outcome.IGNORED
        if seed.last_update_id == last_id:
            return self._widen(seed)
        candidate = self._candidate
        if candidate is not None and candidate.last_update_id > seed.last_update_id:
            return Outcome.IGNORED
        self._candidate = seed
        return Outcome.KEPT

    def _widen(self, seed: _Seed) -> Outcome:
        """Take a seed of the very update the book is at if it knows more of a truncated side."""
        wider = OrderBook()
        try:
            wider.seed(seed.bids, seed.asks, seed.bids_complete, seed.asks_complete)
        except BookError:  # a snapshot that contradicts itself says nothing against a whole chain
            return Outcome.IGNORED
        if not wider.covers_more_than(self.book):
            return Outcome.IGNORED
        self.book.seed(seed.bids, seed.asks, seed.bids_complete, seed.asks_complete)
        return Outcome.RESEEDED

    # While not live -------------------------------------------------------------------------------------------

    def _wait(self, update: Update) -> Outcome:
        newest = self._newest
        if newest is not None and restarted_by_update(newest, update.last_id, update.engine_time):
            self._restart(newest, update)
        else:
            self._keep(update)
        return Outcome.BUFFERED

    def _keep(self, update: Update) -> None:
        dropped = self._buffer.append(update)
        if dropped is not None:
            self.dropped_updates += 1
            # Older copies may be all that is left in the buffer, so its first update alone does not tell the loss.
            self._seed_floor = max(self._seed_floor, dropped.last_id)
        if self._newest is None or update.last_id > self._newest.last_id:
            self._is_cut_off = False
            self._newest = Position(update.last_id, update.engine_time, UPDATE_TOLERANCE_MICROSECONDS)

    def _restart(self, newest: Position, update: Update) -> None:
        self._begin_epoch(
            f"sequence restarted: update {update.last_id} is later than update {newest.last_id}", update.engine_time
        )
        self._keep(update)

    def _begin_epoch(self, reason: str, engine_time: int | None) -> None:
        if self._state is _LIVE:
            self._leave_live(reason, seed_floor=0)
        self._reason = reason
        self._seed_floor = 0
        self._newest = None
        self._candidate = None
        self._epoch_start = engine_time
        self._buffer.clear()

    def _adopt(self, seed: _Seed) -> str | None:
        """Make the book live from a seed, or say why not and change nothing."""
        refusal = self._refusal(seed)
        if refusal is not None:
            return refusal
        try:
            self.book.seed(seed.bids, seed.asks, seed.bids_complete, seed.asks_complete)
        except BookError as error:
            return f"seed {seed.last_update_id} refused: {error}"
        self._sequencer.seed(seed.last_update_id)
        self.engine_time = self.since = seed.engine_time
        self._state = _LIVE
        self._reason = ""
        return None

    def _refusal(self, seed: _Seed) -> str | None:
        seed_id = seed.last_update_id
        if self._is_cut_off:
            return f"seed {seed_id} would not stay right: no socket brings the updates after it"
        if seed_id < self._seed_floor:
            return f"seed {seed_id} behind update {self._seed_floor}"
        if self._epoch_start is not None and seed.engine_time is not None and seed.engine_time < self._epoch_start:
            return f"seed {seed_id} is of the sequence that ended"
        if self._newest is not None and seed_is_outdated(self._newest, seed_id, seed.engine_time):
            return f"seed {seed_id} is ahead of update {self._newest.last_id} yet older: of a sequence that ended"
        first = self._buffer.first_after(seed_id)
        if first is not None and first.first_id > seed_id + 1:
            return f"seed {seed_id} behind the first update {first.first_id}"
        return None

    def _follow_buffer(self) -> Outcome:
        """Offer what waited as if it came after the seed; from a hole on it waits again."""
        for update in self._buffer.take_all():
            self.on_update(*update)
        return Outcome.RESEEDED if self._state is _LIVE else Outcome.BROKE
