"""Decides one question: is this update the next one of its sequence?"""

from enum import Enum

from backpack_streams.sequencing.restart import Position, SequenceTime

__all__ = ["Chain", "Verdict"]


class Verdict(Enum):
    """The treatment of an update."""

    APPLY = "apply"
    DUPLICATE = "duplicate"
    BREAK = "break"


_APPLY, _DUPLICATE, _BREAK = Verdict.APPLY, Verdict.DUPLICATE, Verdict.BREAK


class Chain(SequenceTime):
    """Follows the ids `U` (first) and `u` (last) of one stream's messages, and their engine times if they have any.

    Rules as observed on the exchange: `u <= last` means that the update was seen; the first update kept after a REST snapshot at `L` must
    satisfy `U <= L + 1 <= u`; every later one `U == last + 1`. Anything else breaks the sequence. A break changes nothing here: only
    `start_at` moves the sequence past it.
    """

    __slots__ = ("is_sequenced", "next_id")

    def __init__(self) -> None:
        super().__init__()
        self.next_id: int | None = None
        """The id that the next message begins with; None before anything is known."""
        self.is_sequenced = False
        """Whether an update has been applied since the snapshot."""

    @property
    def last_id(self) -> int | None:
        """The last included id; None before the first snapshot."""
        return None if self.next_id is None else self.next_id - 1

    @property
    def position(self) -> Position | None:
        """The position of the sequence by its messages; None before anything is known."""
        return None if self.next_id is None else Position(self.next_id - 1, self.time_us or None, 0, self.disowned_us)

    def start_at(self, last_update_id: int, time_us: int | None = None) -> None:
        """Restart from a REST snapshot that includes everything up to this id.

        A snapshot that is older than the presumed restart of the sequence shows that the sequence did not restart then.

        Args:
            last_update_id: the last id in the snapshot.
            time_us: its engine time (µs since the Unix epoch), None if unknown.
        """
        self.next_id = last_update_id + 1
        self.is_sequenced = False
        if time_us is not None and self.is_of_before(time_us):
            self.begin_anew(None)
            self.ended_us = 0

    def offer(self, first_id: int, last_id: int, time_us: int | None = None) -> Verdict:
        """Judge one update. Only `APPLY` advances the sequence. Before the first snapshot the verdict is `BREAK`.

        An update of the sequence that ended is a `DUPLICATE`, even if its ids are ahead or follow directly.

        Args:
            first_id: `U`, the first update id.
            last_id: `u`, the last update id.
            time_us: its engine time (µs since the Unix epoch), None if unknown.
        """
        expected = self.next_id
        if expected is None:
            return _BREAK
        if last_id < expected:
            return _DUPLICATE
        if first_id == expected and time_us is not None and time_us >= self.time_us:  # nearly all
            self.next_id = last_id + 1
            self.is_sequenced = True
            self.time_us = time_us
            return _APPLY
        if time_us is not None and self.is_of_before(time_us):
            return _DUPLICATE
        if first_id != expected and (self.is_sequenced or first_id > expected):
            return _BREAK
        self.took(last_id, time_us or 0)
        return _APPLY

    def took(self, last_id: int, time_us: int) -> None:
        """Advance past the message that ends at `last_id`, whatever came before it. `time_us` is 0 if its time is unknown."""
        self.next_id = last_id + 1
        self.is_sequenced = True
        self.saw(time_us)
