"""The sandbox plays recordings byte for byte, and its REST and control APIs follow them."""

import asyncio
import base64
import gzip
import json
import time
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from websockets.asyncio.client import connect

from account_key import Key
from backpack_sandbox.recording import read_recording
from backpack_sandbox.server import Sandbox
from backpack_sandbox.settings import SandboxSettings
from recorded_files import CAPTURED, ORDER_FLOW, frame, recording_of, write_recording


@pytest.fixture(scope="module")
def flow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The recorded order flow."""
    return recording_of(ORDER_FLOW, tmp_path_factory.mktemp("flow"))


def sandbox_with(recording: Path, **settings: Any) -> Sandbox:
    ports = {"ws_port": 0, "rest_port": 0, "control_port": 0}
    return Sandbox(SandboxSettings(**{**ports, "recording": recording, "rate": "max", **settings}))


async def eventually(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110  # the condition is the sandbox's state, which has no event
            await asyncio.sleep(0.01)


async def followed(sandbox: Sandbox, streams: list[str], count: int, **more: Any) -> list[str]:
    async with connect(sandbox.ws_url, compression=None) as socket:
        await socket.send(json.dumps({"method": "SUBSCRIBE", "params": streams, **more}))
        async with asyncio.timeout(30):
            frames = [await socket.recv() for _ in range(count)]
            await eventually(lambda: sandbox.state()["finished"])
    return [frame if isinstance(frame, str) else frame.decode() for frame in frames]


async def test_the_order_flow_byte_for_byte_and_all_its_books(flow):
    with gzip.open(ORDER_FLOW, "rt") as file:
        texts = [line.rstrip("\n").partition('"ws":')[2][:-1] for line in file if '"ws":' in line]
    recording = read_recording(flow)
    async with sandbox_with(flow) as sandbox:
        frames = await followed(sandbox, sorted(recording.public_streams), len(texts))
        assert frames == texts
        async with httpx.AsyncClient() as api:
            books = (await api.get(f"{sandbox.control_url}/books")).json()
            sequences = (await api.get(f"{sandbox.control_url}/sequences")).json()
            assert len(books) == 10
            for symbol, book in books.items():
                url = f"{sandbox.rest_url}/api/v1/depth?symbol={symbol}&limit=1000"
                depth = (await api.get(url)).json()
                assert depth["bids"][::-1] == book["bids"][:1000]
                assert depth["asks"] == book["asks"][:1000]
                assert int(depth["lastUpdateId"]) == book["last_update_id"]
                last = [f.data for f in recording.frames if f.stream == f"depth.{symbol}"][-1]
                assert book["last_update_id"] == last["u"] == sequences[symbol]["depth"]["last_update_id"]
                assert book["engine_time"] == last["T"]
            state = (await api.get(f"{sandbox.control_url}/state")).json()
            assert state["frames_sent"]["depth"] == state["frames_produced"]["depth"] == 2047
            markets = (await api.get(f"{sandbox.rest_url}/api/v1/markets?marketType=PERP&marketType=DATED")).json()
            assert sorted(row["symbol"] for row in markets) == sorted(recording.symbols)


async def test_before_playback_the_depth_is_the_recorded_snapshot(flow):
    recording = read_recording(flow)
    async with sandbox_with(flow) as sandbox, httpx.AsyncClient(base_url=sandbox.rest_url) as api:
        for symbol, snapshot in recording.snapshots.items():
            depth = (await api.get(f"/api/v1/depth?symbol={symbol}&limit=1000")).json()
            assert depth["lastUpdateId"] == snapshot.body["lastUpdateId"]
            assert depth["timestamp"] == snapshot.body["timestamp"]
            for side in ("bids", "asks"):
                as_values = [[tuple(map(Decimal, level)) for level in body[side]] for body in (depth, snapshot.body)]
                assert as_values[0] == as_values[1]
        nothing = await api.get("/api/v1/depth?symbol=NOPE_USDC")
        assert nothing.status_code == 400
        assert not sandbox.state()["playing"]


async def test_only_subscribed_streams_are_played_once_no_more_subscriptions_come(flow):
    recording = read_recording(flow)
    mine = [f.payload.decode() for f in recording.frames if f.stream == "depth.XRP_USDC_PERP"]
    async with sandbox_with(flow, settle_seconds=0.3) as sandbox:
        assert await followed(sandbox, ["depth.XRP_USDC_PERP"], len(mine)) == mine


def signed(key: Key) -> list[str]:
    """A subscription's signature, as the exchange documents it."""
    now_ms = str(time.time_ns() // 1_000_000)
    private = Ed25519PrivateKey.from_private_bytes(base64.b64decode(key.private))
    signature = private.sign(f"instruction=subscribe&timestamp={now_ms}&window=5000".encode())
    return [key.public, base64.b64encode(signature).decode(), now_ms, "5000"]


async def test_captured_frames_and_their_errors(tmp_path):
    key = Key(tmp_path)
    lines = CAPTURED.read_text().splitlines()
    streams = [json.loads(line)["stream"] for line in lines if '"stream"' in line]
    async with sandbox_with(recording_of(CAPTURED, tmp_path), settle_seconds=0.3, account_keys=[key.public]) as sandbox:
        assert await followed(sandbox, streams, len(lines), signature=signed(key)) == lines
        async with httpx.AsyncClient(base_url=sandbox.rest_url) as api:
            assert (await api.get("/api/v1/depth?symbol=ETH_USDC")).status_code == 404
            assert (await api.get("/api/v1/trades?symbol=SOL_USDC")).json()[0]["price"] == "218.5"


async def test_a_recording_plays_at_its_own_pace(tmp_path):
    text = '{"stream":"trade.X_USDC","data":{"e":"trade","s":"X_USDC","t":%d,"p":"1","q":"1","T":1,"E":1,"m":true}}'
    path = write_recording(tmp_path / "two.bpr", [frame(n * 400_000, text % n) for n in range(3)])
    async with sandbox_with(path, rate=2, start="control") as sandbox:
        async with connect(sandbox.ws_url, compression=None) as socket:
            await socket.send('{"method":"SUBSCRIBE","params":["trade.X_USDC"]}')
            await eventually(sandbox.hub.subscribed)
            sandbox.flow.play()
            loop = asyncio.get_running_loop()
            times = []
            for _ in range(3):
                await asyncio.wait_for(socket.recv(), 10)
                times.append(loop.time())
        assert times[2] - times[0] > 0.3
