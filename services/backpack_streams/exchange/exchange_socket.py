"""One WebSocket to the exchange, built on picows: passes each message on as bytes, and reports all other events to its owner."""

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
"""RFC 6455, section 5.5; picows ends the connection on a larger one."""
_FRAGMENTS_LIMIT = 4096
"""A security limit: fragments may be empty, so a limit on bytes alone is not enough."""
_NO_CLOSE_CODE = 1005
"""The code that stands for a Close frame without one (RFC 6455, section 7.1.5)."""

logger = logging.getLogger(__name__)

_FULL_READ_SHARE = 0.25
"""A read that filled at least this share of the buffer may have left data in the socket."""


class SocketFailedError(ExchangeError):
    """A socket did not open. The text is one line with the reason and advice."""


class SocketOwner(Protocol):
    """Receives the events of sockets."""

    def socket_opened(self, socket: "ExchangeSocket") -> None:
        """Called after the handshake, before the first frame."""

    def socket_ponged(self, socket_id: int, payload: bytes) -> None:
        """Called for each Pong."""

    def socket_closed_by_server(self, socket_id: int, code: int, reason: str) -> None:
        """Called for a Close frame, which stays unanswered for now. More frames may follow it."""

    def frame_failed(self, socket_id: int, payload: bytes, error: Exception) -> None:
        """Called if the consumer of the messages raised an error for this one."""


