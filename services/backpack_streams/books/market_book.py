"""The book of one market with its sequence and status, without I/O: events in, a book that is right or says it isn't."""

from collections.abc import Mapping, Sequence
from enum import Enum
from math import inf
from typing import Any, Final, NamedTuple

from backpack_streams.books.listing import moment_text
from backpack_streams.books.order_book import OrderBook
from backpack_streams.books.standing import Standing
from backpack_streams.books.update_buffer import Update, UpdateBuffer
from backpack_streams.errors import BookError
from backpack_streams.sequencing.chain import Chain, Verdict
from backpack_streams.sequencing.restart import (
    SEED_TOLERANCE_MICROSECONDS,
    UPDATE_TOLERANCE_MICROSECONDS,
    Position,
    restarted_by_seed,
    restarted_by_update,
    seed_is_outdated,
    update_is_outdated,
)

__all__ = ["DEFAULT_BUFFERED_UPDATES", "MarketBook", "Outcome", "Root", "Status"]

DEFAULT_BUFFERED_UPDATES = 20_000
SEED: Final = "SEED"
"""Origin of a BookSnapshot record that is the exchange's answer; any other was built from Kafka."""

Levels = Sequence[tuple[int, int]]


class Status(Enum):
    """What a book may be used for."""

    SYNCING = "SYNCING"
    """No usable seed yet, or still catching up: not to be used."""
    LIVE = "LIVE"
    """Seeded, every update since follows on the last, and a producer vouches for it as of a few seconds ago at most."""
    STALE = "STALE"
    """Something went wrong, or nobody vouches for it (`reason`): the last good state, not the present one."""
    CLOSED = "CLOSED"
    """The market is closed or delisted (`reason`): the last state, which nobody trades on."""


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
    CLOSED = "closed"
    """The market list says that the market is closed."""
    REOPENED = "reopened"
    """The market list says that the market is open again: the book shows its own status from now on."""
    CAUGHT_UP = "caught up"
    """The reader has reached the present: the book shows its own status from now on."""
    MENDED = "mended"
    """All that was missing came late, from another producer: the book is live again without a seed."""
    REFUSED = "refused"
    """The seed cannot be used (`reason`); the book is not live."""
    VOUCHED = "vouched"
    """A producer vouches for the book again."""
    UNVOUCHED = "unvouched"
    """No producer vouches for the book any more, or what it says does not prove the book (`reason`)."""


class Root(NamedTuple):
    """The exchange's snapshot that a book goes back to: its update id, its time and when we received it (µs, None unknown)."""

    last_update_id: int
    engine_time: int | None
    received_time: int | None = None

    @classmethod
    def of_record(cls, snapshot: Mapping[str, Any]) -> "Root":
        """What a BookSnapshot record goes back to: itself, where it is the exchange's.

        A checkpoint that does not say goes back to nothing that could be trusted after an audit.
        """
        if snapshot["origin"] == SEED:
            return cls(snapshot["last_update_id"], snapshot["engine_time"], snapshot["received_time"])
        return cls(
            snapshot.get("seed_update_id") or 0, snapshot.get("seed_engine_time"), snapshot.get("seed_received_time")
        )


class _Seed(NamedTuple):
    last_update_id: int
    engine_time: int | None
    bids: Levels
    asks: Levels
    bids_complete: bool
    asks_complete: bool
    root: Root


