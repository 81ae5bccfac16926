"""The sockets of a connection by number: opens them, carries out actions on them, counts their messages, and waits for their end."""

import asyncio
import ssl
from collections.abc import Callable
from typing import Protocol
from urllib.parse import urlsplit

from backpack_streams.errors import UsageError
from backpack_streams.exchange.connection_settings import ConnectionSettings
from backpack_streams.exchange.exchange_socket import ExchangeSocket, SocketFailedError, SocketOwner
from backpack_streams.exchange.session_actions import DropSocket, SendClose, SendPing, SendText
from backpack_streams.exchange.socket_choice import socket_class


class ExchangeSocketsOwner(SocketOwner, Protocol):
    """Receives the events of the sockets."""

    def socket_failed(self, socket_id: int, reason: str) -> None:
        """Called if a socket could not be opened. `reason` is one line."""

    def socket_lost(self, socket_id: int, reason: str) -> None:
        """Called after an open socket has ended. `reason` is one line."""

    def sync(self) -> None:
        """Called before a socket is forgotten: read its times and counters now."""


class ExchangeSockets:
    """All sockets to one URL."""

    def __init__(
        self,
        url: str,
        ssl_context: ssl.SSLContext | None,
        owner: ExchangeSocketsOwner,
        on_frame: Callable[[int, bytes], None],
        settings: ConnectionSettings,
    ) -> None:
        """Prepare; nothing is opened.

        Args:
            url: a `ws` or `wss` URL.
            ssl_context: for TLS, None for the one of the settings.
            owner: receives the events.
            on_frame: called with the number of the socket and each complete message.
            settings: bounds, times and the network path.

        Raises:
            UsageError: not a WebSocket URL, the proxy's URL is invalid, or SOCKS support is not installed.
        """
        self.sockets: dict[int, ExchangeSocket] = {}
        self.is_reading_paused = False
        self._url = _checked_url(url)
        is_secure = url.startswith("wss:")
        self._proxy = settings.network.proxy_for(url)
        if self._proxy is not None:
            self._proxy.check_installed("python_socks")
        needs_tls = is_secure or (self._proxy is not None and self._proxy.scheme == "https")
        self._ssl_context = (ssl_context or settings.network.ssl_context()) if needs_tls else None
        self._owner = owner
        self._on_frame = on_frame
        self._settings = settings
        self._socket_class = socket_class()
        self._tasks: set[asyncio.Task[None]] = set()
        self._failure: BaseException | None = None
        self._has_failed = asyncio.Event()
        self._frames_of_gone = 0
        self._bytes_of_gone = 0

    @property
    def frames(self) -> int:
        """Messages received so far."""
        return self._frames_of_gone + sum(socket.frames for socket in self.sockets.values())

    @property
    def bytes_received(self) -> int:
        """Bytes of the messages received so far, without frame headers."""
        return self._bytes_of_gone + sum(socket.bytes_received for socket in self.sockets.values())

    def open(self, socket_id: int) -> None:
        """Open a socket with this number, and report the outcome to the owner."""
        socket = self._socket_class(socket_id, self._owner, self._on_frame, self._settings)
        self.sockets[socket_id] = socket
        task = asyncio.get_running_loop().create_task(self._live(socket), name=f"exchange socket {socket_id}")
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self.fail(error)

    def fail(self, error: BaseException) -> None:
        """End `live_until`. If it is the first error, `raise_failure` raises it."""
        self._failure = self._failure or error
        self._has_failed.set()

    async def live_until(self, stop: asyncio.Event) -> None:
        """Wait until `stop` is set, or until a failure that `raise_failure` raises."""
        waits = [asyncio.create_task(each.wait(), name="sockets live") for each in (stop, self._has_failed)]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in waits:
                each.cancel()

    def raise_failure(self) -> None:
        """Do nothing if all went well.

        Raises:
            BaseException: what a callback of the owner raised in the task of a socket, or what was given to `fail`. After that, it is
                unknown which sockets should exist, or what is covered.
        """
        if self._failure is not None:
            raise self._failure

    def act(self, action: SendText | SendPing | SendClose | DropSocket) -> None:
        """Carry out an action on a socket, if it still exists."""
        socket = self.sockets.get(action.socket_id)
        if socket is None:
            return
        match action:
            case SendText(_, text):
                socket.send_text(text)
            case SendPing(_, payload):
                socket.send_ping(payload)
            case SendClose():
                socket.send_close()
            case DropSocket():
                socket.drop()

    def pause_reading(self) -> None:
        """Stop reading from all sockets."""
        self.is_reading_paused = True
        for socket in self.sockets.values():
            socket.pause_reading()

    def resume_reading(self) -> None:
        """Resume reading from all sockets."""
        self.is_reading_paused = False
        for socket in self.sockets.values():
            socket.resume_reading()

    async def wait_closed(self) -> None:
        """Wait until all sockets have ended, and cut those that take too long."""
        tasks = set(self._tasks)
        if tasks:
            _, stuck = await asyncio.wait(tasks, timeout=self._settings.stop_timeout_seconds)
            for task in stuck:
                task.cancel()
            await asyncio.gather(*stuck, return_exceptions=True)

    async def _live(self, socket: ExchangeSocket) -> None:
        try:
            await socket.connect(self._url, self._ssl_context, self._proxy)
            reason = await socket.wait_gone()
        except SocketFailedError as error:
            self._forget(socket)
            self._owner.socket_failed(socket.socket_id, str(error))
        else:
            self._owner.sync()
            self._forget(socket)
            self._owner.socket_lost(socket.socket_id, reason)

    def _forget(self, socket: ExchangeSocket) -> None:
        del self.sockets[socket.socket_id]
        self._frames_of_gone += socket.frames
        self._bytes_of_gone += socket.bytes_received


def _checked_url(url: str) -> str:
    try:
        parts = urlsplit(url)
        is_usable = parts.scheme in ("ws", "wss") and bool(parts.hostname) and parts.port != 0 and not parts.fragment
    except ValueError as error:
        raise UsageError(f"{url!r} is not a URL ({error}); set one such as wss://host:443/path") from error
    if not is_usable:
        raise UsageError(f"{url!r} is not a WebSocket URL; set one such as wss://host:443/path")
    return url
