"""Records wait for a topic that Kafka does not know for a while; they are not rejected."""

import asyncio
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import OutOfOrderSequenceNumber

from backpack_streams.bus import kafka_producer
from backpack_streams.bus.admin import TopicAdmin
from backpack_streams.bus.connection import KafkaConnection
from backpack_streams.bus.publisher import Publisher, Rejected
from backpack_streams.bus.topics import Topic
from embedded_kafka import BlockingKafka, EmbeddedKafka
from reading import read_topic

DEPTH, GAP = Topic("topics.depth", "DepthUpdate", 2), Topic("topics.gap", "Gap", 1)
NOW_MS = 1_790_134_357_267


@pytest.fixture
def own_kafka(tmp_path: Path) -> Iterator[BlockingKafka]:
    """A broker that a test may stop, and that creates no topics by itself."""
    broker = EmbeddedKafka(tmp_path / "kafka", port=0, properties={"auto.create.topics.enable": "false"})
    with BlockingKafka(broker) as started:
        yield started


async def values(kafka: BlockingKafka, topic: str) -> list[bytes | None]:
    return [each.raw for each in await asyncio.to_thread(read_topic, kafka.bootstrap_servers, topic, None)]


async def publisher_of(kafka: BlockingKafka, rejected: list[Rejected]) -> Publisher:
    connection = KafkaConnection(kafka.bootstrap_servers)
    await TopicAdmin(connection, "").apply([DEPTH, GAP])
    publisher = Publisher(connection, on_rejected=rejected.append)
    await publisher.start()
    await publisher.open([DEPTH.name, GAP.name])
    return publisher


async def test_a_replacement_producer_knows_the_topics(
    own_kafka: BlockingKafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kafka becomes unavailable before the new producer's first record to a topic, for longer than the request timeout."""
    monkeypatch.setattr(kafka_producer, "_REQUEST_TIMEOUT_MILLIS", 2000)
    send_batch = AIOKafkaProducer.send_batch
    failing = [OutOfOrderSequenceNumber()]

    async def fails_once(self: AIOKafkaProducer, *args: Any, **options: Any) -> Any:
        if failing:
            raise failing.pop()
        return await send_batch(self, *args, **options)

    monkeypatch.setattr(AIOKafkaProducer, "send_batch", fails_once)
    rejected: list[Rejected] = []
    publisher = await publisher_of(own_kafka, rejected)
    depth, gap = publisher.partition_queue(DEPTH.name, b"key"), publisher.partition_queue(GAP.name, b"key")
    depth.append(b"key", b"one", NOW_MS)
    await asyncio.wait_for(depth.settled(), 60)
    assert publisher.producer_failures == 1
    assert publisher._producer.now.known_partitions(GAP.name) == 1
    await asyncio.to_thread(own_kafka.stop_broker, 0, kill=True)
    gap.append(b"key", b"a gap", NOW_MS)
    depth.append(b"key", b"two", NOW_MS)
    await asyncio.sleep(5)  # beyond the request timeout: a rejection would happen by then
    await asyncio.to_thread(own_kafka.start_broker, 0)
    await asyncio.wait_for(gap.settled(), 90)
    await asyncio.wait_for(depth.settled(), 90)
    assert rejected == []
    assert set(await values(own_kafka, GAP.name)) == {b"a gap"}
    assert list(dict.fromkeys(await values(own_kafka, DEPTH.name))) == [b"one", b"two"]
    assert await publisher.close() == 0


async def test_records_wait_for_a_deleted_topic(
    own_kafka: BlockingKafka, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(kafka_producer, "_REQUEST_TIMEOUT_MILLIS", 2000)
    rejected: list[Rejected] = []
    publisher = await publisher_of(own_kafka, rejected)
    depth, gap = publisher.partition_queue(DEPTH.name, b"key"), publisher.partition_queue(GAP.name, b"key")
    gap.append(b"key", b"before", NOW_MS)
    await asyncio.wait_for(gap.settled(), 60)
    admin = AIOKafkaAdminClient(bootstrap_servers=own_kafka.bootstrap_servers)
    await admin.start()
    try:
        await admin.delete_topics([GAP.name])
    finally:
        await admin.close()
    gap.append(b"key", b"after", NOW_MS)
    with caplog.at_level(logging.ERROR):
        async with asyncio.timeout(60):
            while "a topic is not writable" not in caplog.text:  # noqa: ASYNC110  # a log has no event
                await asyncio.sleep(0.1)
    assert f"topic {GAP.name} does not exist" in (publisher.fault or "")
    depth.append(b"key", b"meanwhile", NOW_MS)
    await asyncio.wait_for(depth.settled(), 60)
    assert [value for _, value, _ in gap.pending] == [b"after"]
    await TopicAdmin(KafkaConnection(own_kafka.bootstrap_servers), "").apply([GAP])
    await asyncio.wait_for(gap.settled(), 60)
    assert rejected == []
    assert set(await values(own_kafka, GAP.name)) == {b"after"}
    assert await publisher.close() == 0
