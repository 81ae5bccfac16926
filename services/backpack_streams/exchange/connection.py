"""The WebSocket connection to the exchange: a session's actions carried out on real sockets and a real clock."""

import asyncio
import logging
import random
import ssl
from collections import Counter
from collections.abc import Callable, Mapping
from time import monotonic
from urllib.parse import urlsplit

from backpack_streams.errors import UsageError
from backpack_streams.exchange.connection_settings import ConnectionSettings
from backpack_streams.exchange.session import Session
from backpack_streams.exchange.session_actions import (
    Action,
    DropLink,
    Notice,
    NoticeKind,
    OpenLink,
    SendClose,
    SendPing,
    SendText,
)
from backpack_streams.exchange.session_settings import Expectation, SessionSettings
from backpack_streams.exchange.socket_link import LinkFailedError, SocketLink
from backpack_streams.exchange.subscriptions import Sign

logger = logging.getLogger(__name__)

CLOSING_KINDS = frozenset(
    {
        NoticeKind.LINK_FAILED,
        NoticeKind.LINK_LOST,
        NoticeKind.LINK_DEAD,
        NoticeKind.LINK_DRAINED,
        NoticeKind.LINK_GRACE_OVER,
        NoticeKind.LINK_REPLACED,
        NoticeKind.LINK_STOPPED,
    }
)
"""How a link ends, or that it never opened."""


