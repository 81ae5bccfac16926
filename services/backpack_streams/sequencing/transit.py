"""Estimates how long watermarks are in transit, by comparison with the fastest ones. Sans I/O."""

from collections import deque
from collections.abc import Mapping
from typing import Any, Final

__all__ = ["Transits"]

_COMPARED: Final = 60
_INSTANCES_KEPT: Final = 1_000
_MICROS: Final = 1_000_000


class Transits:
    """When watermarks were published, by the reader's clock, whatever the producers' clocks show.

    The clocks need not agree. But the difference of two clocks changes little from one watermark to the next. A watermark that comes later
    than its publication time suggests was therefore held up, for example while Kafka was down.
    """

    def __init__(self) -> None:
        self._newest: dict[str, int] = {}
        """By instance: the publication time of its newest watermark (µs since the Unix epoch)."""
        self._differences: dict[str, deque[float]] = {}
        """By instance: for each of its newest watermarks, the reader's clock at arrival minus the publication time, in seconds."""

    def published_at(self, watermark: Mapping[str, Any], now: float) -> float:
        """The latest time at which the instance's next Watermark record can have been published, in the reader's monotonic seconds.

        Raises:
            KeyError: the record is no watermark.
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
