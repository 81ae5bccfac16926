"""Notices that topics have other partitions than before: keys move between them."""

import time
from collections.abc import Callable
from typing import Final

from backpack_streams.bus.reader import Reader
from backpack_streams.topic_partition import TopicPartition

__all__ = ["PartitionCounts"]

_MOVED_BEFORE_NOTICED_MILLIS: Final = 60_000
"""Assumed maximum time for which a new partition count was in use before this reader noticed it."""
_FEWER_SECONDS: Final = 10.0
"""How long a topic must have fewer partitions to have been recreated so: after some were added, brokers briefly disagree."""


class PartitionCounts:
    """How many partitions the followed topics were last known to have."""

    def __init__(self) -> None:
        self.known: dict[str, int] = {}
        """Known number of partitions, by full topic name."""
        self._unchanged_ms = time.time_ns() // 1_000_000
        self._fewer_since: dict[str, float] = {}

    def has_changed(self, count_of: Callable[[str], int | None], now: float) -> bool:
        """Return whether a topic has more partitions than is known, or has had fewer for a while.

        Args:
            count_of: gives the present number of partitions of a topic; None if it is unknown.
            now: the time (monotonic seconds).
        """
        fewer = [name for name, known in self.known.items() if (count_of(name) or known) < known]
        self._fewer_since = {name: self._fewer_since.get(name, now) for name in fewer}
        return bool(self.grown(count_of)) or any(now - since >= _FEWER_SECONDS for since in self._fewer_since.values())

    def grown(self, count_of: Callable[[str], int | None]) -> dict[str, int]:
        """Return the topics that have more partitions than is known, with the known number.

        Args:
            count_of: gives the present number of partitions of a topic; None if it is unknown.
        """
        grown = {name: known for name, known in self.known.items() if (count_of(name) or 0) > known}
        if not grown:
            self._unchanged_ms = time.time_ns() // 1_000_000
        return grown

    async def offset_before_growth(self, reader: Reader, topic_partition: TopicPartition) -> int | None:
        """Return where to begin in an existing partition to which keys have moved; None if nothing was written there since.

        Args:
            reader: for the request.
            topic_partition: the partition.

        Raises:
            BusError: Kafka does not answer.
        """
        return await reader.offset_at(topic_partition, self._unchanged_ms - _MOVED_BEFORE_NOTICED_MILLIS)
