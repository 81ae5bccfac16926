"""Reads topics for tests with plain aiokafka and fastavro, without the project's own reader and codec."""

import asyncio
import io
import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import fastavro
from aiokafka import AIOKafkaConsumer, TopicPartition

SCHEMAS = Path(__file__).parents[1] / "schemas"
HEADER_BYTES = 10


class Read(NamedTuple):
    partition: int
    offset: int
    key: str | None
    timestamp_ms: int
    value: dict[str, Any] | None
    raw: bytes | None = None


def decoder(record: str) -> Callable[[bytes], dict[str, Any]]:
    """A decoder of only fastavro and the schema file; logical types as a user of fastavro gets them."""
    schema = fastavro.parse_schema(json.loads((SCHEMAS / f"{record}.avsc").read_text()))

    def decode(data: bytes) -> dict[str, Any]:
        assert data[:2] == b"\xc3\x01"
        value = fastavro.schemaless_reader(io.BytesIO(data[HEADER_BYTES:]), schema, None)
        assert isinstance(value, dict)
        return value

    return decode


async def _read(bootstrap_servers: str, topic: str, record: str | None) -> list[Read]:
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap_servers, enable_auto_commit=False, auto_offset_reset="earliest"
    )
    await consumer.start()
    try:
        await consumer.topics()
        await consumer._client.force_metadata_update()
        consumer._client.add_topic(topic)
        await consumer._client.force_metadata_update()
        topic_partitions = [
            TopicPartition(topic, partition) for partition in sorted(consumer.partitions_for_topic(topic) or ())
        ]
        assert topic_partitions, f"no topic {topic}"
        consumer.assign(topic_partitions)
        ends = await consumer.end_offsets(topic_partitions)
        decode = decoder(record) if record else None
        found: list[Read] = []
        await consumer.seek_to_beginning(*topic_partitions)
        while any([await consumer.position(each) < ends[each] for each in topic_partitions]):
            for batch in (await consumer.getmany(timeout_ms=500, max_records=20_000)).values():
                for each in batch:
                    key = None if each.key is None else each.key.decode()
                    value = None if each.value is None or decode is None else decode(each.value)
                    found.append(Read(each.partition, each.offset, key, each.timestamp, value, each.value))
        return found
    finally:
        await consumer.stop()


def read_topic(bootstrap_servers: str, topic: str, record: str | None) -> list[Read]:
    """Every record of a topic, in the order of each partition."""
    return asyncio.run(_read(bootstrap_servers, topic, record))


def decimals(levels: list[list[str]]) -> dict[Decimal, Decimal]:
    return {Decimal(price): Decimal(quantity) for price, quantity in levels}
