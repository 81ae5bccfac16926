"""The replay as a whole: a WebSocket server, a REST server, and the player that serves both from the recording."""

import asyncio
import contextlib
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import picows
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from backpack_sandbox.account_keys import AccountKeys
from backpack_sandbox.faults import FaultBox
from backpack_sandbox.http_port import http_port, target_of
from backpack_sandbox.hub import Hub
from backpack_sandbox.replay.player import Player
from backpack_sandbox.replay.settings import ReplaySettings
from backpack_sandbox.server import PortInUseError
from backpack_sandbox.settings import SandboxSettings
from backpack_sandbox.sockets import Socket
from backpack_streams.recording.reading import RecordingReader
from backpack_streams.runtime.listening import listening_sockets, url_host

_DRAIN_POLL_SECONDS = 0.01
_CLOSE_SECONDS = 5.0
_LISTEN_SECONDS = 2.5
"""Longer than the interval of a producer's Pings (one second by default, at most two)."""


class Replay:
    """A recording in the exchange's place. Use as `async with`."""

    def __init__(self, settings: ReplaySettings, paths: Sequence[Path]) -> None:
        """Read the beginning of the files.

        Args:
            settings: the addresses, the speed and the start.
            paths: the recording's parts, in any order.

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
        self._socket_settings = SandboxSettings(rate="max", grace_seconds=_CLOSE_SECONDS)
        self._rest = http_port(self._answer)
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
            self._ports = await self._listen_for_sockets(), self._listen_for_requests()
        except BaseException:  # any failure, a cancellation too: close what listens
            await self.stop()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def drain(self) -> None:
        """Wait until everything is sent, then close the sockets as the exchange does, with a Close frame. Takes 2.5 s or longer.

        A client that has just subscribed may need the answer to a Ping sent after the last frame, to know what it has
        received. Clients get 5 s to end their side.
        """
        while any(socket.buffered_bytes for socket in self._open_sockets()):  # noqa: ASYNC110  # picows has no event for it
            await asyncio.sleep(_DRAIN_POLL_SECONDS)
        await asyncio.sleep(_LISTEN_SECONDS)
        for socket in self._open_sockets():
            socket.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_CLOSE_SECONDS):
                while self._open_sockets():  # noqa: ASYNC110  # as above
                    await asyncio.sleep(_DRAIN_POLL_SECONDS)

    async def stop(self) -> None:
        """Drop all connections and free the ports."""
        while self._sockets:
            self._sockets.pop().close()
        for socket in self._open_sockets():
            socket.drop()
        await self._rest.drop()

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

    def _listen_for_requests(self) -> int:
        try:
            self._rest.start(self.settings.host, self.settings.rest_port)
        except OSError as error:
            raise self._taken("--rest-port", self.settings.rest_port, error) from error
        return self._rest.port

    def _taken(self, flag: str, port: int, error: OSError) -> PortInUseError:
        return PortInUseError(
            f"replay cannot listen on {self.settings.host}:{port} ({error.strerror or error}); "
            f"stop what uses the port or choose another with {flag}"
        )

    async def _answer(self, request: Request) -> Response:
        if request.method != "GET":
            return PlainTextResponse("method not allowed", 405)
        return self.player.answers.answer(target_of(request), self.player.now_us)

    def _open_sockets(self) -> list[Socket]:
        return [outlet for outlet in self.hub.outlets if isinstance(outlet, Socket)]


def _wall_clock_us() -> int:
    return time.time_ns() // 1000


def _nothing(_: Any) -> None:
    """Prepare nothing: a recording needs no preparation for a subscriber."""


def _no_greeting(_: str) -> list[bytes]:
    """Return no greeting: a subscription begins with the next recorded frame."""
    return []
