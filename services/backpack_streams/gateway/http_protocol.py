"""uvicorn's protocols, adapted to the gateway: refusals in an envelope, and encoded frames for WebSocket clients."""

from collections.abc import Callable
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, Final, cast

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from backpack_streams.gateway.envelope import failure
from backpack_streams.gateway.errors import RequestError
from backpack_streams.gateway.request_notes import RequestNotes
from backpack_streams.runtime.http_protocol import HttpProtocol, StallTimer

__all__ = ["FRAMES", "EnvelopeProtocol", "FrameWriter", "SocketProtocol"]

FRAMES: Final = "backpack_streams.frames"
"""Name of the ASGI extension that gives a `FrameWriter`."""


class EnvelopeProtocol(HttpProtocol):
    """HTTP/1.1 with limits. What the protocol itself refuses gets the envelope of every other error."""

    def refusal(self, status: HTTPStatus, message: str) -> tuple[str, bytes]:
        """Return the content type and the body of a refusal.

        Args:
            status: the HTTP status, which the body does not repeat.
            message: what is wrong and what to do.
        """
        return "application/json", failure(RequestError(message), RequestNotes().request_id, datetime.now(UTC))


class FrameWriter:
    """Writes encoded WebSocket frames to one client, without a task and without encoding them for each client.

    A server's frames are not masked (RFC 6455, 5.1), so the same bytes fit every client; `permessage-deflate` must be off.
    """

    def __init__(self, protocol: "SocketProtocol") -> None:
        self._protocol = protocol
        self.on_writable: Callable[[], None] | None = None
        """Called when a client that did not read begins to read again."""

    @property
    def is_open(self) -> bool:
        """Whether frames can be sent: the connection is neither closed nor closing."""
        protocol = self._protocol
        return not (protocol.close_sent or protocol.disconnected or protocol.transport.is_closing())

    @property
    def is_writable(self) -> bool:
        """Whether the client reads what it is sent: the write buffer is below its limit."""
        return self._protocol.writable.is_set()

    def write(self, frames: bytes) -> None:
        """Write frames, without waiting. Call it only while `is_open`.

        Args:
            frames: one or more whole frames.
        """
        self._protocol.transport.write(frames)

    def abort(self) -> None:
        """Drop the connection, with everything that the client has not read."""
        self._protocol.transport.abort()


class SocketProtocol(WebSocketsSansIOProtocol):
    """uvicorn's WebSocket protocol with limits, and with a `FrameWriter` for the application."""

    stall_seconds = HttpProtocol.stall_seconds

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._stalled = StallTimer(self.stall_seconds)
        self.frame_writer = FrameWriter(self)

    async def run_asgi(self) -> None:
        """Run the application, which finds the writer in the scope's extensions under `FRAMES`."""
        extensions: dict[str, Any] = cast(Any, self.scope)["extensions"]
        extensions[FRAMES] = self.frame_writer
        await super().run_asgi()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the timer for clients that do not read."""
        self._stalled.stop()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """Start the timer: the client does not read."""
        super().pause_writing()
        self._stalled.start(self.transport)

    def resume_writing(self) -> None:
        """Stop the timer and notify the application: the client reads again."""
        super().resume_writing()
        self._stalled.stop()
        if self.frame_writer.on_writable is not None:
            self.frame_writer.on_writable()
