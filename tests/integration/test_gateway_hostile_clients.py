"""Hostile and faulty clients: each is closed for what it does, without an effect on others."""

import asyncio
import contextlib
import json
import resource
import time
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from backpack_streams.gateway import http_protocol
from backpack_streams.gateway.stream import allowance, websocket
from served_gateway import (
    ServedGateway,
    check_envelope,
    last_message,
    raw,
    served_gateway,
    status_of,
    until,
    until_message,
)

BOOK = {"op": "subscribe", "id": 1, "channels": ["book"], "symbols": ["SOL_USDC"]}


@pytest.fixture
async def gateway() -> AsyncIterator[ServedGateway]:
    async with served_gateway() as served:
        yield served


@pytest.fixture
async def client(gateway: ServedGateway) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=gateway.url, timeout=60) as client:
        yield client


# ---- connections


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"GET /v1/markets HTTP/1.1\r\nHost: x\r\nX-Long: " + b"a" * 65_536 + b"\r\n\r\n", 431),
        (b"GET /v1/markets?" + b"a" * 65_536 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 431),
        (b"GET /v1/markets HTTP/1.1\r\nHost: x\r\n" + b"A: b\r\n" * 20_000, 431),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
        (b"NONSENSE\r\n\r\n", 400),
        (b"GET /v1/markets HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", 400),
        (b"GET /v1/markets HTTP/9.9\r\n\r\n", 400),
    ],
    ids=["long header", "long url", "many headers", "tls", "nonsense", "length", "version"],
)
async def test_bytes_that_are_not_a_request_are_refused_with_an_envelope(
    gateway: ServedGateway, client: httpx.AsyncClient, sent: bytes, status: int
) -> None:
    assert status_of(await raw(gateway, sent)) == status
    assert (await client.get("/v1/meta")).status_code == 200


async def test_a_head_that_arrives_too_slowly_is_408(gateway: ServedGateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_protocol.EnvelopeProtocol, "head_seconds", 0.5)
    whole = b"GET /v1/meta HTTP/1.1\r\nHost: x\r\n\r\n"
    for sent in (b"", b"GET /v1/m", whole[:-2] + b"X-A: b\r\n"):
        assert status_of(await raw(gateway, sent)) == 408
    # also after an answer
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(whole)
    await reader.readuntil(b'"success":true}')
    writer.write(b"\r\nGET /v1")
    assert status_of(await asyncio.wait_for(reader.read(), 60)) == 408


async def test_slow_senders_do_not_block_others(
    gateway: ServedGateway, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_protocol.EnvelopeProtocol, "head_seconds", 2.0)
    connections = [await asyncio.open_connection("127.0.0.1", gateway.port) for _ in range(200)]
    for _, writer in connections:
        writer.write(b"GET /v1/meta HTTP/1.1\r\nX")
    for _ in range(20):
        assert (await client.get("/v1/markets")).status_code == 200
    answers = await asyncio.gather(*(asyncio.wait_for(reader.read(), 60) for reader, _ in connections))
    assert {status_of(answer) for answer in answers} == {408}


