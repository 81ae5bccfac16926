"""How far our clock is ahead of the producers' clocks, so that the age of a book is right although clocks differ. Sans I/O."""

from collections.abc import Mapping
from typing import Any, Final

__all__ = ["ClockOffsets"]

_AGREE_MICROS: Final = 2_000_000
"""A smaller difference may only be the delay of watermarks, and counts as none."""
_COMPARED: Final = 300
"""An instance writes a watermark a second. Its fastest one counts for at least this many further ones, and at most for twice as many."""
_SILENT: Final = 60
"""An instance is forgotten once each other one has written about this many watermarks since its last one."""


class _Instance:
    """The differences of one producer instance (µs)."""

    __slots__ = ("_before", "_count", "_now", "heard_at")

    def __init__(self, difference: int) -> None:
        self._before = self._now = difference
        self._count = 0
        self.heard_at = 0

    def take(self, difference: int) -> None:
        self._now = min(self._now, difference)
        self._count += 1
        if self._count >= _COMPARED:
            self._before, self._now, self._count = self._now, difference, 0

    @property
    def quickest(self) -> int:
        return min(self._before, self._now)


class ClockOffsets:
    """Compares when watermarks were published, by their producer's clock, with when they were read, by ours.

    Of each producer instance the fastest one of the last minutes counts, so that a delay in Kafka or in the reader does not look like a
    wrong clock, and a clock that was wrong for a moment is forgotten. Of several instances, the smallest difference counts.
    """

    def __init__(self) -> None:
        self._instances: dict[str, _Instance] = {}
        self._taken = 0

    def take(self, watermark: Mapping[str, Any], now_us: int) -> None:
        """Compare the times of a watermark.

        Args:
            watermark: a Watermark record. A final one removes its instance.
            now_us: when it was read (µs since the Unix epoch, by our clock).
        """
        name, difference = watermark["instance"], now_us - watermark["published_time"]
        instance = self._instances.pop(name, None) or _Instance(difference)
        self._taken += 1
        if not watermark["is_final"]:
            instance.take(difference)
            instance.heard_at = self._taken
            self._instances[name] = instance  # in the order of their last watermarks
        oldest = next(iter(self._instances), name)
        if self._taken - self._instances.get(oldest, instance).heard_at > _SILENT * len(self._instances):
            self._instances.pop(oldest, None)

    def ahead_us(self) -> int:
        """Return by how many µs our clock is ahead; negative if it is behind, 0 if the difference is below two seconds."""
        ahead = min((each.quickest for each in self._instances.values()), default=0)
        return ahead if abs(ahead) >= _AGREE_MICROS else 0
