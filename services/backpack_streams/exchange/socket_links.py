"""The sockets of a connection by number: opened, told what to do, counted, and waited for at the end."""

import asyncio
import ssl
from collections.abc import Callable
from typing import Protocol
from urllib.parse import urlsplit

from backpack_streams.errors import UsageError
from backpack_streams.exchange.connection_settings import ConnectionSettings
from backpack_streams.exchange.session_actions import DropLink, SendClose, SendPing, SendText
from backpack_streams.exchange.socket_link import LinkFailedError, LinkOwner, SocketLink


class SocketLinksOwner(LinkOwner, Protocol):
    """Whom the sockets tell what happens."""

    def link_failed(self, link_id: int, reason: str) -> None:
        """A socket could not be opened."""

    def link_lost(self, link_id: int, reason: str) -> None:
        """A socket that was open is gone."""

    def sync(self) -> None:
        """A socket is about to be forgotten: take what it noted by itself."""


class SocketLinks:
    """All sockets to one URL, from the wish to open them until they are gone."""

    def __init__(
        self,
        url: str,
        ssl_context: ssl.SSLContext | None,
        owner: SocketLinksOwner,
        on_frame: Callable[[int, bytes], None],
        settings: ConnectionSettings,
    ) -> None:
        """Prepare; nothing is opened.

        Raises:
            UsageError: the URL is none for WebSocket, the proxy's is none, or SOCKS is not installed.
        """
        self.links: dict[int, SocketLink] = {}
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
        self._tasks: set[asyncio.Task[None]] = set()
        self._failure: BaseException | None = None
        self._has_failed = asyncio.Event()
        self._frames_of_gone = 0
        self._bytes_of_gone = 0

    @property
    def frames(self) -> int:
        """Messages received so far."""
        return self._frames_of_gone + sum(link.frames for link in self.links.values())

    @property
    def bytes_received(self) -> int:
        """Bytes of the messages received so far, without frame headers."""
        return self._bytes_of_gone + sum(link.bytes_received for link in self.links.values())

    def open(self, link_id: int) -> None:
        """Open one; the owner is notified of the outcome."""
        link = SocketLink(link_id, self._owner, self._on_frame, self._settings)
        self.links[link_id] = link
        task = asyncio.get_running_loop().create_task(self._live(link), name=f"exchange link {link_id}")
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            self._failure = task.exception()
            self._has_failed.set()

    async def live_until(self, stop: asyncio.Event) -> None:
        """Wait until `stop` is set.

        Raises:
            BaseException: what the owner raised when it was told of a socket; nobody knows any more which sockets there should be.
        """
        waits = [asyncio.create_task(each.wait(), name="sockets live") for each in (stop, self._has_failed)]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in waits:
                each.cancel()
        if self._failure is not None:
            raise self._failure

    def act(self, action: SendText | SendPing | SendClose | DropLink) -> None:
        """Do this with one of them, if it is still there."""
        link = self.links.get(action.link_id)
        if link is None:
            return
        match action:
            case SendText(_, text):
                link.send_text(text)
            case SendPing(_, payload):
                link.send_ping(payload)
            case SendClose():
                link.send_close()
            case DropLink():
                link.drop()

    def pause_reading(self) -> None:
        """Read nothing from any of them."""
        self.is_reading_paused = True
        for link in self.links.values():
            link.pause_reading()

    def resume_reading(self) -> None:
        """Read from all of them."""
        self.is_reading_paused = False
        for link in self.links.values():
            link.resume_reading()

    async def wait_closed(self) -> None:
        """Wait until all are gone, and end those that take too long."""
        tasks = set(self._tasks)
        if tasks:
            _, stuck = await asyncio.wait(tasks, timeout=self._settings.stop_timeout_seconds)
            for task in stuck:
                task.cancel()
            await asyncio.gather(*stuck, return_exceptions=True)

    async def _live(self, link: SocketLink) -> None:
        try:
            await link.connect(self._url, self._ssl_context, self._proxy)
            reason = await link.wait_gone()
        except LinkFailedError as error:
            self._forget(link)
            self._owner.link_failed(link.link_id, str(error))
        else:
            self._owner.sync()
            self._forget(link)
            self._owner.link_lost(link.link_id, reason)

    def _forget(self, link: SocketLink) -> None:
        del self.links[link.link_id]
        self._frames_of_gone += link.frames
        self._bytes_of_gone += link.bytes_received


def _checked_url(url: str) -> str:
    try:
        parts = urlsplit(url)
        is_usable = parts.scheme in ("ws", "wss") and bool(parts.hostname) and parts.port != 0 and not parts.fragment
    except ValueError as error:
        raise UsageError(f"{url!r} is no URL ({error}); give one such as wss://host:443/path") from error
    if not is_usable:
        raise UsageError(f"{url!r} is no WebSocket URL; give one such as wss://host:443/path")
    return url
