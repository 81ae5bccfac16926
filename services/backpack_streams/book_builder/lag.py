"""How far the books are behind what Kafka has, in time. Sans I/O."""

from math import inf


class PartitionLag:
    """One partition: told what was read and whether that was all, says how old the oldest update may be that was not.

    Two things bound that age. What is not read came after what was read last; and it came after the moment at which nothing was left.
    The first alone would be wrong by the pause in a partition that was quiet, the second in one that never comes to its end.
    """

    __slots__ = ("_at_end_at", "_read_ms")

    def __init__(self) -> None:
        self._read_ms: int | None = None
        self._at_end_at = -inf

    def read(self, timestamp_ms: int) -> None:
        """An update with this timestamp (ms since 1970) is in its book."""
        self._read_ms = timestamp_ms

    def at_end(self, now: float) -> None:
        """Nothing was left at `now` (monotonic seconds)."""
        self._at_end_at = now

    def seconds(self, unread: int, now: float, wall_seconds: float) -> float:
        """At most how old the oldest of `unread` updates is; 0 where there is none, or where nothing was read yet to judge by."""
        if not unread:
            return 0.0
        since_end = now - self._at_end_at
        since_read = inf if self._read_ms is None else wall_seconds - self._read_ms / 1000
        age = min(since_end, since_read)
        return 0.0 if age == inf else max(0.0, age)
