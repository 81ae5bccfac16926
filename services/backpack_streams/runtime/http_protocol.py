"""How long and how large a connection may be, before anything of it reaches the application.

uvicorn limits neither the head of a request nor the time that it takes, and waits indefinitely for a client that does not read. This
subclass of its protocol does.
"""

import asyncio
import socket
from http import HTTPStatus
from typing import Any, ClassVar, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

__all__ = ["HttpProtocol", "StallTimer"]

WRITE_BUFFER_BYTES: Final = 64 * 1024
"""What waits for a client in our memory before it counts as not reading; the system's socket buffer comes on top."""


class StallTimer:
    """Ends a connection whose client leaves unread what was sent to it.

    Args:
        seconds: for how long it may.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._timer: asyncio.TimerHandle | None = None

    def start(self, transport: asyncio.Transport) -> None:
        """The client does not read."""
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._seconds, transport.abort)

    def stop(self) -> None:
        """The client reads, or is gone."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class HttpProtocol(HttpToolsProtocol):
    """uvicorn's HTTP/1.1 protocol with limits. A subclass may set them, and say how a refusal looks.

    Attributes:
        head_bytes: of request line and headers together; more is answered with 431. A body that arrives after its head may be as long.
        head_seconds: from the first byte, or from the opening of the connection, to the end of the head; more is answered with 408.
        stall_seconds: for how long a client may leave unread what was sent to it.
    """

    head_bytes: ClassVar[int] = 16 * 1024
    head_seconds: ClassVar[float] = 10.0
    stall_seconds: ClassVar[float] = 20.0

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._head_bytes = 0
        self._head_timer: asyncio.TimerHandle | None = None
        self._stalled = StallTimer(self.stall_seconds)

    def refusal(self, status: HTTPStatus, message: str) -> tuple[str, bytes]:
        """Return the content type and the body of an answer to what never reaches the application."""
        return "text/plain; charset=utf-8", f"{message}\n".encode()

    def make_room(self) -> bool:
        """Drop another connection in favour of this one, which is one too many. Return False to have this one refused."""
        return False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Refuse one connection too many; give the others a moment to ask something."""
        super().connection_made(transport)
        transport.set_write_buffer_limits(WRITE_BUFFER_BYTES)
        # asyncio forgets this for a socket that did not name its protocol; without it each answer waits 40 ms for an acknowledgement.
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        most = getattr(self.config, "max_connections", None)
        if most is not None and len(self.connections) > most and not self.make_room():
            self._refuse(HTTPStatus.SERVICE_UNAVAILABLE, f"{most} connections are open, which is all; try again later")
        else:
            self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the clocks."""
        self._head_arrived()
        self._stalled.stop()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take bytes, as long as the head that they are part of is short enough."""
        if self.transport.is_closing():
            return
        self._head_bytes += len(data)
        if self._head_bytes > self.head_bytes:
            self._on_too_much()
            return
        super().data_received(data)
        if not self._is_answering() and self.timeout_keep_alive_task is None and self.transport.get_protocol() is self:
            self._await_head()

    def on_headers_complete(self) -> None:
        """The head is there: its clock stops."""
        self._head_arrived()
        super().on_headers_complete()

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP."""
        self._refuse(HTTPStatus.BAD_REQUEST, "this is no request of HTTP/1.1; send one, such as GET /")

    def pause_writing(self) -> None:
        """The client does not read."""
        super().pause_writing()
        self._stalled.start(self.transport)

    def resume_writing(self) -> None:
        """The client reads."""
        super().resume_writing()
        self._stalled.stop()

    def _await_head(self) -> None:
        if self._head_timer is None:
            self._head_timer = self.loop.call_later(self.head_seconds, self._head_is_late)

    def _head_arrived(self) -> None:
        self._head_bytes = 0
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _head_is_late(self) -> None:
        self._head_timer = None
        self._refuse(
            HTTPStatus.REQUEST_TIMEOUT, f"no whole request came within {self.head_seconds:g} s; send it at once"
        )

    def _is_answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _on_too_much(self) -> None:
        if self._is_answering():  # in the middle of an answer: too long a body, or more requests than one may queue
            self.transport.abort()
            return
        self._refuse(
            HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
            f"the head of the request is longer than {self.head_bytes:,} bytes; send fewer or shorter headers",
        )

    def _refuse(self, status: HTTPStatus, message: str) -> None:
        """Answer and close, without the application."""
        if self.transport.is_closing():
            return
        content_type, body = self.refusal(status, message)
        head = (
            f"HTTP/1.1 {status.value} {status.phrase}\r\ncontent-type: {content_type}\r\n"
            f"content-length: {len(body)}\r\ncache-control: no-store\r\nconnection: close\r\n\r\n"
        )
        self.transport.write(head.encode() + body)
        self.transport.close()
        self._stalled.start(self.transport)
