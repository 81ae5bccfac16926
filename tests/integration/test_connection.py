"""The WebSocket connection over real loopback sockets, against a server that can misbehave on purpose."""

import asyncio
import base64
import hashlib
import json
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from time import monotonic
from typing import Any

import pytest
import trustme
import uvloop
from websockets.asyncio.server import ServerConnection, serve

from backpack_streams.errors import UsageError
from backpack_streams.exchange.connection import Connection
from backpack_streams.exchange.connection_settings import ConnectionSettings
from backpack_streams.exchange.session_actions import (
    CoverageEvent,
    LinkProven,
    Notice,
    NoticeKind,
    StreamsActive,
    StreamsInactive,
)
from backpack_streams.exchange.session_settings import MAY_STAY_QUIET, Expectation, SessionSettings
from backpack_streams.exchange.socket_link import SocketLink

TEXT, BINARY, CONTINUATION, CLOSE, PING, PONG = 1, 2, 0, 8, 9, 10
QUICK = SessionSettings(
    subscribe_spacing_seconds=0.005,
    reconnect_base_seconds=0.05,
    reconnect_cap_seconds=0.2,
    ping_reply_seconds=5.0,
)


def streams(*names: str) -> dict[str, Expectation]:
    return dict.fromkeys(names, MAY_STAY_QUIET)


