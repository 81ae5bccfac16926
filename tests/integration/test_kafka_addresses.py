"""A host name of Kafka has several addresses, some of them dead: clients do not wait for those."""

import asyncio
import socket
from typing import Any

import pytest
from aiokafka.protocol.metadata import MetadataRequest

from backpack_streams.bus.admin import TopicAdmin
from backpack_streams.bus.connection import KafkaConnection
from backpack_streams.bus.reader import Reader
from backpack_streams.bus.topics import Topic
from embedded_kafka import BlockingKafka

NAME = "kafka.test"
AT_ONCE_SECONDS = 8.0
"""One address after another would take 40 s each."""


async def test_silent_addresses_of_a_bootstrap_name_cost_no_time(
    kafka: BlockingKafka, dead: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = asyncio.get_running_loop()
    resolve, alive = loop.getaddrinfo, int(kafka.bootstrap_servers.rpartition(":")[2])

    async def resolved(host: Any, port: Any, **options: Any) -> Any:
        if host != NAME:
            return await resolve(host, port, **options)
        where = [("127.0.0.1", each) for each in (dead, dead, alive)]
        return [(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", each) for each in where]

    monkeypatch.setattr(loop, "getaddrinfo", resolved)
    connection, topic = KafkaConnection(f"{NAME}:9092"), Topic("of-many-addresses", "Gap", 2)
    async with asyncio.timeout(AT_ONCE_SECONDS):
        await TopicAdmin(connection, "").apply([topic])
    async with asyncio.timeout(AT_ONCE_SECONDS), Reader(connection) as reader:
        assert await reader.topic_partitions(topic.name) == [(topic.name, 0), (topic.name, 1)]
        client = reader._open._client
        answered = await client._ask_bootstrap(MetadataRequest([topic.name]))  # as if all known brokers were gone
        assert answered is not None
    assert [task for task in asyncio.all_tasks() if task.get_name() == "dial"] == []
