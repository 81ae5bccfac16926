"""What the demo's views show besides markets and plant: a row for each program, and the totals. Sans I/O."""

from dataclasses import dataclass

__all__ = ["ServiceRow", "Totals"]


@dataclass(frozen=True, slots=True)
class ServiceRow:
    """One program; `note` says why it is not ready."""

    name: str
    is_ready: bool
    note: str
    restarts: int = 0
    """How often it ended by itself and was started again."""


@dataclass(frozen=True, slots=True)
class Totals:
    """The whole demo in a few numbers."""

    up_seconds: float
    live_books: int
    expected_books: int
    frames_per_second: float
    gaps: int
    """Gaps on record since the demo began, without those that mark the start of a stream."""
    dead_letters: int
    waiting_bytes: int
    """Bytes in the services that wait for Kafka."""
    restarts: int
    """Number of restarts of all programs."""

    @property
    def is_all_live(self) -> bool:
        """Whether every open market's book is `LIVE`."""
        return 0 < self.expected_books == self.live_books