class Peer:
    """The server's end of one WebSocket, frame by frame (RFC 6455)."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.headers: dict[str, str] = {}
        self.streams: set[str] = set()
        self.pongs: list[bytes] = []
        self.close_answered_at: float | None = None

    async def handshake(self) -> None:
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode()
        self.headers = dict(line.lower().split(": ", 1) for line in head.split("\r\n")[1:] if ": " in line)
        key = next(line.split(": ")[1] for line in head.split("\r\n") if line.lower().startswith("sec-websocket-key"))
        accept = base64.b64encode(hashlib.sha1((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest())
        self.writer.write(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n")
        self.writer.write(b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n")

    def send(self, opcode: int, payload: bytes, *, fin: bool = True) -> None:
        first = bytes([opcode | (0x80 if fin else 0)])
        if len(payload) < 126:
            head = bytes([len(payload)])
        elif len(payload) < 65_536:
            head = b"\x7e" + struct.pack(">H", len(payload))
        else:
            head = b"\x7f" + struct.pack(">Q", len(payload))
        self.writer.write(first + head + payload)

    def send_close(self, code: int = 1001, reason: bytes = b"going away") -> None:
        self.send(CLOSE, struct.pack(">H", code) + reason)

    async def receive(self) -> tuple[int, bytes]:
        first, second = await self.reader.readexactly(2)
        size = second & 0x7F
        if size == 126:
            (size,) = struct.unpack(">H", await self.reader.readexactly(2))
        elif size == 127:
            (size,) = struct.unpack(">Q", await self.reader.readexactly(8))
        assert second & 0x80, "a client must mask"
        mask = await self.reader.readexactly(4)
        masked = await self.reader.readexactly(size)
        return first & 0x0F, bytes(byte ^ mask[index % 4] for index, byte in enumerate(masked))

    async def obey(self, bad: frozenset[str] = frozenset()) -> None:
        """Behave as the exchange does, until the client is gone."""
        while True:
            opcode, payload = await self.receive()
            if opcode == PING:
                self.send(PONG, payload)
            elif opcode == PONG:
                self.pongs.append(payload)
            elif opcode == CLOSE:
                self.close_answered_at = monotonic()
            elif opcode == TEXT:
                request = json.loads(payload)
                names = set(request["params"])
                if request["method"] == "UNSUBSCRIBE":
                    self.streams -= names
                elif names & bad:
                    self.send(TEXT, b'{"id":null,"error":{"code":4006,"message":"Invalid stream"}}')
                else:
                    self.streams |= names


Behaviour = Callable[[Peer], Awaitable[None]]


class Server:
    """Accepts on loopback and lets `behaviour` act on each link after its handshake."""

    def __init__(self, behaviour: Behaviour, ssl_context: ssl.SSLContext | None = None) -> None:
        self.behaviour = behaviour
        self.ssl_context = ssl_context
        self.peers: list[Peer] = []
        self.port = 0
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    async def start(self, port: int = 0) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", port, ssl=self.ssl_context)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
            for writer in list(self._writers):
                writer.transport.abort()
            await asyncio.sleep(0.01)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = Peer(reader, writer)
        self._writers.add(writer)
        try:
            await peer.handshake()
            self.peers.append(peer)
            await self.behaviour(peer)
        except (asyncio.IncompleteReadError, OSError):
            pass  # the client went
        finally:
            self._writers.discard(writer)
            writer.transport.abort()


@asynccontextmanager
async def serving(behaviour: Behaviour, ssl_context: ssl.SSLContext | None = None) -> AsyncIterator[Server]:
    server = Server(behaviour, ssl_context)
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


@asynccontextmanager
async def answering(
    answer: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
) -> AsyncIterator[int]:
    """Serve something that need be no WebSocket; gives the port."""
    finish = asyncio.Event()
    handlers: set[asyncio.Task[None]] = set()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        handler = asyncio.ensure_future(answer(reader, writer))
        ending = asyncio.ensure_future(finish.wait())
        await asyncio.wait((handler, ending), return_when=asyncio.FIRST_COMPLETED)
        handler.cancel()
        ending.cancel()
        await asyncio.gather(handler, ending, return_exceptions=True)
        writer.close()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        handlers.add(asyncio.ensure_future(handle(reader, writer)))

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        finish.set()
        await asyncio.gather(*handlers, return_exceptions=True)
        await asyncio.sleep(0.01)


class Client:
    """A connection with everything it says written down."""

    def __init__(self, url: str, *, session: SessionSettings = QUICK, **options: Any) -> None:
        self.frames: list[tuple[int, bytes]] = []
        self.notices: list[Notice] = []
        self.coverage: list[CoverageEvent] = []
        options.setdefault("on_frame", lambda link_id, payload: self.frames.append((link_id, payload)))
        self.connection = Connection(
            url,
            session_settings=session,
            on_notice=self.notices.append,
            on_coverage=self.coverage.append,
            **options,
        )

    def kinds(self, kind: NoticeKind) -> list[Notice]:
        return [notice for notice in self.notices if notice.kind is kind]

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Client"]:
        stop = asyncio.Event()
        task = asyncio.get_running_loop().create_task(self.connection.run(stop))
        try:
            yield self
        finally:
            stop.set()
            await asyncio.wait_for(task, 5)
            assert self.connection.open_links == 0
            leftovers = [task for task in asyncio.all_tasks() if task.get_name().startswith("exchange link")]
            assert not leftovers


async def until(condition: Callable[[], object], seconds: float = 5.0) -> None:
    deadline = monotonic() + seconds
    while not condition():
        assert monotonic() < deadline, "what was waited for did not happen"
        await asyncio.sleep(0.005)


def proven_through(events: list[CoverageEvent], link_id: int) -> float:
    proven = [event.through for event in events if isinstance(event, LinkProven) and event.link_id == link_id]
    return max(proven, default=0.0)


def assert_unbroken(events: list[CoverageEvent]) -> None:
    """Each stream that became active was so on some link at any time, until the end of all."""
    active: dict[str, dict[int, float]] = {}
    ended: dict[str, float] = {}
    for event in events:
        match event:
            case StreamsActive(streams, link_id, at):
                for name in streams:
                    assert at <= ended.get(name, at), f"{name} was not covered until {at}"
                    active.setdefault(name, {})[link_id] = at
                    ended.pop(name, None)
            case StreamsInactive(streams, link_id, through):
                for name in streams:
                    del active[name][link_id]
                    if not active[name] or through < min(active[name].values()):
                        ended[name] = through


async def obey(peer: Peer) -> None:
    await peer.obey()


LOOPS = [asyncio.new_event_loop, uvloop.new_event_loop]


def on_loop(loop_factory: Callable[[], asyncio.AbstractEventLoop], work: Coroutine[Any, Any, None]) -> None:
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(work)


async def test_subscribes_and_hands_up_text_and_binary_messages_of_every_size() -> None:
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
        told = [event for event in client.coverage if not isinstance(event, LinkProven)]
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


async def test_puts_fragments_together_with_control_frames_between_them() -> None:
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
        ([(TEXT, b"x" * 20_000, True)], "exceeding max"),
    ],
)
async def test_a_server_that_breaks_the_protocol_loses_its_link(
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
        assert words in client.kinds(NoticeKind.LINK_LOST)[0].message


async def test_resubscribes_after_a_cut() -> None:
    async def behaviour(peer: Peer) -> None:
        if len(server.peers) == 1:
            asyncio.get_running_loop().call_later(0.1, peer.writer.transport.abort)
        await peer.obey()

    async with serving(behaviour) as server:
        client = Client(f"ws://127.0.0.1:{server.port}")
        client.connection.set_streams(streams("a", "b"))
        async with client.running():
            await until(lambda: len(server.peers) == 2 and server.peers[1].streams == {"a", "b"})
        assert client.connection.closes[NoticeKind.LINK_LOST] == 1
        assert client.connection.opens == 2


@pytest.mark.parametrize("loop_factory", LOOPS)
def test_a_close_with_grace_costs_no_message(loop_factory: Callable[[], asyncio.AbstractEventLoop]) -> None:
    on_loop(loop_factory, _close_with_grace())


async def _close_with_grace() -> None:
    """One number sequence for all links, as the exchange's sequencer has; the first link closes and goes on for 2 s."""
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
            await until(lambda: client.kinds(NoticeKind.LINK_DRAINED))
            await asyncio.sleep(0.05)
        counting.cancel()
    first, second = server.peers
    seen = {int(json.loads(payload)["n"]) for _, payload in client.frames}
    assert seen == set(range(min(seen), max(seen) + 1)), "a number is missing"
    # The abort at its end may take the last ones with it.
    assert len([link for link, _ in client.frames if link == 1]) > 0.9 * sent_on_first, (
        "the closing link was not read to its end"
    )
    assert client.kinds(NoticeKind.SERVER_CLOSE)[0].code == 1001
    assert first.close_answered_at is None, "the Close was answered during the grace"
    assert first.pongs == [b"still there?"]
    assert second.streams == {"a"}
    assert_unbroken(client.coverage)


