"""The replay as a whole: a WebSocket server, a REST server, and the player that serves both from the recording."""

import asyncio
import contextlib
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import picows

from backpack_streams.recording.reading import RecordingReader
from backpack_streams.replay.player import Player
from backpack_streams.replay.settings import ReplaySettings
from backpack_streams.runtime.listening import listening_sockets, url_host
from backpack_streams.sandbox.account_keys import AccountKeys
from backpack_streams.sandbox.faults import FaultBox
from backpack_streams.sandbox.http import HttpServer, Request, Response
from backpack_streams.sandbox.hub import Hub
from backpack_streams.sandbox.server import PortInUseError
from backpack_streams.sandbox.settings import SandboxSettings
from backpack_streams.sandbox.sockets import Socket

_DRAIN_POLL_SECONDS = 0.01
_GOODBYE_SECONDS = 5.0
_LISTEN_SECONDS = 2.5
"""Longer than the interval of a producer's Pings (one second by default, at most two)."""


class Replay:
    """A recording in the exchange's place. Use as `async with`."""

    def __init__(self, settings: ReplaySettings, paths: Sequence[Path]) -> None:
        """Read the beginning of the files.

        Raises:
            UsageError: a file does not exist or is given twice.
            NoRecordingError: a file is not a recording.
        """
        self.settings = settings
        self.reader = RecordingReader(paths)
        self._faults = FaultBox()
        self.hub = Hub(self._faults, _nothing, _nothing)
        self.player = Player(self.reader, self.hub, settings)
        # A replay holds its frames back for a slow subscriber, as the sandbox does at full speed, and never drops one.
        self._socket_settings = SandboxSettings(rate="max", grace_seconds=_GOODBYE_SECONDS)
        self._rest = HttpServer(self._answer)
        self._sockets: list[asyncio.Server] = []
        self._ports = (settings.ws_port, settings.rest_port)

    @property
    def ws_url(self) -> str:
        """URL of the WebSocket."""
        return f"ws://{url_host(self.settings.host)}:{self._ports[0]}"

    @property
    def rest_url(self) -> str:
        """Base URL of the REST API."""
        return f"http://{url_host(self.settings.host)}:{self._ports[1]}"

    async def __aenter__(self) -> Self:
        """Read the beginning and start to listen.

        Raises:
            RecordingError: the recording cannot be read.
            PortInUseError: a port is taken.
        """
        await self.player.open()
        try:
            self._ports = await self._listen_for_sockets(), await self._listen_for_requests()
        except BaseException:
            await self.stop()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def goodbye(self) -> None:
        """Wait until everything is sent, then close the sockets as the exchange does, with a Close frame.

        A client that has just subscribed may need the answer to a Ping sent after the last frame, to know what it has received.
        """
        while any(socket.buffered_bytes for socket in self._open_sockets()):  # noqa: ASYNC110  # picows has no event for it
            await asyncio.sleep(_DRAIN_POLL_SECONDS)
        await asyncio.sleep(_LISTEN_SECONDS)
        for socket in self._open_sockets():
            socket.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_GOODBYE_SECONDS):
                while self._open_sockets():  # noqa: ASYNC110  # as above
                    await asyncio.sleep(_DRAIN_POLL_SECONDS)

    async def stop(self) -> None:
        """Drop all connections and free the ports."""
        while self._sockets:
            self._sockets.pop().close()
        for socket in self._open_sockets():
            socket.drop()
        self._rest.stop()
        await asyncio.sleep(0)

    async def _listen_for_sockets(self) -> int:
        keys = AccountKeys(())  # private streams are not recorded, so no key can be valid

        def accept(_: picows.WSUpgradeRequest) -> Socket:
            return Socket(self.hub, self._faults, self._socket_settings, _wall_clock_us, keys, _no_greeting)

        try:
            for each in listening_sockets(self.settings.host, self.settings.ws_port):
                self._sockets.append(await picows.ws_create_server(accept, sock=each))
        except OSError as error:
            raise self._taken("--ws-port", self.settings.ws_port, error) from error
        return int(self._sockets[0].sockets[0].getsockname()[1])

    async def _listen_for_requests(self) -> int:
        try:
            return await self._rest.start(self.settings.host, self.settings.rest_port)
        except OSError as error:
            raise self._taken("--rest-port", self.settings.rest_port, error) from error

    def _taken(self, flag: str, port: int, error: OSError) -> PortInUseError:
        return PortInUseError(
            f"replay cannot listen on {self.settings.host}:{port} ({error.strerror or error}); "
            f"stop what uses the port or choose another with {flag}"
        )

    async def _answer(self, request: Request) -> Response | None:
        if request.method != "GET":
            return Response.text("method not allowed", 405)
        return self.player.answers.answer(request.target, self.player.now_us)

    def _open_sockets(self) -> list[Socket]:
        return [outlet for outlet in self.hub.outlets if isinstance(outlet, Socket)]


def _wall_clock_us() -> int:
    return time.time_ns() // 1000


def _nothing(_: Any) -> None:
    """Prepare nothing: a recording needs no preparation for a subscriber."""


def _no_greeting(_: str) -> list[bytes]:
    """Return no greeting: a subscription begins with the next recorded frame."""
    return []
