"""One WebSocket to the exchange: passes each message on as bytes, and reports all other events to its owner.

What depends on the WebSocket library is in `picows_socket.py` and `websockets_socket.py`.
"""

import asyncio
import contextlib
import logging
import socket
import ssl
from abc import ABC, abstractmethod
from collections.abc import Callable
from time import monotonic
from typing import Protocol

from backpack_streams.credentials import RenewedContext
from backpack_streams.dialing import dial
from backpack_streams.errors import ExchangeError
from backpack_streams.exchange.connection_failures import reason_of
from backpack_streams.exchange.connection_settings import ConnectionSettings
from backpack_streams.exchange.proxies import Proxy

NORMAL_CLOSURE = 1000
"""This and the next two are Close codes (RFC 6455, section 7.4.1)."""
PROTOCOL_ERROR = 1002
MESSAGE_TOO_BIG = 1009
_NO_CLOSE_CODE = 1005
"""The code that stands for a Close frame without one (RFC 6455, section 7.1.5)."""
_FRAGMENTS_LIMIT = 4096
"""A security limit: fragments may be empty, so a limit on bytes alone is not enough."""
_FULL_READ_SHARE = 0.25
"""A read that filled at least this share of the buffer may have left data in the socket."""

logger = logging.getLogger(__name__)


class SocketFailedError(ExchangeError):
    """A socket did not open. The text is one line with the reason and advice."""


class BrokenFramesError(ExchangeError):
    """The server broke the framing rules of RFC 6455, or exceeded a limit of this client.

    Attributes:
        code: the Close code that says so to the server.
    """

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


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


class ExchangeSocket(ABC):
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
        self._socket: socket.socket | None = None
        self._dial_timeout: asyncio.Timeout | None = None
        self._given_up: str | None = None

    # What the WebSocket library does.

    @property
    @abstractmethod
    def is_open(self) -> bool:
        """Whether the handshake is done. Stays true after the end."""

    @abstractmethod
    async def wait_gone(self) -> str:
        """Wait until the socket has ended. Returns the reason as one line."""

    @abstractmethod
    def send_text(self, text: str) -> None:
        """Send a text frame, if the socket is open."""

    @abstractmethod
    def send_ping(self, payload: bytes) -> None:
        """Send a Ping, if the socket is open."""

    @abstractmethod
    def send_close(self) -> None:
        """Send a Close frame, or answer the server's, if the socket is open."""

    @abstractmethod
    async def _open(self, url: str, ssl_context: ssl.SSLContext | None, proxy: Proxy | None) -> None:
        """Connect and do the handshake, with `_dial` for TCP. If the server ends the connection instead of an answer, return."""

    @property
    @abstractmethod
    def _is_close_sent(self) -> bool:
        """Whether our Close frame was written."""

    @abstractmethod
    def _disconnect(self, *, graceful: bool) -> None:
        """End the open socket: after all that was written has left, or at once."""

    @abstractmethod
    def _read(self, wanted: bool) -> None:
        """Resume or pause reading, if the socket is open."""

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
        if isinstance(ssl_context, RenewedContext):  # a network library may use the C context directly, without renewal
            ssl_context = ssl_context.current()
        too_late = f"not open after {settings.connect_timeout_seconds:g} s; check the network, or wait"
        timer = asyncio.get_running_loop().call_later(settings.connect_timeout_seconds, self.give_up, too_late)
        try:
            await self._open(url, ssl_context, proxy)
        except Exception as error:  # any failure must result in one notice and a retry
            raise SocketFailedError(self._given_up or reason_of(error, proxy)) from error
        finally:
            timer.cancel()
            if not self.is_open:
                self._shut_socket()
        if not self.is_open:
            raise SocketFailedError(self._given_up or "the server hung up during the handshake; wait, or check the URL")

    def give_up(self, reason: str) -> None:
        """Cut the socket at once, in any state. A pending `connect` fails with `reason`."""
        self._given_up = self._given_up or reason
        if self.is_open:
            self._disconnect(graceful=False)
        elif self._dial_timeout is not None:
            self._dial_timeout.reschedule(asyncio.get_running_loop().time())
        else:
            self._shut_socket()

    def drop(self) -> None:
        """End the socket. If our Close frame was sent, wait until it has left; otherwise cut the socket at once."""
        if not self.is_open or not self._is_close_sent:
            self.give_up("dropped")
            return
        self._disconnect(graceful=True)
        loop = asyncio.get_running_loop()
        loop.call_later(self._settings.drop_after_close_seconds, self.give_up, "dropped")

    async def _dial(self, host: str, port: int) -> socket.socket:
        """Connect a socket to the exchange or to the proxy. It belongs to this object, so that it can be cut at every
        stage of the handshake.
        """
        settings = self._settings
        try:
            async with asyncio.timeout(settings.connect_timeout_seconds) as self._dial_timeout:
                self._socket = await dial(host, port, settings.address_delay_seconds)
        finally:
            self._dial_timeout = None
        return self._socket

    def _shut_socket(self) -> None:
        """Shut the socket down; the transport that owns it then ends and closes it."""
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)

    def _take_over_open_socket(self) -> None:
        """Announce the open socket, unless it was given up meanwhile."""
        if self._given_up is not None:
            self._disconnect(graceful=False)
        else:
            self._owner.socket_opened(self)

    def _failed_in_this_program(self, error: Exception) -> str:
        """Log what a callback of the owner raised, which must not end the service. Returns the reason of the socket's end."""
        logger.error("socket callback failed", extra={"socket_id": self.socket_id}, exc_info=error)
        return f"an error in this program: {error!r}"

    def discount_message(self) -> None:
        """Do not count the current message as data: an error frame does not show that anything is delivered."""
        self._frames_before_burst += 1

    # Pacing.

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

    # Frames.

    def _take_message(self, message: bytes) -> None:
        self.frames += 1
        self.bytes_received += len(message)
        try:
            self._on_frame(self.socket_id, message)
        except Exception as error:  # noqa: BLE001 - a consumer's fault must neither go unnoticed nor end the socket
            self._owner.frame_failed(self.socket_id, message, error)

    def _take_fragment(self, payload: bytes, *, is_first: bool, is_last: bool) -> None:
        """Assemble a message from fragments (RFC 6455, section 5.4). An unfragmented message is its own first and last
        fragment.

        Raises:
            BrokenFramesError: a fragment is out of order, or the message is too long.
        """
        if is_first == (self._fragments is not None):
            raise BrokenFramesError(PROTOCOL_ERROR, "a fragment of a message is out of order")
        fragments = self._fragments if self._fragments is not None else []
        fragments.append(payload)
        self._fragments_bytes += len(payload)
        if self._fragments_bytes > self._settings.max_message_bytes or len(fragments) > _FRAGMENTS_LIMIT:
            raise BrokenFramesError(MESSAGE_TOO_BIG, "a fragmented message is too long")
        if not is_last:
            self._fragments = fragments
            return
        self._fragments, self._fragments_bytes = None, 0
        self._take_message(payload if len(fragments) == 1 else b"".join(fragments))

    def _take_close(self, payload: bytes) -> None:
        code = int.from_bytes(payload[:2], "big") if len(payload) >= 2 else _NO_CLOSE_CODE
        self._owner.socket_closed_by_server(self.socket_id, code, payload[2:].decode(errors="replace"))

    def _end_burst(self) -> None:
        """Take note of the frames that came with one read. Called after each read that completed a frame."""
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
