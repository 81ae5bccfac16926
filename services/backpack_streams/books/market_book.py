"""The book of one market with its sequence and status, without I/O: takes events, and is right or says that it is not."""

import time
from collections.abc import Callable
from math import inf

from backpack_streams.books.adoption import is_from_before, is_received_since
from backpack_streams.books.market_view import MarketView
from backpack_streams.books.sequenced_book import SequencedBook
from backpack_streams.books.snapshot import SEED, BaseSnapshot
from backpack_streams.books.standing import Standing
from backpack_streams.books.status import CATCHING_UP, Outcome, Presentation, Status
from backpack_streams.books.update_buffer import BufferBudget, UpdateBuffer
from backpack_streams.sequencing.restart import TOLERANCE_MICROSECONDS, Position

__all__ = ["DEFAULT_BUFFERED_UPDATES", "SEED", "BaseSnapshot", "MarketBook", "Outcome", "Status"]

DEFAULT_BUFFERED_UPDATES = 20_000

_LIVE = Status.LIVE


def _wall_us() -> int:
    return time.time_ns() // 1000


class MarketBook(SequencedBook):
    """One market's book: its sequence, the evidence against it, and the status that it shows.

    `standing` says whether a producer vouches for the book; by default the book is vouched for. Without a producer it is not `LIVE`, even
    if its sequence is intact (`is_whole`).
    """

    __slots__ = ("proof_from", "starts_at", "starts_by_ms", "symbol", "view")

    def __init__(
        self,
        symbol: str,
        *,
        catching_up: bool = False,
        buffered_updates: int = DEFAULT_BUFFERED_UPDATES,
        no_snapshot_because: str = "no snapshot yet",
        budget: BufferBudget | None = None,
        wall_us: Callable[[], int] = _wall_us,
    ) -> None:
        """Create an empty book.

        Args:
            symbol: the market.
            catching_up: show `SYNCING` until `release`.
            buffered_updates: maximum number of updates that wait for a snapshot.
            no_snapshot_because: reason to show before the first snapshot.
            budget: limit in bytes that the buffers of several books share.
            wall_us: clock that returns the current time, in µs since the Unix epoch.
        """
        shown = Presentation(symbol, Standing(), CATCHING_UP if catching_up else "")
        super().__init__(shown, UpdateBuffer(buffered_updates, budget), no_snapshot_because, wall_us)
        self.symbol = symbol
        self.view = MarketView(self)
        """The read-only view for users."""
        self.starts_at = 0
        """Offset, in the partition of its updates, from which records may continue the book; earlier ones are in it or not the exchange's.

        For the reader of Kafka; this class does not use it."""
        self.starts_by_ms = 0
        """When `starts_at` was set (ms): a later timestamp on a record before that offset shows that the partition was recreated."""
        self.proof_from: float = inf
        """Offset from which updates may prove the book. For the reader of Kafka; this class does not use it."""

    def __repr__(self) -> str:
        return f"<MarketBook {self.symbol} {self.status.value} at {self.last_update_id}: {self.book!r}>"

    # Position ---------------------------------------------------------------------------------------------

    @property
    def is_sequenced(self) -> bool:
        """Whether an update has continued the sequence since the snapshot."""
        return self._chain.is_sequenced

    @property
    def buffered_updates(self) -> int:
        """Number of updates that wait for a snapshot."""
        return len(self._buffer)

    @property
    def dropped_updates(self) -> int:
        """Number of updates dropped from a full buffer, over the life of the book."""
        return self._buffer.dropped_ever

    @property
    def candidate_id(self) -> int | None:
        """Id of the pending snapshot ahead of the live book; None without one. If it stays ahead for long, updates do not arrive."""
        pending = self._adoption.pending_id
        return None if pending is None or pending <= (self.last_update_id or 0) else pending

    def is_early(self, first_id: int) -> bool:
        """Return whether an update that begins with this id leaves a gap in a sequence that is intact so far."""
        last_id = self._chain.last_id
        return self._state is _LIVE and last_id is not None and first_id > last_id + 1

    # Published state --------------------------------------------------------------------------------------

    @property
    def status(self) -> Status:
        """`CLOSED` while the market is closed, `SYNCING` while held, whatever the sequence; `LIVE` only while a producer vouches for it."""
        return self._shown.status(self._state)

    @property
    def reason(self) -> str:
        """Why the book is not live, in a few words; empty if it is."""
        dropped = self._buffer.dropped
        full = f"; buffer full, oldest updates dropped: {dropped}" if dropped else ""
        return self._shown.reason(self._state, self._reason + full)

    @property
    def since(self) -> int | None:
        """Start of the status (µs): by the market list for a closure or a reopening, otherwise by engine time; None if unknown."""
        return self._shown.since

    @property
    def as_of(self) -> int | None:
        """Time up to which the book is known to hold everything that the exchange sent, µs by its producer's clock; None if unknown."""
        return self._shown.standing.as_of

    @property
    def standing(self) -> Standing:
        """Whether a producer vouches for the book, and the proof for it."""
        return self._shown.standing

    @standing.setter
    def standing(self, standing: Standing) -> None:
        self._shown.standing = standing

    def hold(self, reason: str = CATCHING_UP) -> None:
        """Show `SYNCING` until `release`, even if the sequence is intact: the reader is not live, or cannot know whether it is."""
        self._shown.hold(reason)

    def release(self) -> None:
        """Show the status of the sequence: the reader has caught up."""
        self._shown.release(self.engine_time)

    def on_listed(self, why_closed: str, since_us: int) -> Outcome:
        """Apply the market list's state.

        Args:
            why_closed: why the market is closed; empty while it is open.
            since_us: since when (µs since the Unix epoch).

        Returns:
            CLOSED, REOPENED, or IGNORED if nothing changes.
        """
        return self.on_closed(why_closed, since_us) if why_closed else self.on_reopened(since_us)

    def on_closed(self, reason: str, time_us: int) -> Outcome:
        """Show `CLOSED` until `on_reopened`: the market closed at `time_us` (µs). Returns CLOSED, or IGNORED if it was closed already."""
        return Outcome.CLOSED if self._shown.close(reason, time_us) else Outcome.IGNORED

    def on_reopened(self, time_us: int) -> Outcome:
        """Show the market as open again from `time_us` (µs). A book from before the closure is not live: it may have missed updates.

        Returns REOPENED, or IGNORED if the market was not closed.
        """
        if not self._shown.reopen(time_us):
            return Outcome.IGNORED
        if self.engine_time is None or time_us - self.engine_time > TOLERANCE_MICROSECONDS:
            self._doubt("the market was closed; no snapshot from after that yet")
        return Outcome.REOPENED

    def on_vouched(self, is_vouched: bool) -> Outcome:
        """Record that a producer vouches for the book from now on, or that none does any more. Returns VOUCHED or UNVOUCHED."""
        if self._state is _LIVE and not self._shown.is_covered:
            self._shown.changed_at = self.engine_time
            self.breaks += not is_vouched
        return Outcome.VOUCHED if is_vouched else Outcome.UNVOUCHED

    # Evidence against it --------------------------------------------------------------------------------------

    def on_unreadable(self, reason: str, since_us: int | None = None) -> Outcome:
        """Record that something of this market may be missing: a record that cannot be decoded, or a gap with no known end.

        The next update decides: if it continues an intact sequence, the missing record was no update of this book, and the book resumes.
        Otherwise the book is live again only with a snapshot past everything seen so far, or with two snapshots at the same id, received
        20 s or more apart and after `since_us` (µs), which show that the exchange has not moved. Returns BROKE, RESYNCED or BUFFERED.
        """
        newest = self._position()
        floor = 0 if newest is None else newest.last_id + 1
        if self._state is _LIVE:
            outcome = self._break(reason, floor, since_us)
            if self._state is not _LIVE:
                self._resumes_to = self.last_update_id
            return outcome
        is_next_awaited = self._resumes_to == self.last_update_id == self.newest_id
        # A snapshot past the floor includes all waiting updates.
        self._buffer.clear()
        self._resumes_to = self.last_update_id if is_next_awaited else None
        self._adoption.demand(floor, since_us)
        self._reason = reason
        return Outcome.BUFFERED

    def on_outage(self, reason: str) -> Outcome:
        """Record that no socket brings this market's updates. Until one does, no snapshot makes the book live: it would not stay right.

        A new update or `on_outage_over` ends this state. Returns BROKE or BUFFERED.

        Args:
            reason: why the book is not live, in a few words, for `reason`.
        """
        self._adoption.on_cut_off()
        return self._doubt(reason)

    def on_outage_over(self, reason: str) -> Outcome:
        """Record that a socket is up again, and that updates may have been missed: only a snapshot from now on helps, even at the same id.

        Returns BROKE or BUFFERED.
        """
        self._adoption.on_connected()
        return self._doubt(reason)

    def on_wrong(self, last_id: int, found_time: int | None, reason: str) -> Outcome:
        """Record that an audit found this market's book wrong.

        Only an exchange snapshot from that id on makes the book live again, or a checkpoint based on one.

        Args:
            last_id: the update id that the book had reached.
            found_time: when the audit found it wrong (µs since the Unix epoch); None if unknown.
            reason: why the book is not live, in a few words.

        Returns:
            BROKE, RESYNCED, BUFFERED, or IGNORED if the book is based on such a snapshot already.
        """
        wrong = Position(last_id, found_time, TOLERANCE_MICROSECONDS)
        if self.base is not None and not is_from_before(self.base, wrong):
            return Outcome.IGNORED
        self._adoption.on_wrong(wrong)
        if self._state is _LIVE:  # the updates are applied and gone, so an earlier snapshot could not be continued
            return self._break(reason, max(last_id, self.newest_id))
        self._resumes_to = None
        self._reason = reason
        return Outcome.BUFFERED

    def on_ahead(self, last_id: int, seen_time: int, reason: str) -> Outcome:
        """Record that the topic is ahead of the exchange.

        So these updates are not the exchange's, and its ids continue below them. Only a snapshot received from
        `seen_time` on makes the book live again, or a checkpoint based on one.

        Args:
            last_id: the update id that the exchange had not reached.
            seen_time: when it was asked (µs since the Unix epoch, our clock).
            reason: why the book is not live, in a few words.

        Returns:
            BROKE, BUFFERED, or IGNORED if the book is based on such a snapshot already.
        """
        if self.base is not None and is_received_since(self.base, seen_time):
            return Outcome.IGNORED
        outcome = Outcome.BROKE if self._state is _LIVE else Outcome.BUFFERED
        newest_id = self.newest_id
        self._begin_epoch(reason, self._adoption.epoch)
        # The updates since then are gone, so a snapshot has to reach past them.
        self._adoption.on_ahead(seen_time, newest_id if newest_id > last_id else 0)
        return outcome

    def on_disproved(self, reason: str) -> Outcome:
        """Break the book: the pending snapshot shows that updates are missing. Returns RESYNCED if it becomes the book, otherwise BROKE."""
        return self._break(reason, self._chain.last_id or 0)