_CATCHING_UP = "catching up"
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

    - `standing` says whether a producer vouches for it; by itself a book is vouched for. Without that it shows no `LIVE`, though its chain
      may be whole (`is_whole`).

    `book` stays the same object for good. Levels handed in are kept by reference until used: do not change them.
    """

    __slots__ = (
        "_buffer",
        "_candidate",
        "_closed_because",
        "_epoch_start",
        "_held_because",
        "_is_cut_off",
        "_is_held",
        "_mends_to",
        "_newest",
        "_not_before",
        "_reason",
        "_seed_floor",
        "_sequencer",
        "_state",
        "_wrong",
        "book",
        "breaks",
        "dropped_updates",
        "duplicates",
        "engine_time",
        "proof_from",
        "root",
        "since",
        "standing",
        "starts_at",
        "starts_by_ms",
        "symbol",
    )

    def __init__(
        self,
        symbol: str,
        *,
        catching_up: bool = False,
        buffered_updates: int = DEFAULT_BUFFERED_UPDATES,
        unseeded_because: str = "no seed yet",
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
        self.root: Root | None = None
        """The exchange's snapshot that `book` goes back to; None before the first seed."""
        self.starts_at = 0
        """Where, in the partition of its updates, those begin that may follow on the book: what lies before is in it, or is not the
        exchange's. For whoever reads Kafka; nothing here looks at it."""
        self.starts_by_ms = 0
        """When that was so (ms): an update stamped later than this before `starts_at` shows that the partition began anew."""
        self.standing = Standing()
        """Who vouches for it, and what proves it."""
        self.proof_from: float = inf
        """Updates from this offset on may prove it. For whoever reads Kafka; nothing here looks at it."""
        self._state = Status.SYNCING
        self._reason = unseeded_because
        self._is_held = catching_up
        self._held_because = _CATCHING_UP
        self._closed_because = ""
        self._is_cut_off = False
        self._sequencer = Chain()
        self._buffer = UpdateBuffer(buffered_updates)
        self._candidate: _Seed | None = None
        # While not live: the newest update known, and the id a seed must reach to be past what is known to be missing.
        self._newest: Position | None = None
        self._seed_floor = 0
        # After a hole in the chain, while nothing else is wrong: the id up to which updates have come that follow on the book.
        self._mends_to: int | None = None
        # Engine time at which the sequence is known to have begun again; older seeds belong to the one before.
        self._epoch_start: int | None = None
        # Where and when an audit found books of this market to be wrong; what goes back to before that is wrong as well.
        self._wrong: Position | None = None
        # When the exchange did not have updates that were in the topic (µs, by our clock): older snapshots say nothing of that.
        self._not_before: int | None = None

    def __repr__(self) -> str:
        return f"<MarketBook {self.symbol} {self.status.value} at {self.last_update_id}: {self.book!r}>"

    @property
    def status(self) -> Status:
        """`CLOSED` while the market is, `SYNCING` while held, whatever the chain says; `LIVE` only while somebody vouches for it."""
        if self._closed_because:
            return Status.CLOSED
        if self._is_held:
            return Status.SYNCING
        if self._state is _LIVE and not self.standing.is_vouched:
            return Status(self.standing.how.value)
        return self._state

    @property
    def reason(self) -> str:
        """Why the book is not live, in a few words; empty if it is."""
        if self._closed_because:
            return self._closed_because
        if self._state is _LIVE:
            return self._held_because if self._is_held else self._why_unvouched()
        if self._buffer.dropped:
            return f"{self._reason}; buffer full, oldest updates dropped: {self._buffer.dropped}"
        return self._reason

    def _why_unvouched(self) -> str:
        standing = self.standing
        if standing.is_too_old and standing.as_of is not None:
            return f"no producer has vouched for depth.{self.symbol} since {moment_text(standing.as_of)}"
        return standing.reason

    @property
    def as_of(self) -> int | None:
        """Up to when the book is known to hold all that the exchange sent, µs by its producer's clock; None before that is known."""
        return self.standing.as_of

    @property
    def is_whole(self) -> bool:
        """Whether every update since the seed follows on the last, whoever vouches for that."""
        return self._state is _LIVE

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
    def is_chained(self) -> bool:
        """Whether an update has followed on the seed."""
        return self._sequencer.is_chained

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

    def is_early(self, first_id: int) -> bool:
        """Whether an update that begins with this id leaves a hole in a chain that is whole so far."""
        last_id = self._sequencer.last_id
        return self._state is _LIVE and last_id is not None and first_id > last_id + 1

    def hold(self, reason: str = _CATCHING_UP) -> None:
        """Show `SYNCING` until `release`, though the chain may be whole: the reader is still in the past, or cannot know that it is."""
        self._is_held = True
        self._held_because = reason

    def release(self) -> None:
        """Show the chain's own status: the reader has caught up."""
        if self._is_held:
            self._is_held = False
            self.since = self.engine_time

    def on_listed(self, why_closed: str, since_us: int) -> Outcome:
        """Take what the market list says: why the market is closed, empty while it is open, and since when (µs).

        Returns CLOSED, REOPENED, or IGNORED where that is known.
        """
        return self.on_closed(why_closed, since_us) if why_closed else self.on_reopened(since_us)

    def on_closed(self, reason: str, time_us: int) -> Outcome:
        """Show `CLOSED` until `on_reopened`: the market list says so, since `time_us`. Returns CLOSED, or IGNORED if it is known."""
        if self._closed_because:
            return Outcome.IGNORED
        self._closed_because = reason
        self.since = time_us
        return Outcome.CLOSED

    def on_reopened(self, time_us: int) -> Outcome:
        """The market is open again. A book from before that is not live: what happened meanwhile was not followed.

        Returns REOPENED, or IGNORED if it was not closed.
        """
        if not self._closed_because:
            return Outcome.IGNORED
        self._closed_because = ""
        self.since = time_us
        if self.engine_time is None or time_us - self.engine_time > SEED_TOLERANCE_MICROSECONDS:
            self._doubt("the market was closed; no snapshot from after that yet")
        return Outcome.REOPENED

    def on_update(self, first_id: int, last_id: int, engine_time: int | None, bids: Levels, asks: Levels) -> Outcome:
        """Take one depth update: `U`, `u`, engine time in µs, absolute levels in units of 10**-18.

        Returns APPLIED, DUPLICATE, BUFFERED, BROKE, MENDED, or RESEEDED if the chain broke and a seed kept ahead healed it.
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
        root: Root | None = None,
    ) -> Outcome:
        """Take a snapshot, its levels in any order, in units of 10**-18; engine time in µs.

        `root`: the exchange's snapshot that it goes back to; None where it is one itself and nobody knows when it was received.

        Returns RESEEDED, KEPT, IGNORED, REFUSED, or BROKE if it was used and the updates waiting for it have a hole.
        """
        root = root or Root(last_update_id, engine_time)
        seed = _Seed(last_update_id, engine_time, bids, asks, bids_complete, asks_complete, root)
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
        self._mends_to = None
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

    def on_wrong(self, last_id: int, found_time: int | None, reason: str) -> Outcome:
        """Take note that an audit found this market's book to differ from the exchange's when it had reached `last_id` (time in µs).

        Only a snapshot of the exchange from that id on makes the book live again, or a checkpoint that goes back to one.
        Returns BROKE, RESEEDED, BUFFERED, or IGNORED if the book goes back to such a snapshot already.
        """
        wrong = Position(last_id, found_time, SEED_TOLERANCE_MICROSECONDS)
        if self.root is not None and not _is_from_before(self.root, wrong):
            return Outcome.IGNORED
        self._wrong = wrong
        if self._state is _LIVE:
            newest = self._position()
            # The updates up to the newest are applied and gone, so a seed before it could not be followed.
            return self._break(reason, max(last_id, 0 if newest is None else newest.last_id))
        self._mends_to = None
        self._reason = reason
        return Outcome.BUFFERED

    def on_beyond(self, last_id: int, seen_time: int, reason: str) -> Outcome:
        """Take note that the exchange, asked at `seen_time` (µs, our clock), had not come to `last_id`, although the topic long had.

        So these updates are not the exchange's, and its ids go on below them. Only a snapshot received from then on makes the book
        live again, or a checkpoint that goes back to one. Returns BROKE, BUFFERED, or IGNORED if the book goes back to one already.
        """
        if self.root is not None and _is_received_since(self.root, seen_time):
            return Outcome.IGNORED
        outcome = Outcome.BROKE if self._state is _LIVE else Outcome.BUFFERED
        newest = self._position()
        self._begin_epoch(reason, self._epoch_start)
        self._not_before = seen_time
        if (
            newest is not None and newest.last_id > last_id
        ):  # what has followed since is gone, so a seed has to reach past it
            self._seed_floor = newest.last_id
        return outcome

    def on_disproved(self, reason: str) -> Outcome:
        """Take note that the snapshot kept ahead of the book says that it misses something. Returns RESEEDED, or BROKE without one."""
        return self._break(reason, self._sequencer.last_id or 0)

    def on_vouched(self, is_vouched: bool) -> Outcome:
        """Take note that somebody vouches for the book from now on, or nobody. Returns VOUCHED or UNVOUCHED."""
        if self._state is _LIVE and not self._is_held and not self._closed_because:
            self.since = self.engine_time
            self.breaks += not is_vouched
        return Outcome.VOUCHED if is_vouched else Outcome.UNVOUCHED

    def _doubt(self, reason: str) -> Outcome:
        newest = self._position()
        self._candidate = self._mends_to = None  # they know nothing of what came after them
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
        newest = self._position()
        if newest is not None and update_is_outdated(newest, update.last_id, update.engine_time):
            self.duplicates += 1
            return _DUPLICATE
        self._leave_live(f"update {update.first_id} does not follow {self.last_update_id}", seed_floor=0)
        self._keep(update)
        self._mends_to = self.last_update_id
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
        self._mends_to = None
        self.since = self.engine_time
        self.breaks += 1

    def _try_candidate(self) -> Outcome:
        candidate, self._candidate = self._candidate, None
        if candidate is None or self._adopt(candidate) is not None:
            return Outcome.BROKE
        return self._follow_buffer()

    def _consider(self, seed: _Seed) -> Outcome:
        if self._wrong is not None and _is_from_before(seed.root, self._wrong):
            return Outcome.IGNORED
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
        self.root = seed.root
        return Outcome.RESEEDED

    # While not live -------------------------------------------------------------------------------------------

    def _wait(self, update: Update) -> Outcome:
        newest = self._newest
        if newest is not None and restarted_by_update(newest, update.last_id, update.engine_time):
            self._restart(newest, update)
            return Outcome.BUFFERED
        if newest is not None and update_is_outdated(newest, update.last_id, update.engine_time):
            self.duplicates += 1
            return _DUPLICATE
        self._keep(update)
        return self._mend()

    def _mend(self) -> Outcome:
        """Go on from the book as it stands if all that was missing has come meanwhile."""
        if self._mends_to is None or self._newest is None:
            return Outcome.BUFFERED
        self._mends_to = self._buffer.reach(self._mends_to)
        if self._mends_to < self._newest.last_id:
            return Outcome.BUFFERED
        self._mends_to = None
        self._become_live(self.engine_time)
        self._follow_buffer()
        return Outcome.MENDED if self._state is _LIVE else Outcome.BROKE

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
        self._mends_to = None
        self._reason = reason
        self._seed_floor = 0
        self._newest = None
        self._candidate = None
        self._epoch_start = engine_time
        self._wrong = None
        self._not_before = None
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
        self.root = seed.root
        self._become_live(seed.engine_time)
        return None

    def _become_live(self, engine_time: int | None) -> None:
        self.engine_time = self.since = engine_time
        self._state = _LIVE
        self._reason = ""

    def _refusal(self, seed: _Seed) -> str | None:
        seed_id = seed.last_update_id
        if self._is_cut_off:
            return f"seed {seed_id} would not stay right: no socket brings the updates after it"
        if self._wrong is not None and _is_from_before(seed.root, self._wrong):
            return (
                f"seed {seed_id} goes back to the exchange's snapshot {seed.root.last_update_id}, "
                f"and an audit found the book wrong at update {self._wrong.last_id}"
            )
        if self._not_before is not None and not _is_received_since(seed.root, self._not_before):
            return f"seed {seed_id} goes back to before an audit that found updates which the exchange never sent"
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
        """Offer what waited as if it came after the seed, in the order of its ids; from a hole on it waits again."""
        for update in self._buffer.take_all():
            self.on_update(*update)
        return Outcome.RESEEDED if self._state is _LIVE else Outcome.BROKE


def _is_received_since(root: Root, time: int) -> bool:
    return root.received_time is not None and root.received_time >= time


def _is_from_before(root: Root, wrong: Position) -> bool:
    """Whether a book that goes back to this snapshot holds what an audit found wrong; not so if the sequence began again since."""
    return root.last_update_id < wrong.last_id and not restarted_by_seed(wrong, root.last_update_id, root.engine_time)
