"""The frame source, in its own process: prepared frames over a WebSocket as fast as it takes them, or at a rate.

One port serves all: WebSocket on an upgrade, else REST with the few answers that clients need, and `/control/...`:
`prepare?channel=C&count=N` renders frames, `go` writes them, `go?rate=R&count=N&channel=C` renders and writes them on schedule,
`state` reports. Frames go to the socket that connected last.
"""

import argparse
import asyncio
import base64
import hashlib
import json
import time
from collections.abc import Callable
from typing import Any, cast
from urllib.parse import parse_qsl, urlsplit

from backpack_streams.runtime.loop import loop_factory
from benchmarks.frames import Feed, last_id, markets

_HANDSHAKE_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
"""RFC 6455, section 1.3."""
_SLICE_BYTES = 128 * 1024
_WRITE_BUFFER_BYTES = 512 * 1024
_CLUMP_SECONDS = 0.001
_OPCODE, _LENGTH = 0x0F, 0x7F
_CLOSE, _PING, _PONG_FRAME = 0x8, 0x9, 0x8A


class Source:
    """The shared state of all connections."""

    def __init__(self) -> None:
        self.feeds = {channel: Feed(channel) for channel in ("depth", "trade")}
        self.markets = markets()
        self.socket: Connection | None = None
        self.prepared = b""
        self.sending: asyncio.Task[None] | None = None
        self.started = self.finished = 0.0

    def answer(self, target: str) -> Any:
        """The answer to a GET, None for an unknown path."""
        parts = urlsplit(target)
        query = dict(parse_qsl(parts.query))
        rest: dict[str, Callable[[dict[str, str]], Any]] = {
            "/api/v1/markets": lambda _: [market.row() for market in self.markets],
            "/api/v1/assets": lambda _: [],
            "/api/v1/securities": lambda _: [],
            "/api/v1/depth": self._depth,
            "/control/prepare": self._prepare,
            "/control/go": self._go,
            "/control/state": self._state,
        }
        return rest[parts.path](query) if parts.path in rest else None

    def _depth(self, query: dict[str, str]) -> Any:
        index = next(n for n, market in enumerate(self.markets) if market.symbol == query["symbol"])
        return self.markets[index].depth(last_id(index, self.feeds["depth"].sent), _now_us())

    def _prepare(self, query: dict[str, str]) -> Any:
        self.prepared = self.feeds[query["channel"]].wire(int(query["count"]), _now_us())
        return {"bytes": len(self.prepared)}

    def _go(self, query: dict[str, str]) -> Any:
        if self.socket is None:
            return {"error": "no socket is connected"}
        socket = self.socket
        self.finished = 0.0
        self.started = time.time()
        writing = (
            self._in_time(socket, self.feeds[query["channel"]], float(query["rate"]), int(query["count"]))
            if "rate" in query
            else self._at_once(socket, self.prepared)
        )
        self.sending = asyncio.create_task(writing)
        return {"started": self.started}

    def _state(self, _: dict[str, str]) -> Any:
        return {
            "subscribed": 0 if self.socket is None else len(self.socket.streams),
            "sent": {channel: feed.sent for channel, feed in self.feeds.items()},
            "started": self.started,
            "finished": self.finished,
            "cpu_seconds": time.process_time(),
        }

    async def _at_once(self, socket: "Connection", data: bytes) -> None:
        view = memoryview(data)
        for start in range(0, len(view), _SLICE_BYTES):
            await socket.writable.wait()
            socket.write(view[start : start + _SLICE_BYTES])
            await asyncio.sleep(0)
        await socket.writable.wait()
        self.finished = time.time()

    async def _in_time(self, socket: "Connection", feed: Feed, rate: float, count: int) -> None:
        """Each frame carries the time at which it is written."""
        sent = 0
        start = time.perf_counter()
        while sent < count:
            due = min(count, int((time.perf_counter() - start) * rate)) - sent
            if due > 0:
                socket.write(feed.wire(due, _now_us()))
                sent += due
            await asyncio.sleep(_CLUMP_SECONDS)
        self.finished = time.time()


class Connection(asyncio.Protocol):
    """One connection: HTTP until it asks for an upgrade."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._transport: asyncio.Transport | None = None
        self._received = b""
        self._is_websocket = False
        self.streams: set[str] = set()
        self.writable = asyncio.Event()
        self.writable.set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Store the transport."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass of it
        self._transport.set_write_buffer_limits(high=_WRITE_BUFFER_BYTES)

    def connection_lost(self, exc: Exception | None) -> None:
        """Wake a waiting writer."""
        self.writable.set()

    def pause_writing(self) -> None:
        """The peer is too slow."""
        self.writable.clear()

    def resume_writing(self) -> None:
        """The peer has caught up."""
        self.writable.set()

    def write(self, data: bytes | memoryview) -> None:
        """Write, if the connection is open."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def data_received(self, data: bytes) -> None:
        """Read requests, or frames of the client."""
        self._received += data
        while self._take_frame() if self._is_websocket else self._take_request():
            pass

    def _take_request(self) -> bool:
        head, end, rest = self._received.partition(b"\r\n\r\n")
        if not end:
            return False
        self._received = rest
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        if headers.get("upgrade", "").lower() == "websocket":
            self._upgrade(headers["sec-websocket-key"])
            return True
        answer = self._source.answer(first.split(" ")[1])
        body = json.dumps(answer).encode()
        status = "404 Not Found" if answer is None else "200 OK"
        self.write(
            f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode()
            + body
        )
        return True

    def _upgrade(self, key: str) -> None:
        # The handshake requires SHA-1; it protects nothing.
        accept = base64.b64encode(hashlib.sha1(key.encode() + _HANDSHAKE_GUID, usedforsecurity=False).digest()).decode()
        self.write(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Accept: {accept}\r\n\r\n".encode()
        )
        self._is_websocket = True
        self._source.socket = self

    def _take_frame(self) -> bool:
        """Clients mask their frames (RFC 6455, section 5.3)."""
        data = self._received
        if len(data) < 2:
            return False
        extended = {126: 2, 127: 8}.get(data[1] & _LENGTH, 0)
        start = 2 + extended + 4
        size = int.from_bytes(data[2 : 2 + extended], "big") if extended else data[1] & _LENGTH
        if len(data) < start + size:
            return False
        mask = data[start - 4 : start]
        payload = bytes(byte ^ mask[n % 4] for n, byte in enumerate(data[start : start + size]))
        self._received = data[start + size :]
        self._on_message(data[0] & _OPCODE, payload)
        return True

    def _on_message(self, opcode: int, payload: bytes) -> None:
        if opcode == _PING:
            self.write(bytes((_PONG_FRAME, len(payload))) + payload)
        elif opcode == _CLOSE and self._transport is not None:
            self._transport.close()
        elif payload.startswith(b"{"):
            request = json.loads(payload)
            change = self.streams.update if request["method"] == "SUBSCRIBE" else self.streams.difference_update
            change(request["params"])


def _now_us() -> int:
    return time.time_ns() // 1000


async def _serve(port: int) -> None:
    source = Source()
    server = await asyncio.get_running_loop().create_server(lambda: Connection(source), "127.0.0.1", port)
    await server.serve_forever()


def main() -> None:
    """Serve until terminated."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    port = parser.parse_args().port
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(_serve(port))


if __name__ == "__main__":
    main()