async def test_a_close_that_is_followed_by_nothing_is_answered_after_the_grace() -> None:
    async def behaviour(peer: Peer) -> None:
        if len(server.peers) == 1:
            peer.send_close()
        await peer.obey()

    session = SessionSettings(server_grace_seconds=0.2, server_grace_margin_seconds=0.1, reconnect_base_seconds=0.05)
    async with serving(behaviour) as server:
        async with Client(f"ws://127.0.0.1:{server.port}", session=session).running() as client:
            await until(lambda: client.kinds(NoticeKind.LINK_GRACE_OVER))
            await until(lambda: server.peers[0].close_answered_at is not None)
        assert client.connection.server_closes == 1


async def test_a_renewal_brings_the_new_link_before_the_old_one_goes() -> None:
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
            await until(lambda: client.kinds(NoticeKind.LINK_REPLACED))
            assert server.peers[1].streams == {"a"}
            await until(lambda: server.peers[0].close_answered_at is not None)
        assert_unbroken(client.coverage)


@pytest.mark.parametrize("accepts", [True, False])
async def test_a_frozen_server_is_left_for_another_link(accepts: bool) -> None:
    """Either it opens the WebSocket and then says nothing, or it takes the TCP connection and not even that."""

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
            assert client.connection.open_links == 1, "a link that answers Pings was dropped"
    if accepts:
        assert client.connection.closes[NoticeKind.LINK_DEAD] == 1
    else:
        assert "not open after 0.3 s" in client.kinds(NoticeKind.LINK_FAILED)[0].message


