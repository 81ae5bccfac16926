"""A small HTTP/1.1 server with keep-alive, enough for the exchange's REST API and the sandbox's own control API."""

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

from backpack_streams.runtime.listening import listening_sockets

logger = logging.getLogger(__name__)

_MAX_HEAD_BYTES = 64 * 1024
_MAX_BODY_BYTES = 1024 * 1024
_REASONS = {
    200: "OK", 204: "No Content", 400: "Bad Request", 403: "Forbidden", 404: "Not Found", 405: "Method Not Allowed",
    429: "Too Many Requests", 500: "Internal Server Error", 502: "Bad Gateway", 503: "Service Unavailable",
    504: "Gateway Timeout",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Request:
    """One request: `target` is the path with its query, `query` maps a name to all its values."""

    method: str
    target: str
    path: str
    query: Mapping[str, list[str]]
    body: bytes

    def first(self, name: str) -> str | None:
        """Return a query parameter's first value; None if it was not given."""
        values = self.query.get(name)
        return values[0] if values else None


@dataclass(frozen=True, slots=True)
class Response:
    """One answer."""

    status: int
    body: bytes = b""
    content_type: str = "application/json; charset=utf-8"
    headers: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def json(cls, value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> "Response":
        """Return an answer in compact JSON."""
        return cls(status, json.dumps(value, separators=(",", ":")).encode(), headers=headers or {})

    @classmethod
    def text(cls, text: str, status: int = 200) -> "Response":
        """Return an answer in plain text."""
        return cls(status, text.encode(), "text/plain; charset=utf-8")

    def encoded(self, keep_alive: bool) -> bytes:
        """Return the whole answer for the wire; 204 has no body and no length (RFC 9110, 8.6)."""
        lines = [f"HTTP/1.1 {self.status} {_REASONS.get(self.status, 'Status')}"]
        if self.status != 204:
            lines += [f"content-type: {self.content_type}", f"content-length: {len(self.body)}"]
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        lines.append(f"connection: {'keep-alive' if keep_alive else 'close'}")
        return "\r\n".join([*lines, "", ""]).encode() + (b"" if self.status == 204 else self.body)


Handler = Callable[[Request], Awaitable[Response | None]]
"""Answers a request; None cuts the connection without an answer."""


class HttpServer:
    """Serves one handler on one port."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self._servers: list[asyncio.Server] = []
        self._writers: set[asyncio.StreamWriter] = set()

    async def start(self, host: str, port: int) -> int:
        """Listen; return the port.

        Raises:
            OSError: the port is taken, or not permitted.
        """
        for each in listening_sockets(host, port):
            self._servers.append(await asyncio.start_server(self._serve, sock=each, limit=_MAX_HEAD_BYTES))
        return int(self._servers[0].sockets[0].getsockname()[1])

    def stop(self) -> None:
        """Stop listening and cut all connections."""
        while self._servers:
            self._servers.pop().close()
        self.cut()

    def cut(self) -> None:
        """Cut all open connections."""
        for writer in list(self._writers):
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            while await self._exchange(reader, writer):
                pass
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, ConnectionError, ValueError):
            pass  # the client is gone or does not speak HTTP, so there is no answer
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Serve one request. Return False if the connection carries no more."""
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError as error:
            if error.partial:
                raise
            return False
        request_line, *header_lines = head.decode("latin-1").split("\r\n")
        method, target, version = request_line.split(" ")
        headers = {
            name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in header_lines)
        }
        size = int(headers.get("content-length", "0"))
        if size > _MAX_BODY_BYTES:
            return False
        body = await reader.readexactly(size)
        parts = urlsplit(target)
        query = parse_qs(parts.query, keep_blank_values=True)
        response = await self._handler(Request(method, target, parts.path, query, body))
        if response is None:
            writer.transport.abort()
            return False
        keep_alive = version == "HTTP/1.1" and headers.get("connection", "").lower() != "close"
        writer.write(response.encoded(keep_alive))
        await writer.drain()
        return keep_alive
