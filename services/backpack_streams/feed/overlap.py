"""Whether the instances that this one takes over from have shown that they continue past its first watermark. Sans I/O.

Readers join the coverage of two instances only if the earlier one is known to have continued past the first watermark of the later one
(`sequencing/coverage.py`). If the earlier one stops before that, the books of quiet markets are STALE until they are proven again.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from backpack_streams.feed.handover import patience_seconds
from backpack_streams.sequencing.knowledge import Knowledge
from backpack_streams.sequencing.watermarks import Instances

_LONGEST_WAIT_SECONDS = 10.0
"""It takes three to four watermarks. At longer intervals, quiet books may be STALE for a while; nothing is lost."""


class Overlap:
    """Compares our first watermark with what others write after it. `now` is in monotonic seconds."""

    def __init__(self, others: Iterable[str], topic_partition: tuple[str, int], first_offset: int, now: float) -> None:
        """Prepare.

        Args:
            others: ids of the instances that cover our streams.
            topic_partition: topic and partition of the watermarks.
            first_offset: offset of our first watermark in `topic_partition`.
            now: present time, monotonic seconds.
        """
        self._heard = dict.fromkeys(others, now)
        self._knowledge = {name: Knowledge() for name in self._heard}
        self._instances = Instances()
        self._topic_partition = topic_partition
        self._first_offset = first_offset
        self._began = now

    def take(self, record: Mapping[str, Any], now: float) -> None:
        """Take a watermark of any instance of any service, oldest first.

        Args:
            record: the decoded Watermark record.
            now: present time (monotonic seconds).
        """
        said = self._instances.take(record)
        if said is not None and said.instance in self._heard:
            self._heard[said.instance] = now
            self._knowledge[said.instance].learn(said, self._topic_partition)

    def waits(self, now: float) -> bool:
        """Return whether an instance that may be alive has not yet shown it."""
        return now - self._began < _LONGEST_WAIT_SECONDS and any(self._may_show(name, now) for name in self._heard)

    def _may_show(self, name: str, now: float) -> bool:
        said = self._instances.by_id.get(name)
        has_ended = said is not None and said.is_final
        is_silent = now - self._heard[name] >= patience_seconds(said)
        return not has_ended and not is_silent and self._knowledge[name].knows <= self._first_offset
