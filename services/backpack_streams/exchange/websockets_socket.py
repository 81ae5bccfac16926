"""The WebSocket on the sans-I/O parts of `websockets`, for platforms that picows does not serve.

`websockets` has a connection of its own, but it discards what follows a Close frame, as RFC 6455 (section 1.4) allows. The
exchange goes on sending for 30 s after it, so only the handshake and the framing are taken from the library.
"""

import asyncio
import re
import ssl
from collections.abc import Awaitable, Callable, Generator
from socket import socket
from typing import Any, Final, cast

from python_socks import ProxyType
from python_socks.async_.asyncio.v2 import Proxy as ProxyDialer
from python_socks.async_.asyncio.v2._stream import AsyncioSocketStream  # picows needs its private parts, too
from websockets.client import ClientProtocol
from websockets.exceptions import InvalidHandshake, PayloadTooBig, ProtocolError
from websockets.frames import Frame, Opcode
from websockets.http11 import Response
from websockets.streams import StreamReader
from websockets.uri import WebSocketURI, parse_uri

from backpack_streams.exchange.connection_failures import handshake_error
from backpack_streams.exchange.exchange_socket import (
    MESSAGE_TOO_BIG,
    NORMAL_CLOSURE,
    PROTOCOL_ERROR,
    BrokenFramesError,
    ExchangeSocket,
)
from backpack_streams.exchange.proxies import Proxy

_END_OF_HEAD: Final = b"\r\n\r\n"
_LONGEST_HEAD_BYTES: Final = 64 * 1024
"""A security limit on the answer to the handshake."""
_STATUS = re.compile(rb"HTTP/1\.[01] (\d{3})\b")
_LOCATION = re.compile(rb"\r\nlocation:[ \t]*([^\r\n]*)", re.IGNORECASE)


