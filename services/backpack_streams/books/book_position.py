"""How far the books of a reader are in Kafka, and how far behind it."""

import time
from collections.abc import Iterable, Mapping

from aiokafka.structs import ConsumerRecord

from backpack_streams.bus.reader import Records
from backpack_streams.topic_partition import TopicPartition

__all__ = ["BookPosition"]


class BookPosition:
    """The position of the books in each depth partition; the reader's own includes records that were read but not applied."""

    def __init__(self) -> None:
        self.next_offsets: dict[TopicPartition, int] = {}
        """Next offset for the books, by depth partition."""
        self.silent_since = time.monotonic()
        """When Kafka last gave an update (monotonic seconds)."""
        self._stamps_ms: dict[TopicPartition, int] = {}

    def note(self, topic_partition: TopicPartition, last: ConsumerRecord) -> None:
        """Record the last update handed to the books.

        Args:
            topic_partition: its depth partition.
            last: the record; its offset gives the position, its timestamp (ms) the lag.
        """
        self.next_offsets[topic_partition] = last.offset + 1
        self._stamps_ms[topic_partition] = last.timestamp
        self.silent_since = time.monotonic()

    def take(self, records: Records, back: Iterable[tuple[TopicPartition, int]]) -> None:
        """Record what one answer of Kafka hands to the books; records of other partitions than these are ignored.

        Args:
            records: the records by partition.
            back: partitions that went back, because they were recreated, with the offset of the next record.
        """
        self.next_offsets |= {each: offset for each, offset in back if each in self.next_offsets}
        for partition, batch in records.items():
            if (partition.topic, partition.partition) in self.next_offsets:
                self.note((partition.topic, partition.partition), batch[-1])

    def lags(self, ends: Mapping[TopicPartition, int | None]) -> dict[TopicPartition, int]:
        """Return, by partition, how many updates Kafka has that the books do not have yet.

        Args:
            ends: the end offset of each depth partition, as of Kafka's last answer; None if it is unknown.
        """
        return {each: max(0, end - self.next_offsets[each]) for each, end in ends.items() if end is not None}

    def lag_seconds(self, lags: Mapping[TopicPartition, int]) -> float:
        """Return the age (s) of the newest update read in the partition that is furthest behind; 0 if nothing is left to read.

        Args:
            lags: the lag of each partition, in records, as `lags` returns it.
        """
        now_ms = time.time() * 1000
        behind = (self._stamps_ms.get(each, now_ms) for each, lag in lags.items() if lag)
        return max(0.0, now_ms - min(behind, default=now_ms)) / 1000
