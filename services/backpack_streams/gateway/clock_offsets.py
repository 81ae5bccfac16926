"""How far our clock is ahead of the producers' clocks, so that the age of a book is right although clocks differ. Sans I/O."""

from collections.abc import Mapping
from typing import Any, Final

__all__ = ["ClockOffsets"]

_AGREE_MICROS: Final = 2_000_000
"""A smaller difference may only be the delay of watermarks, and counts as none."""
_INSTANCES_KEPT: Final = 1_000


class ClockOffsets:
    """Compares when watermarks were published, by their producer's clock, with when they were read, by ours.

    Of each producer instance the fastest watermark counts, so that a delay in Kafka or in the reader does not look like a
    wrong clock. Of several instances, the smallest difference counts.
    """

    def __init__(self) -> None:
        self._quickest: dict[str, int] = {}

    def take(self, watermark: Mapping[str, Any], now_us: int) -> None:
        """Compare the times of a watermark.

        Args:
            watermark: a Watermark record. A final one removes its instance.
            now_us: when it was read (µs since the Unix epoch, by our clock).
        """
        instance, difference = watermark["instance"], now_us - watermark["published_time"]
        self._quickest[instance] = min(difference, self._quickest.pop(instance, difference))
        if watermark["is_final"] or len(self._quickest) > _INSTANCES_KEPT:
            del self._quickest[instance if watermark["is_final"] else next(iter(self._quickest))]

    def ahead_us(self) -> int:
        """Return by how many µs our clock is ahead; negative if it is behind, 0 if the difference is below two seconds."""
        ahead = min(self._quickest.values(), default=0)
        return ahead if abs(ahead) >= _AGREE_MICROS else 0
