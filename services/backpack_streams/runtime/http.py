"""The small HTTP/1.1 server of a service: `/metrics`, `/healthz` and `/readyz`, nothing else.

Probes and scrapers are few and local, so a connection serves one request and is then closed. The size of a request,
its duration and the number of open connections are all limited.
"""

import asyncio
import errno
import json
import logging
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http import HTTPStatus

from backpack_streams.errors import BackpackStreamsError
from backpack_streams.runtime.listening import listening_sockets

MAX_REQUEST_BYTES = 8 * 1024
REQUEST_TIMEOUT_SECONDS = 5.0
MAX_CONNECTIONS = 64

logger = logging.getLogger(__name__)


class HealthServerError(BackpackStreamsError):
    """The server cannot listen on the address for metrics and health."""


@dataclass(frozen=True)
class Response:
    """The response to a request."""

    status: HTTPStatus
    body: bytes
    content_type: str = "text/plain; charset=utf-8"
    headers: tuple[tuple[str, str], ...] = ()

    def encode(self, *, with_body: bool) -> bytes:
        """Return the bytes for the wire; the answer to HEAD has no body (RFC 9110, 9.3.2)."""
        lines = [
            f"HTTP/1.1 {self.status.value} {self.status.phrase}",
            f"Content-Type: {self.content_type}",
            f"Content-Length: {len(self.body)}",
            "Cache-Control: no-store",
            "Connection: close",
            *(f"{name}: {value}" for name, value in self.headers),
        ]
        return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + (self.body if with_body else b"")


@dataclass(frozen=True)
class HealthAnswers:
    """The answers of the health server.

    Attributes:
        failures: returns why the service has failed; empty while it is alive.
        readiness: returns why the service is not ready; empty when it is.
        metrics: takes an Accept header, returns a body and its content type.
    """

    failures: Callable[[], Sequence[str]]
    readiness: Callable[[], Sequence[str]]
    metrics: Callable[[str], tuple[bytes, str]]

    def answer(self, method: str, path: str, accept: str = "") -> Response:
        """Return the response to one request."""
        if method not in ("GET", "HEAD"):
            return _text(HTTPStatus.METHOD_NOT_ALLOWED, "only GET and HEAD are answered", ("Allow", "GET, HEAD"))
        if path == "/healthz":
            return _checks(self.failures(), "ok", "failed")
        if path == "/readyz":
            return _checks([*self.failures(), *self.readiness()], "ready", "not ready")
        if path == "/metrics":
            body, content_type = self.metrics(accept)
            return Response(HTTPStatus.OK, body, content_type)
        return _text(HTTPStatus.NOT_FOUND, "not found; there are /metrics, /healthz and /readyz")


