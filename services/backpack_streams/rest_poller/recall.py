"""Reads back what the topics hold from before: reference rows and the end of each history."""

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from aiokafka.structs import ConsumerRecord

from backpack_streams.bus.reader import Reader
from backpack_streams.bus.topic_end import read_to_end
from backpack_streams.bus.topics import topic
from backpack_streams.errors import CodecError
from backpack_streams.publishing.publishing import Publishing
from backpack_streams.topic_partition import TopicPartition

logger = logging.getLogger(__name__)

Learn = Callable[[str, dict[str, Any] | None, int], str]
"""Takes a key, its record (None: a deletion) and its timestamp (ms since the Unix epoch). Returns the record's series, "" for none."""


async def recall_references(publishing: Publishing, learn: Mapping[str, Learn]) -> None:
    """Read compacted topics completely.

    Args:
        publishing: the connection and codec.
        learn: by topic without the prefix, what takes its records.

    Raises:
        BusError: Kafka is unreachable, or a topic could not be read completely.
    """
    async with Reader(publishing.connection, publishing.codec) as reader:
        for topic_name, learn_of_topic in learn.items():
            topic_partitions = await reader.topic_partitions(publishing.prefix + topic_name)
            beginnings, ends = await reader.beginnings(topic_partitions), await reader.ends(topic_partitions)
            await read_records(reader, beginnings, ends, _learner(publishing, topic_name, learn_of_topic))


async def recall_history(
    publishing: Publishing,
    topic_name: str,
    learn: Learn,
    wanted: Collection[str] | None,
    *,
    records_at_once: int = 50_000,
    records_at_most: int = 2_000_000,
) -> None:
    """Read a topic backwards from its end until every wanted series was found.

    Args:
        publishing: the connection and codec.
        topic_name: the topic without the prefix.
        learn: takes the records.
        wanted: the series to find, None to read to the beginning.
        records_at_once: offsets per partition and step.
        records_at_most: the maximum of offsets per partition.

    Raises:
        BusError: Kafka is unreachable, or the topic could not be read completely.
    """
    missing = None if wanted is None else set(wanted)

    def take(key: str, record: dict[str, Any] | None, timestamp_ms: int) -> str:
        series = learn(key, record, timestamp_ms)
        if missing is not None:
            missing.discard(series)
        return series

    async with Reader(publishing.connection, publishing.codec) as reader:
        topic_partitions = await reader.topic_partitions(publishing.prefix + topic_name)
        beginnings, ends = await reader.beginnings(topic_partitions), await reader.ends(topic_partitions)
        read = 0
        while (
            read < records_at_most
            and (missing is None or missing)
            and any(ends[at] > beginnings[at] for at in topic_partitions)
        ):
            starts = {each: max(beginnings[each], ends[each] - records_at_once) for each in topic_partitions}
            await read_records(reader, starts, ends, _learner(publishing, topic_name, take))
            ends = starts
            read += records_at_once


def decoded(publishing: Publishing, topic_name: str, value: bytes) -> dict[str, Any]:
    """Return the record in a Kafka value.

    Args:
        publishing: the codec.
        topic_name: the topic without the prefix. Anybody may write to it, so the record may be of another kind.
        value: the Kafka value.

    Raises:
        CodecError: it is no record, or not one of the topic.
    """
    name, row = publishing.codec.decode(value)
    expected = topic(topic_name).record
    if name != expected:
        raise CodecError(f"a record of {topic_name} is a {name}, not a {expected}")
    return row


def _learner(publishing: Publishing, topic_name: str, learn: Learn) -> Callable[[ConsumerRecord], None]:
    def take(record: ConsumerRecord) -> None:
        if record.key is not None:
            row = None if record.value is None else decoded(publishing, topic_name, record.value)
            learn(record.key.decode("utf-8", "replace"), row, record.timestamp)

    return take


async def read_records(
    reader: Reader,
    starts: Mapping[TopicPartition, int],
    ends: Mapping[TopicPartition, int],
    take: Callable[[ConsumerRecord], None],
) -> None:
    """Pass every record from `starts` to before `ends` to `take`. Undecodable records are logged and skipped.

    Args:
        reader: a connected reader; its assignment is replaced.
        starts: the first offset of each partition.
        ends: the end offset of each partition.
        take: receives the records; a `CodecError` that it raises counts as undecodable.

    Raises:
        BusError: Kafka is unreachable, or the partitions could not be read completely.
    """

    def take_all(topic_partition: TopicPartition, records: Sequence[ConsumerRecord]) -> None:
        for record in records:
            try:
                take(record)
            except CodecError as error:
                where = {"topic": topic_partition[0], "partition": topic_partition[1], "offset": record.offset}
                logger.warning("a record cannot be read", extra=where | {"error": str(error)})

    await read_to_end(reader, starts, ends, take_all)
