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
    """The quickest watermark of an instance: the reader's clock at its arrival, and how far that is ahead of the instance's clock.

    `late_since`: when the first one came that was later than the drift of clocks explains; `late_difference`: the quickest since then.
    """

    at: float
    difference: float
    late_since: float | None = None
    late_difference: float = inf


class _Comparison:
    """How late watermarks come, by one clock of their instances. It need not agree with the reader's.

    The difference of two clocks changes little from one watermark to the next. A watermark that comes later than that clock suggests was
    therefore held up. If that clock stood still, or was set back while no watermark came, that looks like Kafka that holds up all
    of them by the same time: for ten minutes they count as held up, then as they come.
    """

    def __init__(self) -> None:
        self.newest: dict[str, int] = {}
        """By instance: when its newest watermark was made (µs)."""
        self._quickest: dict[str, _Quickest] = {}

    def late_seconds(self, instance: str, made_us: int, now: float) -> float:
        """Return how much later than the quickest one this watermark of an instance comes, at least (seconds).

        Args:
            instance: the instance.
            made_us: when it was made, by the instance's clock (µs).
            now: when it came, in seconds of the reader's clock.
        """
        is_set_back = made_us < self.newest.get(instance, 0)
        self.newest[instance] = made_us
        quickest, difference = self._quickest.get(instance), now - made_us / _MICROS
        if quickest is None or is_set_back:
            quickest = _Quickest(now, difference)
        if difference <= quickest.difference + _DRIFT * (now - quickest.at):
            quickest = _Quickest(now, difference)
        else:
            late_since = now if quickest.late_since is None else quickest.late_since
            late_difference = min(difference, quickest.late_difference)
            quickest = quickest._replace(late_since=late_since, late_difference=late_difference)
            if now - late_since > _LATE_SECONDS:
                quickest = _Quickest(now, late_difference)
        self._quickest[instance] = quickest
        if len(self.newest) > _INSTANCES_KEPT:
            oldest = next(iter(self.newest))
            del self.newest[oldest], self._quickest[oldest]
        return max(0.0, difference - quickest.difference - _DRIFT * (now - quickest.at))


class Transits:
    """When watermarks were published, by the reader's clock, whatever the producers' clocks show.

    A watermark is held up, for example while Kafka is down, if two clocks of its instance say so. One is the wall clock, which may be
    set or slewed. The other counts from the start of the instance: nobody sets or slews it, but it stands still while a virtual machine is
    paused. Older versions have the wall clock only.
    """

    def __init__(self) -> None:
        self._by_wall = _Comparison()
        self._by_elapsed = _Comparison()

    @property
    def instances(self) -> frozenset[str]:
        """The instances of which a watermark has come."""
        return frozenset(self._by_wall.newest)

    def recall(self, watermark: Mapping[str, Any], now: float) -> None:
        """Note an instance's Watermark record that was there before the reader: its age bounds how long later ones are in transit.

        Raises:
            KeyError: the record is no watermark.
        """
        if watermark["published_time"] > self._by_wall.newest.get(
            watermark["instance"], 0
        ):  # the reader may join again
            self.published_at(watermark, now)

    def published_at(self, watermark: Mapping[str, Any], now: float) -> float:
        """The latest time at which the instance's next Watermark record can have been published, in seconds of the reader's clock.

        Raises:
            KeyError: the record is no watermark.
        """
        instance, elapsed_us = watermark["instance"], watermark.get("elapsed_us")
        late = self._by_wall.late_seconds(instance, watermark["published_time"], now)
        if elapsed_us is not None:
            late = min(late, self._by_elapsed.late_seconds(instance, elapsed_us, now))
        return now - late