class HealthServer:
    """Serves `HealthAnswers`: `async with HealthServer("localhost", 9401, answers): ...`.

    Args:
        host: see `listening_sockets`.
        port: 0 takes a free one.
        answers: the answers.
        request_timeout_seconds: time limit of a request with its response; half of it for the request's head.
    """

    def __init__(
        self, host: str, port: int, answers: HealthAnswers, request_timeout_seconds: float = REQUEST_TIMEOUT_SECONDS
    ) -> None:
        self._host = host
        self._port = port
        self._answers = answers
        self._request_timeout_seconds = request_timeout_seconds
        self._servers: list[asyncio.Server] = []
        self._open_connections: dict[asyncio.StreamWriter, None] = {}

    @property
    def port(self) -> int:
        """The port on which the server listens; if the setting was 0, the one that the system chose.

        Raises:
            HealthServerError: the server is not started.
        """
        if not self._servers:
            raise HealthServerError("the health server is not started; await start() first")
        port: int = self._servers[0].sockets[0].getsockname()[1]
        return port

    async def start(self) -> None:
        """Start to listen.

        Raises:
            HealthServerError: the port is in use or not permitted, or the host is not an address of this machine.
        """
        try:
            for each in listening_sockets(self._host, self._port):
                self._servers.append(await asyncio.start_server(self._serve, sock=each, limit=MAX_REQUEST_BYTES))
        except (OSError, UnicodeError) as error:  # UnicodeError: a host name that DNS cannot hold
            raise HealthServerError(_listen_message(self._host, self._port, error)) from None

    async def stop(self) -> None:
        """Stop listening and drop open connections."""
        servers, self._servers = self._servers, []
        for each in servers:
            each.close()
        for writer in list(self._open_connections):
            writer.transport.abort()
        for each in servers:
            await each.wait_closed()

    async def __aenter__(self) -> "HealthServer":
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._open_connections) >= MAX_CONNECTIONS:
            # A probe sends its request at once, so the oldest connection is the least likely to send one.
            oldest = next(iter(self._open_connections))
            del self._open_connections[oldest]
            oldest.transport.abort()
        self._open_connections[writer] = None
        try:
            async with asyncio.timeout(self._request_timeout_seconds):
                writer.write(await self._respond(reader))
                await writer.drain()
                writer.close()
                await writer.wait_closed()
        except (OSError, TimeoutError):  # the peer is gone or does not read; it gets nothing more
            writer.transport.abort()
        finally:
            self._open_connections.pop(writer, None)

    async def _respond(self, reader: asyncio.StreamReader) -> bytes:
        try:
            async with asyncio.timeout(self._request_timeout_seconds / 2):
                head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.LimitOverrunError:
            return _text(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "the request is too large").encode(with_body=True)
        except TimeoutError:
            return _text(HTTPStatus.REQUEST_TIMEOUT, "the request took too long").encode(with_body=True)
        except asyncio.IncompleteReadError:
            return b""
        request_line, *header_lines = head.decode("latin-1").split("\r\n")
        words = request_line.split(" ")
        if len(words) != 3 or not words[2].startswith("HTTP/1."):
            return _text(HTTPStatus.BAD_REQUEST, "not an HTTP/1.1 request").encode(with_body=True)
        method, target, _ = words
        headers = (line.partition(":") for line in header_lines)
        accept = ",".join(value.strip() for name, _, value in headers if name.strip().lower() == "accept")
        return self._answer(method, target.partition("?")[0], accept).encode(with_body=method != "HEAD")

    def _answer(self, method: str, path: str, accept: str) -> Response:
        try:
            return self._answers.answer(method, path, accept)
        except Exception:  # a bug in a collector may cost a scrape, never the service
            logger.exception("a health request failed", extra={"path": path})
            return _text(HTTPStatus.INTERNAL_SERVER_ERROR, "failed; the service's log says why")


def _checks(reasons: Sequence[str], good: str, bad: str) -> Response:
    status = HTTPStatus.SERVICE_UNAVAILABLE if reasons else HTTPStatus.OK
    body = json.dumps({"status": bad if reasons else good, "reasons": list(reasons)}) + "\n"
    return Response(status, body.encode(), "application/json")


def _text(status: HTTPStatus, message: str, *headers: tuple[str, str]) -> Response:
    return Response(status, (message + "\n").encode(), headers=headers)


def _listen_message(host: str, port: int, error: OSError | UnicodeError) -> str:
    number = error.errno if isinstance(error, OSError) else None
    if number == errno.EADDRINUSE:
        return f"port {port} on {host} is in use; choose another with --metrics-port, or 0 for none"
    if number in (errno.EACCES, errno.EPERM):
        return f"port {port} on {host} may not be taken by this user; choose one above 1023 with --metrics-port"
    # Python 3.12 and later raise an OSError without a number if no address of the host could be bound.
    if number in (errno.EADDRNOTAVAIL, None) or isinstance(error, socket.gaierror | UnicodeError):
        return f"{host} is no address of this machine; choose one with --metrics-host, such as localhost, or * for every one"
    return f"metrics cannot be served on {host} port {port}: {error}; see --metrics-host and --metrics-port"