@pytest.mark.parametrize("loop_factory", LOOPS)
def test_a_link_that_is_opening_is_cut_when_the_connection_stops(
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


async def test_names_the_one_bad_stream_among_250() -> None:
    names = [f"depth.S{number}_USDC_PERP" for number in range(250)]
    bad = frozenset({"depth.S123_USDC_PERP"})

    async def behaviour(peer: Peer) -> None:
        await peer.obey(bad)

    def route(link_id: int, payload: bytes) -> None:
        error = json.loads(payload)["error"]
        client.connection.error_frame(link_id, error["code"], error["message"])

    async with serving(behaviour) as server:
        client = Client(f"ws://127.0.0.1:{server.port}", on_frame=route)
        client.connection.set_streams(streams(*names))
        async with client.running():
            await until(lambda: client.connection.rejected_streams == bad)
            await until(lambda: server.peers[0].streams == set(names) - bad)
    (notice,) = client.kinds(NoticeKind.STREAM_REJECTED)
    assert (notice.stream, notice.code) == ("depth.S123_USDC_PERP", 4006)


async def test_two_connections_deliver_on_while_one_is_cut() -> None:
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


async def test_keeps_trying_while_refused_and_recovers() -> None:
    server = Server(obey)
    await server.start()
    port = server.port
    await server.stop()
    async with Client(f"ws://127.0.0.1:{port}").running() as client:
        await until(lambda: len(client.kinds(NoticeKind.LINK_FAILED)) >= 4)
        await server.start(port)
        await until(lambda: client.connection.open_links == 1)
        await server.stop()
    failures = client.kinds(NoticeKind.LINK_FAILED)
    assert "connection refused" in failures[0].message
    for attempt, notice in enumerate(failures):
        assert notice.retry_seconds is not None
        assert notice.retry_seconds <= min(0.2, 0.05 * 2**attempt)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n", "HTTP 503"),
        (b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n", "check region"),
        (b"HTTP/1.1 302 Found\r\nLocation: ws://127.0.0.1:1/\r\n\r\n", "not followed"),
        (b"HTTP/1.1 299 What\r\n\r\n", "no WebSocket handshake"),
        (b"SSH-2.0-OpenSSH_9\r\n\r\n", "no WebSocket handshake"),
        (b"", "hung up"),
    ],
)
async def test_a_refused_handshake_is_told_in_one_line(answer: bytes, words: str) -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()

    async with answering(refuse) as port, Client(f"ws://127.0.0.1:{port}").running() as client:
        await until(lambda: len(client.kinds(NoticeKind.LINK_FAILED)) >= 2)
    message = client.kinds(NoticeKind.LINK_FAILED)[0].message
    assert words in message
    assert "\n" not in message


async def test_a_name_that_does_not_resolve_is_told_as_such() -> None:
    async with Client("ws://no-such-host.invalid:1").running() as client:
        await until(lambda: client.kinds(NoticeKind.LINK_FAILED), 10)
    assert "does not resolve" in client.kinds(NoticeKind.LINK_FAILED)[0].message


@pytest.mark.parametrize("loop_factory", LOOPS)
def test_tls_is_verified(loop_factory: Callable[[], asyncio.AbstractEventLoop]) -> None:
    on_loop(loop_factory, _tls_is_verified())


async def _tls_is_verified() -> None:
    authority = trustme.CA()
    server_context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost", "127.0.0.1").configure_cert(server_context)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    async with serving(obey, server_context) as server:
        url = f"wss://127.0.0.1:{server.port}"
        async with Client(url).running() as client:
            await until(lambda: client.kinds(NoticeKind.LINK_FAILED))
        assert "not trusted" in client.kinds(NoticeKind.LINK_FAILED)[0].message
        trusted = Client(url, ssl_context=trusting)
        trusted.connection.set_streams(streams("a"))
        async with trusted.running():
            await until(lambda: server.peers and server.peers[0].streams == {"a"})
            server.peers[0].send(TEXT, b"{}")
            await until(lambda: trusted.frames)


