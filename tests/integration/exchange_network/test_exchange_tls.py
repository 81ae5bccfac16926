"""TLS to the exchange over real sockets: the certificates that WebSocket and REST trust, and TLS that breaks."""

import asyncio
import os
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import trustme

from backpack_streams.exchange.connection import Connection
from backpack_streams.exchange.connection_settings import ConnectionSettings
from backpack_streams.exchange.network_settings import NetworkSettings
from backpack_streams.exchange.rest import RestClient, RestSettings
from backpack_streams.exchange.rest_errors import RestError
from backpack_streams.exchange.session_actions import Notice, NoticeKind
from backpack_streams.exchange.session_settings import SessionSettings
from integration.exchange_network.tls_exchange import (
    answer_as_exchange,
    asked,
    both,
    exchange,
    exchange_at,
    server_context,
)
from proxies import http_proxy

pytestmark = pytest.mark.usefixtures("socket_class")


async def test_one_ca_file_serves_websocket_and_rest_and_without_it_neither_trusts(
    authority: trustme.CA, ca_file: Path
) -> None:
    async with exchange(authority) as port, http_proxy(port) as proxy:
        url = f"http://127.0.0.1:{proxy.port}"
        assert await both(NetworkSettings(proxy=url, ca_file=ca_file)) == ("open", "answer")
        socket_words, rest_words = await both(NetworkSettings(proxy=url))
        assert "certificate is not trusted" in socket_words
        assert "CERTIFICATE_VERIFY_FAILED" in rest_words


async def test_a_replaced_ca_file_counts_for_the_next_connection(tmp_path: Path) -> None:
    """The file is missing, then half written, then complete; a running client waits, and then uses it."""
    before, after, ca_file = trustme.CA(), trustme.CA(), tmp_path / "ca.pem"
    before.cert_pem.write_to_path(str(ca_file))
    notices: asyncio.Queue[Notice] = asyncio.Queue()
    stop = asyncio.Event()
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(AsyncExitStack())
        port = await first.enter_async_context(exchange_at(0, before))
        network = NetworkSettings(ca_file=ca_file)
        url = f"https://127.0.0.1:{port}"
        rest_settings = RestSettings(base_url=url, network=network, most_attempts=3, retry_base_seconds=0.01)
        client = await stack.enter_async_context(RestClient(rest_settings))
        connection = Connection(
            f"wss://127.0.0.1:{port}",
            lambda socket_id, payload: None,
            on_notice=notices.put_nowait,
            settings=ConnectionSettings(network=network, stop_timeout_seconds=0.5, drop_after_close_seconds=0.1),
            session_settings=SessionSettings(reconnect_base_seconds=0.05, reconnect_cap_seconds=0.1),
        )
        running = asyncio.create_task(connection.run(stop))
        await noticed(notices, NoticeKind.SOCKET_OPENED)
        await client.time_ms()
        await first.aclose()

        await stack.enter_async_context(exchange_at(port, after))
        ca_file.unlink()
        assert "not trusted" in await noticed(notices, NoticeKind.SOCKET_FAILED)
        with pytest.raises(RestError, match="CERTIFICATE_VERIFY_FAILED"):
            await client.time_ms()
        ca_file.write_bytes(after.cert_pem.bytes()[:200])
        while not notices.empty():
            notices.get_nowait()
        assert "not trusted" in await noticed(notices, NoticeKind.SOCKET_FAILED)
        with pytest.raises(RestError, match="CERTIFICATE_VERIFY_FAILED"):
            await client.time_ms()
        after.cert_pem.write_to_path(str(ca_file))
        await noticed(notices, NoticeKind.SOCKET_OPENED)
        assert (await client.time_ms()).body == 1_700_000_000_000
        stop.set()
        await running


async def noticed(notices: asyncio.Queue[Notice], kind: NoticeKind) -> str:
    async with asyncio.timeout(20):
        while (notice := await notices.get()).kind is not kind:
            pass
    return str(notice)


async def test_a_request_is_repeated_after_tls_breaks_inside_an_answer(authority: trustme.CA, ca_file: Path) -> None:
    broken = 0

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal broken
        if broken == 2:
            return await answer_as_exchange(reader, writer)
        broken += 1
        await reader.readuntil(b"\r\n\r\n")
        os.write(writer.get_extra_info("socket").fileno(), b"no TLS any more")
        await reader.read()
        return None

    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=server_context(authority, "127.0.0.1"))
    url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server:
        assert await asked(NetworkSettings(ca_file=ca_file), url, attempts=3) == "answer"
    assert broken == 2
