"""A producer that fails for good is replaced, and its unacknowledged records are sent again: nothing is lost, and order is kept.

aiokafka retries a batch by itself as long as Kafka is unavailable. It gives up on other failures (its producer id was fenced,
the broker forgot its sequence). They do not happen on demand, so the test injects one between the publisher and the real producer.
"""

import asyncio
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import OutOfOrderSequenceNumber

from backpack_streams.bus.admin import TopicAdmin
from backpack_streams.bus.connection import KafkaConnection
from backpack_streams.bus.publisher import Publisher
from backpack_streams.bus.topics import Topic
from embedded_kafka import BlockingKafka

RECORDS = 300


async def written(bootstrap_servers: str, topic: str) -> list[int]:
    topic_partition = TopicPartition(topic, 0)
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap_servers, enable_auto_commit=False)
    await consumer.start()
    try:
        consumer.assign([topic_partition])
        await consumer.seek_to_beginning(topic_partition)
        end = (await consumer.end_offsets([topic_partition]))[topic_partition]
        found: list[int] = []
        while await consumer.position(topic_partition) < end:
            for batch in (await consumer.getmany(timeout_ms=500)).values():
                found += [int(record.value) for record in batch]
        return found
    finally:
        await consumer.stop()


@pytest.mark.parametrize("reached_kafka", [False, True], ids=["lost on the way", "written but not acknowledged"])
async def test_batches_of_a_failed_producer_are_sent_again_in_order(
    kafka: BlockingKafka, monkeypatch: pytest.MonkeyPatch, reached_kafka: bool
) -> None:
    send_batch = AIOKafkaProducer.send_batch
    failed: set[AIOKafkaProducer] = set()

    async def fails_once_a_producer(self: AIOKafkaProducer, *args: Any, **options: Any) -> Any:
        may_fail = len(failed) < 2 and self not in failed
        if may_fail and not reached_kafka:
            failed.add(self)
            raise OutOfOrderSequenceNumber
        acknowledgement = await send_batch(self, *args, **options)
        if may_fail:
            failed.add(self)
            await acknowledgement
            raise OutOfOrderSequenceNumber
        return acknowledgement

    monkeypatch.setattr(AIOKafkaProducer, "send_batch", fails_once_a_producer)
    topic = f"repeats-{reached_kafka}"
    connection = KafkaConnection(kafka.bootstrap_servers)
    await TopicAdmin(connection, "").apply([Topic(topic, "Gap", 1)])
    publisher = Publisher(connection)
    await publisher.start()
    await publisher.open([topic])
    partition_queue = publisher.partition_queue(topic, b"key")
    for number in range(RECORDS):
        assert partition_queue.append(b"key", str(number).encode(), 1_790_134_357_267 + number)
        await asyncio.sleep(0.001)
    assert await publisher.close(60) == 0
    assert publisher.producer_failures == 2
    found = await written(kafka.bootstrap_servers, topic)
    assert list(dict.fromkeys(found)) == list(range(RECORDS)), "each is there, in order, a second copy after the first"
    assert (len(found) > RECORDS) == reached_kafka
