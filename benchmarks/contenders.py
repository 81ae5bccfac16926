"""What a contender of the benchmark of books has to do."""

from typing import Protocol

Touch = tuple[float, float]


class Contender(Protocol):
    """Books of all markets of the recording."""

    def begin(self) -> None:
        """Prepare a round; not timed."""

    def play(self) -> None:
        """Apply every delta of the loop, which ends where it began; timed."""

    def touch(self, symbol: str) -> Touch:
        """Return best bid and ask."""


class Ready:
    """Needs no preparation: the loop of deltas ends where it began."""

    def begin(self) -> None:
        """Do nothing."""
