"""How far one producer instance is known to have continued in the watermarks' topic. Sans I/O.

A watermark names the offset below which its instance's earlier watermarks are acknowledged. All records below that offset were therefore in
the topic before the watermark was made. A later watermark of the same instance, with a `complete_through` not before the publication of the
earlier one (one clock, without a jump in between), is complete up to a moment *after* all of those records: `knows` is that offset.
"""

from collections import deque
from typing import Final

from backpack_streams.sequencing.watermarks import Instance

__all__ = ["Knowledge"]

_EVIDENCE_KEPT: Final = 120
_JITTER_MICROS: Final = 1_000_000


class Knowledge:
    """For one instance: the offset below which all records precede a moment up to which the instance is complete.

    Attributes:
        knows: that offset; 0 while unknown.
        through: `complete_through` of its newest watermark (µs since the Unix epoch); None before the first.
    """

    __slots__ = ("_acknowledged", "_evidence", "_published", "knows", "through")

    def __init__(self) -> None:
        self._evidence: deque[tuple[int, int]] = deque(maxlen=_EVIDENCE_KEPT)
        self._published = 0
        self._acknowledged = 0
        self.knows = 0
        self.through: int | None = None

    def learn(self, said: Instance, own_partition: tuple[str, int]) -> None:
        """Take its newest record; `own_partition` is the topic and partition of the record itself."""
        through, published = said.complete_through, said.published_time
        regular = max(said.interval_ms, 1) * 1000 + _JITTER_MICROS
        jumps = published - self._published, through - (self.through or 0)
        evidence = self._evidence
        if through > published or not all(0 <= jump <= regular for jump in jumps):
            evidence.clear()  # a clock may have been set: times from before and after are not comparable
        acknowledged = said.offsets.get(own_partition)
        if acknowledged is not None and acknowledged < self._acknowledged:
            evidence.clear()  # the topic was recreated, and its first records still name offsets of the former one
            self.knows = 0
        while evidence and evidence[0][0] <= through:
            self.knows = max(self.knows, evidence.popleft()[1])
        if acknowledged is not None:
            self._acknowledged = acknowledged
            evidence.append((published, acknowledged))
        self.through, self._published = through, published
