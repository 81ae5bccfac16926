"""Estimates how long watermarks are in transit, by comparison with the quickest ones. Sans I/O."""

from collections.abc import Mapping
from math import inf
from typing import Any, Final, NamedTuple

__all__ = ["Transits"]

_DRIFT: Final = 0.001
"""By how many seconds a second two clocks may drift apart: 500 millionths each, as time daemons set them."""
_LATE_SECONDS: Final = 600.0
_INSTANCES_KEPT: Final = 1_000
_MICROS: Final = 1_000_000


class _Quickest(NamedTuple):
    """The quickest watermark of an instance: the reader's clock at its arrival, and how far that is ahead of its publication time.

    `late_since`: when the first one came that was later than the drift of clocks explains; `late_difference`: the quickest since then.
    """

    at: float
    difference: float
    late_since: float | None = None
    late_difference: float = inf


class Transits:
    """When watermarks were published, by the reader's clock, whatever the producers' clocks show.

    The clocks need not agree. But the difference of two clocks changes little from one watermark to the next. A watermark that comes later
    than its publication time suggests was therefore held up, for example while Kafka was down.

    A clock that was set forward, or back between two watermarks that came, makes none look late. One that stood still, or was set back
    while none came, looks like Kafka that holds up all of them by the same time: for ten minutes they count as held up, then as they come.
    """

    def __init__(self) -> None:
        self._newest: dict[str, int] = {}
        """By instance: the publication time of its newest watermark (µs since the Unix epoch)."""
        self._quickest: dict[str, _Quickest] = {}

    @property
    def instances(self) -> frozenset[str]:
        """The instances of which a watermark has come."""
        return frozenset(self._newest)

    def recall(self, watermark: Mapping[str, Any], now: float) -> None:
        """Note an instance's Watermark record that was there before the reader: its age bounds how long later ones are in transit.

        Raises:
            KeyError: the record is no watermark.
        """
        if watermark["published_time"] > self._newest.get(watermark["instance"], 0):  # the reader may join again
            self.published_at(watermark, now)

    def published_at(self, watermark: Mapping[str, Any], now: float) -> float:
        """The latest time at which the instance's next Watermark record can have been published, in the reader's monotonic seconds.

        Raises:
            KeyError: the record is no watermark.
        """
        instance, published_us = watermark["instance"], watermark["published_time"]
        is_set_back = published_us < self._newest.get(instance, 0)
        self._newest[instance] = published_us
        published = published_us / _MICROS
        quickest, difference = self._quickest.get(instance), now - published
        if quickest is None or is_set_back:
            quickest = _Quickest(now, difference)
        known = quickest.difference + _DRIFT * (now - quickest.at)
        if difference <= known:
            quickest = _Quickest(now, difference)
        else:
            late_since = now if quickest.late_since is None else quickest.late_since
            late_difference = min(difference, quickest.late_difference)
            quickest = quickest._replace(late_since=late_since, late_difference=late_difference)
            if now - late_since > _LATE_SECONDS:
                quickest = _Quickest(now, late_difference)
        self._quickest[instance] = quickest
        if len(self._newest) > _INSTANCES_KEPT:
            oldest = next(iter(self._newest))
            del self._newest[oldest], self._quickest[oldest]
        return float(published + quickest.difference + _DRIFT * (now - quickest.at))
