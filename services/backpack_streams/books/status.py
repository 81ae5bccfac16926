"""How one book is shown: its status, why it is that, and since when. Sans I/O."""

from enum import Enum
from math import inf
from typing import Final

from backpack_streams.books.listing import moment_text
from backpack_streams.books.standing import Standing

__all__ = ["CATCHING_UP", "Outcome", "Presentation", "Status"]

CATCHING_UP: Final = "catching up"


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


_LIVE = Status.LIVE


class Presentation:
    """What lies over the state of a book's chain: the market list's word, then that of its reader, then who vouches for it.

    `CLOSED` while the market is, `SYNCING` while the reader holds it, and `LIVE` only while somebody vouches for it.
    """

    __slots__ = ("_closed_because", "_closed_since", "_held_because", "_stream", "changed_at", "standing")

    def __init__(self, symbol: str, standing: Standing, held_because: str = "") -> None:
        self.changed_at: int | None = None
        """Engine time (µs) the book was at when anything but the market list last changed its status; None if that is unknown."""
        self.standing = standing
        """Who vouches for it, and what proves it."""
        self._stream = f"depth.{symbol}"
        self._closed_because = ""
        self._closed_since = 0
        self._held_because = held_because

    @property
    def is_covered(self) -> bool:
        """Whether anything but the state of its chain decides: the market is closed, or the reader holds the book."""
        return bool(self._closed_because or self._held_because)

    @property
    def since(self) -> int | None:
        """When it took its status (µs): by the market list while the market is closed, else by engine time; None if that is unknown."""
        return self._closed_since if self._closed_because else self.changed_at

    @property
    def has_watermark(self) -> bool:
        """Whether a watermark vouches for it now: by these it shows whether it misses anything."""
        return self.standing.until != inf and self.standing.is_vouched

    def status(self, chain: Status) -> Status:
        """What the book may be used for, given the state of its chain."""
        if self._closed_because:
            return Status.CLOSED
        if self._held_because:
            return Status.SYNCING
        if chain is _LIVE and not self.standing.is_vouched:
            return Status(self.standing.how.value)
        return chain

    def reason(self, chain: Status, chain_reason: str) -> str:
        """Why it is not live, in a few words; empty if it is. What is wrong with its chain says more than that it is held."""
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
        """The reader cannot show it yet, for this reason."""
        self._held_because = reason

    def release(self, engine_time: int | None) -> None:
        """The reader has come to where the book may be shown."""
        if self._held_because:
            self._held_because = ""
            self.changed_at = engine_time

    def close(self, reason: str, time_us: int) -> bool:
        """The market list says that the market is closed, since then. False if that is known."""
        if self._closed_because:
            return False
        self._closed_because = reason
        self._closed_since = time_us
        return True

    def reopen(self, time_us: int) -> bool:
        """The market list says that the market is open, since then. False if that is known."""
        if not self._closed_because:
            return False
        self._closed_because = ""
        self.changed_at = time_us
        return True
