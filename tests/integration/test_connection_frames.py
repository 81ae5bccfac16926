"""Messages from a real socket are delivered complete, in order and in few pieces, for any fragmentation and read speed."""

import asyncio
import json
import ssl
from collections.abc import Callable
from time import monotonic
from typing import Any

import pytest
import trustme
from websockets.asyncio.server import ServerConnection, serve

from backpack_streams.exchange.connection_settings import ConnectionSettings
from backpack_streams.exchange.session_actions import (
    NoticeKind,
    SocketProven,
    StreamsActive,
    StreamsInactive,
)
from backpack_streams.exchange.session_settings import SessionSettings
from integration.misbehaving_server import (
    BINARY,
    CONTINUATION,
    LOOPS,
    PING,
    TEXT,
    Client,
    Peer,
    on_loop,
    serving,
    streams,
    until,
)

pytestmark = pytest.mark.usefixtures("socket_class")


async def test_text_and_binary_messages_of_every_size_are_delivered() -> None:
    sizes = [0, 1, 125, 126, 177, 65_535, 65_536, 1_000_000]

    async def behaviour(peer: Peer) -> None:
        for size in sizes:
            peer.send(TEXT, b"t" * size)
            peer.send(BINARY, b"b" * size)
        await peer.obey()

    async with serving(behaviour) as server:
        client = Client(f"ws://127.0.0.1:{server.port}")
        client.connection.set_streams(streams("depth.AAPL.US_USDC_PERP", "liquidation"))
        async with client.running():
            await until(lambda: len(client.frames) == 2 * len(sizes))
            await until(lambda: server.peers[0].streams == {"depth.AAPL.US_USDC_PERP", "liquidation"})
            client.connection.set_streams(streams("liquidation", "trade.SOL_USDC"))
            await until(lambda: server.peers[0].streams == {"liquidation", "trade.SOL_USDC"})
            await until(lambda: client.connection.confirmed_streams == {"liquidation", "trade.SOL_USDC"})
        assert [payload for _, payload in client.frames] == [kind * size for size in sizes for kind in (b"t", b"b")]
        assert client.connection.frames == len(client.frames)
        assert client.connection.bytes_received == 2 * sum(sizes)
        assert server.peers[0].headers["user-agent"].startswith("backpack-streams/")
        told = [event for event in client.coverage if not isinstance(event, SocketProven)]
        assert next((event.streams, event.cause) for event in told if isinstance(event, StreamsInactive)) == (
            ("depth.AAPL.US_USDC_PERP",),
            "UNSUBSCRIBED",
        )
        assert {name for event in told if isinstance(event, StreamsActive) for name in event.streams} == {
            "depth.AAPL.US_USDC_PERP",
            "liquidation",
            "trade.SOL_USDC",
        }
        assert client.connection.confirmed_streams == frozenset()
        assert server.peers[0].close_answered_at is not None


async def test_fragments_with_control_frames_between_them_are_joined() -> None:
    whole = bytes(range(256)) * 4

    async def behaviour(peer: Peer) -> None:
        peer.send(TEXT, whole[:300], fin=False)
        peer.send(PING, b"between")
        peer.send(CONTINUATION, b"", fin=False)
        peer.send(CONTINUATION, whole[300:1000], fin=False)
        await peer.writer.drain()
        await asyncio.sleep(0.02)
        peer.send(CONTINUATION, whole[1000:])
        peer.send(TEXT, b"next")
        await peer.obey()

    async with serving(behaviour) as server:
        async with Client(f"ws://127.0.0.1:{server.port}").running() as client:
            await until(lambda: len(client.frames) == 2)
            await until(lambda: server.peers[0].pongs == [b"between"])
        assert [payload for _, payload in client.frames] == [whole, b"next"]


@pytest.mark.parametrize(
    ("frames", "words"),
    [
        ([(CONTINUATION, b"x" * 100, True)], "out of order"),
        ([(TEXT, b"x", False), (TEXT, b"y" * 200, True)], "out of order"),
        ([(TEXT, b"x" * 6_000, False), (CONTINUATION, b"x" * 6_000, True)], "too long"),
        ([(TEXT, b"x" * 20_000, True)], "exceed"),
    ],
)
async def test_a_server_that_violates_the_protocol_loses_its_socket(
    frames: list[tuple[int, bytes, bool]], words: str
) -> None:
    async def behaviour(peer: Peer) -> None:
        if len(server.peers) == 1:
            for opcode, payload, fin in frames:
                peer.send(opcode, payload, fin=fin)
        await peer.obey()

    async with serving(behaviour) as server:
        url = f"ws://127.0.0.1:{server.port}"
        async with Client(url, settings=ConnectionSettings(max_message_bytes=10_000)).running() as client:
            await until(lambda: len(server.peers) == 2)
        assert client.frames == []
        assert words in client.kinds(NoticeKind.SOCKET_LOST)[0].message


