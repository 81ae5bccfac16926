"""One WebSocket to the exchange, on picows: hands each message up as bytes and the rest to its owner."""

import asyncio
import contextlib
import logging
import socket
import ssl
from collections.abc import Callable
from time import monotonic
from typing import Protocol

from picows import (
    WSCloseCode,
    WSFrame,
    WSListener,
    WSMsgType,
    WSProtocolError,
    WSTransport,
    ws_connect,
)
from picows.url import WSParsedURL

from backpack_streams.credentials import RenewedContext
from backpack_streams.dialing import dial
from backpack_streams.errors import ExchangeError
from backpack_streams.exchange.connection_failures import reason_of
from backpack_streams.exchange.connection_settings import ConnectionSettings
from backpack_streams.exchange.proxies import Proxy

_LARGEST_CONTROL_PAYLOAD_BYTES = 125
"""RFC 6455, section 5.5; picows breaks the link on a larger one."""
_FRAGMENTS_LIMIT = 4096
"""A security limit: fragments may be empty, so a bound on bytes alone bounds nothing."""
_NO_CLOSE_CODE = 1005
"""RFC 6455, section 7.1.5: how a Close frame without a code is spoken of."""

logger = logging.getLogger(__name__)

_FULL_READ_SHARE = 0.25
"""A read of at least that much of the buffer may have left something behind in the socket."""


class LinkFailedError(ExchangeError):
    """A link did not open; the text is one line that says why and what to do."""


class LinkOwner(Protocol):
    """Whom a link tells what happens."""

    def link_opened(self, link: "SocketLink") -> None:
        """The handshake is done; frames follow."""

    def link_ponged(self, link_id: int, payload: bytes) -> None:
        """A Pong arrived."""

    def link_closed_by_server(self, link_id: int, code: int, reason: str) -> None:
        """A Close frame arrived. It stays unanswered for now, and frames may follow it."""

    def frame_failed(self, link_id: int, payload: bytes, error: Exception) -> None:
        """Whoever takes the messages raised an error on this one."""