class WebsocketsSocket(ExchangeSocket, asyncio.Protocol):
    """One socket: read from a transport of the event loop, its frames parsed by `websockets`."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        """Prepare; `connect` opens the socket. Takes what `ExchangeSocket` takes."""
        super().__init__(*arguments, **options)
        self._transport: asyncio.Transport | None = None
        self._stream_through_proxy: AsyncioSocketStream | None = None
        self._handshake: ClientProtocol
        self._answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._head = b""
        self._reader = StreamReader()
        self._parser = self._parse()
        self._is_open = False
        self._is_close_written = False
        self._is_cut = False
        self._has_taken_frame = False
        self._gone = asyncio.Event()
        self._reason = "the connection ended"

    @property
    def is_open(self) -> bool:
        """Whether the handshake is done. Stays true after the end."""
        return self._is_open

    async def wait_gone(self) -> str:
        """Wait until the socket has ended. Returns the reason as one line."""
        if not self._is_open:
            return "it never opened"
        await self._gone.wait()
        return self._reason

    # Opening.

    async def _open(self, url: str, ssl_context: ssl.SSLContext | None, proxy: Proxy | None) -> None:
        uri = parse_uri(url)
        self._handshake = ClientProtocol(uri)
        request = self._handshake.connect()
        request.headers["User-Agent"] = self._settings.user_agent
        context = (ssl_context or ssl.create_default_context()) if uri.secure else None
        try:
            if proxy is None:
                await self._connect_directly(uri, context)
            else:
                await self._connect_through(proxy, uri, context, ssl_context)
            if self._transport is not None:
                self._transport.write(request.serialize())
            await self._answer
        finally:
            if not self._is_open and self._transport is not None:
                self._transport.abort()

    async def _connect_directly(self, uri: WebSocketURI, context: ssl.SSLContext | None) -> None:
        await asyncio.get_running_loop().create_connection(
            lambda: self,
            sock=await self._dial(uri.host, uri.port),
            ssl=context,
            server_hostname=uri.host if context else None,
        )

    async def _connect_through(
        self, proxy: Proxy, uri: WebSocketURI, context: ssl.SSLContext | None, proxy_context: ssl.SSLContext | None
    ) -> None:
        dialer = ProxyDialer(
            ProxyType.SOCKS5 if proxy.is_socks else ProxyType.HTTP,
            proxy.host,
            proxy.port,
            proxy.username,
            proxy.password,
            rdns=True,
            proxy_ssl=proxy_context if proxy.scheme == "https" else None,
            forward=cast(ProxyDialer, _WayToProxy(self._dial)),
        )
        # Kept, because its writer closes the transport once it is garbage-collected.
        self._stream_through_proxy = await dialer.connect(
            uri.host, uri.port, context, self._settings.connect_timeout_seconds
        )
        transport = self._stream_through_proxy.writer.transport
        transport.set_protocol(self)
        self.connection_made(transport)

    def _take_head(self, data: bytes) -> None:
        """Read the answer to the handshake. What follows it in the same read is frames."""
        self._head += data
        head, end, frames = self._head.partition(_END_OF_HEAD)
        if not end and len(self._head) <= _LONGEST_HEAD_BYTES:
            return
        self._head = b""
        try:
            _check_answer(self._handshake, head + _END_OF_HEAD)
        except Exception as error:  # noqa: BLE001 - reported by `connect`
            self._answer.set_exception(error)
            return
        self._is_open = True
        self._answer.set_result(None)
        self._take_over_open_socket()
        if frames:
            self._take_frames(frames)

    # Sending and ending.

    def send_text(self, text: str) -> None:
        """Send a text frame, if the socket is open."""
        self._send(Frame(Opcode.TEXT, text.encode()))

    def send_ping(self, payload: bytes) -> None:
        """Send a Ping, if the socket is open."""
        self._send(Frame(Opcode.PING, payload))

    def send_close(self) -> None:
        """Send a Close frame, or answer the server's, if the socket is open."""
        self._send_close(NORMAL_CLOSURE)

    def _send_close(self, code: int) -> None:
        self._send(Frame(Opcode.CLOSE, code.to_bytes(2, "big")))
        self._is_close_written = True

    def _send(self, frame: Frame) -> None:
        transport = self._transport
        if not self._is_open or self._is_close_written or transport is None or transport.is_closing():
            return  # nothing may follow our Close frame (RFC 6455, section 5.5.1)
        transport.write(frame.serialize(mask=True))

    @property
    def _is_close_sent(self) -> bool:
        return self._is_close_written

    def _disconnect(self, *, graceful: bool) -> None:
        self._is_cut = True
        if self._transport is None or self._gone.is_set():
            return
        if graceful:
            self._transport.close()
        else:
            self._transport.abort()

    def _read(self, wanted: bool) -> None:
        if self._transport is None or self._transport.is_closing():
            return
        if wanted:
            self._transport.resume_reading()
        else:
            self._transport.pause_reading()

    # What the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport. Called by the event loop."""
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Pass frames on. Called by the event loop after each read."""
        if self._is_open:
            self._take_frames(data)
        elif not self._answer.done():
            self._take_head(data)

    def connection_lost(self, error: Exception | None) -> None:
        """Take note of the end. Called by the event loop."""
        if not self._answer.done():
            self._answer.set_result(None)
        self._gone.set()

    def _take_frames(self, data: bytes) -> None:
        if self._is_cut:
            return
        self._reader.feed_data(data)
        self._has_taken_frame = False
        try:
            next(self._parser, None)
        except (BrokenFramesError, ProtocolError, PayloadTooBig) as error:
            self._end_for_broken_frames(error)
        except Exception as error:  # noqa: BLE001 - logged; the socket ends, the service goes on
            self._reason = self._failed_in_this_program(error)
            self._disconnect(graceful=False)
        else:
            if self._has_taken_frame:
                self._end_burst()

    def _parse(self) -> Generator[None, None, None]:
        """Take frames until the socket is cut. Yields whenever more bytes are needed."""
        limit = self._settings.max_message_bytes
        while not self._is_cut:
            frame = yield from Frame.parse(self._reader.read_exact, mask=False, max_size=limit)
            self._has_taken_frame = True
            self._sort_out(frame)

    def _sort_out(self, frame: Frame) -> None:
        payload = bytes(frame.data)
        if frame.opcode is Opcode.PING:
            self._send(Frame(Opcode.PONG, payload))
        elif frame.opcode is Opcode.PONG:
            self._owner.socket_ponged(self.socket_id, payload)
        elif frame.opcode is Opcode.CLOSE:
            self._take_close(payload)
        else:
            self._take_fragment(payload, is_first=frame.opcode is not Opcode.CONT, is_last=frame.fin)

    def _end_for_broken_frames(self, error: BrokenFramesError | ProtocolError | PayloadTooBig) -> None:
        if isinstance(error, BrokenFramesError):
            code = error.code
        else:
            code = MESSAGE_TOO_BIG if isinstance(error, PayloadTooBig) else PROTOCOL_ERROR
        self._reason = f"protocol error {code}: {error}"
        self._send_close(code)
        self._disconnect(graceful=True)


class _WayToProxy:
    """What a `ProxyDialer` asks for the connection to its proxy, so that this is dialled as all other connections are."""

    def __init__(self, dial: Callable[[str, int], Awaitable[socket]]) -> None:
        self._dial = dial

    async def connect(self, dest_host: str, dest_port: int) -> AsyncioSocketStream:
        """Connect to the proxy."""
        reader, writer = await asyncio.open_connection(sock=await self._dial(dest_host, dest_port))
        return AsyncioSocketStream(asyncio.get_running_loop(), reader, writer)


def _check_answer(handshake: ClientProtocol, head: bytes) -> None:
    """Check the answer to the handshake: its status line and headers, up to the empty line.

    Raises:
        HandshakeError: it does not open a WebSocket.
    """
    status = _STATUS.match(head)
    if status is not None and status[1] != b"101":
        location = _LOCATION.search(head)
        target = location[1].decode(errors="replace") if location else None
        raise handshake_error(head.partition(b"\r\n")[0].decode(errors="replace"), int(status[1]), target)
    reader = StreamReader()
    reader.feed_data(head)
    reader.feed_eof()
    try:
        next(Response.parse(reader.read_line, reader.read_exact, reader.read_to_eof))
    except StopIteration as parsed:
        try:
            handshake.process_response(parsed.value)
        except InvalidHandshake as error:
            raise handshake_error(str(error)) from error
    except Exception as error:  # the parser raises errors of many types
        raise handshake_error(str(error)) from error