@pytest.mark.parametrize("read_interval_seconds", [0.0, 0.01])
@pytest.mark.parametrize("loop_factory", LOOPS)
def test_paused_reading_slows_the_server_and_loses_nothing(
    loop_factory: Callable[[], asyncio.AbstractEventLoop], read_interval_seconds: float
) -> None:
    on_loop(loop_factory, _paused_reading(ConnectionSettings(read_interval_seconds=read_interval_seconds)))


async def _paused_reading(settings: ConnectionSettings) -> None:
    async def behaviour(peer: Peer) -> None:
        obeying = asyncio.get_running_loop().create_task(peer.obey())
        for number in range(total):
            peer.send(TEXT, b'{"n":%d}' % number + b" " * 4_000)
            await peer.writer.drain()
        await obeying

    total = 5_000
    session = SessionSettings(ping_interval_seconds=0.1, ping_reply_seconds=0.2)
    async with serving(behaviour) as server:
        client = Client(f"ws://127.0.0.1:{server.port}", session=session, settings=settings)
        async with client.running():
            await until(lambda: client.frames)
            client.connection.pause_reading()
            await asyncio.sleep(0.1)
            stuck_at = len(client.frames)
            await asyncio.sleep(0.8)
            assert len(client.frames) == stuck_at < total
            assert client.connection.open_sockets == 1
            client.connection.resume_reading()
            await until(lambda: len(client.frames) == total, 20)
    assert [json.loads(payload)["n"] for _, payload in client.frames] == list(range(total))
    assert client.connection.opens == 1


@pytest.mark.parametrize("loop_factory", LOOPS)
@pytest.mark.parametrize("secure", [False, True])
def test_a_socket_that_pauses_after_each_read_delivers_everything_in_fewer_pieces(
    loop_factory: Callable[[], asyncio.AbstractEventLoop], secure: bool
) -> None:
    on_loop(loop_factory, _resting(secure))


async def _resting(secure: bool) -> None:
    total, interval_seconds, turn_is_counted = 100, 0.05, False

    async def behaviour(peer: Peer) -> None:
        obeying = asyncio.get_running_loop().create_task(peer.obey())
        for number in range(total):
            peer.send(TEXT, b'{"n":%d}' % number + b" " * 200)
            await peer.writer.drain()
            await asyncio.sleep(0.002)
        peer.send_close()
        await obeying

    def take(_: int, payload: bytes) -> None:
        nonlocal turn_is_counted
        taken.append(json.loads(payload)["n"])
        if not turn_is_counted:
            turn_is_counted = True
            turned_at.append(monotonic())
            asyncio.get_running_loop().call_soon(end_turn)

    def end_turn() -> None:
        nonlocal turn_is_counted
        turn_is_counted = False

    taken: list[int] = []
    turned_at: list[float] = []
    authority = trustme.CA()
    server_side, client_side = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), ssl.create_default_context()
    authority.issue_cert("127.0.0.1").configure_cert(server_side)
    authority.configure_trust(client_side)
    scheme, context = ("wss", client_side) if secure else ("ws", None)
    settings = ConnectionSettings(read_interval_seconds=interval_seconds)
    async with serving(behaviour, server_side if secure else None) as server:
        url = f"{scheme}://127.0.0.1:{server.port}"
        client = Client(url, on_frame=take, settings=settings, ssl_context=context)
        async with client.running():
            await until(lambda: len(taken) >= total)
            await until(lambda: client.kinds(NoticeKind.SERVER_CLOSE))
    assert taken[:total] == list(range(total))
    assert len(turned_at) <= (turned_at[-1] - turned_at[0]) / interval_seconds + 2


async def test_an_independent_server_works() -> None:
    requests: list[Any] = []

    async def handler(connection: ServerConnection) -> None:
        async for message in connection:
            requests.append(json.loads(message))
            await connection.send('{"stream":"a","data":{}}')

    async with serve(handler, "127.0.0.1", 0, ping_interval=0.1, ping_timeout=0.3) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        client = Client(f"ws://127.0.0.1:{port}")
        client.connection.set_streams(streams("a"))
        async with client.running():
            await asyncio.sleep(0.6)
            assert client.connection.opens == client.connection.open_sockets == 1
        assert requests == [{"method": "SUBSCRIBE", "params": ["a"]}]
        assert [payload for _, payload in client.frames] == [b'{"stream":"a","data":{}}']