class ExchangeSocket(WSListener):
    """One socket, from connecting to its end.

    Attributes:
        frames: messages received.
        bytes_received: bytes of those messages.
        first_data_seconds: when the first message arrived (`time.monotonic`), 0 before that.
        last_data_seconds: when the last message arrived, 0 before the first.
        last_heard_seconds: when the last frame of any kind arrived, 0 before the first.
    """

    def __init__(
        self,
        socket_id: int,
        owner: SocketOwner,
        on_frame: Callable[[int, bytes], None],
        settings: ConnectionSettings,
    ) -> None:
        """Prepare; `connect` opens the socket.

        Args:
            socket_id: its number.
            owner: receives its events.
            on_frame: called with the number and each complete message.
            settings: bounds and times.
        """
        super().__init__()
        self.socket_id = socket_id
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
        self._is_throttled = False
        self._is_held_back = False
        self._transport: WSTransport | None = None
        self._socket: socket.socket | None = None
        self._dial_timeout: asyncio.Timeout | None = None
        self._given_up: str | None = None

    # Opening and closing.

    async def connect(self, url: str, ssl_context: ssl.SSLContext | None, proxy: Proxy | None = None) -> None:
        """Open the WebSocket. The owner's `socket_opened` is called before this returns.

        Args:
            url: a `ws` or `wss` URL.
            ssl_context: for the exchange, and for a proxy reached by TLS; None without TLS.
            proxy: the proxy, None for a direct connection.

        Raises:
            SocketFailedError: it did not open, for whatever reason.
        """
        settings = self._settings
        if self._given_up is not None:
            raise SocketFailedError(self._given_up)
        if isinstance(
            ssl_context, RenewedContext
        ):  # picows' network library uses the C context directly, which bypasses its renewal
            ssl_context = ssl_context.current()
        too_late = f"not open after {settings.connect_timeout_seconds:g} s; check the network, or wait"
        timer = asyncio.get_running_loop().call_later(settings.connect_timeout_seconds, self.give_up, too_late)
        try:
            _, listener = await ws_connect(
                lambda: self,
                url,
                ssl_context=ssl_context,
                websocket_handshake_timeout=None,  # the timer above limits the whole
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
        except Exception as error:  # any failure must result in one notice and a retry
            raise SocketFailedError(self._given_up or reason_of(error, proxy)) from error
        finally:
            timer.cancel()
            if self._transport is None:
                self._shut_socket()
        if listener is None:  # picows returns None if the socket ended during the handshake
            raise SocketFailedError(self._given_up or "the server hung up during the handshake; wait, or check the URL")

    async def wait_gone(self) -> str:
        """Wait until the socket has ended. Returns the reason as one line."""
        if self._transport is None:
            return "it never opened"
        try:
            await self._transport.wait_disconnected()
        except WSProtocolError as error:
            return f"protocol error {int(error.code)}: {error}"
        except Exception as error:  # picows passes on what a callback raised; it must not end the service
            logger.exception("socket callback failed", extra={"socket_id": self.socket_id})
            return f"an error in this program: {error!r}"
        return "the connection ended"

    def give_up(self, reason: str) -> None:
        """Cut the socket at once, in any state. A pending `connect` fails with `reason`."""
        self._given_up = self._given_up or reason
        if self._transport is not None:
            self._transport.disconnect(graceful=False)
        elif self._dial_timeout is not None:
            self._dial_timeout.reschedule(asyncio.get_running_loop().time())
        else:
            self._shut_socket()

    def drop(self) -> None:
        """End the socket. If our Close frame was sent, wait until it has left; otherwise cut the socket at once."""
        transport = self._transport
        if transport is None or not transport.is_close_frame_sent:
            self.give_up("dropped")
            return
        transport.disconnect(graceful=True)
        loop = asyncio.get_running_loop()
        loop.call_later(self._settings.drop_after_close_seconds, self.give_up, "dropped")

    async def _dial(self, url: WSParsedURL) -> socket.socket:
        """Connect a socket to the exchange or to the proxy. It belongs to this object, so that it can be cut at every
        stage of the handshake.
        """
        settings = self._settings
        try:
            async with asyncio.timeout(settings.connect_timeout_seconds) as self._dial_timeout:
                self._socket = await dial(url.host, url.port, settings.address_delay_seconds)
        finally:
            self._dial_timeout = None
        return self._socket

    def _shut_socket(self) -> None:
        """Shut the socket down; the transport that owns it then ends and closes it."""
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)

    def discount_message(self) -> None:
        """Do not count the current message as data: an error frame does not show that anything is delivered."""
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
        """Send a Close frame, or answer the server's."""
        if self._transport is not None:
            self._transport.send_close(WSCloseCode.OK)

    def pause_reading(self) -> None:
        """Stop reading from the socket. Data in the read buffer is still passed on."""
        self._is_held_back = True
        self._read(False)

    def resume_reading(self) -> None:
        """Resume reading."""
        self._is_held_back = False
        self._read(not self._is_throttled)

    def _throttle(self, seconds: float) -> None:
        """Leave the socket unread for a time. Each read costs a turn of the event loop and requests to Kafka, so data that
        arrives meanwhile comes in one read.
        """
        self._is_throttled = True
        self._read(False)
        asyncio.get_running_loop().call_later(seconds, self._wake)

    def _wake(self) -> None:
        self._is_throttled = False
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
        """Take over the open socket. Called by picows."""
        self._transport = transport
        if self._given_up is not None:
            transport.disconnect(graceful=False)
            return
        self._owner.socket_opened(self)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """Pass a message on. Called by picows for every frame, so it avoids reading `msg_type`, which costs more than the
        copy.

        Control frames have at most 125 bytes, so a larger final frame is a message. (A continuation without a beginning
        passes as well: it is not a valid message, and its parser finds that out.)
        """
        if frame.payload_size > _LARGEST_CONTROL_PAYLOAD_BYTES and frame.fin and self._fragments is None:
            payload = frame.get_payload_as_bytes()
            self.frames += 1
            self.bytes_received += len(payload)
            try:
                self._on_frame(self.socket_id, payload)
            except Exception as error:  # noqa: BLE001 - a consumer's fault must neither go unnoticed nor end the socket
                self._owner.frame_failed(self.socket_id, payload, error)
        else:
            self._sort_out(transport, frame)
        if frame.last_in_buffer:
            self._end_burst()

    def _sort_out(self, transport: WSTransport, frame: WSFrame) -> None:
        kind = frame.msg_type
        payload = frame.get_payload_as_bytes()
        if kind == WSMsgType.PING:
            # Not left to picows, which would hide the end of a burst whose last frame is a Ping.
            transport.send_pong(payload)
        elif kind == WSMsgType.PONG:
            self._owner.socket_ponged(self.socket_id, payload)
        elif kind == WSMsgType.CLOSE:
            code = int.from_bytes(payload[:2], "big") if len(payload) >= 2 else _NO_CLOSE_CODE
            self._owner.socket_closed_by_server(self.socket_id, code, payload[2:].decode(errors="replace"))
        else:
            self._take_fragment(payload, is_first=kind != WSMsgType.CONTINUATION, is_last=bool(frame.fin))

    def _take_fragment(self, payload: bytes, *, is_first: bool, is_last: bool) -> None:
        """Assemble a message from fragments (RFC 6455, section 5.4). A small unfragmented message is its own first and
        last fragment.
        """
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
            self._on_frame(self.socket_id, message)
        except Exception as error:  # noqa: BLE001 - a consumer's fault must neither go unnoticed nor end the socket
            self._owner.frame_failed(self.socket_id, message, error)

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
            self._throttle(settings.read_interval_seconds)
