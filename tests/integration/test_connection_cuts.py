"""Real sockets that are cut, closed with a grace period, frozen or replaced: streams continue, and coverage reports what was missed."""

import asyncio
import json
from collections.abc import Callable
from contextlib import suppress
from time import monotonic

import pytest

from backpack_streams.exchange.connection_settings import ConnectionSettings
from backpack_streams.exchange.exchange_socket import ExchangeSocket
from backpack_streams.exchange.session_actions import (
    NoticeKind,
    StreamsActive,
)
from backpack_streams.exchange.session_settings import SessionSettings
from integration.misbehaving_server import (
    LOOPS,
    PING,
    TEXT,
    Client,
    Peer,
    answering,
    assert_unbroken,
    obey,
    on_loop,
    proven_through,
    serving,
    streams,
    until,
)

pytestmark = pytest.mark.usefixtures("socket_class")


async def test_a_cut_socket_is_replaced_and_subscribes_again() -> None:
    async def behaviour(peer: Peer) -> None:
        if len(server.peers) == 1:
            asyncio.get_running_loop().call_later(0.1, peer.writer.transport.abort)
        await peer.obey()

    async with serving(behaviour) as server:
        client = Client(f"ws://127.0.0.1:{server.port}")
        client.connection.set_streams(streams("a", "b"))
        async with client.running():
            await until(lambda: len(server.peers) == 2 and server.peers[1].streams == {"a", "b"})
        assert client.connection.closes[NoticeKind.SOCKET_LOST] == 1
        assert client.connection.opens == 2


@pytest.mark.parametrize("loop_factory", LOOPS)
def test_a_close_with_a_grace_period_loses_no_message(loop_factory: Callable[[], asyncio.AbstractEventLoop]) -> None:
    on_loop(loop_factory, _close_with_grace())


async def _close_with_grace() -> None:
    """One number sequence for all sockets, like the exchange's sequencer; the first socket closes and continues for 2 s."""
    number = sent_on_first = 0

    async def count() -> None:
        nonlocal number, sent_on_first
        while True:
            number += 1
            for peer in server.peers:
                if "a" in peer.streams and not peer.writer.is_closing():
                    sent_on_first += peer is server.peers[0]
                    peer.send(TEXT, b'{"n":%d}' % number + b" " * (number % 2 * 150))
            await asyncio.sleep(0.002)

    async def behaviour(peer: Peer) -> None:
        if len(server.peers) == 1:
            loop = asyncio.get_running_loop()
            loop.call_later(0.2, peer.send_close)
            loop.call_later(0.4, peer.send, PING, b"still there?")
            loop.call_later(2.2, peer.writer.transport.abort)
        await peer.obey()

    async with serving(behaviour) as server:
        counting = asyncio.get_running_loop().create_task(count())
        client = Client(f"ws://127.0.0.1:{server.port}")
        client.connection.set_streams(streams("a"))
        async with client.running():
            await until(lambda: client.kinds(NoticeKind.SOCKET_DRAINED))
            await asyncio.sleep(0.05)
        counting.cancel()
    first, second = server.peers
    seen = {int(json.loads(payload)["n"]) for _, payload in client.frames}
    assert seen == set(range(min(seen), max(seen) + 1)), "a number is missing"
    # The abort at its end may lose the last ones.
    assert len([socket for socket, _ in client.frames if socket == 1]) > 0.9 * sent_on_first, (
        "the closing socket was not read to its end"
    )
    assert client.kinds(NoticeKind.SERVER_CLOSE)[0].code == 1001
    assert first.close_answered_at is None, "the Close was answered during the grace"
    assert first.pongs == [b"still there?"]
    assert second.streams == {"a"}
    assert_unbroken(client.coverage)


async def test_a_close_without_a_drop_is_answered_after_the_grace_period() -> None:
    async def behaviour(peer: Peer) -> None:
        if len(server.peers) == 1:
            peer.send_close()
        await peer.obey()

    session = SessionSettings(server_grace_seconds=0.2, server_grace_margin_seconds=0.1, reconnect_base_seconds=0.05)
    async with serving(behaviour) as server:
        async with Client(f"ws://127.0.0.1:{server.port}", session=session).running() as client:
            await until(lambda: client.kinds(NoticeKind.SOCKET_GRACE_OVER))
            await until(lambda: server.peers[0].close_answered_at is not None)
        assert client.connection.server_closes == 1


async def test_a_renewal_opens_the_new_socket_before_it_closes_the_old_one() -> None:
    async def behaviour(peer: Peer) -> None:
        async def deliver() -> None:
            while True:
                peer.send(TEXT, b"{}")
                await asyncio.sleep(0.01)

        delivering = asyncio.get_running_loop().create_task(deliver())
        try:
            await peer.obey()
        finally:
            delivering.cancel()

    session = SessionSettings(overlap_min_seconds=0.1, overlap_max_seconds=2.0)
    async with serving(behaviour) as server:
        client = Client(f"ws://127.0.0.1:{server.port}", session=session)
        client.connection.set_streams(streams("a"))
        async with client.running():
            await until(lambda: client.frames)
            client.connection.renew()
            await until(lambda: client.kinds(NoticeKind.SOCKET_REPLACED))
            assert server.peers[1].streams == {"a"}
            await until(lambda: server.peers[0].close_answered_at is not None)
        assert_unbroken(client.coverage)


