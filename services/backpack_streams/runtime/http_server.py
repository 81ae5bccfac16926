"""uvicorn, set up for a process of ours: in its event loop, within our limits, with no signals and no log of its own."""

import asyncio
import contextlib
import logging
from collections.abc import Iterator
from typing import Any, Final

from starlette.types import ASGIApp
from uvicorn.config import Config
from uvicorn.server import Server

from backpack_streams.runtime.http_protocol import HttpProtocol
from backpack_streams.runtime.listening import listening_sockets

__all__ = ["HttpServer"]

SHUTDOWN_SECONDS: Final = 5


class _Config(Config):
    """uvicorn's settings and ours."""

    def __init__(self, app: ASGIApp, max_connections: int | None, **options: Any) -> None:
        super().__init__(app, **options)
        self.max_connections = max_connections


class HttpServer(Server):
    """Serves an ASGI application.

    Either `serve(sockets)` in a task of the caller's until `should_exit` is set, which lets it answer what was asked,
    or `start` and `drop`.

    Args:
        app: the application.
        protocol: what speaks HTTP/1.1, with its limits.
        max_connections: how many connections may be open; None for any number.
        options: further settings of `uvicorn.Config`.
    """

    def __init__(
        self, app: ASGIApp, protocol: type[HttpProtocol], max_connections: int | None = None, **options: Any
    ) -> None:
        """Prepare; for the arguments see the class."""
        logging.getLogger("uvicorn").setLevel(logging.ERROR)  # it logs URLs, and each malformed request
        ours: dict[str, Any] = {
            "http": protocol,
            "ws": "none",
            "lifespan": "off",
            "log_config": None,
            "access_log": False,
            "proxy_headers": False,
            "server_header": False,
            "timeout_graceful_shutdown": SHUTDOWN_SECONDS,
        }
        super().__init__(_Config(app, max_connections, **ours | options))
        self.servers: list[asyncio.Server] = []
        self._serving: asyncio.Task[None] | None = None
        self.port = 0
        """The port on which it listens since `start`."""

    def start(self, host: str, port: int) -> None:
        """Listen, and serve in a task until `drop`.

        Args:
            host: see `listening_sockets`.
            port: 0 takes a free one.

        Raises:
            OSError: the port is taken or not permitted, or the host is not an address of this machine.
            UnicodeError: the host is a name that DNS cannot hold.
        """
        sockets = listening_sockets(host, port)
        self.port = sockets[0].getsockname()[1]
        self._serving = asyncio.create_task(self.serve(sockets), name="http")

    async def drop(self) -> None:
        """Stop listening and drop all connections, whatever they wait for. Without effect before `start`."""
        if self._serving is None:
            return
        if self.started:
            for each in self.servers:
                each.close()
            for connection in list(self.server_state.connections):
                connection.transport.abort()
            self._serving.cancel()
        self.should_exit = True
        await asyncio.gather(self._serving, return_exceptions=True)
        for each in self.servers:
            await each.wait_closed()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Take no signals."""
        yield
