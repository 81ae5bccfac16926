"""The gateway's HTTP server: limits on connections, keep-alive, and WebSocket."""

import logging
import resource
from typing import Final

from starlette.types import ASGIApp

from backpack_streams.gateway.http_protocol import EnvelopeProtocol, SocketProtocol
from backpack_streams.gateway.settings import GatewaySettings
from backpack_streams.runtime.http_server import HttpServer

__all__ = ["http_server"]

MAX_MESSAGE_BYTES: Final = 64 * 1024
"""Maximum size of a client's WebSocket message; a longer one ends the connection with code 1009."""
KEEP_ALIVE_SECONDS: Final = 60
PING_SECONDS: Final = 20.0
_BACKLOG: Final = 2048
_FILES_OF_OUR_OWN: Final = 256

logger = logging.getLogger(__name__)


def http_server(app: ASGIApp, settings: GatewaySettings) -> HttpServer:
    """Return a server: `serve(sockets)` runs it, and setting `should_exit` stops it.

    Args:
        app: the ASGI application.
        settings: the maximum number of connections.
    """
    return HttpServer(
        app,
        EnvelopeProtocol,
        _within_the_systems_limit(settings.max_connections),
        ws=SocketProtocol,
        ws_max_size=MAX_MESSAGE_BYTES,
        ws_ping_interval=PING_SECONDS,
        ws_ping_timeout=PING_SECONDS,
        ws_per_message_deflate=False,
        backlog=_BACKLOG,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
    )


def _within_the_systems_limit(wanted: int) -> int:
    """Raise the limit of open files as far as needed and permitted. Returns how many connections fit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = wanted + _FILES_OF_OUR_OWN
    if soft != resource.RLIM_INFINITY and soft < needed:
        soft = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return wanted
    fitting = max(soft - _FILES_OF_OUR_OWN, 1)
    logger.warning("fewer connections than wanted, since open files are limited", extra={"connections": fitting})
    return fitting
