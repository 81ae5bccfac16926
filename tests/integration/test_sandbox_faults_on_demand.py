"""Faults ordered over the control port affect sockets and REST as documented."""

import asyncio
import itertools
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from backpack_sandbox.server import Sandbox
from backpack_sandbox.settings import SandboxSettings
from backpack_streams.errors import UsageError

SYMBOL = "SOL_USDC"
DEPTH = f"depth.{SYMBOL}"
LOSSES = ("drop", "drop-one", "freeze")


class Stage:
    """A running sandbox with a socket on one depth stream, and HTTP clients."""

    def __init__(self, sandbox: Sandbox, socket: ClientConnection, api: httpx.AsyncClient, control: httpx.AsyncClient):
        self.sandbox, self.socket, self.api, self.control = sandbox, socket, api, control
        self.last: dict[str, Any] | None = None

    async def order(self, fault: str, **options: Any) -> dict[str, Any]:
        if fault in LOSSES and self.last is None:
            await self.frames(1)
        answer = await self.control.post("/faults", json={"fault": fault, **options})
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def frames(self, count: int) -> list[dict[str, Any]]:
        async with asyncio.timeout(20):
            frames = [json.loads(await self.socket.recv())["data"] for _ in range(count)]
        self.last = frames[-1]
        return frames

    async def frames_past_faults(self) -> list[dict[str, Any]]:
        """The last frame read before, so that a gap right after it shows, and the frames up to one made after all faults were over."""
        before = [] if self.last is None else [self.last]
        await eventually(lambda: not self.sandbox.faults.busy)
        over_at = self.sandbox.venue.sequences()[SYMBOL]["depth"]["last_update_id"]
        frames = await self.frames(1)
        while max(data["u"] for data in frames) <= over_at:
            frames += await self.frames(1)
        return before + frames

    async def depth(self) -> httpx.Response:
        return await self.api.get("/api/v1/depth", params={"symbol": SYMBOL})


@asynccontextmanager
async def stage(**settings: Any) -> AsyncIterator[Stage]:
    defaults = {"ws_port": 0, "rest_port": 0, "control_port": 0, "rate": 400, "symbols": 2, "grace_seconds": 0.5}
    async with (
        Sandbox(SandboxSettings(**{**defaults, **settings})) as sandbox,
        connect(sandbox.ws_url, compression=None, ping_interval=None, max_queue=None) as socket,
        httpx.AsyncClient(base_url=sandbox.rest_url, timeout=20) as api,
        httpx.AsyncClient(base_url=sandbox.control_url, timeout=20) as control,
    ):
        await socket.send(json.dumps({"method": "SUBSCRIBE", "params": [DEPTH]}))
        yield Stage(sandbox, socket, api, control)


