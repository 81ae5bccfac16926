"""The sandbox's WebSocket behaves as the exchange's was observed to."""

import asyncio
import contextlib
import itertools
import json
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import ClientConnection, connect

from backpack_sandbox.server import PortInUseError, Sandbox
from backpack_sandbox.settings import SandboxSettings

FREE_PORTS = {"ws_port": 0, "rest_port": 0, "control_port": 0}


def sandbox_with(**settings: Any) -> Sandbox:
    return Sandbox(SandboxSettings(**{**FREE_PORTS, "start": "subscribed", "settle_seconds": 0.2, **settings}))


def client(sandbox: Sandbox, **options: Any) -> connect:
    return connect(sandbox.ws_url, compression=None, ping_interval=None, max_queue=None, **options)


async def order(socket: ClientConnection, *streams: str, method: str = "SUBSCRIBE", **more: Any) -> None:
    await socket.send(json.dumps({"method": method, "params": streams, **more}))


async def received(socket: ClientConnection, seconds: float) -> list[dict[str, Any]]:
    """Everything that arrives for some time."""
    frames = []
    deadline = time.monotonic() + seconds
    while (left := deadline - time.monotonic()) > 0:
        try:
            frames.append(json.loads(await asyncio.wait_for(socket.recv(), left)))
        except TimeoutError:
            break
    return frames


