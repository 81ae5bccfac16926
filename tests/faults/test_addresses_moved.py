"""Kafka comes back at another address, which only the bootstrap address leads to."""

import asyncio
import time
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from backpack_streams.bus import clients
from backpack_streams.bus.admin import TopicAdmin
from backpack_streams.bus.clients import Producer
from backpack_streams.bus.connection import KafkaConnection
from backpack_streams.bus.group import GroupMember
from backpack_streams.bus.progress import Health, look_at_kafka
from backpack_streams.bus.reader import Reader
from backpack_streams.bus.topics import Topic
from backpack_streams.topic_partition import TopicPartition
from embedded_kafka import EmbeddedKafka
from embedded_kafka.ports import free_ports
from forwarder import Forwarder
from moving_cluster import MovingCluster

TOPIC = Topic("moved", "Gap", 2)
TOPIC_PARTITION: TopicPartition = (TOPIC.name, 0)
RECOVERED_SECONDS = 60.0
"""Limit after Kafka is back, as promised."""
AWAY_SECONDS = 3.0
SESSION_SECONDS = 6.0

Value = bytes | None


async def written(producer: Producer, value: bytes) -> bytes:
    """Return `value`, once it is in Kafka."""
    await producer.send_and_wait(TOPIC.name, value, partition=TOPIC_PARTITION[1])
    return value


async def next_values(reader: Reader, count: int) -> list[Value]:
    values: list[Value] = []
    while len(values) < count:
        for batch in (await reader.poll(200)).values():
            values += [record.value for record in batch]
    return values


async def confirmed_since(member: GroupMember, moment: float) -> None:
    while (member.confirmed_at or float("-inf")) < moment:
        await member.renew(dict.fromkeys(member.assigned or (), 0))
        await asyncio.sleep(0.2)


async def _hand_over(partitions: frozenset[int]) -> None:
    pass


def _assigned(partitions: frozenset[int]) -> None:
    pass


@pytest.mark.parametrize("is_silent", [False, True], ids=["old address refuses", "old address does not answer"])
async def test_every_client_follows_kafka_to_another_address(tmp_path: Path, is_silent: bool) -> None:
    old_port, new_port = free_ports(2, "127.0.0.1")
    async with AsyncExitStack() as stack:
        bootstrap = await stack.enter_async_context(Forwarder(old_port))
        connection = KafkaConnection(f"127.0.0.1:{bootstrap.port}")
        async with EmbeddedKafka(tmp_path, port=old_port):
            await TopicAdmin(connection, "").apply([TOPIC])
            producer = Producer(connection, acks="all", enable_idempotence=True)
            await producer.start()
            stack.push_async_callback(producer.stop)
            reader = await stack.enter_async_context(Reader(connection))
            reader.assign({TOPIC_PARTITION: 0})
            member = await stack.enter_async_context(
                GroupMember(connection, "of the moved", TOPIC.name, SESSION_SECONDS, _hand_over, _assigned)
            )
            async with asyncio.timeout(RECOVERED_SECONDS):
                await written(producer, b"before")
                assert await next_values(reader, 1) == [b"before"]
                await confirmed_since(member, 0.0)

        writing = asyncio.create_task(written(producer, b"while away"))
        if is_silent:
            await stack.enter_async_context(Forwarder(None, old_port))
        await asyncio.sleep(AWAY_SECONDS)  # so that all clients have tried the old address
        bootstrap.target = new_port
        await stack.enter_async_context(EmbeddedKafka(tmp_path, port=new_port))
        back_at = time.monotonic()
        async with asyncio.timeout(RECOVERED_SECONDS):
            assert await writing == b"while away"
            assert await written(producer, b"after") == b"after"
            assert await next_values(reader, 2) == [b"while away", b"after"]
            await confirmed_since(member, back_at)
            assert set(await TopicAdmin(connection, "").existing([TOPIC])) == {TOPIC.name}


async def test_idle_clients_find_brokers_that_moved_one_by_one(tmp_path: Path) -> None:
    first, *later = free_ports(4, "127.0.0.1")
    async with AsyncExitStack() as stack:
        cluster = await stack.enter_async_context(MovingCluster(tmp_path, port=0, brokers=3))
        bootstrap = await stack.enter_async_context(Forwarder(int(cluster.bootstrap_servers.rpartition(":")[2]), first))
        connection = KafkaConnection(f"127.0.0.1:{bootstrap.port}")
        await TopicAdmin(connection, "").apply([TOPIC])
        producer = Producer(connection, acks="all", enable_idempotence=True)
        await producer.start()
        stack.push_async_callback(producer.stop)
        reader = await stack.enter_async_context(Reader(connection))
        reader.assign({TOPIC_PARTITION: 0})
        async with asyncio.timeout(RECOVERED_SECONDS):
            await written(producer, b"before")
            assert await next_values(reader, 1) == [b"before"]
        for index, port in enumerate(later):
            await cluster.move(index, port)
        bootstrap.target = later[0]
        async with asyncio.timeout(RECOVERED_SECONDS):
            await written(producer, b"after")
            assert await next_values(reader, 1) == [b"after"]


async def test_a_silent_bootstrap_address_does_not_block_the_first_connection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A starting client tries one bootstrap address after another; one that accepts and stays silent costs as much time as a broker."""
    monkeypatch.setattr("random.shuffle", lambda _: None)  # the silent address is tried first
    monkeypatch.setattr(clients, "_CONNECT_SECONDS", 1.0)
    async with Forwarder(None) as silent, EmbeddedKafka(tmp_path, port=0) as kafka:
        connection = KafkaConnection(f"127.0.0.1:{silent.port},{kafka.bootstrap_servers}")
        async with asyncio.timeout(20):
            await TopicAdmin(connection, "").apply([TOPIC])
            producer = Producer(connection, acks="all", enable_idempotence=True)
            await producer.start()
            try:
                await written(producer, b"heard")
            finally:
                await producer.stop()
            assert await look_at_kafka(connection, [TOPIC_PARTITION]) == {TOPIC_PARTITION: Health.WELL}
        assert silent.taken >= 3
