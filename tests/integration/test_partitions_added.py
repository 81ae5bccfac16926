"""Topics get more partitions, or are recreated, while they are read: no record is missed."""

import asyncio
import time
from collections import Counter
from typing import Any

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions

from backpack_streams.books.record_stream import RecordStream, StreamedRecord
from backpack_streams.bus.admin import TopicAdmin
from backpack_streams.bus.clients import Producer
from backpack_streams.bus.connection import KafkaConnection
from backpack_streams.bus.partitioner import partition_of
from backpack_streams.bus.reader import Reader
from backpack_streams.bus.topic_end import read_to_end
from backpack_streams.bus.topic_ids import TopicRecreatedError
from backpack_streams.bus.topics import Topic
from embedded_kafka import BlockingKafka
from topics_in_memory import Topics

BEFORE, AFTER = 2, 3
NOTICED_SECONDS = 40.0


async def write(connection: KafkaConnection, topic: str, *records: tuple[int, bytes, bytes]) -> None:
    """Write records, given as partition, key and value."""
    async with Producer(connection, acks="all", enable_idempotence=True) as producer:
        for partition, key, value in records:
            await producer.send_and_wait(topic, value, key, partition, timestamp_ms=int(time.time() * 1000))


async def add_partitions(connection: KafkaConnection, topic: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=connection.bootstrap_servers)
    await admin.start()
    try:
        await admin.create_partitions({topic: NewPartitions(AFTER)})
    finally:
        await admin.close()


async def delete(connection: KafkaConnection, topic: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=connection.bootstrap_servers)
    await admin.start()
    try:
        await admin.delete_topics([topic])
        while topic in await admin.list_topics():  # noqa: ASYNC110  # Kafka has no event for it
            await asyncio.sleep(0.1)
    finally:
        await admin.close()


async def next_values(reader: Reader, count: int) -> list[bytes | None]:
    values: list[bytes | None] = []
    async with asyncio.timeout(NOTICED_SECONDS):
        while len(values) < count:
            values += [each.value for batch in (await reader.poll(200)).values() for each in batch]
    return values


async def test_a_reader_follows_added_partitions_and_a_recreated_topic(kafka: BlockingKafka) -> None:
    connection, topic = KafkaConnection(kafka.bootstrap_servers), Topic("followed", "Gap", BEFORE)
    await TopicAdmin(connection, "").apply([topic])
    await write(connection, topic.name, (0, b"k", b"a"), (1, b"k", b"b"))
    async with Reader(connection) as reader:
        reader.follow(dict.fromkeys(await reader.topic_partitions(topic.name), 0))
        assert Counter(await next_values(reader, 2)) == Counter([b"a", b"b"])
        await add_partitions(connection, topic.name)
        await write(connection, topic.name, (2, b"k", b"c"), (0, b"k", b"d"))
        assert Counter(await next_values(reader, 2)) == Counter([b"c", b"d"]), "each once"
        await delete(connection, topic.name)
        await TopicAdmin(connection, "").apply([topic])
        await write(connection, topic.name, (0, b"k", b"e"))
        assert await next_values(reader, 1) == [b"e"]


async def test_a_recreated_topic_is_read_from_its_beginning_even_if_it_is_longer(kafka: BlockingKafka) -> None:
    connection, topic = KafkaConnection(kafka.bootstrap_servers), Topic("made-anew", "Gap", BEFORE)
    await TopicAdmin(connection, "").apply([topic])
    await write(connection, topic.name, (0, b"k", b"a"), (0, b"k", b"b"), (1, b"k", b"c"))
    async with Reader(connection) as reader:
        reader.follow(dict.fromkeys(await reader.topic_partitions(topic.name), 0), ())
        assert Counter(await next_values(reader, 3)) == Counter([b"a", b"b", b"c"])
        async with asyncio.timeout(NOTICED_SECONDS):
            while not reader._open._client.topic_ids.knows(topic.name):
                assert await reader.poll(100) == {}
        await delete(connection, topic.name)
        await TopicAdmin(connection, "").apply([topic])
        values = [b"e", b"f", b"g", b"h"]
        await write(connection, topic.name, *((0, b"k", each) for each in values))
        read: list[bytes | None] = []
        while values[0] not in read:
            read += await next_values(reader, 1)
        read = read[read.index(values[0]) :]
        while len(read) < len(values):
            read += await next_values(reader, 1)
        assert read == values


async def test_a_topic_that_is_recreated_while_it_is_read_to_its_end_is_an_error(kafka: BlockingKafka) -> None:
    connection, topic = KafkaConnection(kafka.bootstrap_servers), Topic("read-to-its-end", "Gap", BEFORE)
    await TopicAdmin(connection, "").apply([topic])
    values = [b"a", b"b", b"c", b"d"]
    await write(connection, topic.name, *((0, b"k", each) for each in values))
    async with Reader(connection) as reader:
        ends = await reader.ends(await reader.topic_partitions(topic.name))
        reader.assign(dict.fromkeys(ends, 0))
        assert len(await next_values(reader, len(values))) == len(values)
        await delete(connection, topic.name)
        await TopicAdmin(connection, "").apply([topic])
        await write(connection, topic.name, *((0, b"k", each) for each in [*values, *values]))
        with pytest.raises(TopicRecreatedError):
            await next_values(reader, 100)
        ends = await reader.ends(ends)
        assert sum(ends.values()) == 2 * len(values)
        read: list[bytes | None] = []
        await read_to_end(
            reader, dict.fromkeys(ends, 0), ends, lambda _, records: read.extend(each.value for each in records)
        )
        assert read == [*values, *values]


def symbol_that_moves(to: int) -> str:
    names = (f"S{number}" for number in range(1000))
    return next(
        each for each in names if partition_of(each.encode(), BEFORE) == 0 and partition_of(each.encode(), AFTER) == to
    )


def update(symbol: str, update_id: int) -> bytes:
    topics = Topics()
    topics.update(update_id, symbol)
    [record] = [each for log in topics.logs.values() for each in log]
    assert record.value is not None
    return record.value


@pytest.mark.parametrize("moves_to", [1, 2], ids=["to a partition that was there", "to a new partition"])
@pytest.mark.parametrize("merged", [False, True], ids=["as it comes", "merged"])
async def test_a_record_stream_follows_its_symbol_to_another_partition(
    kafka: BlockingKafka, moves_to: int, merged: bool
) -> None:
    prefix = f"moves-to-{moves_to}-{merged}."
    connection, name = KafkaConnection(kafka.bootstrap_servers), prefix + "market.depth"
    await TopicAdmin(connection, prefix).apply([Topic("market.depth", "DepthUpdate", BEFORE)])
    symbol = symbol_that_moves(moves_to)

    async def says(partition: int, update_id: int) -> None:
        await write(connection, name, (partition, symbol.encode(), update(symbol, update_id)))

    async def next_id(stream: RecordStream[Any]) -> int:
        async with asyncio.timeout(NOTICED_SECONDS):
            async for item in stream:
                assert isinstance(item, StreamedRecord), item
                return int(item.value["last_update_id"])
        raise AssertionError

    async with RecordStream[Any](
        connection, ["market.depth"], symbol, start="beginning", merged=merged, topic_prefix=prefix
    ) as stream:
        await says(0, 1)
        assert await next_id(stream) == 1
        await add_partitions(connection, name)
        await says(moves_to, 2)
        assert await next_id(stream) == 2
        await says(moves_to, 3)
        assert await next_id(stream) == 3
