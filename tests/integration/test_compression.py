"""Records compressed by the topic's owner or by another writer are read; ours are compressed as configured."""

import asyncio
from dataclasses import replace

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from backpack_streams.bus.clients import Producer
from backpack_streams.bus.compression import CODECS, Compression, unusable_codecs
from backpack_streams.bus.connection import KafkaConnection
from backpack_streams.bus.publisher import Publisher
from backpack_streams.bus.reader import Reader
from backpack_streams.bus.topic_end import read_to_end
from backpack_streams.errors import UsageError
from embedded_kafka import BlockingKafka

VALUES = [b"a value that shrinks " * 50] * 20


async def topic(servers: str, name: str, demanded: str) -> str:
    admin = AIOKafkaAdminClient(bootstrap_servers=servers)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(name, 1, 1, topic_configs={"compression.type": demanded})])
    finally:
        await admin.close()
    return name


async def write(connection: KafkaConnection, name: str) -> None:
    async with Producer(connection, acks="all", enable_idempotence=True) as producer:
        for value in VALUES:
            await producer.send_and_wait(name, value, partition=0)


async def read(connection: KafkaConnection, name: str) -> list[bytes | None]:
    values: list[bytes | None] = []
    async with Reader(connection) as reader:
        topic_partitions = await reader.topic_partitions(name)
        ends = await reader.ends(topic_partitions)
        await read_to_end(
            reader,
            dict.fromkeys(topic_partitions, 0),
            ends,
            lambda _, records: values.extend(each.value for each in records),
        )
    return values


@pytest.mark.parametrize("codec", CODECS)
async def test_compression_by_the_topic_and_by_the_producer(kafka: BlockingKafka, codec: Compression) -> None:
    if codec in unusable_codecs():
        pytest.skip("an environment made before cramjam became a dependency: run `make environment`")
    connection = KafkaConnection(kafka.bootstrap_servers)
    demanded = await topic(kafka.bootstrap_servers, f"demanded-{codec}", codec if codec != "none" else "uncompressed")
    await write(connection, demanded)
    assert await read(connection, demanded) == VALUES
    chosen = await topic(kafka.bootstrap_servers, f"chosen-{codec}", "producer")
    await write(replace(connection, compression=codec), chosen)
    assert await read(connection, chosen) == VALUES


async def test_a_codec_without_its_dependency_is_an_error(
    kafka: BlockingKafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aiokafka.codec.cramjam", None)
    assert unusable_codecs() == ("snappy", "lz4", "zstd")
    with pytest.raises(UsageError, match="cannot write compression zstd"):
        Producer(KafkaConnection(kafka.bootstrap_servers, compression="zstd"))


def test_an_unknown_codec_is_an_error() -> None:
    with pytest.raises(UsageError, match="'brotli' is not one of none, gzip"):
        KafkaConnection("kafka:9092", compression="brotli")  # type: ignore[arg-type]  # as in a program without types


@pytest.mark.parametrize("codec", ["none", "gzip"])
async def test_a_publisher_compresses_as_its_connection_says(kafka: BlockingKafka, codec: Compression) -> None:
    name = await topic(kafka.bootstrap_servers, f"published-{codec}", "producer")
    publisher = Publisher(KafkaConnection(kafka.bootstrap_servers, compression=codec))
    await publisher.start()
    await publisher.open([name])
    partition_queue = publisher.partition_queue(name, b"key")
    for value in VALUES:
        assert partition_queue.append(b"key", value, 1_790_134_357_267)
    await asyncio.wait_for(partition_queue.settled(), 60)
    await publisher.close()
    [log] = kafka.kafka.data_dir.rglob(f"{name}-0/*.log")
    is_smaller = log.stat().st_size < sum(map(len, VALUES)) / 5
    assert is_smaller == (codec != "none")
    assert await read(KafkaConnection(kafka.bootstrap_servers), name) == VALUES