async def eventually(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110  # the condition is the sandbox's state, which has no event
            await asyncio.sleep(0.01)


def missing(frames: list[dict[str, Any]]) -> int:
    """Update ids that no frame holds, between the first and the last."""
    covered = sum(data["u"] - data["U"] + 1 for data in {data["U"]: data for data in frames}.values())
    return max(data["u"] for data in frames) - min(data["U"] for data in frames) + 1 - covered


async def test_dropped_frames_leave_a_gap():
    async with stage() as on:
        assert missing(await on.frames(20)) == 0
        await on.order("drop", symbol=SYMBOL, count=3)
        frames = await on.frames_past_faults()
        assert missing(frames) >= 3
        holes = [b["U"] - a["u"] - 1 for a, b in itertools.pairwise(frames) if b["U"] != a["u"] + 1]
        assert len(holes) == 1
        assert (await on.control.get("/faults")).json() == []


async def test_a_frame_dropped_for_one_socket_reaches_the_other():
    async with stage() as on, connect(on.sandbox.ws_url, compression=None) as other:
        await other.send(json.dumps({"method": "SUBSCRIBE", "params": [DEPTH]}))
        await other.recv()
        await on.order("drop-one", stream=DEPTH)
        mine = await on.frames_past_faults()
        others = [json.loads(await other.recv())["data"]]
        while others[-1]["u"] < mine[-1]["u"]:
            others.append(json.loads(await other.recv())["data"])
        assert missing(mine) > 0
        assert missing(others) == 0


async def test_duplicates_and_swapped_neighbours():
    async with stage() as on:
        await on.order("duplicate", count=2)
        frames = await on.frames_past_faults()
        assert len({data["U"] for data in frames}) == len(frames) - 2
        assert missing(frames) == 0
        await on.order("reorder")
        frames = await on.frames_past_faults()
        assert sum(b["U"] < a["U"] for a, b in itertools.pairwise(frames)) == 1
        assert missing(frames) == 0


async def test_a_frozen_stream_loses_its_frames_or_keeps_them():
    async with stage() as on:
        await on.frames(3)
        await on.order("freeze", stream=DEPTH, seconds=0.5, hold=True)
        assert missing(await on.frames_past_faults()) == 0
        await on.order("freeze", stream=DEPTH, seconds=0.5)
        assert missing(await on.frames_past_faults()) > 10


async def test_cut_and_close():
    async with stage() as on:
        await on.frames(1)
        await on.order("cut")
        with pytest.raises(ConnectionClosed) as cut:
            await on.frames(10**6)
        assert cut.value.rcvd is None
    async with stage() as on:
        await on.frames(1)
        await on.order("close")
        with pytest.raises(ConnectionClosed) as closed:
            await on.frames(10**6)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1001


async def test_refused_connections_while_open_ones_go_on():
    async with stage() as on:
        await on.order("refuse", seconds=2)
        await asyncio.sleep(0.1)
        with pytest.raises(OSError, match="Connect call failed"):
            await connect(on.sandbox.ws_url)
        with pytest.raises(httpx.ConnectError):
            await on.depth()
        assert missing(await on.frames(30)) == 0
        async with asyncio.timeout(20):
            while not await answers(on):  # noqa: ASYNC110  # the sandbox has no event for it
                await asyncio.sleep(0.05)
        async with connect(on.sandbox.ws_url):
            pass


async def answers(on: Stage) -> bool:
    try:
        return (await on.depth()).status_code == 200
    except httpx.ConnectError:
        return False


async def test_broken_slow_and_stale_answers():
    async with stage(cache_seconds=0) as on:
        await on.order("rest-5xx", count=2, status=502)
        assert [(await on.depth()).status_code for _ in range(3)] == [502, 502, 200]
        await on.order("rest-slow", delay=0.4, count=1)
        began = time.monotonic()
        await on.depth()
        assert time.monotonic() - began >= 0.4
        await on.order("rest-cut", count=1)
        with pytest.raises(httpx.TransportError):
            await on.depth()
        first = await on.api.get("/api/v1/tickers")
        await on.order("rest-stale", age=900, path="/api/v1/tickers")
        await asyncio.sleep(0.5)
        stale = await on.api.get("/api/v1/tickers")
        assert stale.text == first.text
        assert 900 <= int(stale.headers["age"]) < 910
        assert (await on.control.delete("/faults")).json() == []
        fresh = await on.api.get("/api/v1/tickers")
        assert fresh.text != first.text
        assert int(fresh.headers["age"]) < 5


async def test_snapshots_behind_and_ahead_of_the_socket():
    async with stage() as on:
        await on.frames(100)
        await on.order("snapshot-behind", symbol=SYMBOL, updates=40, count=1)
        truth = on.sandbox.venue.book(SYMBOL).last_update_id
        late = int((await on.depth()).json()["lastUpdateId"])
        assert late <= truth + 20 - 40
        await on.order("snapshot-ahead", symbol=SYMBOL, delay=0.5, seconds=2)
        await asyncio.sleep(0.4)
        ahead = int((await on.depth()).json()["lastUpdateId"])
        frames = []
        while not frames or frames[-1]["u"] <= ahead:
            frames += await on.frames(1)
        assert missing(frames) == 0
        assert sum(data["u"] <= ahead for data in frames) > 10


async def test_a_crossed_snapshot_once():
    async with stage() as on:
        await on.order("crossed-snapshot", symbol=SYMBOL)
        crossed, straight = (await on.depth()).json(), (await on.depth()).json()
        assert Decimal(crossed["bids"][-1][0]) > Decimal(crossed["asks"][0][0])
        assert Decimal(straight["bids"][-1][0]) < Decimal(straight["asks"][0][0])


@pytest.mark.parametrize("kind", ["text", "event", "field", "digits"])
async def test_garbage(kind):
    async with stage() as on:
        await on.order("garbage", kind=kind, stream=DEPTH)
        odd = {
            "text": lambda text: not text.startswith("{"),
            "event": lambda text: "depthMoved" in text,
            "field": lambda text: '"zz":{' in text,
            "digits": lambda text: "1234567890.123456789012345678901234567890" in text,
        }[kind]
        async with asyncio.timeout(20):
            while not odd(await on.socket.recv()):
                pass
        later = [await asyncio.wait_for(on.socket.recv(), 10) for _ in range(30)]
        assert not any(map(odd, later))


async def test_a_burst_comes_at_once_and_complete():
    async with stage(start="control") as on:
        await eventually(on.sandbox.hub.subscribed)
        await on.order("burst", count=5000, symbol=SYMBOL)
        frames = await on.frames(5000)
        assert missing(frames) == 0
        assert on.sandbox.venue.sequences()[SYMBOL]["depth"]["frames"] == 5000


async def test_markets_close_and_open():
    async with stage(cache_seconds=0) as on:
        await on.frames(1)
        await on.order("delist", symbol=SYMBOL)
        assert (await on.depth()).status_code == 404
        rows = {row["symbol"]: row for row in (await on.api.get("/api/v1/markets")).json()}
        assert rows[SYMBOL]["orderBookState"] == "Closed"
        await on.order("list", symbol="NEW_USDC_PERP")
        rows = {row["symbol"]: row for row in (await on.api.get("/api/v1/markets")).json()}
        assert rows["NEW_USDC_PERP"]["orderBookState"] == "Open"
        await on.socket.send(json.dumps({"method": "SUBSCRIBE", "params": ["depth.NEW_USDC_PERP"]}))
        while (await on.frames(1))[0]["s"] != "NEW_USDC_PERP":
            pass
        refused = await on.control.post("/faults", json={"fault": "list", "symbol": "NEW_USDC_PERP"})
        assert refused.status_code == 400


async def test_ping_off():
    settings = {"first_ping_min_seconds": 0.05, "first_ping_max_seconds": 0.1, "ping_interval_seconds": 0.1}
    async with stage(faults=["ping-off"], **settings) as on:
        await asyncio.sleep(0.5)
        assert (await on.control.get("/state")).json()["connections"][0]["pings_sent"] == 0
        await on.control.delete("/faults")
        await eventually(lambda: on.sandbox.state()["connections"][0]["pings_sent"] > 0)


async def test_faults_from_the_start_and_bad_ones():
    async with stage(faults=["rest-5xx:count=1,status=500"]) as on:
        assert [(await on.depth()).status_code for _ in range(2)] == [500, 200]
        for body in (b"nonsense", b"[]", b'{"fault":"soup"}', b'{"fault":"drop","count":"x"}', b'{"fault":"delist"}'):
            answer = await on.control.post("/faults", content=body)
            assert answer.status_code == 400
            assert answer.json()["error"]
        assert (await on.control.get("/nowhere")).status_code == 404
    with pytest.raises(UsageError, match="there is no fault 'soup'"):
        async with stage(faults=["soup"]):
            pass


async def test_the_control_api_reports_the_true_state():
    async with stage(rate="max", start="subscribed", settle_seconds=0.2, frames=3000) as on:
        await eventually(lambda: on.sandbox.state()["finished"])
        state = (await on.control.get("/state")).json()
        books = (await on.control.get("/books")).json()
        sequences = (await on.control.get("/sequences")).json()
        one = (await on.control.get(f"/books/{SYMBOL}")).json()
        assert state["frames_produced"]["depth"] == 3000
        assert state["subscriptions"] == {DEPTH: 1}
        assert state["frames_sent"]["depth"] == sequences[SYMBOL]["depth"]["frames"]
        assert one == books[SYMBOL]
        assert one["last_update_id"] == sequences[SYMBOL]["depth"]["last_update_id"]
        prices = [Decimal(price) for price, _ in one["bids"]]
        assert prices == sorted(prices, reverse=True)
        assert Decimal(one["asks"][0][0]) > prices[0]
        rest = (await on.depth()).json()
        assert rest["bids"][::-1] == one["bids"]
        assert rest["timestamp"] == one["engine_time"]
        assert (await on.control.get("/books/NOPE")).status_code == 404
