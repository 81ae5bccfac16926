"""The published state of one book: its status, the reason for it, and its start. Sans I/O."""

from enum import Enum
from math import inf
from typing import Final

from backpack_streams.books.listing import moment_text
from backpack_streams.books.standing import Standing

__all__ = ["CATCHING_UP", "Outcome", "Presentation", "Status"]

CATCHING_UP: Final = "catching up"


class Status(Enum):
    """Whether and how you may use a book."""

    SYNCING = "SYNCING"
    """No usable snapshot yet, or the reader is still catching up: do not use the book."""
    LIVE = "LIVE"
    """Every update since the snapshot continues the sequence, and a producer has vouched for the book within the last few seconds."""
    STALE = "STALE"
    """The book broke, or no producer vouches for it (`reason`): the last good state, not the current one."""
    CLOSED = "CLOSED"
    """The market is closed or delisted (`reason`): the last state before that; there is no trading."""


class Outcome(Enum):
    """Effect of one event on the book."""

    APPLIED = "applied"
    """The update continued the sequence."""
    DUPLICATE = "duplicate"
    """The book includes the update already."""
    BUFFERED = "buffered"
    """The book is not live: the update waits for a snapshot."""
    BROKE = "broke"
    """The book left `LIVE`; it needs a snapshot."""
    RESYNCED = "resynced"
    """A snapshot replaced the book, which is live (or live once released)."""
    PENDING = "pending"
    """The snapshot is ahead of a live book: it is pending, in case the sequence breaks."""
    IGNORED = "ignored"
    """A live book does not need the snapshot."""
    CLOSED = "closed"
    """The market list says that the market is closed."""
    REOPENED = "reopened"
    """The market list says that the market is open again: from now on the book shows its own status."""
    CAUGHT_UP = "caught up"
    """The reader has caught up: from now on the book shows its own status."""
    RESUMED = "resumed"
    """Another producer delivered all missing updates late: the book is live again without a snapshot."""
    REFUSED = "refused"
    """The snapshot is unusable (`reason`); the book is not live."""
    VOUCHED = "vouched"
    """A producer vouches for the book again."""
    UNVOUCHED = "unvouched"
    """No producer vouches for the book any more, or what the producers say does not prove the book (`reason`)."""


_LIVE = Status.LIVE


class Presentation:
    """Combines the state of a book's sequence with what overrides it: the market list first, then the reader, then the watermarks.

    `CLOSED` while the market is closed, `SYNCING` while the reader holds the book, and `LIVE` only while a producer vouches for it.
    """

    __slots__ = ("_closed_because", "_closed_since", "_held_because", "_stream", "changed_at", "standing")

    def __init__(self, symbol: str, standing: Standing, held_because: str = "") -> None:
        self.changed_at: int | None = None
        """Time (µs) at which anything but a closure last changed the status: the book's engine time, or the market list's for a reopening.

        None if unknown.
        """
        self.standing = standing
        """Whether a producer vouches for the book, and the proof for it."""
        self._stream = f"depth.{symbol}"
        self._closed_because = ""
        self._closed_since = 0
        self._held_because = held_because

    @property
    def is_covered(self) -> bool:
        """Whether the market list or the reader overrides the sequence: the market is closed, or the reader holds the book."""
        return bool(self._closed_because or self._held_because)

    @property
    def since(self) -> int | None:
        """Start of the status (µs): by the market list for a closure or a reopening, otherwise by engine time; None if unknown."""
        return self._closed_since if self._closed_because else self.changed_at

    @property
    def has_watermark(self) -> bool:
        """Whether a valid watermark vouches for the book, so that coverage shows whether it misses anything."""
        return self.standing.until != inf and self.standing.is_vouched

    def status(self, chain: Status) -> Status:
        """Return the status to show, given the state of the sequence."""
        if self._closed_because:
            return Status.CLOSED
        if self._held_because:
            return Status.SYNCING
        if chain is _LIVE and not self.standing.is_vouched:
            return Status(self.standing.how.value)
        return chain

    def reason(self, chain: Status, chain_reason: str) -> str:
        """Return why the book is not live, in a few words; empty if it is. A fault of the sequence takes precedence over a hold."""
        if self._closed_because:
            return self._closed_because
        if chain is not _LIVE:
            return chain_reason
        return self._held_because or self._why_unvouched()

    def _why_unvouched(self) -> str:
        standing = self.standing
        if standing.is_too_old and standing.as_of is not None:
            return f"no producer has vouched for {self._stream} since {moment_text(standing.as_of)}"
        return standing.reason

    def hold(self, reason: str) -> None:
        """Show `SYNCING` until `release`, with this reason."""
        self._held_because = reason

    def release(self, engine_time: int | None) -> None:
        """Show the book's own status from now on; `engine_time` (µs) is that of the book."""
        if self._held_because:
            self._held_because = ""
            self.changed_at = engine_time

    def close(self, reason: str, time_us: int) -> bool:
        """Show `CLOSED` since `time_us` (µs), as the market list says. Returns False if the market was closed already."""
        if self._closed_because:
            return False
        self._closed_because = reason
        self._closed_since = time_us
        return True

    def reopen(self, time_us: int) -> bool:
        """End `CLOSED` as of `time_us` (µs), as the market list says. Returns False if the market was not closed."""
        if not self._closed_because:
            return False
        self._closed_because = ""
        self.changed_at = time_us
        return True
