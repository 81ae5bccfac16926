"""How fast counters grow, over the last few seconds. Sans I/O."""

from collections import deque
from collections.abc import Mapping

__all__ = ["RateWindow"]


class RateWindow:
    """Samples of counters by name; a counter that is not in a sample stood at 0 then."""

    def __init__(self, window_seconds: float) -> None:
        self._window_seconds = window_seconds
        self._samples: deque[tuple[float, Mapping[str, float]]] = deque()

    def add(self, at_seconds: float, counters: Mapping[str, float]) -> None:
        """Take a sample. The mapping is kept, so hand in one that does not change."""
        self._samples.append((at_seconds, counters))
        while len(self._samples) > 2 and self._samples[1][0] <= at_seconds - self._window_seconds:
            self._samples.popleft()

    def rate(self, name: str) -> float:
        """Growth a second; 0 before the second sample, and of a counter that began again."""
        if len(self._samples) < 2:
            return 0.0
        (first_at, first), (last_at, last) = self._samples[0], self._samples[-1]
        if last_at <= first_at:
            return 0.0
        return max(0.0, (last.get(name, 0) - first.get(name, 0)) / (last_at - first_at))
