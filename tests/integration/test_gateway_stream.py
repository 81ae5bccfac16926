"""`/v1/stream` over real sockets: books equal the gateway's and the exchange's own, whatever a client or the gateway does."""

import asyncio
import base64
import contextlib
import json
import os
import socket
from collections.abc import AsyncIterator, Iterator
from decimal import Decimal
from functools import partial
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from backpack_streams.books.status import Status
from backpack_streams.books.units import exact_decimal
from backpack_streams.gateway.stream import client as stream_client_module
from embedded_kafka import BlockingKafka
from gateway_answers import ReadApi, levels
from plant import Plant, get, running_plant
from served_gateway import SYMBOLS, ServedGateway, served_gateway, until
from stream_client import Follower

MARKETS = ("SOL_USDC", "BTC_USDC_PERP", "kSHIB_USDC_PERP", "AAPL.US_USDC_PERP")
CHANNELS = ("book", "trades", "ticker", "klines.1m", "mark_price", "liquidations")


@pytest.fixture
async def gateway() -> AsyncIterator[ServedGateway]:
    async with served_gateway() as served:
        yield served


@contextlib.asynccontextmanager
async def following(url: str, **request: Any) -> AsyncIterator[Follower]:
    follower = Follower(url, **request)
    task = asyncio.create_task(follower.run())
    try:
        yield follower
        if task.done():
            task.result()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def is_current(follower: Follower, gateway: ServedGateway, depth: int = 100) -> bool:
    """Whether the client's books are the gateway's, level for level."""
    for symbol in SYMBOLS:
        book = gateway.data.orderbook(symbol, depth)
        theirs = [[(exact_decimal(p), exact_decimal(s)) for p, s in side] for side in (book.bids, book.asks)]
        ours = follower.books.get(symbol)
        if ours is None or list(ours.levels()) != theirs:
            return False
        if (ours.sequence, ours.status) != (book.last_update_id, book.book_status):
            return False
    return True


# ---- many clients


async def test_a_hundred_clients_of_each_depth_have_the_same_book(gateway: ServedGateway) -> None:
    depths = [1, 5, 100]
    async with contextlib.AsyncExitStack() as stack:
        clients = [
            (
                depth,
                await stack.enter_async_context(
                    following(gateway.stream_url, channels=["book"], symbols="all", depth=depth)
                ),
            )
            for depth in depths * 34
        ]
        await until("all have begun", lambda: all(len(each.books) == len(SYMBOLS) for _, each in clients))
        for price in range(1, 60):
            for symbol in SYMBOLS:
                gateway.change_book(symbol, price, price % 7)
            await asyncio.sleep(0)
        await until("all are current", lambda: all(is_current(each, gateway, depth) for depth, each in clients))
        broadcast = gateway.read_api.broadcast
        assert broadcast.dropped_clients == 0
        assert all(each.connections == 1 for _, each in clients)


async def test_a_status_change_reaches_clients_without_an_update(gateway: ServedGateway) -> None:
    async with following(gateway.stream_url, channels=["book"], symbols=["SOL_USDC"]) as follower:
        await until("it has begun", lambda: "SOL_USDC" in follower.books)
        gateway.books["SOL_USDC"].status = Status.STALE
        await until("it is stale", lambda: follower.books["SOL_USDC"].status == "STALE")
        gateway.books["SOL_USDC"].status = Status.LIVE
        await until("it is live", lambda: follower.books["SOL_USDC"].status == "LIVE")


# ---- clients that do not read