class SocketLink(WSListener):
    """A socket from its first packet to its last.

    Attributes:
        frames: messages received.
        bytes_received: bytes of those messages.
        first_data_seconds: when the first message arrived (`time.monotonic`), 0 before that.
        last_data_seconds: when the last message arrived, 0 before the first.
        last_heard_seconds: when the last frame of any kind arrived.
    """

    def __init__(
        self,
        link_id: int,
        owner: LinkOwner,
        on_frame: Callable[[int, bytes], None],
        settings: ConnectionSettings,
    ) -> None:
        super().__init__()
        self.link_id = link_id
        self.frames = 0
        self.bytes_received = 0
        self.first_data_seconds = 0.0
        self.last_data_seconds = 0.0
        self.last_heard_seconds = 0.0
        self._owner = owner
        self._on_frame = on_frame
        self._settings = settings
        self._fragments: list[bytes] | None = None
        self._fragments_bytes = 0
        self._frames_before_burst = 0
        self._bytes_before_burst = 0
        self._is_resting = False
        self._is_held_back = False
        self._transport: WSTransport | None = None
        self._socket: socket.socket | None = None
        self._dial_timeout: asyncio.Timeout | None = None
        self._given_up: str | None = None

    # Opening and closing.

    async def connect(self, url: str, ssl_context: ssl.SSLContext | None, proxy: Proxy | None = None) -> None:
        """Open the WebSocket; `link_opened` of the owner is called before this returns.

        `ssl_context` is for the exchange and for a proxy that is reached by TLS.

        Raises:
            LinkFailedError: it did not open, whatever the reason.
        """
        settings = self._settings
        if self._given_up is not None:
            raise LinkFailedError(self._given_up)
        if isinstance(
            ssl_context, RenewedContext
        ):  # picows' network library looks past Python, into the context itself
            ssl_context = ssl_context.current()
        too_late = f"not open after {settings.connect_timeout_seconds:g} s; check the network, or wait"
        timer = asyncio.get_running_loop().call_later(settings.connect_timeout_seconds, self.give_up, too_late)
        try:
            _, listener = await ws_connect(
                lambda: self,
                url,
                ssl_context=ssl_context,
                websocket_handshake_timeout=None,  # the timer above bounds the whole
                enable_auto_ping=False,
                enable_auto_pong=False,
                max_frame_size=settings.max_message_bytes,
                extra_headers={"User-Agent": settings.user_agent},
                max_redirects=0,
                read_buffer_init_size=settings.read_buffer_bytes,
                socket_factory=self._dial,
                proxy=None if proxy is None else proxy.url,
                proxy_ssl_context=ssl_context if proxy is not None and proxy.scheme == "https" else None,
            )
        except Exception as error:  # whatever ends one try must end in one notice and the next try
            raise LinkFailedError(self._given_up or reason_of(error, proxy)) from error
        finally:
            timer.cancel()
            if self._transport is None:
                self._shut_socket()
        if listener is None:  # picows' way to say that the socket went before the handshake was done
            raise LinkFailedError(self._given_up or "the server hung up during the handshake; wait, or check the URL")

    async def wait_gone(self) -> str:
        """Wait until the socket is gone and say why, in one line."""
        if self._transport is None:
            return "it never opened"
        try:
            await self._transport.wait_disconnected()
        except WSProtocolError as error:
            return f"protocol error {int(error.code)}: {error}"
        except Exception as error:  # picows hands on what a callback raised; it must not end the service
            logger.exception("link callback failed", extra={"link_id": self.link_id})
            return f"an error in this program: {error!r}"
        return "the connection ended"

    def give_up(self, reason: str) -> None:
        """Cut the socket at once, in whatever state; a pending `connect` fails with `reason`."""
        self._given_up = self._given_up or reason
        if self._transport is not None:
            self._transport.disconnect(graceful=False)
        elif self._dial_timeout is not None:
            self._dial_timeout.reschedule(asyncio.get_running_loop().time())
        else:
            self._shut_socket()

    def drop(self) -> None:
        """Let the socket go: after a Close of ours that Close may leave first, else at once."""
        transport = self._transport
        if transport is None or not transport.is_close_frame_sent:
            self.give_up("dropped")
            return
        transport.disconnect(graceful=True)
        loop = asyncio.get_running_loop()
        loop.call_later(self._settings.drop_after_close_seconds, self.give_up, "dropped")

    async def _dial(self, url: WSParsedURL) -> socket.socket:
        """Connect a socket of our own to the exchange, or to the proxy, so that it can be cut at every stage of the handshake."""
        settings = self._settings
        try:
            async with asyncio.timeout(settings.connect_timeout_seconds) as self._dial_timeout:
                self._socket = await dial(url.host, url.port, settings.address_delay_seconds)
        finally:
            self._dial_timeout = None
        return self._socket

    def _shut_socket(self) -> None:
        """End the conversation on the socket; whichever transport has it then ends by itself and closes it."""
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)

    def discount_message(self) -> None:
        """The message at hand is an error frame: it does not show that anything is delivered."""
        self._frames_before_burst += 1

    # Sending and pacing.

    def send_text(self, text: str) -> None:
        """Send a text frame."""
        if self._transport is not None:
            self._transport.send(WSMsgType.TEXT, text.encode())

    def send_ping(self, payload: bytes) -> None:
        """Send a Ping."""
        if self._transport is not None:
            self._transport.send_ping(payload)

    def send_close(self) -> None:
        """Send a Close, or answer the server's."""
        if self._transport is not None:
            self._transport.send_close(WSCloseCode.OK)

    def pause_reading(self) -> None:
        """Read nothing more from the socket; what is in the read buffer still comes."""
        self._is_held_back = True
        self._read(False)

    def resume_reading(self) -> None:
        """Read again."""
        self._is_held_back = False
        self._read(not self._is_resting)

    def _rest(self, seconds: float) -> None:
        """Each read costs a turn of the event loop and, behind it, requests to Kafka: what arrives meanwhile comes in one piece."""
        self._is_resting = True
        self._read(False)
        asyncio.get_running_loop().call_later(seconds, self._wake)

    def _wake(self) -> None:
        self._is_resting = False
        self._read(not self._is_held_back)

    def _read(self, wanted: bool) -> None:
        if self._transport is None or self._transport.is_disconnected:
            return
        if wanted:
            self._transport.underlying_transport.resume_reading()
        else:
            self._transport.underlying_transport.pause_reading()

    # What picows calls.

    def on_ws_connected(self, transport: WSTransport) -> None:
        """Take over the open socket."""
        self._transport = transport
        if self._given_up is not None:
            transport.disconnect(graceful=False)
            return
        self._owner.link_opened(self)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """Hand a message up. This runs for every frame, and reading `msg_type` alone costs more than the copy.

        No control frame is larger than 125 bytes, so a larger one that is final is a message. (A continuation of
        nothing passes here too: it is no valid message, and whoever parses it finds that out.)
        """
        if frame.payload_size > _LARGEST_CONTROL_PAYLOAD_BYTES and frame.fin and self._fragments is None:
            payload = frame.get_payload_as_bytes()
            self.frames += 1
            self.bytes_received += len(payload)
            try:
                self._on_frame(self.link_id, payload)
            except Exception as error:  # noqa: BLE001 - the taker's fault must neither pass unseen nor cost the link
                self._owner.frame_failed(self.link_id, payload, error)
        else:
            self._sort_out(transport, frame)
        if frame.last_in_buffer:
            self._end_burst()

    def _sort_out(self, transport: WSTransport, frame: WSFrame) -> None:
        kind = frame.msg_type
        payload = frame.get_payload_as_bytes()
        if kind == WSMsgType.PING:
            # Not left to picows, which would hide the end of a burst when a Ping is the last frame in it.
            transport.send_pong(payload)
        elif kind == WSMsgType.PONG:
            self._owner.link_ponged(self.link_id, payload)
        elif kind == WSMsgType.CLOSE:
            code = int.from_bytes(payload[:2], "big") if len(payload) >= 2 else _NO_CLOSE_CODE
            self._owner.link_closed_by_server(self.link_id, code, payload[2:].decode(errors="replace"))
        else:
            self._take_fragment(payload, is_first=kind != WSMsgType.CONTINUATION, is_last=bool(frame.fin))

    def _take_fragment(self, payload: bytes, *, is_first: bool, is_last: bool) -> None:
        """Put a message together (RFC 6455, section 5.4); a whole small one passes as its own first and last part."""
        if is_first == (self._fragments is not None):
            raise WSProtocolError(WSCloseCode.PROTOCOL_ERROR, "a fragment of a message is out of order")
        fragments = self._fragments if self._fragments is not None else []
        fragments.append(payload)
        self._fragments_bytes += len(payload)
        if self._fragments_bytes > self._settings.max_message_bytes or len(fragments) > _FRAGMENTS_LIMIT:
            raise WSProtocolError(WSCloseCode.MESSAGE_TOO_BIG, "a fragmented message is too long")
        if not is_last:
            self._fragments = fragments
            return
        self._fragments, self._fragments_bytes = None, 0
        message = payload if len(fragments) == 1 else b"".join(fragments)
        self.frames += 1
        self.bytes_received += len(message)
        try:
            self._on_frame(self.link_id, message)
        except Exception as error:  # noqa: BLE001 - the taker's fault must neither pass unseen nor cost the link
            self._owner.frame_failed(self.link_id, message, error)

    def _end_burst(self) -> None:
        self.last_heard_seconds = monotonic()
        if self.frames == self._frames_before_burst:
            return
        self._frames_before_burst = self.frames
        self.last_data_seconds = self.last_heard_seconds
        self.first_data_seconds = self.first_data_seconds or self.last_heard_seconds
        size, self._bytes_before_burst = self.bytes_received - self._bytes_before_burst, self.bytes_received
        settings = self._settings
        if settings.read_interval_seconds and size < settings.read_buffer_bytes * _FULL_READ_SHARE:
            self._rest(settings.read_interval_seconds)
