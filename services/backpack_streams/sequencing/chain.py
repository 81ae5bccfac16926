"""Decides one thing: is this update the next one of its sequence?"""

from enum import Enum

__all__ = ["Chain", "Verdict"]


class Verdict(Enum):
    """What to do with an update."""

    APPLY = "apply"
    DUPLICATE = "duplicate"
    BREAK = "break"


_APPLY, _DUPLICATE, _BREAK = Verdict.APPLY, Verdict.DUPLICATE, Verdict.BREAK


class Chain:
    """Follows the update ids `U` (first) and `u` (last) of one market's depth stream.

    Rules as observed on the exchange: `u <= last` has been seen; the first update kept after a snapshot at `L` must
    satisfy `U <= L + 1 <= u`; every later one `U == last + 1`. Anything else breaks the chain. A break changes
    nothing here: only `seed` moves on from it.
    """

    __slots__ = ("is_chained", "last_id")

    def __init__(self) -> None:
        self.last_id: int | None = None
        """Last update id that the book includes; None before the first seed."""
        self.is_chained = False
        """Whether an update has been applied since the seed."""

    def seed(self, last_update_id: int) -> None:
        """Start again from a snapshot that includes everything up to this id."""
        self.last_id = last_update_id
        self.is_chained = False

    def offer(self, first_id: int, last_id: int) -> Verdict:
        """Judge one update; `APPLY` advances the sequence, the other verdicts leave it. Unseeded: `BREAK`."""
        last = self.last_id
        if last is None:
            return _BREAK
        if last_id <= last:
            return _DUPLICATE
        if first_id != last + 1 and (self.is_chained or first_id > last):
            return _BREAK
        self.last_id = last_id
        self.is_chained = True
        return _APPLY
