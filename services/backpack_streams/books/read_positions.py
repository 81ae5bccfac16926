"""How far a reader has read each partition, whether or not its books include that yet. Sans I/O."""

from collections.abc import Callable

from backpack_streams.bus.reader import Records
from backpack_streams.topic_partition import TopicPartition

__all__ = ["ReadPositions"]


class ReadPositions:
    """The next offset of each assigned partition, of any topic."""

    def __init__(self) -> None:
        self.offsets: dict[TopicPartition, int] = {}

    def note(
        self, records: Records, position_of: Callable[[TopicPartition], int | None]
    ) -> list[tuple[TopicPartition, int]]:
        """Take one answer of Kafka. Returns the partitions that went back without a record, with their positions: recreated ones.

        Args:
            records: the records by partition.
            position_of: gives the offset of the next record that the reader fetches; None if it is unknown.
        """
        for partition, batch in records.items():
            self.offsets[partition.topic, partition.partition] = batch[-1].offset + 1
        given = {(partition.topic, partition.partition) for partition in records}
        back = [
            (each, position)
            for each, offset in self.offsets.items()
            if each not in given and (position := position_of(each)) is not None and position < offset
        ]
        self.offsets.update(back)
        return back
