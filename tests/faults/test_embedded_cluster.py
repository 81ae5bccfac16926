import asyncio
import os
import signal
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from embedded_kafka import BlockingKafka

TOPIC = "survives-a-broker"
PARTITIONS = 3


async def make_topic(servers: str) -> str:
    """Create the topic with the brokers' defaults; return its `min.insync.replicas`."""
    admin = AIOKafkaAdminClient(bootstrap_servers=servers)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(TOPIC, PARTITIONS, replication_factor=3)])
        configs: dict[str, str] = {}
        topic: dict[str, Any] = {"partitions": []}
        # Each broker learns of a new topic a moment later, and any of them may get the request.
        while "min.insync.replicas" not in configs or len(topic["partitions"]) < PARTITIONS:
            await asyncio.sleep(0.1)
            (answer,) = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, TOPIC)])
            configs = {entry[0]: entry[1] for entry in answer.resources[0][4]}
            (topic,) = await admin.describe_topics([TOPIC])
        assert [len(partition["replicas"]) for partition in topic["partitions"]] == [3] * PARTITIONS
        return str(configs["min.insync.replicas"])
    finally:
        await admin.close()


async def write(servers: str, values: range) -> None:
    producer = AIOKafkaProducer(
        bootstrap_servers=servers, acks="all", enable_idempotence=True, request_timeout_ms=40_000, retry_backoff_ms=200
    )
    await producer.start()
    try:
        for value in values:
            await producer.send_and_wait(TOPIC, str(value).encode(), partition=value % PARTITIONS)
    finally:
        await producer.stop()


async def read(servers: str, count: int) -> set[int]:
    partitions = [TopicPartition(TOPIC, number) for number in range(PARTITIONS)]
    consumer = AIOKafkaConsumer(bootstrap_servers=servers, auto_offset_reset="earliest")
    consumer.assign(partitions)
    await consumer.start()
    found: set[int] = set()
    try:
        async with asyncio.timeout(30):
            while len(found) < count:
                batches = await consumer.getmany(timeout_ms=500)
                found.update(int(record.value) for records in batches.values() for record in records)
    finally:
        await consumer.stop()
    return found


async def test_a_killed_broker_loses_no_acknowledged_record(kafka_cluster: BlockingKafka) -> None:
    servers = kafka_cluster.bootstrap_servers
    assert len(set(kafka_cluster.broker_pids.values())) == 3
    assert await make_topic(servers) == "2"
    await write(servers, range(30))

    os.kill(kafka_cluster.broker_pids[1], signal.SIGKILL)
    try:
        await write(servers, range(30, 60))
        assert 1 not in kafka_cluster.broker_pids
    finally:
        await asyncio.to_thread(kafka_cluster.start_broker, 1)
    assert set(kafka_cluster.broker_pids) == {0, 1, 2}
    assert await read(servers, 60) == set(range(60))
