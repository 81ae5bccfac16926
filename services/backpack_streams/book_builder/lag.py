"""Bounds the age of updates that are in Kafka and not yet in the books. Sans I/O."""

from math import inf


class PartitionLag:
    """Bounds the age of the oldest unread update of one partition.

    There are two bounds, and the smaller one holds. An unread update came after the last one read, and after the last
    moment at which nothing was unread. The first alone would count the pause of a quiet partition; the second alone
    would grow while the reader never reaches the end.
    """

    __slots__ = ("_at_end_at", "_read_ms")

    def __init__(self) -> None:
        self._read_ms: int | None = None
        self._at_end_at = -inf

    def read(self, timestamp_ms: int) -> None:
        """Note that an update with this timestamp (ms since the Unix epoch) is in its book."""
        self._read_ms = timestamp_ms

    def at_end(self, now: float) -> None:
        """Note that nothing was unread at `now` (monotonic seconds)."""
        self._at_end_at = now

    def seconds(self, unread: int, now: float, wall_seconds: float) -> float:
        """Return the bound in seconds; 0 if nothing is unread, or if nothing was read yet.

        Args:
            unread: the number of unread updates.
            now: monotonic seconds.
            wall_seconds: seconds since the Unix epoch.
        """
        if not unread:
            return 0.0
        since_end = now - self._at_end_at
        since_read = inf if self._read_ms is None else wall_seconds - self._read_ms / 1000
        age = min(since_end, since_read)
        return 0.0 if age == inf else max(0.0, age)