class Connection:
    """Keeps one or two sockets to one URL up and subscribed, and hands up every message.

    All methods belong to the event loop that `run` runs in. Callbacks are plain functions, called in that loop:

    - `on_frame(link_id, payload)`: one whole text or binary message. It is the hot path.
    - `on_notice(notice)`: something for logs, metrics or StreamStatus; without it, notices are logged.
    - `on_links(open_links)`: the number of links that can deliver has changed.
    - `on_pong()`: the exchange answered, which may have made more of `confirmed_streams`.
    - `on_failure(link_id, payload, error)`: `on_frame` raised; the link goes on. Without it, the error is logged.

    Attributes:
        opens: links that were opened.
        closes: links that ended or never opened, by `NoticeKind`.
        server_closes: Close frames of the server.
        frame_failures: errors raised by `on_frame`.
    """

    def __init__(
        self,
        url: str,
        on_frame: Callable[[int, bytes], None],
        *,
        on_notice: Callable[[Notice], None] | None = None,
        on_links: Callable[[int], None] | None = None,
        on_pong: Callable[[], None] | None = None,
        on_failure: Callable[[int, bytes, Exception], None] | None = None,
        last_seen: Mapping[str, float] | None = None,
        settings: ConnectionSettings | None = None,
        session_settings: SessionSettings | None = None,
        ssl_context: ssl.SSLContext | None = None,
        rng: random.Random | None = None,
        sign: Sign | None = None,
    ) -> None:
        """Prepare a connection to `url`; nothing is opened before `run`.

        Args:
            url: `ws://` or `wss://`.
            on_frame: see above, as for the other callbacks.
            on_notice: see above.
            on_links: see above.
            on_pong: see above.
            on_failure: see above.
            last_seen: when each stream delivered last (`time.monotonic`), kept by the caller and looked at every few
                seconds for silent streams; None turns that check off.
            settings: bounds and times of the sockets.
            session_settings: bounds and times of the session.
            ssl_context: for `wss://`; without it the system's certificate authorities are trusted.
            rng: makes the reconnect jitter repeatable.
            sign: gives the signature for private streams, asked right before each of their subscriptions is sent.

        Raises:
            UsageError: the URL is none for WebSocket.
        """
        self._url = _checked_url(url)
        is_secure = url.startswith("wss:")
        self._ssl_context = (ssl_context or ssl.create_default_context()) if is_secure else None
        self._settings = settings or ConnectionSettings()
        self._session_settings = session_settings or SessionSettings()
        self._session = Session(self._session_settings, rng=rng, sign=sign)
        self._on_frame = on_frame
        self._on_notice = on_notice
        self._on_links = on_links
        self._on_pong = on_pong
        self._on_failure = on_failure
        self._last_seen = last_seen
        self._next_silence_check = monotonic() + self._settings.silence_check_seconds
        self._links: dict[int, SocketLink] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._is_started = False
        self._is_reading_paused = False
        self._told_open_links = 0
        self._frames_of_gone_links = 0
        self._bytes_of_gone_links = 0
        self.opens = 0
        self.server_closes = 0
        self.frame_failures = 0
        self.closes: Counter[NoticeKind] = Counter()

    # What is so.

    @property
    def frames(self) -> int:
        """Messages received so far."""
        return self._frames_of_gone_links + sum(link.frames for link in self._links.values())

    @property
    def bytes_received(self) -> int:
        """Bytes of the messages received so far, without frame headers."""
        return self._bytes_of_gone_links + sum(link.bytes_received for link in self._links.values())

    @property
    def open_links(self) -> int:
        """Links that can deliver now, those included that the server has announced to end."""
        return self._session.open_links

    @property
    def wanted_links(self) -> int:
        """Links that are to be kept up."""
        return self._session_settings.connections

    @property
    def silent_streams(self) -> frozenset[str]:
        """Streams that should deliver and have not done so for longer than expected."""
        return self._session.silent_streams

    @property
    def rejected_streams(self) -> frozenset[str]:
        """Streams that the exchange refused and that wait for another try."""
        return self._session.rejected_streams

    @property
    def confirmed_streams(self) -> frozenset[str]:
        """Streams that some socket is subscribed to, as far as the exchange lets know."""
        return self._session.confirmed_streams

    @property
    def last_heard(self) -> float | None:
        """When anything was last received from a socket that is still there (`time.monotonic`), None if nothing was."""
        return max((link.last_heard_seconds for link in self._links.values() if link.last_heard_seconds), default=None)

    @property
    def is_reading_paused(self) -> bool:
        """Whether nothing is read for now."""
        return self._is_reading_paused

    # What the owner wants.

    async def run(self, stop: asyncio.Event) -> None:
        """Keep the links up until `stop` is set or the task is cancelled, then close them.

        Raises:
            RuntimeError: it ran before; a connection runs once.
        """
        if self._is_started:
            raise RuntimeError("a connection runs once; make a new one")
        self._is_started = True
        try:
            self._perform(self._session.start(monotonic()))
            await stop.wait()
        finally:
            await self._close()

    def set_streams(self, streams: Mapping[str, Expectation]) -> None:
        """Want exactly these streams, before or during `run`; on open links the difference is sent."""
        self._perform(self._session.set_streams(streams, monotonic()))

    def error_frame(self, link_id: int, code: int, message: str) -> None:
        """Tell of an error frame found among the messages of a link."""
        self._perform(self._session.error_frame(link_id, code, message, monotonic()))

    def renew(self) -> None:
        """Replace every link by a new one that is subscribed before the old one goes."""
        self._sync()
        self._perform(self._session.renew(monotonic()))

    def pause_reading(self) -> None:
        """Read nothing more from any socket until `resume_reading`: the sender is held back by TCP.

        What the read buffers hold (`ConnectionSettings.read_buffer_bytes` a link) may still be handed up.
        """
        if self._is_reading_paused:
            return
        self._is_reading_paused = True
        for link in self._links.values():
            link.pause_reading()
        self._perform(self._session.reading_paused(monotonic()))

    def resume_reading(self) -> None:
        """Read again."""
        if not self._is_reading_paused:
            return
        self._is_reading_paused = False
        for link in self._links.values():
            link.resume_reading()
        self._perform(self._session.reading_resumed(monotonic()))

    # What links tell.

    def link_opened(self, link: SocketLink) -> None:
        """Called by a link whose handshake is done."""
        self.opens += 1
        if self._is_reading_paused:
            link.pause_reading()
        self._perform(self._session.link_opened(link.link_id, monotonic()))

    def link_ponged(self, link_id: int, payload: bytes) -> None:
        """Called by a link that got a Pong."""
        self._perform(self._session.pong(link_id, payload, monotonic()))
        if self._on_pong is not None:
            try:
                self._on_pong()
            except Exception:  # a listener's fault must not stop the sockets
                logger.exception("pong handler failed", extra={"link_id": link_id})

    def link_closed_by_server(self, link_id: int, code: int, reason: str) -> None:
        """Called by a link that got a Close frame."""
        self.server_closes += 1
        self._sync()
        self._perform(self._session.server_close(link_id, code, reason, monotonic()))

    def frame_failed(self, link_id: int, payload: bytes, error: Exception) -> None:
        """Called by a link when the taker of its messages raised."""
        self.frame_failures += 1
        if self._on_failure is None:
            logger.error("frame handler failed", extra={"link_id": link_id}, exc_info=error)
            return
        try:
            self._on_failure(link_id, payload, error)
        except Exception:  # the last resort: nobody above could be told
            logger.exception("failure handler failed", extra={"link_id": link_id})

    # Carrying out.

    def _perform(self, actions: list[Action]) -> None:
        for action in actions:
            match action:
                case OpenLink(link_id):
                    self._open(link_id)
                case Notice():
                    self._notify(action)
                case SendText() | SendPing() | SendClose() | DropLink():
                    link = self._links.get(action.link_id)
                    if link is not None:
                        _act_on(link, action)
        self._tell_links()
        self._plan_tick()

    def _open(self, link_id: int) -> None:
        link = SocketLink(link_id, self, self._on_frame, self._settings)
        self._links[link_id] = link
        task = asyncio.get_running_loop().create_task(self._live(link), name=f"exchange link {link_id}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _live(self, link: SocketLink) -> None:
        try:
            await link.connect(self._url, self._ssl_context)
            reason = await link.wait_gone()
        except LinkFailedError as error:
            self._forget(link)
            self._perform(self._session.link_failed(link.link_id, str(error), monotonic()))
        else:
            self._sync()
            self._forget(link)
            self._perform(self._session.link_lost(link.link_id, reason, monotonic()))

    def _forget(self, link: SocketLink) -> None:
        del self._links[link.link_id]
        self._frames_of_gone_links += link.frames
        self._bytes_of_gone_links += link.bytes_received

    def _notify(self, notice: Notice) -> None:
        if notice.kind in CLOSING_KINDS:
            self.closes[notice.kind] += 1
        if self._on_notice is None:
            logger.info(notice.kind.value, extra={"notice": notice})
            return
        try:
            self._on_notice(notice)
        except Exception:  # a listener's fault must not stop the sockets
            logger.exception("notice handler failed", extra={"notice": notice})

    def _tell_links(self) -> None:
        open_links = self._session.open_links
        if open_links == self._told_open_links:
            return
        self._told_open_links = open_links
        if self._on_links is None:
            return
        try:
            self._on_links(open_links)
        except Exception:  # a listener's fault must not stop the sockets
            logger.exception("links handler failed", extra={"open_links": open_links})

    # Time.

    def _plan_tick(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        deadline = self._session.next_deadline() if self._is_started else None
        if deadline is None:
            return
        if self._last_seen is not None:
            deadline = min(deadline, self._next_silence_check)
        self._timer = asyncio.get_running_loop().call_later(max(0.0, deadline - monotonic()), self._tick)

    def _tick(self) -> None:
        self._timer = None
        self._sync()
        now = monotonic()
        actions = self._session.tick(now)
        if self._last_seen is not None and now >= self._next_silence_check:
            self._next_silence_check = now + self._settings.silence_check_seconds
            actions += self._session.check_silence(now, self._last_seen)
        self._perform(actions)

    def _sync(self) -> None:
        """Hand the session what the links noted by themselves, as the hot path tells it nothing."""
        for link in self._links.values():
            if link.last_data_seconds:
                self._session.frame_seen(link.link_id, link.first_data_seconds)
                self._session.frame_seen(link.link_id, link.last_data_seconds)
            if link.last_heard_seconds:
                self._session.heard(link.link_id, link.last_heard_seconds)

    async def _close(self) -> None:
        self._perform(self._session.stop(monotonic()))
        tasks = set(self._tasks)
        if tasks:
            _, stuck = await asyncio.wait(tasks, timeout=self._settings.stop_timeout_seconds)
            for task in stuck:
                task.cancel()
            await asyncio.gather(*stuck, return_exceptions=True)


def _act_on(link: SocketLink, action: SendText | SendPing | SendClose | DropLink) -> None:
    match action:
        case SendText(_, text):
            link.send_text(text)
        case SendPing(_, payload):
            link.send_ping(payload)
        case SendClose():
            link.send_close()
        case DropLink():
            link.drop()


def _checked_url(url: str) -> str:
    try:
        parts = urlsplit(url)
        is_usable = parts.scheme in ("ws", "wss") and bool(parts.hostname) and parts.port != 0 and not parts.fragment
    except ValueError as error:
        raise UsageError(f"{url!r} is no URL ({error}); give one such as wss://host:443/path") from error
    if not is_usable:
        raise UsageError(f"{url!r} is no WebSocket URL; give one such as wss://host:443/path")
    return url