async def test_5000_idle_connections_do_not_block_others(gateway: ServedGateway, client: httpx.AsyncClient) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 5_000 if hard == resource.RLIM_INFINITY else min(5_000, (hard - 500) // 2)  # this process has both ends
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    writers = []
    for _ in range(wanted // 100):
        opened = await asyncio.gather(*(asyncio.open_connection("127.0.0.1", gateway.port) for _ in range(100)))
        writers += [writer for _, writer in opened]
    assert (await client.get("/v1/orderbook?symbol=SOL_USDC")).status_code == 200
    for writer in writers:
        writer.transport.abort()
    await until("they are gone", lambda: len(gateway.server.server_state.connections) < 10)


async def test_a_connection_over_the_limit_is_refused_and_the_others_stay() -> None:
    async with served_gateway(max_connections=20) as gateway:
        held = [await asyncio.open_connection("127.0.0.1", gateway.port) for _ in range(20)]
        await until("all are there", lambda: len(gateway.server.server_state.connections) == 20)
        assert status_of(await raw(gateway, b"")) == 503
        reader, writer = held[0]
        writer.write(b"GET /v1/meta HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert b" 200 OK" in await asyncio.wait_for(reader.readline(), 60)


async def test_a_client_that_does_not_read_answers_is_dropped(
    gateway: ServedGateway, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It requests again and again without reading: its write buffer stays small, and then it is dropped."""
    monkeypatch.setattr(http_protocol.EnvelopeProtocol, "stall_seconds", 1.0)
    _, writer = await asyncio.open_connection("127.0.0.1", gateway.port, limit=1024)
    transport: Any = writer.transport
    transport.pause_reading()
    await until("it is there", lambda: len(gateway.server.server_state.connections) == 1)
    [protocol] = gateway.server.server_state.connections
    ask = b"GET /openapi.json HTTP/1.1\r\nHost: x\r\nAccept-Encoding: identity\r\n\r\n"
    deadline = time.monotonic() + 60
    while not protocol.transport.is_closing():
        assert time.monotonic() < deadline
        assert protocol.transport.get_write_buffer_size() < 1 << 20
        with contextlib.suppress(ConnectionError):
            writer.write(ask)
            await asyncio.sleep(0.005)
    assert (await client.get("/v1/meta")).status_code == 200


# ---- streams


@pytest.mark.parametrize(
    "sent",
    ["", "{", "[]", '{"op":"subscribe"}', b"\x00\x01", json.dumps(BOOK | {"channels": ["bok"]}), "x" * 60_000],
)
async def test_an_invalid_message_is_answered_with_an_error_and_the_stream_continues(
    gateway: ServedGateway, sent: str | bytes
) -> None:
    async with connect(gateway.stream_url) as socket:
        await socket.send(sent)
        told = json.loads(await socket.recv())
        assert (told["type"], told["status"]) == ("error", 400)
        await socket.send(json.dumps(BOOK))
        await until_message(socket, lambda message: message["type"] == "snapshot")


async def test_an_unknown_market_is_reported_with_the_id_of_its_request(gateway: ServedGateway) -> None:
    async with connect(gateway.stream_url) as socket:
        await socket.send(json.dumps(BOOK | {"id": "mine", "symbols": ["SOL_USDC", "sol_usdc"]}))
        told = json.loads(await socket.recv())
        assert (told["type"], told["status"], told["id"]) == ("error", 404, "mine")
        assert "did you mean 'SOL_USDC'" in told["message"]


async def test_a_message_of_10_mb_ends_its_own_stream_only(gateway: ServedGateway) -> None:
    async with connect(gateway.stream_url) as good, connect(gateway.stream_url) as bad:
        await good.send(json.dumps(BOOK))
        await until_message(good, lambda message: message["type"] == "snapshot")
        with contextlib.suppress(ConnectionClosed):
            await bad.send("x" * 10_000_000)
        await last_message(bad)
        assert bad.close_code in (1009, 1006)  # an error, unless the connection broke during the send
        gateway.change_book("SOL_USDC", 42, 1)
        await until_message(good, lambda message: message["type"] == "update")


async def test_ten_thousand_subscriptions_end_in_a_close_without_an_effect_on_others(gateway: ServedGateway) -> None:
    async with connect(gateway.stream_url) as good, connect(gateway.stream_url, max_queue=None) as bad:
        await good.send(json.dumps(BOOK))
        await until_message(good, lambda message: message["type"] == "snapshot")

        async def flood() -> None:
            with contextlib.suppress(ConnectionClosed):
                for _ in range(10_000):
                    await bad.send(json.dumps(BOOK | {"symbols": "all"}))

        flooding = asyncio.create_task(flood())
        last = await last_message(bad)
        await flooding
        assert (last["type"], bad.close_code) in (("error", 1008), ("slow", 1013))
        gateway.change_book("SOL_USDC", 42, 1)
        await until_message(good, lambda message: message["type"] == "update")
    assert allowance.BURST < 10_000


async def test_a_gateway_that_is_not_ready_ends_the_stream_with_503(gateway: ServedGateway) -> None:
    gateway.data.set_unavailable("records", "the records are being read from Kafka")
    async with connect(gateway.stream_url) as socket:
        await socket.send(json.dumps(BOOK | {"resume": {"book.SOL_USDC": 1}}))
        last = await last_message(socket)
        assert (last["type"], last["status"], last["id"], socket.close_code) == ("error", 503, 1, 1013)
    async with connect(gateway.stream_url) as socket:
        await socket.send(json.dumps(BOOK))
        await until_message(socket, lambda message: message["type"] == "snapshot")


async def test_a_stream_without_a_request_is_closed(gateway: ServedGateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(websocket, "FIRST_REQUEST_SECONDS", 0.3)
    async with connect(gateway.stream_url) as socket:
        last = await last_message(socket)
        assert (last["type"], last["status"], socket.close_code) == ("error", 408, 4408)


async def test_a_stream_over_the_limit_is_503() -> None:
    async with served_gateway(max_streams=1) as gateway, connect(gateway.stream_url) as first:
        await first.send(json.dumps(BOOK))
        await first.recv()
        with pytest.raises(InvalidStatus) as refused:
            await connect(gateway.stream_url)
        assert refused.value.response.status_code == 503
        async with httpx.AsyncClient(base_url=gateway.url) as client:
            answer = await client.get("/v1/stream?channels=book&symbols=all")
            assert "1 streams are open" in check_envelope(answer, 503)
        await first.close()
        await until("it is gone", lambda: len(gateway.read_api.broadcast) == 0)
        await (await connect(gateway.stream_url)).close()