async def test_a_port_without_tls_is_told_as_such() -> None:
    async def answer_plainly(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await writer.drain()

    async with answering(answer_plainly) as port, Client(f"wss://127.0.0.1:{port}").running() as client:
        await until(lambda: client.kinds(NoticeKind.LINK_FAILED))
    assert "names a TLS port" in client.kinds(NoticeKind.LINK_FAILED)[0].message


@pytest.mark.parametrize("read_interval_seconds", [0.0, 0.01])
@pytest.mark.parametrize("loop_factory", LOOPS)
def test_paused_reading_holds_the_server_back_and_loses_nothing(
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
            assert client.connection.open_links == 1
            client.connection.resume_reading()
            await until(lambda: len(client.frames) == total, 20)
    assert [json.loads(payload)["n"] for _, payload in client.frames] == list(range(total))
    assert client.connection.opens == 1


@pytest.mark.parametrize("loop_factory", LOOPS)
@pytest.mark.parametrize("secure", [False, True])
def test_a_socket_that_rests_after_each_read_brings_everything_in_fewer_pieces(
    loop_factory: Callable[[], asyncio.AbstractEventLoop], secure: bool
) -> None:
    on_loop(loop_factory, _resting(secure))


async def _resting(secure: bool) -> None:
    total, turns, turn_is_counted = 100, 0, False

    async def behaviour(peer: Peer) -> None:
        obeying = asyncio.get_running_loop().create_task(peer.obey())
        for number in range(total):
            peer.send(TEXT, b'{"n":%d}' % number + b" " * 200)
            await peer.writer.drain()
            await asyncio.sleep(0.002)
        peer.send_close()
        await obeying

    def take(_: int, payload: bytes) -> None:
        nonlocal turns, turn_is_counted
        taken.append(json.loads(payload)["n"])
        if not turn_is_counted:
            turns, turn_is_counted = turns + 1, True
            asyncio.get_running_loop().call_soon(end_turn)

    def end_turn() -> None:
        nonlocal turn_is_counted
        turn_is_counted = False

    taken: list[int] = []
    authority = trustme.CA()
    server_side, client_side = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), ssl.create_default_context()
    authority.issue_cert("127.0.0.1").configure_cert(server_side)
    authority.configure_trust(client_side)
    scheme, context = ("wss", client_side) if secure else ("ws", None)
    settings = ConnectionSettings(read_interval_seconds=0.05)
    async with serving(behaviour, server_side if secure else None) as server:
        url = f"{scheme}://127.0.0.1:{server.port}"
        client = Client(url, on_frame=take, settings=settings, ssl_context=context)
        async with client.running():
            await until(lambda: len(taken) >= total)
            await until(lambda: client.kinds(NoticeKind.SERVER_CLOSE))
    assert taken[:total] == list(range(total))
    assert turns <= total // 5


async def test_a_failing_handler_is_told_of_and_costs_neither_link_nor_other_frames() -> None:
    async def behaviour(peer: Peer) -> None:
        for payload in (b"good", b"bad", b"good"):
            peer.send(TEXT, payload)
            peer.send(TEXT, payload * 100)
        await peer.obey()

    failures: list[tuple[int, bytes, str]] = []
    taken: list[bytes] = []

    def take(_: int, payload: bytes) -> None:
        if payload.startswith(b"bad"):
            raise ValueError("no good")
        taken.append(payload)

    async with serving(behaviour) as server:
        client = Client(
            f"ws://127.0.0.1:{server.port}",
            on_frame=take,
            on_failure=lambda link_id, payload, error: failures.append((link_id, payload, str(error))),
        )
        async with client.running():
            await until(lambda: len(taken) == 4)
            assert client.connection.opens == client.connection.open_links == 1
    assert failures == [(1, b"bad", "no good"), (1, b"bad" * 100, "no good")]
    assert client.connection.frame_failures == 2


async def test_a_stream_that_should_deliver_and_does_not_is_reported() -> None:
    deliveries: dict[str, int] = {}

    async def behaviour(peer: Peer) -> None:
        async def deliver_depth() -> None:
            while True:
                peer.send(TEXT, b'{"stream":"depth.X"}')
                await asyncio.sleep(0.01)

        async with asyncio.TaskGroup() as tasks:
            delivering = tasks.create_task(deliver_depth())
            try:
                await peer.obey()
            finally:
                delivering.cancel()

    async with serving(behaviour) as server:
        settings = ConnectionSettings(silence_check_seconds=0.05)
        client = Client(f"ws://127.0.0.1:{server.port}", settings=settings, deliveries=deliveries)
        client.connection.set_streams({"ticker.X": Expectation(0.5, 0.3), "depth.X": MAY_STAY_QUIET})
        async with client.running():
            await until(lambda: client.kinds(NoticeKind.STREAM_SILENT))
            assert client.connection.confirmed_streams == {"depth.X"}

            async def deliver() -> None:
                while True:
                    deliveries["ticker.X"] = deliveries.get("ticker.X", 0) + 1
                    await asyncio.sleep(0.02)

            delivering = asyncio.create_task(deliver())
            await until(lambda: client.kinds(NoticeKind.STREAM_RECOVERED))
            delivering.cancel()
            assert client.connection.confirmed_streams == {"depth.X", "ticker.X"}
    (silent,) = client.kinds(NoticeKind.STREAM_SILENT)
    assert (silent.stream, silent.never_delivered) == ("ticker.X", True)


async def test_subscriptions_that_are_ignored_are_not_active_and_error_frames_are_no_delivery() -> None:
    pings: list[bytes] = []
    heeds = False

    async def behaviour(peer: Peer) -> None:
        is_subscribed = False
        while True:
            opcode, payload = await peer.receive()
            if opcode == TEXT:
                is_subscribed = heeds
            elif opcode == PING:
                peer.send(PONG, payload)
                peer.send(TEXT, b'{"stream":"depth.X"}' if is_subscribed else b'{"error":{"code":1,"message":"?"}}')
                pings.append(payload)

    def route(link_id: int, payload: bytes) -> None:
        if b"error" in payload:
            client.connection.error_frame(link_id, 1, "?")

    wanted = {"ticker.X": Expectation(1.5, 60), "depth.X": MAY_STAY_QUIET}
    async with serving(behaviour) as server:
        client = Client(
            f"ws://127.0.0.1:{server.port}",
            settings=ConnectionSettings(silence_check_seconds=0.05),
            session=SessionSettings(ping_interval_seconds=0.02),
            on_frame=route,
            deliveries={},
        )
        client.connection.set_streams(wanted)
        async with client.running():
            await until(lambda: len(pings) > 20)
            assert client.connection.confirmed_streams == frozenset()
            heeds = True
            await until(lambda: client.connection.confirmed_streams == wanted.keys())


async def test_the_proof_goes_on_every_ping_and_comes_in_order_with_the_frames() -> None:
    async def behaviour(peer: Peer) -> None:
        while True:
            opcode, payload = await peer.receive()
            if opcode == PING:
                peer.send(TEXT, b'{"before": %d}' % int(payload))
                peer.send(PONG, payload)

    order: list[object] = []
    session = SessionSettings(ping_interval_seconds=0.05)
    async with serving(behaviour) as server:
        client = Client(
            f"ws://127.0.0.1:{server.port}", session=session, on_frame=lambda _, payload: order.append(payload)
        )
        client.connection._on_coverage = order.append
        client.connection.set_streams(streams("a"))
        begin = monotonic()
        async with client.running():
            await until(lambda: len(order) > 12)
    assert order[0] == b'{"before": 1}'
    assert [type(each) for each in order[1:3]] == [LinkProven, StreamsActive]
    assert [type(each) for each in order[3:11]] == [bytes, LinkProven] * 4
    through = [each.through for each in order if isinstance(each, LinkProven)]
    assert begin <= through[0] < through[-1] <= monotonic()


async def test_handlers_that_fail_stop_neither_ticks_nor_reports() -> None:
    class Broken(dict[str, int]):
        def get(self, key: str, default: object = None) -> Any:  # type: ignore[override]  # whatever it gives, it fails
            raise ValueError(key)

    told: list[object] = []

    def fail(event: object) -> None:
        told.append(event)
        raise ValueError("no good")

    async with serving(obey) as server:
        settings = ConnectionSettings(silence_check_seconds=0.02)
        connection = Connection(
            f"ws://127.0.0.1:{server.port}",
            fail_on_frame,
            on_notice=fail,
            on_coverage=fail,
            deliveries=Broken(),
            settings=settings,
            session_settings=SessionSettings(ping_interval_seconds=0.05),
        )
        connection.set_streams(streams("a"))
        stop = asyncio.Event()
        running = asyncio.create_task(connection.run(stop))
        await until(lambda: len([event for event in told if isinstance(event, LinkProven)]) >= 3, 10)
        stop.set()
        await running
    assert any(isinstance(event, StreamsInactive) for event in told)


async def test_a_signature_that_cannot_be_made_ends_nothing() -> None:
    made: list[int] = []

    def sign() -> list[str]:
        made.append(len(made))
        if len(made) == 1:
            raise ValueError("no key yet")
        return ["key", "signature", "1", "5000"]

    async def behaviour(peer: Peer) -> None:
        while True:
            opcode, payload = await peer.receive()
            if opcode == TEXT and not json.loads(payload)["signature"]:
                peer.send(TEXT, b'{"id":null,"error":{"code":4005,"message":"Invalid signature"}}')
            elif opcode == PING:
                peer.send(PONG, payload)

    def route(link_id: int, payload: bytes) -> None:
        error = json.loads(payload)["error"]
        client.connection.error_frame(link_id, error["code"], error["message"])

    session = SessionSettings(refused_signature_retry_seconds=0.1)
    async with serving(behaviour) as server:
        client = Client(f"ws://127.0.0.1:{server.port}", session=session, sign=sign, on_frame=route)
        client.connection.set_streams(streams("account.orderUpdate"))
        async with client.running():
            await until(lambda: client.connection.confirmed_streams == {"account.orderUpdate"})
        assert client.kinds(NoticeKind.SIGNATURE_REFUSED)
        assert client.connection.opens == 1


def fail_on_frame(_link_id: int, _payload: bytes) -> None:
    raise ValueError("no good")


async def test_what_a_handler_asks_for_comes_after_what_is_being_told() -> None:
    """A handler that drops a stream when it becomes active: the reports stay in order."""
    told: list[CoverageEvent] = []

    def on_coverage(event: CoverageEvent) -> None:
        told.append(event)
        if isinstance(event, StreamsActive):
            connection.set_streams(streams("a"))
            connection.doubt(["a"], "it is asked for in the middle of a report")

    async with serving(obey) as server:
        connection = Connection(f"ws://127.0.0.1:{server.port}", fail_on_frame, on_coverage=on_coverage)
        connection.set_streams(streams("a", "b"))
        stop = asyncio.Event()
        running = asyncio.create_task(connection.run(stop))
        await until(lambda: server.peers and server.peers[0].streams == {"a"} and len(told) >= 4)
        stop.set()
        await running
    changes = [event for event in told if not isinstance(event, LinkProven)]
    assert isinstance(changes[0], StreamsActive)
    assert [(event.streams, event.cause) for event in changes[1:3] if isinstance(event, StreamsInactive)] == [
        (("b",), "UNSUBSCRIBED"),
        (("a",), "SILENT"),
    ]


async def test_an_unsubscribe_is_repeated_when_its_stream_delivers_on() -> None:
    async with serving(obey) as server:
        client = Client(f"ws://127.0.0.1:{server.port}")
        client.connection.set_streams(streams("a"))
        async with client.running():
            await until(lambda: client.connection.confirmed_streams == {"a"})
            server.peers[0].streams.add("trade.OLD")
            client.connection.unwanted_frame("trade.OLD")
            await until(lambda: server.peers[0].streams == {"a"})


class Nobody:
    """Whom a socket tells what happens, to no effect."""

    def link_opened(self, link: SocketLink) -> None: ...

    def link_ponged(self, link_id: int, payload: bytes) -> None: ...

    def link_closed_by_server(self, link_id: int, code: int, reason: str) -> None: ...

    def frame_failed(self, link_id: int, payload: bytes, error: Exception) -> None: ...


@pytest.mark.parametrize("loop_factory", LOOPS)
@pytest.mark.parametrize("end", ["give_up", "close and drop", "the server vanishes", "never opened"])
def test_whatever_is_done_with_a_socket_that_has_just_gone_does_no_harm(
    loop_factory: Callable[[], asyncio.AbstractEventLoop], end: str
) -> None:
    async def body() -> None:
        operations: list[Callable[[SocketLink], None]] = [
            SocketLink.pause_reading,
            SocketLink.resume_reading,
            lambda link: link.send_text("a"),
            lambda link: link.send_ping(b"a"),
            SocketLink.send_close,
            SocketLink.drop,
            lambda link: link.give_up("again"),
        ]
        async with serving(obey) as server:
            for operation in operations:
                link = SocketLink(1, Nobody(), lambda *_: None, ConnectionSettings())
                if end != "never opened":
                    await link.connect(f"ws://127.0.0.1:{server.port}/", None)
                    await until(lambda: server.peers)
                if end == "give_up":
                    link.give_up("looked at")
                elif end == "close and drop":
                    link.send_close()
                    link.drop()
                elif end == "the server vanishes":
                    server.peers.pop().writer.transport.abort()
                operation(link)
                link.resume_reading()
                await asyncio.wait_for(link.wait_gone(), 5)
                operation(link)

    on_loop(loop_factory, body())


async def test_works_with_an_independent_server() -> None:
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
            assert client.connection.opens == client.connection.open_links == 1
        assert requests == [{"method": "SUBSCRIBE", "params": ["a"]}]
        assert [payload for _, payload in client.frames] == [b'{"stream":"a","data":{}}']


async def test_a_url_that_is_none_is_refused() -> None:
    for url in ("https://127.0.0.1", "ws://", "ws://127.0.0.1:99999", "ws://[", "127.0.0.1:80"):
        with pytest.raises(UsageError):
            Connection(url, lambda _link_id, _payload: None)


async def test_tcp_sends_at_once() -> None:
    async with serving(obey) as server, Client(f"ws://127.0.0.1:{server.port}").running() as client:
        await until(lambda: client.connection.open_links == 1)
        (link,) = client.connection._sockets.links.values()
        assert link._socket is not None
        assert link._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
