"""The read API on real sockets, with its read model filled by the test: Kafka's part is tested elsewhere."""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from backpack_streams.books.order_book import OrderBook
from backpack_streams.books.status import Status
from backpack_streams.books.units import UNITS_PER_ONE
from backpack_streams.gateway.app import ReadApi
from backpack_streams.gateway.endpoints import Endpoints
from backpack_streams.gateway.history import History
from backpack_streams.gateway.http_server import http_server
from backpack_streams.gateway.market_data import MarketData
from backpack_streams.gateway.plant import Plant
from backpack_streams.gateway.plant_view import PlantView
from backpack_streams.gateway.settings import GatewaySettings
from backpack_streams.runtime.listening import listening_sockets

SECONDS = 90.0
SYMBOLS = ("SOL_USDC", "BTC_USDC_PERP", "kSHIB_USDC_PERP", "AAPL.US_USDC_PERP")


def now_us() -> int:
    return time.time_ns() // 1000


class HeldBook:
    """A market's book as a reader of Kafka shows it; the test controls it."""

    def __init__(self, symbol: str) -> None:
        self.symbol = symbol
        self.book = OrderBook()
        self.book.load([(99 * UNITS_PER_ONE, UNITS_PER_ONE)], [(101 * UNITS_PER_ONE, 2 * UNITS_PER_ONE)], True, True)
        self.status = Status.LIVE
        self.reason = ""
        self.as_of: int | None = now_us()
        self.engine_time = self.as_of
        self.last_update_id = 1
        self.breaks = 0


class NoHistory:
    """A Kafka without rows older than the window."""

    async def further(self, topic: str, symbol: str) -> bool:
        return False


class ServedGateway:
    """A gateway on its own port."""

    def __init__(self, settings: GatewaySettings) -> None:
        self.data = MarketData()
        self.data.set_markets({symbol: _market(symbol) for symbol in SYMBOLS})
        self.books = {symbol: HeldBook(symbol) for symbol in SYMBOLS}
        self.data.set_books(self.books)  # type: ignore[arg-type]
        for part in ("books", "records"):
            self.data.set_unavailable(part, "")
        history = History(self.data, NoHistory(), None)  # type: ignore[arg-type]
        self.read_api = ReadApi(
            settings, self.data, Endpoints(self.data, history, PlantView(self.data, Plant(), now_us))
        )
        self.server = http_server(self.read_api.app, settings)
        self.sockets = listening_sockets("127.0.0.1", 0)
        self.port = int(self.sockets[0].getsockname()[1])
        self.url = f"http://127.0.0.1:{self.port}"
        self.stream_url = f"ws://127.0.0.1:{self.port}/v1/stream"

    def change_book(self, symbol: str, price: int, size: int) -> None:
        """Set a bid in the book's next update."""
        held = self.books[symbol]
        held.book.apply_text([(str(price), str(size))], [])
        held.last_update_id += 1
        self.data.books_changed([symbol])


def _market(symbol: str) -> dict[str, Any]:
    base, quote, *_ = symbol.split("_")
    kind = "PERP" if symbol.endswith("_PERP") else "SPOT"
    return {
        "symbol": symbol,
        "base": base,
        "quote": quote,
        "market_type": kind,
        "status": "Open",
        "created_at": "2025-01-21T06:34:54.691858",
    }


@asynccontextmanager
async def served_gateway(**settings: Any) -> AsyncIterator[ServedGateway]:
    """Serve, and stop as the service does."""
    gateway = ServedGateway(GatewaySettings(**settings))
    serving = asyncio.create_task(gateway.server.serve(gateway.sockets))
    running = asyncio.create_task(gateway.read_api.run())
    try:
        await until("the server listens", lambda: gateway.server.started)
        yield gateway
    finally:
        gateway.read_api.end()
        gateway.server.should_exit = True
        await serving
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def until(what: str, holds: Callable[[], bool], seconds: float = SECONDS) -> None:
    """Wait for a condition."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"{what}: not within {seconds:g} s"
        await asyncio.sleep(0.02)


def exact(text: str | bytes) -> Any:
    """Read JSON without a float."""
    return json.loads(text, parse_float=Decimal)


def check_envelope(answer: httpx.Response, status: int) -> str:
    """Check that an error has the envelope, and return its message."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    body = answer.json()
    assert list(body) == ["data", "meta", "status", "message", "success"]
    assert (body["data"], body["status"], body["success"]) == (None, "error", False)
    assert {"timestamp", "request_id"} <= set(body["meta"])
    return str(body["message"])


def keys_file(folder: Path) -> Path:
    """The file for the keys of a test."""
    return folder / "keys.json"


async def raw(gateway: ServedGateway, sent: bytes) -> bytes:
    """Send bytes, and return everything that the gateway sends until it closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(sent)
    with contextlib.suppress(ConnectionError):
        return await asyncio.wait_for(reader.read(), 60)
    return b""


def status_of(answer: bytes) -> int:
    head, _, body = answer.partition(b"\r\n\r\n")
    assert json.loads(body)["success"] is False
    return int(head.split()[1])


async def last_message(socket: ClientConnection) -> Any:
    """Read until the gateway closes; return the last message."""
    last = None
    with contextlib.suppress(ConnectionClosed):
        while True:
            last = json.loads(await asyncio.wait_for(socket.recv(), 60))
    return last


async def until_message(socket: ClientConnection, holds: Any) -> Any:
    while True:
        message = exact(await asyncio.wait_for(socket.recv(), 60))
        if holds(message):
            return message
