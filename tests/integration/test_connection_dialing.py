"""Opening real sockets: refused, unresolved, over TLS, with TCP options; the log reports each failure in one line."""

import asyncio
import socket
import ssl
from collections.abc import Callable

import pytest
import trustme

from backpack_streams.errors import UsageError
from backpack_streams.exchange.connection import Connection
from backpack_streams.exchange.session_actions import (
    NoticeKind,
)
from integration.misbehaving_server import (
    LOOPS,
    TEXT,
    Client,
    Server,
    answering,
    obey,
    on_loop,
    serving,
    streams,
    until,
)

pytestmark = pytest.mark.usefixtures("socket_class")


async def test_a_refused_connection_is_retried_until_it_opens() -> None:
    server = Server(obey)
    await server.start()
    port = server.port
    await server.stop()
    async with Client(f"ws://127.0.0.1:{port}").running() as client:
        await until(lambda: len(client.kinds(NoticeKind.SOCKET_FAILED)) >= 4)
        await server.start(port)
        await until(lambda: client.connection.open_sockets == 1)
        await server.stop()
    failures = client.kinds(NoticeKind.SOCKET_FAILED)
    assert "connection refused" in failures[0].message
    for attempt, notice in enumerate(failures):
        assert notice.retry_seconds is not None
        assert notice.retry_seconds <= min(0.2, 0.05 * 2**attempt)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n", "HTTP 503"),
        (b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n", "check region"),
        (b"HTTP/1.1 302 Found\r\nLocation: ws://127.0.0.1:1/\r\n\r\n", "not followed"),
        (b"HTTP/1.1 299 What\r\n\r\n", "not a WebSocket handshake"),
        (b"SSH-2.0-OpenSSH_9\r\n\r\n", "not a WebSocket handshake"),
        (b"", "hung up"),
    ],
)
async def test_a_refused_handshake_is_reported_in_one_line(answer: bytes, words: str) -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()

    async with answering(refuse) as port, Client(f"ws://127.0.0.1:{port}").running() as client:
        await until(lambda: len(client.kinds(NoticeKind.SOCKET_FAILED)) >= 2)
    message = client.kinds(NoticeKind.SOCKET_FAILED)[0].message
    assert words in message
    assert "\n" not in message


async def test_a_name_that_does_not_resolve_is_reported() -> None:
    async with Client("ws://no-such-host.invalid:1").running() as client:
        await until(lambda: client.kinds(NoticeKind.SOCKET_FAILED), 10)
    assert "does not resolve" in client.kinds(NoticeKind.SOCKET_FAILED)[0].message


@pytest.mark.parametrize("loop_factory", LOOPS)
def test_tls_is_verified(loop_factory: Callable[[], asyncio.AbstractEventLoop]) -> None:
    on_loop(loop_factory, _tls_is_verified())


async def _tls_is_verified() -> None:
    authority = trustme.CA()
    server_context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost", "127.0.0.1").configure_cert(server_context)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    async with serving(obey, server_context) as server:
        url = f"wss://127.0.0.1:{server.port}"
        async with Client(url).running() as client:
            await until(lambda: client.kinds(NoticeKind.SOCKET_FAILED))
        assert "not trusted" in client.kinds(NoticeKind.SOCKET_FAILED)[0].message
        trusted = Client(url, ssl_context=trusting)
        trusted.connection.set_streams(streams("a"))
        async with trusted.running():
            await until(lambda: server.peers and server.peers[0].streams == {"a"})
            server.peers[0].send(TEXT, b"{}")
            await until(lambda: trusted.frames)


async def test_a_port_without_tls_is_reported() -> None:
    async def answer_plainly(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await writer.drain()

    async with answering(answer_plainly) as port, Client(f"wss://127.0.0.1:{port}").running() as client:
        await until(lambda: client.kinds(NoticeKind.SOCKET_FAILED))
    assert "names a TLS port" in client.kinds(NoticeKind.SOCKET_FAILED)[0].message


async def test_an_invalid_url_is_refused() -> None:
    for url in ("https://127.0.0.1", "ws://", "ws://127.0.0.1:99999", "ws://[", "127.0.0.1:80"):
        with pytest.raises(UsageError):
            Connection(url, lambda _socket_id, _payload: None)


async def test_tcp_sends_at_once() -> None:
    async with serving(obey) as server, Client(f"ws://127.0.0.1:{server.port}").running() as client:
        await until(lambda: client.connection.open_sockets == 1)
        (opened,) = client.connection._sockets.sockets.values()
        assert opened._socket is not None
        assert opened._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
