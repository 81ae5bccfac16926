"""A service's own HTTP port: `/metrics`, `/healthz` and `/readyz`, nothing else.

Probes and scrapers are few and local, so a connection serves one request and is then closed. The size of a request,
its duration and the number of open connections are all limited.
"""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import ClassVar, Final

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import request_response

from backpack_streams.errors import BackpackStreamsError
from backpack_streams.runtime.http_protocol import HttpProtocol
from backpack_streams.runtime.http_server import HttpServer
from backpack_streams.runtime.listening import why_not_listening

MAX_CONNECTIONS: Final = 64

logger = logging.getLogger(__name__)


class HealthServerError(BackpackStreamsError):
    """The server cannot listen on the address for metrics and health."""


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
        """Return the response to one request.

        Args:
            method: the HTTP method.
            path: the path without the query.
            accept: the value of the Accept header.
        """
        if method not in ("GET", "HEAD"):
            return _text(405, "only GET and HEAD are answered", {"allow": "GET, HEAD"})
        if path == "/healthz":
            return _checks(self.failures(), "ok", "failed")
        if path == "/readyz":
            return _checks([*self.failures(), *self.readiness()], "ready", "not ready")
        if path == "/metrics":
            body, content_type = self.metrics(accept)
            return Response(body, headers={"content-type": content_type})
        return _text(404, "not found; there are /metrics, /healthz and /readyz")

    async def respond(self, request: Request) -> Response:
        """Return the response to one request, which ends its connection."""
        path: str = request.scope["path"]
        try:
            response = self.answer(request.method, path, ",".join(request.headers.getlist("accept")))
        except Exception:  # a bug in a collector may cost a scrape, never the service
            logger.exception("a health request failed", extra={"path": path})
            response = _text(500, "failed; the service's log says why")
        response.headers.update({"cache-control": "no-store", "connection": "close"})
        return response


class HealthProtocol(HttpProtocol):
    """HTTP/1.1 for probes: short requests, short connections, and room for one more.

    Attributes:
        connection_seconds: time limit of a connection, which is that of its request and response.
    """

    head_bytes = 8 * 1024
    head_seconds = 2.5
    connection_seconds: ClassVar[float] = 5.0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the clock of the connection."""
        self._end = self.loop.call_later(self.connection_seconds, transport.abort)
        super().connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the clock."""
        self._end.cancel()
        super().connection_lost(exc)

    def make_room(self) -> bool:
        """Drop the oldest connection: a probe sends its request at once, so that one is the least likely to send one."""
        others = (each for each in self.connections if isinstance(each, HealthProtocol) and each is not self)
        oldest = min(others, key=lambda each: each._end.when())
        self.connections.discard(oldest)
        oldest.transport.abort()
        return True


@asynccontextmanager
async def health_server(host: str, port: int, answers: HealthAnswers) -> AsyncIterator[HttpServer]:
    """Serve `answers` in the meantime.

    Args:
        host: see `listening_sockets`.
        port: 0 takes a free one.
        answers: the answers.

    Raises:
        HealthServerError: the port is in use or not permitted, or the host is not an address of this machine.
    """
    server = HttpServer(request_response(answers.respond), HealthProtocol, MAX_CONNECTIONS)
    try:
        server.start(host, port)
    except (OSError, UnicodeError) as error:  # UnicodeError: a host name that DNS cannot hold
        raise HealthServerError(why_not_listening(host, port, error, "--metrics-", "none")) from None
    try:
        yield server
    finally:
        await server.drop()


def _checks(reasons: Sequence[str], good: str, bad: str) -> Response:
    body = json.dumps({"status": bad if reasons else good, "reasons": list(reasons)}) + "\n"
    return Response(body, 503 if reasons else 200, media_type="application/json")


def _text(status: int, message: str, headers: Mapping[str, str] | None = None) -> Response:
    return PlainTextResponse(message + "\n", status, headers)
