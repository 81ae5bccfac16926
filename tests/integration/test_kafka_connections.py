"""An error while a connection to Kafka opens ends only that connection, and a reader never stops silently."""

import asyncio
import ssl
from pathlib import Path
from typing import Any

import pytest
from aiokafka.errors import KafkaConnectionError
from aiokafka.protocol.metadata import MetadataRequest

from backpack_streams.bus.admin import TopicAdmin
from backpack_streams.bus.clients import Producer, _Racing
from backpack_streams.bus.connection import KafkaConnection
from backpack_streams.bus.reader import Reader
from backpack_streams.bus.topics import Topic
from backpack_streams.dialing import dial
from backpack_streams.errors import BusError
from certificates import Certificates
from embedded_kafka import BlockingKafka

HOST = "127.0.0.1"
LONG_ENOUGH_SECONDS = 30.0
TOPIC = Topic("connections", "Gap", 1)


class CancelledOnceOpen(asyncio.Protocol):
    """Cancels the connecting task when TLS is established, like a timeout at this moment."""

    def __init__(self, connecting: "asyncio.Task[Any]") -> None:
        self._connecting = connecting

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._connecting.cancel()


async def test_a_cancelled_tls_connection_leaves_its_descriptor_to_the_loop(tmp_path: Path) -> None:
    """If the socket were closed under a transport that still shuts TLS down, no socket with the same number could be opened."""
    certificates = Certificates(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates.broker)
    held: list[asyncio.StreamWriter] = []

    async def hold(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.pause_reading()  # type: ignore[attr-defined]  # so it does not answer the end of TLS
        held.append(writer)

    server = await asyncio.start_server(hold, HOST, 0, ssl=context)
    port = server.sockets[0].getsockname()[1]
    loop = asyncio.get_running_loop()

    async def connect() -> None:
        me = asyncio.current_task()
        assert me is not None
        await _Racing(loop).create_connection(lambda: CancelledOnceOpen(me), HOST, port, ssl=certificates.context())

    try:
        for _ in range(3):
            task = asyncio.create_task(connect())
            await asyncio.wait({task}, timeout=LONG_ENOUGH_SECONDS)
            assert task.cancelled()
            others = [await dial(HOST, port, 1.0) for _ in range(8)]
            for each in others:
                each.close()
    finally:
        for writer in held:
            writer.transport.abort()
        server.close()


async def test_an_unexpected_error_of_a_connection_does_not_stop_a_reader(
    kafka: BlockingKafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = KafkaConnection(kafka.bootstrap_servers)
    await TopicAdmin(connection, "").apply([TOPIC])
    async with Reader(connection) as reader, Producer(connection, acks="all") as producer:
        reader.assign({(TOPIC.name, 0): 0})
        client = reader._open._client
        failures = []

        async def fail(node_id: Any) -> Any:
            failures.append(node_id)
            raise RuntimeError("file descriptor 28 is used by a transport")

        with monkeypatch.context() as patch:
            patch.setattr(client, "_connect", fail)
            for topic_partition in list(client._conns):
                client._conns.pop(topic_partition).close()
            with pytest.raises(KafkaConnectionError):
                await client.send(client.cluster.brokers().pop().nodeId, MetadataRequest([]))
            while len(failures) < 3:
                assert await reader.poll(100) == {}
        await producer.send_and_wait(TOPIC.name, b"after", partition=0)
        async with asyncio.timeout(LONG_ENOUGH_SECONDS):
            while not (found := await reader.poll(100)):
                pass
        assert [record.value for batch in found.values() for record in batch] == [b"after"]


async def test_a_fetch_task_that_has_ended_is_reported(kafka: BlockingKafka, monkeypatch: pytest.MonkeyPatch) -> None:
    connection = KafkaConnection(kafka.bootstrap_servers)
    await TopicAdmin(connection, "").apply([TOPIC])
    async with Reader(connection) as reader:
        reader.assign({(TOPIC.name, 0): 0})

        def broken(_: object) -> Any:
            raise ValueError("odd, but possible")

        monkeypatch.setattr(reader._open._fetcher, "_get_actions_per_node", broken)

        async def read_on() -> None:
            while True:
                await reader.poll(100)

        with pytest.raises(BusError, match="Unexpected error during data retrieval"):
            await asyncio.wait_for(read_on(), LONG_ENOUGH_SECONDS)
