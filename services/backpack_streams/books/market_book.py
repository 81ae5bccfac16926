"""The book of one market with its sequence and status, without I/O: events in, a book that is right or says it isn't."""

import time
from collections.abc import Callable
from math import inf

from backpack_streams.books.adoption import is_from_before, is_received_since
from backpack_streams.books.market_view import MarketView
from backpack_streams.books.sequenced_book import SequencedBook
from backpack_streams.books.snapshot import SEED, Root
from backpack_streams.books.standing import Standing
from backpack_streams.books.status import CATCHING_UP, Outcome, Presentation, Status
from backpack_streams.books.update_buffer import BufferBudget, UpdateBuffer
from backpack_streams.sequencing.restart import TOLERANCE_MICROSECONDS, Position

__all__ = ["DEFAULT_BUFFERED_UPDATES", "SEED", "MarketBook", "Outcome", "Root", "Status"]

DEFAULT_BUFFERED_UPDATES = 20_000

_LIVE = Status.LIVE


def _wall_us() -> int:
    return time.time_ns() // 1000


class MarketBook(SequencedBook):
    """One market's book: its chain, the news that speaks against it, and how it is shown.

    `standing` says whether a producer vouches for it; by itself a book is vouched for. Without that it shows no `LIVE`, though its chain
    may be whole (`is_whole`).
    """

    __slots__ = ("proof_from", "starts_at", "starts_by_ms", "symbol", "view")

    def __init__(
        self,
        symbol: str,
        *,
        catching_up: bool = False,
        buffered_updates: int = DEFAULT_BUFFERED_UPDATES,
        unseeded_because: str = "no seed yet",
        budget: BufferBudget | None = None,
        wall_us: Callable[[], int] = _wall_us,
    ) -> None:
        """Prepare. `budget`: what the buffers of several books may hold together; `wall_us`: now, in µs since the Unix epoch."""
        shown = Presentation(symbol, Standing(), CATCHING_UP if catching_up else "")
        super().__init__(shown, UpdateBuffer(buffered_updates, budget), unseeded_because, wall_us)
        self.symbol = symbol
        self.view = MarketView(self)
        """What users are given."""
        self.starts_at = 0
        """Where, in the partition of its updates, those begin that may follow on the book: what lies before is in it, or is not the
        exchange's. For whoever reads Kafka; nothing here looks at it."""
        self.starts_by_ms = 0
        """When that was so (ms): an update stamped later than this before `starts_at` shows that the partition began anew."""
        self.proof_from: float = inf
        """Updates from this offset on may prove it. For whoever reads Kafka; nothing here looks at it."""

    def __repr__(self) -> str:
        return f"<MarketBook {self.symbol} {self.status.value} at {self.last_update_id}: {self.book!r}>"

    # Where it is ------------------------------------------------------------------------------------------

    @property
    def is_chained(self) -> bool:
        """Whether an update has followed on the snapshot."""
        return self._chain.is_chained

    @property
    def buffered_updates(self) -> int:
        """How many updates wait for a snapshot."""
        return len(self._buffer)

    @property
    def dropped_updates(self) -> int:
        """Updates lost to a full buffer, ever."""
        return self._buffer.dropped_ever

    @property
    def candidate_id(self) -> int | None:
        """Id of the snapshot that waits ahead of the live book; one that stays ahead for long says that updates do not arrive."""
        pending = self._adoption.pending_id
        return None if pending is None or pending <= (self.last_update_id or 0) else pending

    def is_early(self, first_id: int) -> bool:
        """Whether an update that begins with this id leaves a gap in a chain that is whole so far."""
        last_id = self._chain.last_id
        return self._state is _LIVE and last_id is not None and first_id > last_id + 1

    # How it is shown ------------------------------------------------------------------------------------------

    @property
    def status(self) -> Status:
        """`CLOSED` while the market is, `SYNCING` while held, whatever the chain says; `LIVE` only while somebody vouches for it."""
        return self._shown.status(self._state)

    @property
    def reason(self) -> str:
        """Why the book is not live, in a few words; empty if it is."""
        dropped = self._buffer.dropped
        full = f"; buffer full, oldest updates dropped: {dropped}" if dropped else ""
        return self._shown.reason(self._state, self._reason + full)

    @property
    def since(self) -> int | None:
        """Engine time (µs) the book was at when it took its status; None if that is unknown."""
        return self._shown.since

    @property
    def as_of(self) -> int | None:
        """Up to when the book is known to hold all that the exchange sent, µs by its producer's clock; None before that is known."""
        return self._shown.standing.as_of

    @property
    def standing(self) -> Standing:
        """Who vouches for it, and what proves it."""
        return self._shown.standing

    @standing.setter
    def standing(self, standing: Standing) -> None:
        self._shown.standing = standing

    def hold(self, reason: str = CATCHING_UP) -> None:
        """Show `SYNCING` until `release`, though the chain may be whole: the reader is still in the past, or cannot know that it is."""
        self._shown.hold(reason)

    def release(self) -> None:
        """Show the chain's own status: the reader has caught up."""
        self._shown.release(self.engine_time)

    def on_listed(self, why_closed: str, since_us: int) -> Outcome:
        """Take what the market list says: why the market is closed, empty while it is open, and since when (µs).

        Returns CLOSED, REOPENED, or IGNORED where that is known.
        """
        return self.on_closed(why_closed, since_us) if why_closed else self.on_reopened(since_us)

    def on_closed(self, reason: str, time_us: int) -> Outcome:
        """Show `CLOSED` until `on_reopened`: the market list says so, since `time_us`. Returns CLOSED, or IGNORED if it is known."""
        return Outcome.CLOSED if self._shown.close(reason, time_us) else Outcome.IGNORED

    def on_reopened(self, time_us: int) -> Outcome:
        """The market is open again. A book from before that is not live: what happened meanwhile was not followed.

        Returns REOPENED, or IGNORED if it was not closed.
        """
        if not self._shown.reopen(time_us):
            return Outcome.IGNORED
        if self.engine_time is None or time_us - self.engine_time > TOLERANCE_MICROSECONDS:
            self._doubt("the market was closed; no snapshot from after that yet")
        return Outcome.REOPENED

    def on_vouched(self, is_vouched: bool) -> Outcome:
        """Take note that somebody vouches for the book from now on, or nobody. Returns VOUCHED or UNVOUCHED."""
        if self._state is _LIVE and not self._shown.is_covered:
            self._shown.changed_at = self.engine_time
            self.breaks += not is_vouched
        return Outcome.VOUCHED if is_vouched else Outcome.UNVOUCHED

    # News that speaks against it ------------------------------------------------------------------------------

    def on_unreadable(self, reason: str, since_us: int | None = None) -> Outcome:
        """Take note that something of this market is missing: a record that cannot be decoded, a gap with no end yet.

        The next update tells: if it follows on a whole chain, what is missing was no update of it, and the book goes on. Otherwise only
        a snapshot past everything seen so far makes it live again; or else two at the same id, 20 s apart and received after
        `since_us` (µs), which show that the exchange has not moved. Returns BROKE, RESEEDED or BUFFERED.
        """
        newest = self._position()
        floor = 0 if newest is None else newest.last_id + 1
        if self._state is _LIVE:
            outcome = self._break(reason, floor, since_us)
            if self._state is not _LIVE:
                self._resumes_to = self.last_update_id
            return outcome
        is_next_awaited = self._resumes_to == self.last_update_id == self.newest_id
        # A snapshot past the floor includes everything that waits.
        self._buffer.clear()
        self._resumes_to = self.last_update_id if is_next_awaited else None
        self._adoption.demand(floor, since_us)
        self._reason = reason
        return Outcome.BUFFERED

    def on_outage(self, reason: str) -> Outcome:
        """Take note that no socket brings this market's updates: until one does, no snapshot makes the book live: it would not stay right.

        Ends with an update that is new, or with `on_outage_over`. Returns BROKE or BUFFERED.
        """
        self._adoption.on_cut_off()
        return self._doubt(reason)

    def on_outage_over(self, reason: str) -> Outcome:
        """Take note that a socket is up again, and that nobody knows what was missed: a snapshot from now on tells, also at the same id.

        Returns BROKE or BUFFERED.
        """
        self._adoption.on_connected()
        return self._doubt(reason)

    def on_wrong(self, last_id: int, found_time: int | None, reason: str) -> Outcome:
        """Take note that an audit found this market's book to differ from the exchange's when it had reached `last_id` (time in µs).

        Only a snapshot of the exchange from that id on makes the book live again, or a checkpoint that goes back to one.
        Returns BROKE, RESEEDED, BUFFERED, or IGNORED if the book goes back to such a snapshot already.
        """
        wrong = Position(last_id, found_time, TOLERANCE_MICROSECONDS)
        if self.root is not None and not is_from_before(self.root, wrong):
            return Outcome.IGNORED
        self._adoption.on_wrong(wrong)
        if (
            self._state is _LIVE
        ):  # the updates up to the newest are applied and gone, so a snapshot before it could not be followed
            return self._break(reason, max(last_id, self.newest_id))
        self._resumes_to = None
        self._reason = reason
        return Outcome.BUFFERED

    def on_beyond(self, last_id: int, seen_time: int, reason: str) -> Outcome:
        """Take note that the exchange, asked at `seen_time` (µs, our clock), had not come to `last_id`, although the topic long had.

        So these updates are not the exchange's, and its ids go on below them. Only a snapshot received from then on makes the book
        live again, or a checkpoint that goes back to one. Returns BROKE, BUFFERED, or IGNORED if the book goes back to one already.
        """
        if self.root is not None and is_received_since(self.root, seen_time):
            return Outcome.IGNORED
        outcome = Outcome.BROKE if self._state is _LIVE else Outcome.BUFFERED
        newest_id = self.newest_id
        self._begin_epoch(reason, self._adoption.epoch)
        # What has followed since is gone, so a snapshot has to reach past it.
        self._adoption.on_beyond(seen_time, newest_id if newest_id > last_id else 0)
        return outcome

    def on_disproved(self, reason: str) -> Outcome:
        """Take note that the snapshot ahead of the book says that it misses something. Returns RESEEDED, or BROKE without one."""
        return self._break(reason, self._chain.last_id or 0)
