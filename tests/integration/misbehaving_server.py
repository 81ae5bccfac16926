"""A connection of ours over real loopback sockets, and a server that can misbehave on purpose."""

import asyncio
import base64
import hashlib
import json
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from time import monotonic
from typing import Any

import uvloop

from backpack_streams.exchange.connection import Connection
from backpack_streams.exchange.session_actions import (
    CoverageEvent,
    Notice,
    NoticeKind,
    SocketProven,
    StreamsActive,
    StreamsInactive,
)
from backpack_streams.exchange.session_settings import MAY_STAY_QUIET, Expectation, SessionSettings

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
    """Accepts on loopback and runs `behaviour` on each socket after its handshake."""

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
            pass  # the client closed the connection
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
    """Serve any protocol; return the port."""
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
    """A connection that records all its events."""

    def __init__(self, url: str, *, session: SessionSettings = QUICK, **options: Any) -> None:
        self.frames: list[tuple[int, bytes]] = []
        self.notices: list[Notice] = []
        self.coverage: list[CoverageEvent] = []
        options.setdefault("on_frame", lambda socket_id, payload: self.frames.append((socket_id, payload)))
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
            assert self.connection.open_sockets == 0
            leftovers = [task for task in asyncio.all_tasks() if task.get_name().startswith("exchange socket")]
            assert not leftovers


async def until(condition: Callable[[], object], seconds: float = 5.0) -> None:
    deadline = monotonic() + seconds
    while not condition():
        assert monotonic() < deadline, "what was waited for did not happen"
        await asyncio.sleep(0.005)


def proven_through(events: list[CoverageEvent], socket_id: int) -> float:
    proven = [event.through for event in events if isinstance(event, SocketProven) and event.socket_id == socket_id]
    return max(proven, default=0.0)


def assert_unbroken(events: list[CoverageEvent]) -> None:
    """Each stream, once active, stays active on some socket until the end."""
    active: dict[str, dict[int, float]] = {}
    ended: dict[str, float] = {}
    for event in events:
        match event:
            case StreamsActive(streams, socket_id, at):
                for name in streams:
                    assert at <= ended.get(name, at), f"{name} was not covered until {at}"
                    active.setdefault(name, {})[socket_id] = at
                    ended.pop(name, None)
            case StreamsInactive(streams, socket_id, through):
                for name in streams:
                    del active[name][socket_id]
                    if not active[name] or through < min(active[name].values()):
                        ended[name] = through


async def obey(peer: Peer) -> None:
    await peer.obey()


LOOPS = [asyncio.new_event_loop, uvloop.new_event_loop]


def on_loop(loop_factory: Callable[[], asyncio.AbstractEventLoop], work: Coroutine[Any, Any, None]) -> None:
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(work)


def fail_on_frame(_socket_id: int, _payload: bytes) -> None:
    raise ValueError("no good")
