"""How long watermarks are on their way, by what the quickest ones took. Sans I/O."""

from collections import deque
from collections.abc import Mapping
from typing import Any, Final

__all__ = ["Transits"]

_COMPARED: Final = 60
_INSTANCES_KEPT: Final = 1_000
_MICROS: Final = 1_000_000


class Transits:
    """When watermarks were published, by the reader's clock, whatever their producers' clocks show.

    The clocks need not agree. But by how much two of them differ changes little from one watermark to the next, so one that comes later
    than its time of publication makes one expect was held up, as when Kafka was away.
    """

    def __init__(self) -> None:
        self._newest: dict[str, int] = {}
        """By instance, the time of publication of its newest one."""
        self._differences: dict[str, deque[float]] = {}
        """By instance, how far the reader's clock was ahead of that of each of its newest ones when it came, in seconds."""

    def published_at(self, watermark: Mapping[str, Any], now: float) -> float:
        """When the next Watermark record of an instance was published at the latest, in the reader's monotonic seconds.

        Raises:
            KeyError: it is no watermark.
        """
        instance, published_us = watermark["instance"], watermark["published_time"]
        differences = self._differences.setdefault(instance, deque(maxlen=_COMPARED))
        if published_us < self._newest.get(instance, 0):  # that clock was set back
            differences.clear()
        self._newest[instance] = published_us
        published = published_us / _MICROS
        differences.append(now - published)
        if len(self._newest) > _INSTANCES_KEPT:
            oldest = next(iter(self._newest))
            del self._newest[oldest], self._differences[oldest]
        return float(published + min(differences))
