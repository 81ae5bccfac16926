"""Growth rates of counters over the last few seconds. Sans I/O."""

from collections import deque
from collections.abc import Mapping

__all__ = ["RateWindow"]


class RateWindow:
    """Samples of counters by name; a counter that is missing in a sample counts as 0.

    Args:
        window_seconds: length of the time over which rates are computed.
    """

    def __init__(self, window_seconds: float) -> None:
        self._window_seconds = window_seconds
        self._samples: deque[tuple[float, Mapping[str, float]]] = deque()

    def add(self, at_seconds: float, counters: Mapping[str, float]) -> None:
        """Add a sample. The mapping is kept, so it must not change afterwards.

        Args:
            at_seconds: monotonic seconds, not before the previous sample.
            counters: the counters by name.
        """
        self._samples.append((at_seconds, counters))
        while len(self._samples) > 2 and self._samples[1][0] <= at_seconds - self._window_seconds:
            self._samples.popleft()

    def rate(self, name: str) -> float:
        """Return the growth per second; 0 before the second sample, and for a counter that started again."""
        if len(self._samples) < 2:
            return 0.0
        (first_at, first), (last_at, last) = self._samples[0], self._samples[-1]
        if last_at <= first_at:
            return 0.0
        return max(0.0, (last.get(name, 0) - first.get(name, 0)) / (last_at - first_at))
