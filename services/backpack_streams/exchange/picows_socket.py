"""The WebSocket on picows, which parses frames in C: a depth frame costs a producer a third less than on `websockets`."""

import socket
import ssl

from picows import (
    WSCloseCode,
    WSError,
    WSFrame,
    WSHandshakeError,
    WSListener,
    WSMsgType,
    WSProtocolError,
    WSTransport,
    ws_connect,
)
from picows.url import WSParsedURL

from backpack_streams.exchange.connection_failures import HandshakeError, handshake_error
from backpack_streams.exchange.exchange_socket import BrokenFramesError, ExchangeSocket
from backpack_streams.exchange.proxies import Proxy

_LARGEST_CONTROL_PAYLOAD_BYTES = 125
"""RFC 6455, section 5.5; picows ends the connection on a larger one."""


class PicowsSocket(ExchangeSocket, WSListener):
    """One socket, opened and read by picows."""

    _transport: WSTransport | None = None

    @property
    def is_open(self) -> bool:
        """Whether the handshake is done. Stays true after the end."""
        return self._transport is not None

    async def _open(self, url: str, ssl_context: ssl.SSLContext | None, proxy: Proxy | None) -> None:
        settings = self._settings
        try:
            await ws_connect(
                lambda: self,
                url,
                ssl_context=ssl_context,
                websocket_handshake_timeout=None,  # `connect` limits the whole
                enable_auto_ping=False,
                enable_auto_pong=False,
                max_frame_size=settings.max_message_bytes,
                extra_headers={"User-Agent": settings.user_agent},
                max_redirects=0,
                read_buffer_init_size=settings.read_buffer_bytes,
                socket_factory=self._dial_url,
                proxy=None if proxy is None else proxy.url,
                proxy_ssl_context=ssl_context if proxy is not None and proxy.scheme == "https" else None,
            )
        except WSHandshakeError as error:
            response = error.response
            if response is None:
                raise handshake_error(str(error)) from error
            raise handshake_error(str(error), response.status, response.headers.get("Location")) from error
        except WSError as error:
            raise HandshakeError(str(error)) from error

    async def _dial_url(self, url: WSParsedURL) -> socket.socket:
        return await self._dial(url.host, url.port)

    async def wait_gone(self) -> str:
        """Wait until the socket has ended. Returns the reason as one line."""
        if self._transport is None:
            return "it never opened"
        try:
            await self._transport.wait_disconnected()
        except WSProtocolError as error:
            return f"protocol error {int(error.code)}: {error}"
        except Exception as error:  # noqa: BLE001 - picows passes on what a callback raised
            return self._failed_in_this_program(error)
        return "the connection ended"

    def send_text(self, text: str) -> None:
        """Send a text frame, if the socket is open."""
        if self._transport is not None:
            self._transport.send(WSMsgType.TEXT, text.encode())

    def send_ping(self, payload: bytes) -> None:
        """Send a Ping, if the socket is open."""
        if self._transport is not None:
            self._transport.send_ping(payload)

    def send_close(self) -> None:
        """Send a Close frame, or answer the server's, if the socket is open."""
        if self._transport is not None:
            self._transport.send_close(WSCloseCode.OK)

    @property
    def _is_close_sent(self) -> bool:
        return self._transport is not None and bool(self._transport.is_close_frame_sent)

    def _disconnect(self, *, graceful: bool) -> None:
        if self._transport is not None:
            self._transport.disconnect(graceful=graceful)

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
        self._take_over_open_socket()

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
            self._take_close(payload)
        else:
            try:
                self._take_fragment(payload, is_first=kind != WSMsgType.CONTINUATION, is_last=bool(frame.fin))
            except BrokenFramesError as error:
                raise WSProtocolError(WSCloseCode(error.code), str(error)) from error
