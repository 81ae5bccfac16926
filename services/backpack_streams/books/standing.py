"""Whether somebody vouches for one book, and what proves it. Sans I/O.

A *claim* says that the exchange's book was at an update id at a moment of certain runs of coverage (`sequencing/coverage.py`), or had sent
that update in them. A book whose chain is whole up to that id is proven in these runs: whatever came later, they bring.
"""

import time
from collections import deque
from collections.abc import Callable
from enum import Enum
from math import inf
from typing import Final, NamedTuple

from backpack_streams.sequencing.coverage import RunKey

__all__ = ["Claim", "Standing", "Unvouched"]

_CLAIMS_KEPT: Final = 4
_RUNS_KEPT: Final = 16


class Unvouched(Enum):
    """How a book that nobody vouches for is shown."""

    SYNCING = "SYNCING"
    """Nothing has proven it yet."""
    STALE = "STALE"
    """It was right as of its time, which is no longer now."""


class Claim(NamedTuple):
    """The exchange was at `last_id`, or sent it, in the runs `keys`, and in those that had begun at `watermarks_end` of their topic."""

    last_id: int
    keys: frozenset[RunKey]
    watermarks_end: int | None = None
    delta_offset: int | None = None
    """Of a checkpoint: from where on in the market's partition what is not in it follows."""


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
        "lost_at",
        "proven",
        "proven_id",
        "until",
        "was_vouched",
    )

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._reason = ""
        self._how = Unvouched.STALE
        self.until = inf
        """Until when (monotonic seconds) the newest watermark counts; minus infinity where none does."""
        self.as_of: int | None = None
        """Up to when the book is known to hold all that the exchange sent (µs, by its producer's clock); None before that is known."""
        self.claims: deque[Claim] = deque(maxlen=_CLAIMS_KEPT)
        self.proven: frozenset[RunKey] = frozenset()
        """The runs in which it is proven, as long as its chain is whole and holds `proven_id`."""
        self.proven_id = 0
        self.lost_at = (0, 0)
        """Where the reader last lost updates: what comes next of the watermarks, and of the market's partition, right after that."""
        self.ahead_since: tuple[int, float] | None = None
        """A snapshot that is ahead of the book, by its id, and since when it is."""
        self.disproved: frozenset[RunKey] = frozenset()
        """Runs that said that the book was complete when it was not."""
        self.disproof = ""
        """Why that is known."""
        self.was_vouched = True
        """What readers were told last."""

    @property
    def is_vouched(self) -> bool:
        """Whether somebody vouches for the book, now."""
        return self.until == inf or self._clock() <= self.until

    @property
    def how(self) -> Unvouched:
        """How it is to be shown while nobody does."""
        return self._how if self._reason else Unvouched.STALE

    @property
    def is_too_old(self) -> bool:
        """Whether a watermark that counted does not count any more."""
        return not self._reason and not self.is_vouched

    @property
    def reason(self) -> str:
        """Why nobody does; empty where the last word was that somebody does."""
        return self._reason

    def vouch(self, as_of: int, until: float) -> None:
        """A watermark says that the book is complete as of then."""
        self.as_of, self.until, self._reason = as_of, until, ""

    def refuse(self, reason: str, how: Unvouched = Unvouched.STALE) -> None:
        """Nobody vouches for it, for this reason."""
        self.until, self._reason, self._how = -inf, reason, how

    def prove(self, last_id: int, keys: frozenset[RunKey]) -> None:
        """A claim has turned out to hold for the book as it is."""
        self.proven = keys | (self.proven if len(self.proven) < _RUNS_KEPT else frozenset())
        self.proven_id = last_id

    def on_lost(self, watermarks_next: int, depth_next: int) -> None:
        """Updates were lost on the way to this reader: nothing from before proves the book, though somebody covers them."""
        self.lose_proof()
        self.claims.clear()
        self.lost_at = watermarks_next, depth_next

    def on_disproved(self, keys: frozenset[RunKey], why: str) -> None:
        """These runs said that the book was complete, and it was not: nothing from before proves it, and they do not vouch for it.

        An update that comes in one of them shows that it delivers after all.
        """
        self.lose_proof()
        self.claims.clear()
        self.disproved, self.disproof = keys, why

    def is_from_after(self, claim: Claim) -> bool:
        """Whether a claim is of after the last loss."""
        watermarks_next, depth_next = self.lost_at
        if claim.watermarks_end is not None:
            return watermarks_next == 0 or claim.watermarks_end > watermarks_next
        return claim.delta_offset is None or claim.delta_offset >= depth_next

    def lose_proof(self) -> None:
        """The book is of another sequence, or went back: what proved it says nothing of it."""
        self.proven = frozenset()
        self.proven_id = 0
