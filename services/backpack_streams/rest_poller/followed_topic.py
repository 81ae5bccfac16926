"""Follows one topic across failures of Kafka: what is there at the start is read back, and each later record is passed on once."""

import logging
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from aiokafka.structs import ConsumerRecord

from backpack_streams.bus.reader import Reader
from backpack_streams.errors import CodecError
from backpack_streams.publishing.publishing import Publishing
from backpack_streams.rest_poller.recall import decoded, read_records
from backpack_streams.topic_partition import TopicPartition

logger = logging.getLogger(__name__)

_POLL_MILLIS = 1000

Take = Callable[[Mapping[str, Any], int], None]
"""Takes a record of the topic and its offset."""


class FollowedTopic:
    """One topic, and how far it was read. Undecodable and foreign records are logged and skipped.

    Attributes:
        offsets: the next offset of each partition; empty before the first one is known.
    """

    def __init__(self, publishing: Publishing, topic_name: str) -> None:
        """Prepare.

        Args:
            publishing: the connection and codec.
            topic_name: the topic without the prefix.
        """
        self._publishing = publishing
        self._name = topic_name
        self._topic = publishing.prefix + topic_name
        self.offsets: dict[TopicPartition, int] = {}

    async def recall(self, reader: Reader, most: int, take: Take) -> None:
        """Pass the newest records of each partition to `take`. `follow` continues behind them.

        Args:
            reader: a connected reader; its assignment is replaced.
            most: how many offsets of each partition to read.
            take: receives the records.

        Raises:
            BusError: Kafka is unreachable, or not all could be read; `offsets` stays as it is.
        """
        topic_partitions = await reader.topic_partitions(self._topic)
        ends, beginnings = await reader.ends(topic_partitions), await reader.beginnings(topic_partitions)
        starts = {each: max(beginnings[each], ends[each] - most) for each in topic_partitions}
        await read_records(reader, starts, ends, lambda record: self._pass(record, take))
        self.offsets = ends

    async def follow(self, take: Take, on_poll: Callable[[], None] = lambda: None) -> NoReturn:
        """Pass the records from `offsets` on to `take`, until cancelled.

        Args:
            take: receives the records.
            on_poll: called whenever Kafka has answered.

        Raises:
            BusError: Kafka refuses. The next call continues behind the last record that was passed.
        """
        async with Reader(self._publishing.connection, self._publishing.codec) as reader:
            reader.follow(self.offsets)
            while True:
                records = await reader.poll(_POLL_MILLIS)
                on_poll()
                for topic_partition, batch in records.items():
                    for record in batch:
                        try:
                            self._pass(record, take)
                        except CodecError as error:
                            where = {
                                "topic": topic_partition.topic,
                                "partition": topic_partition.partition,
                                "offset": record.offset,
                            }
                            logger.warning("a record cannot be read", extra=where | {"error": str(error)})
                        self.offsets[topic_partition.topic, topic_partition.partition] = record.offset + 1

    def _pass(self, record: ConsumerRecord, take: Take) -> None:
        if record.value is None:
            return
        take(decoded(self._publishing, self._name, record.value), record.offset)
