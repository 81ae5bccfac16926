"""Whether a producer vouches for one book, and the proof for it. Sans I/O.

A *claim* says that the exchange's book was at an update id during certain coverage runs (`sequencing/coverage.py`), or that the exchange
sent that update during them. A book with an intact sequence up to that id is proven in these runs: they bring all later updates.
"""

from collections import deque
from collections.abc import Callable
from enum import Enum
from math import inf
from typing import Final, NamedTuple

from backpack_streams.sequencing.runs import RunKey
from backpack_streams.steady_clock import steady_seconds

__all__ = ["Claim", "Standing", "Unvouched"]

_CLAIMS_KEPT: Final = 4
_RUNS_KEPT: Final = 16


class Unvouched(Enum):
    """The status of a book that no producer vouches for."""

    SYNCING = "SYNCING"
    """Nothing has proven the book yet."""
    STALE = "STALE"
    """The book was right as of its time, which is past."""


class Claim(NamedTuple):
    """The exchange was at `last_id`, or sent it, during the runs `keys` and those begun by offset `watermarks_end` of their topic."""

    last_id: int
    keys: frozenset[RunKey]
    watermarks_end: int | None = None
    delta_offset: int | None = None
    """For a checkpoint: offset in the market's partition of the first update that it does not include."""


class Standing:
    """The part of a `MarketBook` that coverage decides. A book that is not read from Kafka is always vouched for."""

    __slots__ = (
        "_clock",
        "_how",
        "_reason",
        "ahead_since",
        "as_of",
        "claims",
        "disproof",
        "disproved",
        "loss",
        "lost_at",
        "proven",
        "proven_id",
        "until",
        "was_vouched",
    )

    def __init__(self, clock: Callable[[], float] = steady_seconds) -> None:
        self._clock = clock
        self._reason = ""
        self._how = Unvouched.STALE
        self.until = inf
        """Until when (seconds of the clock) the newest watermark is valid; infinity: always; minus infinity: never."""
        self.as_of: int | None = None
        """Time up to which the book is known to hold everything that the exchange sent (µs, its producer's clock); None if unknown."""
        self.claims: deque[Claim] = deque(maxlen=_CLAIMS_KEPT)
        self.proven: frozenset[RunKey] = frozenset()
        """The runs in which the book is proven, as long as its sequence is intact and includes `proven_id`."""
        self.proven_id = 0
        self.lost_at: tuple[int, float] = (0, 0)
        """Where the reader last lost updates: the offsets right after the loss, in the watermarks' topic and the market's partition."""
        self.loss = ""
        """Why updates may be missing although the sequence is intact; empty once something has proven the book since."""
        self.ahead_since: tuple[int, float] | None = None
        """Id of a snapshot that is ahead of the book, and since when (seconds of the clock)."""
        self.disproved: frozenset[RunKey] = frozenset()
        """Runs whose watermarks called the book complete when it was not."""
        self.disproof = ""
        """Why these runs are disproved."""
        self.was_vouched = True
        """The last value reported to readers."""

    @property
    def is_vouched(self) -> bool:
        """Whether a producer vouches for the book now."""
        return self.until == inf or self._clock() <= self.until

    @property
    def how(self) -> Unvouched:
        """Status to show while no producer vouches for the book."""
        return self._how if self._reason else Unvouched.STALE

    @property
    def is_too_old(self) -> bool:
        """Whether the last valid watermark has expired."""
        return not self._reason and not self.is_vouched

    @property
    def reason(self) -> str:
        """Why no producer vouches for the book; empty if the last decision was that one does."""
        return self._reason

    def vouch(self, as_of: int, until: float) -> None:
        """Record a watermark that covers the book.

        Args:
            as_of: the moment as of which the book is complete (µs since the Unix epoch, the producer's clock).
            until: when the watermark expires, in seconds of the clock given to the constructor.
        """
        self.as_of, self.until, self._reason = as_of, until, ""

    def refuse(self, reason: str, how: Unvouched = Unvouched.STALE) -> None:
        """Record that no producer vouches for the book, with the reason and the status to show."""
        self.until, self._reason, self._how = -inf, reason, how

    def prove(self, last_id: int, keys: frozenset[RunKey]) -> None:
        """Record that a claim holds for the current book."""
        self.proven = keys | (self.proven if len(self.proven) < _RUNS_KEPT else frozenset())
        self.proven_id = last_id
        if self.loss:
            self.loss, self.lost_at = "", (self.lost_at[0], 0)

    def on_lost(self, watermarks_next: int, depth_next: int) -> None:
        """Record that this reader lost updates: nothing earlier proves the book, even if a producer covers them."""
        self.lose_proof()
        self.claims.clear()
        self.lost_at = watermarks_next, depth_next

    def on_recreated(self, watermarks_next: int, why: str) -> None:
        """Record that the market's partition was recreated: nothing earlier proves the book.

        The offset of a checkpoint does not show whether it is from before, so none proves the book before something else has.
        """
        self.lose_proof()
        self.claims.clear()
        self.loss, self.lost_at = why, (watermarks_next, inf)

    def forget_watermarks(self) -> None:
        """Drop the offsets of the watermarks' topic, which was recreated."""
        kept = [claim for claim in self.claims if claim.watermarks_end is None]
        self.claims.clear()
        self.claims.extend(kept)
        self.lost_at = 0, self.lost_at[1]

    def on_disproved(self, keys: frozenset[RunKey], why: str) -> None:
        """Record that these runs called the book complete when it was not: nothing earlier proves it, and they no longer vouch for it.

        An update received during one of them shows that it delivers after all.
        """
        self.lose_proof()
        self.claims.clear()
        self.disproved, self.disproof = keys, why

    def is_from_after(self, claim: Claim) -> bool:
        """Return whether a claim is from after the last loss."""
        watermarks_next, depth_next = self.lost_at
        if claim.watermarks_end is not None:
            return watermarks_next == 0 or claim.watermarks_end > watermarks_next
        return claim.delta_offset is None or claim.delta_offset >= depth_next

    def lose_proof(self) -> None:
        """Drop the proof: the book is of another sequence, or went back."""
        self.proven = frozenset()
        self.proven_id = 0