class NeverReads:
    """A WebSocket client that subscribes and never reads, with small kernel buffers."""

    def __init__(self, gateway: ServedGateway, request: dict[str, Any]) -> None:
        self.socket = socket.socket()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.socket.connect(("127.0.0.1", gateway.port))
        key = base64.b64encode(os.urandom(16)).decode()
        head = (
            f"GET /v1/stream HTTP/1.1\r\nHost: 127.0.0.1:{gateway.port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        self.socket.sendall(head.encode())
        self.request = json.dumps(request).encode()

    def begin(self) -> None:
        """Complete the handshake and subscribe, then stop reading."""
        answer = b""
        while not answer.endswith(b"\r\n\r\n"):
            answer += self.socket.recv(1)
        assert b" 101 " in answer
        self.socket.sendall(_masked(self.request))

    def read_all(self) -> bytes:
        self.socket.settimeout(30)
        received = b""
        with contextlib.suppress(ConnectionError):
            while part := self.socket.recv(65_536):
                received += part
        return received


def _masked(text: bytes) -> bytes:
    """A client's text frame (RFC 6455, 5.3) with a mask of zeros."""
    assert 126 <= len(text) < 65_536
    return bytes((0x81, 0x80 | 126)) + len(text).to_bytes(2, "big") + bytes(4) + text


async def test_a_client_that_never_reads_is_warned_and_dropped_without_an_effect_on_others(
    gateway: ServedGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream_client_module, "SLOW_SECONDS", 1.0)
    gateway.sockets[0].setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)  # inherited by accepted sockets
    request = {"op": "subscribe", "id": "x" * 60, "channels": ["book"], "symbols": list(SYMBOLS), "depth": 100}
    broadcast = gateway.read_api.broadcast
    async with following(gateway.stream_url, channels=["book"], symbols="all") as good:
        await until("the good one has begun", lambda: len(good.books) == len(SYMBOLS))
        bad = NeverReads(gateway, request)
        await asyncio.to_thread(bad.begin)
        await until("the bad one is there", lambda: len(broadcast) == 2)
        size = 0

        def change() -> bool:
            nonlocal size
            size = size % 9 + 1
            for symbol in SYMBOLS:
                for price in range(1, 60):
                    gateway.change_book(symbol, price, size)
            waiting = max(each.transport.get_write_buffer_size() for each in gateway.server.server_state.connections)
            assert waiting < 512 * 1024
            return broadcast.dropped_clients == 1

        await until("it is dropped", change)
        assert good.connections == 1
        await until("the good one is current", lambda: is_current(good, gateway))
        received = await asyncio.to_thread(bad.read_all)
        assert b'"type":"slow"' in received[-200:]
        await until("its connection is gone", lambda: len(gateway.server.server_state.connections) == 1)


async def test_an_event_stream_that_is_not_read_is_dropped(
    gateway: ServedGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream_client_module, "SLOW_SECONDS", 1.0)
    gateway.sockets[0].setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)
    broadcast = gateway.read_api.broadcast
    with socket.socket() as bad:
        bad.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        bad.connect(("127.0.0.1", gateway.port))
        bad.sendall(b"GET /v1/stream?channels=book&symbols=all&depth=100 HTTP/1.1\r\nHost: x\r\n\r\n")
        size = 0

        def change() -> bool:
            nonlocal size
            size = size % 9 + 1
            for price in range(1, 60):
                gateway.change_book("SOL_USDC", price, size)
            return broadcast.dropped_clients == 1

        await until("it is dropped", change)
        await until("nobody follows", lambda: not broadcast.hub.clients)


# ---- server-sent events


async def events_of(answer: httpx.Response) -> AsyncIterator[dict[str, str]]:
    event: dict[str, str] = {}
    async for line in answer.aiter_lines():
        if line:
            name, _, value = line.partition(": ")
            event[name] = value
        else:
            yield event
            event = {}


async def test_server_sent_events_resume_by_their_id(gateway: ServedGateway) -> None:
    url = "/v1/stream?channels=book,trades&symbols=SOL_USDC,AAPL.US_USDC_PERP&depth=5"
    async with httpx.AsyncClient(base_url=gateway.url, timeout=60) as client:
        last_id = ""
        async with client.stream("GET", url) as answer:
            assert answer.headers["content-type"].startswith("text/event-stream")
            kinds = []
            async for event in events_of(answer):
                kinds.append(event.get("event"))
                last_id = event.get("id", last_id)
                if last_id:
                    break
        assert kinds == [None, "subscribed", *["snapshot"] * 4, "heartbeat"]
        assert last_id == "book.SOL_USDC=1,book.AAPL.US_USDC_PERP=1"
        gateway.change_book("SOL_USDC", 50, 1)
        async with client.stream("GET", url, headers={"Last-Event-ID": last_id}) as answer:
            messages = []
            async for event in events_of(answer):
                if "data" in event:
                    messages.append(json.loads(event["data"]))
                if event.get("event") == "heartbeat":
                    break
    books = [each for each in messages if each.get("channel") == "book"]
    assert [(each["type"], each["symbol"]) for each in books] == [
        ("resumed", "SOL_USDC"),
        ("update", "SOL_USDC"),
        ("resumed", "AAPL.US_USDC_PERP"),
        ("update", "AAPL.US_USDC_PERP"),
    ]
    assert books[1]["data"]["bids"] == [[50, 1]]


