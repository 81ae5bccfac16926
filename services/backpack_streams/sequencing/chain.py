"""Decides one thing: is this update the next one of its sequence?"""

from enum import Enum

from backpack_streams.sequencing.restart import Position, SequenceTime

__all__ = ["Chain", "Verdict"]


class Verdict(Enum):
    """What to do with an update."""

    APPLY = "apply"
    DUPLICATE = "duplicate"
    BREAK = "break"


_APPLY, _DUPLICATE, _BREAK = Verdict.APPLY, Verdict.DUPLICATE, Verdict.BREAK


class Chain(SequenceTime):
    """Follows the ids `U` (first) and `u` (last) of the messages of one stream, and their engine times where they are given.

    Rules as observed on the exchange: `u <= last` has been seen; the first update kept after a snapshot at `L` must
    satisfy `U <= L + 1 <= u`; every later one `U == last + 1`. Anything else breaks the chain. A break changes
    nothing here: only `seed` moves on from it.
    """

    __slots__ = ("is_chained", "next_id")

    def __init__(self) -> None:
        super().__init__()
        self.next_id: int | None = None
        """The id that the next message begins with; None before anything is known."""
        self.is_chained = False
        """Whether an update has been applied since the seed."""

    @property
    def last_id(self) -> int | None:
        """Last id that is included; None before the first seed."""
        return None if self.next_id is None else self.next_id - 1

    @property
    def position(self) -> Position | None:
        """Where the sequence is by its messages; None before anything is known."""
        return None if self.next_id is None else Position(self.next_id - 1, self.time_us or None, 0, self.disowned_us)

    def seed(self, last_update_id: int, time_us: int | None = None) -> None:
        """Start again from a snapshot that includes everything up to this id.

        One from before the beginning of the sequence, as far as that is known, shows that it did not begin then.
        """
        self.next_id = last_update_id + 1
        self.is_chained = False
        if time_us is not None and self.is_of_before(time_us):
            self.begin_anew(None)
            self.ended_us = 0

    def offer(self, first_id: int, last_id: int, time_us: int | None = None) -> Verdict:
        """Judge one update; `APPLY` advances the sequence, the other verdicts leave it. Unseeded: `BREAK`.

        An update of the sequence that ended is a `DUPLICATE`, though its ids may be ahead, or even follow.
        """
        expected = self.next_id
        if expected is None:
            return _BREAK
        if last_id < expected:
            return _DUPLICATE
        if first_id == expected and time_us is not None and time_us >= self.time_us:  # nearly all
            self.next_id = last_id + 1
            self.is_chained = True
            self.time_us = time_us
            return _APPLY
        if time_us is not None and self.is_of_before(time_us):
            return _DUPLICATE
        if first_id != expected and (self.is_chained or first_id > expected):
            return _BREAK
        self.took(last_id, time_us or 0)
        return _APPLY

    def took(self, last_id: int, time_us: int) -> None:
        """The message that ends at `last_id` went on, whatever came before it; 0 where its time is unknown."""
        self.next_id = last_id + 1
        self.is_chained = True
        self.saw(time_us)