async def eventually(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110  # the condition is the sandbox's state, which has no event
            await asyncio.sleep(0.01)


async def until(socket: ClientConnection, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """Return the first frame that matches."""
    async with asyncio.timeout(20):
        while True:
            frame = json.loads(await socket.recv())
            if wanted(frame):
                return frame


async def test_there_is_no_acknowledgement_and_no_duplicate():
    async with sandbox_with(rate=500) as sandbox, client(sandbox) as socket:
        await order(socket, "depth.SOL_USDC", "depth.SOL_USDC")
        await order(socket, "depth.SOL_USDC", id=7)
        frames = await received(socket, 1.5)
    assert len(frames) > 10
    assert {frame["stream"] for frame in frames} == {"depth.SOL_USDC"}
    ids = [frame["data"]["U"] for frame in frames]
    assert len(ids) == len(set(ids))
    assert all(later["data"]["U"] == earlier["data"]["u"] + 1 for earlier, later in itertools.pairwise(frames))
    assert {next(iter(frame)) for frame in frames} == {"stream", "data"}


async def test_errors_are_reported_and_the_good_streams_of_the_request_are_served():
    async with sandbox_with(rate=500) as sandbox, client(sandbox) as socket:
        for nonsense in ("not json", "[]", '{"method":"DANCE","params":[]}', '{"method":"SUBSCRIBE","params":"x"}'):
            await socket.send(nonsense)
            assert json.loads(await socket.recv()) == {"id": None, "error": {"code": 4002, "message": "Parse error"}}
        await order(socket, "account.orderUpdate", "depth.250ms.SOL_USDC", "kline.7m.SOL_USDC", "trade.SOL_USDC", id=1)
        errors = [json.loads(await socket.recv())["error"]["code"] for _ in range(3)]
        assert errors == [4006, 4008, 4006]
        frame = json.loads(await socket.recv())
        assert frame["stream"] == "trade.SOL_USDC"


async def test_unknown_and_closed_symbols_are_silent():
    async with sandbox_with(rate=500) as sandbox, client(sandbox) as socket:
        await order(socket, "depth.NOPE_USDC", "depth.WIF_USDC", "ticker.WIF_USDC", "kline.1m.NOPE_USDC")
        assert await received(socket, 1.2) == []


async def test_unsubscribing_ends_only_that_stream():
    async with sandbox_with(rate=500) as sandbox, client(sandbox) as socket:
        await order(socket, "depth.SOL_USDC", "depth.BTC_USDC")
        await until(socket, lambda frame: frame["stream"] == "depth.SOL_USDC")
        await order(socket, "depth.SOL_USDC", "depth.NEVER_HAD", method="UNSUBSCRIBE")
        await asyncio.sleep(0.2)
        await received(socket, 0.2)
        assert {frame["stream"] for frame in await received(socket, 0.6)} == {"depth.BTC_USDC"}


async def test_a_symbol_with_a_dot_and_one_with_lower_case():
    async with sandbox_with(rate=800) as sandbox, client(sandbox) as socket:
        await order(socket, "depth.AAPL.US_USDC_PERP", "depth.1000ms.kSHIB_USDC_PERP")
        frames = await received(socket, 2.5)
    assert {frame["data"]["s"] for frame in frames} == {"AAPL.US_USDC_PERP", "kSHIB_USDC_PERP"}


async def test_pings_are_sent_and_pings_are_answered():
    settings = {"first_ping_min_seconds": 0.1, "first_ping_max_seconds": 0.2, "ping_interval_seconds": 0.2}
    async with sandbox_with(pong_timeout_seconds=0.5, **settings) as sandbox, client(sandbox) as socket:
        await asyncio.wait_for(await socket.ping(), 5)
        await asyncio.sleep(1.5)
        assert sandbox.state()["connections"][0]["pings_sent"] >= 3
        await asyncio.wait_for(await socket.ping(), 5)


async def test_a_client_that_does_not_answer_a_ping_is_dropped_without_a_close():
    settings = {"first_ping_min_seconds": 0.1, "first_ping_max_seconds": 0.2, "pong_timeout_seconds": 0.3}
    async with sandbox_with(**settings) as sandbox:
        host, port = sandbox.ws_url.removeprefix("ws://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(
            b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        await reader.readuntil(b"\r\n\r\n")
        rest = b""
        try:
            rest = await asyncio.wait_for(reader.read(-1), 10)
        except ConnectionResetError:
            rest = b"\x89\x00"
        assert rest == b"\x89\x00"
        writer.close()


async def test_data_flows_between_the_close_frame_and_the_drop():
    async with sandbox_with(rate=500, grace_seconds=1.0) as sandbox:
        host, port = sandbox.ws_url.removeprefix("ws://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(
            b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        await reader.readuntil(b"\r\n\r\n")
        request = b'{"method":"SUBSCRIBE","params":["depth.SOL_USDC"]}'
        writer.write(bytes((0x81, 0x80 | len(request))) + b"\0\0\0\0" + request)
        await asyncio.wait_for(reader.readuntil(b"depth.SOL_USDC"), 10)
        began = time.monotonic()
        sandbox.order_fault({"fault": "close"})
        rest = b""
        with contextlib.suppress(ConnectionResetError):  # an abort may also show as a reset
            while data := await asyncio.wait_for(reader.read(65536), 10):
                rest += data
        assert time.monotonic() - began > 0.8
        _, close, after = rest.partition(b"\x88\x02\x03\xe9")
        assert close
        assert after.count(b'"e":"depth"') > 10
        writer.close()
        async with client(sandbox) as another:
            await order(another, "depth.SOL_USDC")
            await until(another, lambda frame: True)


async def test_a_close_by_the_client_is_answered():
    async with sandbox_with() as sandbox:
        socket = await client(sandbox)
        await socket.close(1000)
        assert socket.close_code == 1000
        await asyncio.sleep(0.05)
        assert sandbox.state()["connections"] == []


async def test_offered_compression_is_not_used():
    async with sandbox_with() as sandbox, connect(sandbox.ws_url) as socket:
        assert "Sec-WebSocket-Extensions" not in socket.response.headers


@pytest.mark.parametrize("symbols", [3, 40])
async def test_at_full_speed_every_subscriber_gets_every_frame_in_order(symbols):
    frames = 20_000
    async with sandbox_with(rate="max", frames=frames, symbols=symbols) as sandbox:
        streams = [f"depth.{symbol}" for symbol in sandbox.venue.book_symbols()]

        async def follow() -> dict[str, int]:
            last: dict[str, int] = {}
            async with client(sandbox) as socket:
                await order(socket, *streams)
                for _ in range(frames):
                    frame = json.loads(await socket.recv())
                    symbol, data = frame["data"]["s"], frame["data"]
                    assert data["U"] == last.get(symbol, data["U"] - 1) + 1
                    last[symbol] = data["u"]
                assert await received(socket, 0.2) == []
            return last

        both = await asyncio.gather(follow(), follow())
        truth = {symbol: own["depth"]["last_update_id"] for symbol, own in sandbox.venue.sequences().items()}
        assert both == [truth, truth]
        assert sandbox.state()["finished"]


async def test_a_reader_that_stops_holds_the_flow_and_memory_stays_bounded():
    async with sandbox_with(rate="max") as sandbox:
        socket = await connect(sandbox.ws_url, compression=None, ping_interval=None, max_queue=4)
        await order(socket, *(f"depth.{symbol}" for symbol in sandbox.venue.book_symbols()))
        counts = [-1]

        def is_held() -> bool:
            counts.append(sandbox.venue.produced()["depth"])
            return counts[-1] > 0 and len(counts) > 50 and len(set(counts[-50:])) == 1

        await eventually(is_held)
        (connection,) = sandbox.state()["connections"]
        assert 0 < connection["buffered_bytes"] < 4 * 1024 * 1024
        socket.transport.abort()


async def test_a_reader_that_is_too_slow_for_the_rate_is_dropped():
    async with sandbox_with(rate=20_000, socket_buffer_bytes=65536) as sandbox:
        socket = await connect(sandbox.ws_url, compression=None, ping_interval=None, max_queue=4)
        await order(socket, *(f"depth.{symbol}" for symbol in sandbox.venue.book_symbols()))
        await eventually(lambda: sandbox.state()["frames_sent"].get("depth", 0) > 10)
        await eventually(lambda: not sandbox.state()["connections"])
        socket.transport.abort()


async def test_play_on_request():
    async with sandbox_with(start="control", rate=500) as sandbox, client(sandbox) as socket:
        await order(socket, "depth.SOL_USDC")
        assert await received(socket, 0.5) == []
        async with httpx.AsyncClient(base_url=sandbox.control_url) as control:
            assert (await control.post("/play")).json() == {"playing": True}
        await until(socket, lambda frame: True)


async def test_a_port_in_use_is_reported_with_its_flag():
    async with sandbox_with() as first:
        taken = int(first.ws_url.rpartition(":")[2])
        with pytest.raises(PortInUseError, match=rf"127\.0\.0\.1:{taken} .* --rest-port"):
            await sandbox_with(rest_port=taken).start()


async def test_nothing_listens_after_stop():
    sandbox = sandbox_with()
    await sandbox.start()
    await sandbox.stop()
    with pytest.raises(OSError, match="Connect call failed"):
        await connect(sandbox.ws_url)