async def test_streams_get_a_message_when_the_gateway_stops() -> None:
    async with contextlib.AsyncExitStack() as stack:
        async with served_gateway() as gateway:
            client = await stack.enter_async_context(connect(gateway.stream_url))
            await client.send('{"op":"subscribe","channels":["book"],"symbols":["SOL_USDC"]}')
            http = await stack.enter_async_context(httpx.AsyncClient(base_url=gateway.url, timeout=60))
            events = await stack.enter_async_context(http.stream("GET", "/v1/stream?channels=book&symbols=all"))
        texts = []
        with contextlib.suppress(ConnectionClosed):  # 1012 is no normal closure
            async for text in client:
                texts.append(str(text))
        assert json.loads(texts[-1])["status"] == 503
        assert client.close_code == 1012
        assert "the gateway restarts" in "".join([line async for line in events.aiter_lines()])


# ---- with the exchange and a real Kafka


@pytest.fixture(scope="module")
def plant(kafka: BlockingKafka, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plant]:
    with running_plant(kafka.bootstrap_servers, tmp_path_factory.mktemp("stream"), "gateway-stream.") as plant:
        plant.start_exchange("--symbols", "5", "--every-kind", "--rate", "300")
        plant.start_ready("rest-poller")
        plant.start_ready("market-producer")
        plant.start_ready("perp-producer")
        yield plant


async def test_a_clients_books_and_trades_equal_the_exchanges_after_the_gateway_was_killed(plant: Plant) -> None:
    api = ReadApi(plant)
    await asyncio.to_thread(api.wait_ready)
    url = f"ws://127.0.0.1:{api.port}/v1/stream"
    async with following(url, channels=CHANNELS, symbols=MARKETS) as follower:
        await until("books move", lambda: _least_updates(follower) > 20)
        api.service.kill()
        again = plant.start("gateway", "--host", "127.0.0.1", "--port", str(api.port))
        await until("it is connected again", lambda: follower.connections > 1)
        before = _least_updates(follower)
        await until("books move again", lambda: _least_updates(follower) > before + 20)
        # A restarted gateway may lack the last records of its client: it says so, and starts with a snapshot.
        told_at_resume = set(follower.conflated)
        await asyncio.to_thread(plant.exchange.finish)
        await asyncio.to_thread(plant.exchange.wait_finished)
        await until(
            "the books are the exchange's", lambda: all(_is_the_exchanges(plant, follower, each) for each in MARKETS)
        )
        for symbol in MARKETS:
            assert follower.books[symbol].status == "LIVE"
            await until(f"{symbol} has all trades", partial(_has_all_trades, plant, follower, symbol))
            ids = [row["id"] for row in follower.rows["trades", symbol]]
            assert ids == list(range(ids[0], ids[0] + len(ids)))
        assert {channel for channel, _ in follower.rows} == set(CHANNELS) - {"book"}
        await until("it beats", lambda: len(follower.heartbeats) > 2)
        through = [each["complete_through"]["market.depth"] for each in follower.heartbeats]
        known = [each for each in through if each is not None]  # a starting gateway does not know yet
        assert known
        assert known == sorted(known)
        assert follower.conflated == told_at_resume, "a client that reads is not slow"
        assert again.popen.poll() is None


def _least_updates(follower: Follower) -> int:
    return min((follower.books[each].updates if each in follower.books else 0) for each in MARKETS)


def _is_the_exchanges(plant: Plant, follower: Follower, symbol: str) -> bool:
    """Whether the client's book equals the exchange's, to the last digit."""
    truth = json.loads(get(f"{plant.exchange.rest_url}/api/v1/depth?symbol={symbol}&limit=100"))
    book = follower.books[symbol]
    if str(book.sequence) != truth["lastUpdateId"]:
        return False
    sides = [levels(truth["bids"][::-1]), levels(truth["asks"])]
    expected = [[(Decimal(each["price"]), Decimal(each["size"])) for each in side] for side in sides]
    return list(book.levels()) == expected


def _has_all_trades(plant: Plant, follower: Follower, symbol: str) -> bool:
    newest = json.loads(get(f"{plant.exchange.rest_url}/api/v1/trades?symbol={symbol}&limit=1"))[0]
    return bool(follower.rows["trades", symbol][-1]["id"] == newest["id"])