@pytest.mark.parametrize("accepts", [True, False])
async def test_a_frozen_server_is_replaced_by_another_socket(accepts: bool) -> None:
    """It either opens the WebSocket and is then silent, or only accepts the TCP connection."""

    swallowed = 0

    async def behaviour(peer: Peer) -> None:
        await (asyncio.sleep(60) if len(server.peers) == 1 else peer.obey())

    async def swallow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal swallowed
        swallowed += 1
        if swallowed == 1:
            await asyncio.sleep(60)
        await server._serve(reader, writer)

    session = SessionSettings(ping_interval_seconds=0.1, ping_reply_seconds=0.3, reconnect_base_seconds=0.05)
    settings = ConnectionSettings(connect_timeout_seconds=0.3)
    async with serving(behaviour if accepts else obey) as server, answering(swallow) as frozen_port:
        port = server.port if accepts else frozen_port
        async with Client(f"ws://127.0.0.1:{port}", session=session, settings=settings).running() as client:
            await until(lambda: len(server.peers) == (2 if accepts else 1))
            await asyncio.sleep(0.8)
            assert client.connection.open_sockets == 1, "a socket that answers Pings was dropped"
    if accepts:
        assert client.connection.closes[NoticeKind.SOCKET_DEAD] == 1
    else:
        assert "not open after 0.3 s" in client.kinds(NoticeKind.SOCKET_FAILED)[0].message


@pytest.mark.parametrize("loop_factory", LOOPS)
def test_an_opening_socket_is_cut_when_the_connection_stops(
    loop_factory: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    async def body() -> None:
        came, gone = asyncio.Event(), asyncio.Event()

        async def never_answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            came.set()
            with suppress(OSError):
                await reader.read()
            gone.set()

        async with answering(never_answer) as port:
            for scheme in ("ws", "wss"):
                came.clear()
                gone.clear()
                async with Client(f"{scheme}://127.0.0.1:{port}").running():
                    await asyncio.wait_for(came.wait(), 5)
                await asyncio.wait_for(gone.wait(), 5)

    on_loop(loop_factory, body())


async def test_of_two_connections_one_delivers_while_the_other_is_cut() -> None:
    async with serving(obey) as server:
        session = SessionSettings(
            connections=2, reconnect_base_seconds=0.05, reconnect_cap_seconds=0.1, ping_interval_seconds=0.05
        )
        client = Client(f"ws://127.0.0.1:{server.port}", session=session)
        client.connection.set_streams(streams("a"))
        async with client.running():
            await until(lambda: len([event for event in client.coverage if isinstance(event, StreamsActive)]) == 2)
            active_at = monotonic()
            await until(lambda: proven_through(client.coverage, 1) > active_at)
            server.peers[0].writer.transport.abort()
            server.peers[1].send(TEXT, b"{}")
            await until(lambda: len(server.peers) == 3 and server.peers[2].streams == {"a"})
            await until(lambda: client.frames)
        assert_unbroken(client.coverage)


class Nobody:
    """Ignores the events of a socket."""

    def socket_opened(self, socket: ExchangeSocket) -> None: ...

    def socket_ponged(self, socket_id: int, payload: bytes) -> None: ...

    def socket_closed_by_server(self, socket_id: int, code: int, reason: str) -> None: ...

    def frame_failed(self, socket_id: int, payload: bytes, error: Exception) -> None: ...


@pytest.mark.parametrize("loop_factory", LOOPS)
@pytest.mark.parametrize("end", ["give_up", "close and drop", "the server vanishes", "never opened"])
def test_operations_on_a_socket_that_has_just_gone_have_no_effect(
    loop_factory: Callable[[], asyncio.AbstractEventLoop], end: str, socket_class: type[ExchangeSocket]
) -> None:
    async def body() -> None:
        operations: list[Callable[[ExchangeSocket], None]] = [
            ExchangeSocket.pause_reading,
            ExchangeSocket.resume_reading,
            lambda socket: socket.send_text("a"),
            lambda socket: socket.send_ping(b"a"),
            ExchangeSocket.send_close,
            ExchangeSocket.drop,
            lambda socket: socket.give_up("again"),
        ]
        async with serving(obey) as server:
            for operation in operations:
                socket = socket_class(1, Nobody(), lambda *_: None, ConnectionSettings())
                if end != "never opened":
                    await socket.connect(f"ws://127.0.0.1:{server.port}/", None)
                    await until(lambda: server.peers)
                if end == "give_up":
                    socket.give_up("looked at")
                elif end == "close and drop":
                    socket.send_close()
                    socket.drop()
                elif end == "the server vanishes":
                    server.peers.pop().writer.transport.abort()
                operation(socket)
                socket.resume_reading()
                await asyncio.wait_for(socket.wait_gone(), 5)
                operation(socket)

    on_loop(loop_factory, body())
