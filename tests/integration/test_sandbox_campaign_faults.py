"""Faults for campaigns: sockets that play dead, subscriptions ignored or refused, odd market lists, limits, silence."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import ClientConnection, connect

from backpack_sandbox.server import Sandbox
from backpack_sandbox.settings import SandboxSettings

SYMBOL, OTHER = "SOL_USDC", "BTC_USDC_PERP"
KINDS = {"marketType": ["SPOT", "PERP"]}


class Stage:
    """A running sandbox and HTTP clients."""

    def __init__(self, sandbox: Sandbox, api: httpx.AsyncClient, control: httpx.AsyncClient):
        self.sandbox, self.api, self.control = sandbox, api, control

    async def order(self, fault: str, **options: Any) -> None:
        answer = await self.control.post("/faults", json={"fault": fault, **options})
        assert answer.status_code == 200, answer.text

    def socket(self) -> connect:
        return connect(self.sandbox.ws_url, compression=None, ping_interval=None, max_queue=None)

    async def markets(self) -> httpx.Response:
        return await self.api.get("/api/v1/markets", params=KINDS)

    async def symbols(self) -> set[str]:
        return {row["symbol"] for row in (await self.markets()).json()}


@asynccontextmanager
async def stage(**settings: Any) -> AsyncIterator[Stage]:
    defaults = {"ws_port": 0, "rest_port": 0, "control_port": 0, "rate": 400, "symbols": 2, "ledger_messages": 10_000}
    async with (
        Sandbox(SandboxSettings(**{**defaults, **settings})) as sandbox,
        httpx.AsyncClient(base_url=sandbox.rest_url, timeout=20) as api,
        httpx.AsyncClient(base_url=sandbox.control_url, timeout=20) as control,
    ):
        yield Stage(sandbox, api, control)


async def subscribe(socket: ClientConnection, *streams: str) -> None:
    await socket.send(json.dumps({"method": "SUBSCRIBE", "params": list(streams)}))


async def next_frame(socket: ClientConnection) -> Any:
    async with asyncio.timeout(20):
        text = await socket.recv()
    try:
        return json.loads(text)
    except ValueError:
        return text


async def has_pong(socket: ClientConnection, seconds: float) -> bool:
    pong = await socket.ping()
    try:
        async with asyncio.timeout(seconds):
            await pong
    except TimeoutError:
        return False
    return True


async def test_pings_are_answered_with_their_own_payload():
    async with stage() as on, on.socket() as socket:
        assert await has_pong(socket, 20)


async def test_a_half_open_socket_stays_open_and_silent():
    async with stage() as on, on.socket() as socket:
        await subscribe(socket, f"depth.{SYMBOL}")
        await next_frame(socket)
        await on.order("half-open")
        while True:  # frames in transit
            try:
                async with asyncio.timeout(0.5):
                    await socket.recv()
            except TimeoutError:
                break
        assert not await has_pong(socket, 0.5)
        (shown,) = (await on.control.get("/state")).json()["connections"]
        assert shown["half_open"]
        async with on.socket() as fresh:
            await subscribe(fresh, f"depth.{SYMBOL}")
            await next_frame(fresh)


async def test_new_sockets_are_half_open_while_the_fault_lasts():
    async with stage() as on:
        await on.order("half-open", on="new", count=1)
        async with on.socket() as dead, on.socket() as alive:
            assert not await has_pong(dead, 0.5)
            assert await has_pong(alive, 20)


async def test_one_subscription_is_ignored_silently():
    async with stage() as on, on.socket() as socket:
        await on.order("ignore-subscribe", stream=f"depth.{SYMBOL}")
        await subscribe(socket, f"depth.{SYMBOL}", f"depth.{OTHER}")
        assert {(await next_frame(socket))["stream"] for _ in range(20)} == {f"depth.{OTHER}"}
        await on.control.delete("/faults")
        await subscribe(socket, f"depth.{SYMBOL}")
        while (await next_frame(socket))["stream"] != f"depth.{SYMBOL}":
            pass


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, {"id": None, "error": {"code": 5000, "message": "Internal error"}}),
        (
            {"code": 4006, "message": "Invalid stream"},
            {"id": None, "error": {"code": 4006, "message": "Invalid stream"}},
        ),
        ({"kind": "text", "message": "Bad gateway"}, "<html><body>Bad gateway</body></html>"),
    ],
)
@pytest.mark.parametrize("refuse", [True, False])
async def test_a_subscription_is_answered_with_an_error(options, expected, refuse):
    async with stage() as on, on.socket() as socket:
        await on.order("error", count=1, refuse=refuse, **options)
        await subscribe(socket, f"depth.{SYMBOL}")
        assert await next_frame(socket) == expected
        subscribed = (await on.control.get("/state")).json()["subscriptions"]
        assert (f"depth.{SYMBOL}" in subscribed) is not refuse


async def test_odd_market_lists():
    async with stage(cache_seconds=0) as on:
        whole = await on.symbols()
        await on.order("markets-empty", count=1)
        assert await on.symbols() == set()
        await on.order("markets-partial", rows=1, count=1)
        assert len(await on.symbols()) == len(whole) - 1
        await on.order("markets-partial", symbol=SYMBOL, count=1)
        assert await on.symbols() == whole - {SYMBOL}
        await on.order("markets-unreadable", symbol=SYMBOL, kind="state", count=1)
        rows = {row["symbol"]: row["orderBookState"] for row in (await on.markets()).json()}
        assert (rows[SYMBOL], rows[OTHER]) == (None, "Open")
        await on.order("markets-unreadable", kind="symbol", rows=2, count=1)
        assert [row["symbol"] for row in (await on.markets()).json()][:2] == [None, None]
        assert await on.symbols() == whole


async def test_an_old_market_list_has_its_age():
    async with stage(cache_seconds=0) as on:
        before = (await on.markets()).json()
        await on.order("delist", symbol=SYMBOL, gone=True)
        assert SYMBOL not in await on.symbols()
        await on.order("markets-old", age=900, count=1)
        answer = await on.markets()
        assert (answer.headers["age"], answer.json()) == ("900", before)


async def test_one_kind_is_refused():
    async with stage() as on:
        await on.order("markets-refused", kind="PERP", count=2)
        assert (await on.markets()).status_code == 400
        assert (await on.api.get("/api/v1/markets", params={"marketType": "SPOT"})).status_code == 200


async def test_rate_limits_have_a_retry_after():
    async with stage() as on:
        await on.order("rest-limit", count=1)
        await on.order("rest-limit", count=1, status=403, retry_after=7)
        answers = [await on.markets() for _ in range(3)]
        assert [each.status_code for each in answers] == [429, 403, 200]
        assert [each.headers.get("retry-after") for each in answers] == ["5", "7", None]


async def test_a_removed_market_returns_with_ids_from_one():
    async with stage() as on, on.socket() as socket:
        await on.order("delist", symbol=SYMBOL, gone=True)
        assert (await on.api.get("/api/v1/depth", params={"symbol": SYMBOL})).status_code == 400
        await subscribe(socket, f"depth.{SYMBOL}")
        await on.order("list", symbol=SYMBOL, first_id=1)
        assert (await next_frame(socket))["data"]["U"] == 1


async def test_silence_for_a_while():
    async with stage() as on, on.socket() as socket:
        await subscribe(socket, f"depth.{SYMBOL}")
        await next_frame(socket)
        await on.order("silence", symbol=SYMBOL, seconds=1.0)
        silent = (await on.control.get("/sequences")).json()[SYMBOL]
        await asyncio.sleep(0.3)
        assert (await on.control.get("/sequences")).json()[SYMBOL] == silent
        while (await next_frame(socket))["data"]["u"] <= silent["depth"]["last_update_id"]:
            pass
        answer = await on.control.post("/faults", json={"fault": "silence", "symbol": "NONE"})
        assert answer.status_code == 400


async def test_the_ledger_over_the_control_port():
    async with stage() as on, on.socket() as socket:
        await subscribe(socket, f"depth.{SYMBOL}")
        frames = [(await next_frame(socket))["data"] for _ in range(5)]
        ledger = (await on.control.get(f"/ledger/{SYMBOL}", params={"streams": "depth"})).json()
        assert list(ledger["markets"]) == [SYMBOL]
        (listed,) = ledger["markets"][SYMBOL]
        assert {(data["E"], data["U"], data["u"]) for data in frames} <= {
            tuple(row[1:4]) for row in listed["streams"]["depth"]
        }
        assert f"depth.{SYMBOL}" in ledger["subscribed"]
        book = await on.control.get(f"/books/{SYMBOL}", params={"at": frames[2]["u"]})
        assert book.json()["last_update_id"] == frames[2]["u"]
        as_of = await on.control.get(f"/books/{SYMBOL}", params={"time": frames[2]["E"]})
        assert as_of.json()["last_update_id"] >= frames[2]["u"]
        assert (await on.control.get(f"/books/{SYMBOL}", params={"at": 1})).status_code == 404
        assert (await on.control.get(f"/books/{SYMBOL}", params={"at": "x"})).status_code == 400
        assert set((await on.control.get("/ledger")).json()["markets"]) == {SYMBOL, OTHER}
    async with stage(ledger_messages=0) as on:
        assert (await on.control.get("/ledger")).status_code == 404
        assert (await on.control.get(f"/books/{SYMBOL}", params={"at": 1})).status_code == 404
