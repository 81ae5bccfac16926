"""An exchange that speaks TLS on loopback, and clients that report whether they reach it: by WebSocket, by REST, by both."""

import asyncio
import base64
import hashlib
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import trustme

from backpack_streams.exchange.connection import Connection
from backpack_streams.exchange.connection_settings import ConnectionSettings
from backpack_streams.exchange.network_settings import NetworkSettings
from backpack_streams.exchange.rest import RestClient, RestSettings
from backpack_streams.exchange.rest_errors import RestError
from backpack_streams.exchange.session_actions import Notice, NoticeKind
from backpack_streams.exchange.session_settings import SessionSettings

WS_URL, REST_URL = "wss://ws.exchange.test", "https://api.exchange.test"
"""Host names that no resolver knows: only the proxy can resolve them."""
LOGIN = ("trader", "p@ss/word:1")
LOGIN_IN_URL = "trader:p%40ss%2Fword%3A1@"


def server_context(authority: trustme.CA, *names: str) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(*names).configure_cert(context)
    return context


async def answer_as_exchange(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """The exchange: its time over REST, only a handshake over WebSocket."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    keys = [line.split(": ")[1] for line in head.split("\r\n") if line.lower().startswith("sec-websocket-key")]
    if keys:
        accept = base64.b64encode(hashlib.sha1((keys[0] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest())
        writer.write(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n")
        writer.write(b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n")
        await reader.read()
    else:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 13\r\n\r\n1700000000000")
        await writer.drain()
    writer.close()


@asynccontextmanager
async def exchange(authority: trustme.CA) -> AsyncIterator[int]:
    context = server_context(authority, "ws.exchange.test", "api.exchange.test", "127.0.0.1")
    server = await asyncio.start_server(answer_as_exchange, "127.0.0.1", 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


@asynccontextmanager
async def exchange_at(port: int, authority: trustme.CA) -> AsyncIterator[int]:
    """The exchange on this machine, at `port` (0: any). It drops all connections when it ends."""
    writers: list[asyncio.StreamWriter] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        with suppress(OSError):
            await answer_as_exchange(reader, writer)

    server = await asyncio.start_server(answer, "127.0.0.1", port, ssl=server_context(authority, "127.0.0.1"))
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for writer in writers:
            writer.transport.abort()


async def opened(network: NetworkSettings, url: str = WS_URL) -> str:
    """`open`, or the error."""
    outcome: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def on_notice(notice: Notice) -> None:
        if not outcome.done() and notice.kind in (NoticeKind.SOCKET_OPENED, NoticeKind.SOCKET_FAILED):
            outcome.set_result("open" if notice.kind is NoticeKind.SOCKET_OPENED else str(notice))

    connection = Connection(
        url,
        lambda socket_id, payload: None,
        on_notice=on_notice,
        settings=ConnectionSettings(network=network, stop_timeout_seconds=0.5, drop_after_close_seconds=0.1),
        session_settings=SessionSettings(),
    )
    stop = asyncio.Event()
    running = asyncio.create_task(connection.run(stop))
    try:
        return await asyncio.wait_for(outcome, 15)
    finally:
        stop.set()
        await running


async def asked(network: NetworkSettings, url: str = REST_URL, attempts: int = 1) -> str:
    """`answer`, or the error."""
    settings = RestSettings(base_url=url, network=network, most_attempts=attempts, retry_base_seconds=0.01)
    async with RestClient(settings) as client:
        try:
            return "answer" if (await client.time_ms()).body == 1_700_000_000_000 else "another"
        except RestError as error:
            return str(error)


async def both(network: NetworkSettings) -> tuple[str, str]:
    return await opened(network), await asked(network)
