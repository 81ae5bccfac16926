"""`/v1/stream` over WebSocket: accepts connections, reads requests and writes messages."""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable
from typing import Any, Final

from starlette.types import Receive, Scope, Send

from backpack_streams.gateway.access_errors import KeyRefusedError, TooManyRequestsError
from backpack_streams.gateway.cross_origin import CrossOrigin
from backpack_streams.gateway.errors import BadRequestError, RequestError, UnavailableError
from backpack_streams.gateway.gate import Gate, check_url, key_of
from backpack_streams.gateway.http_protocol import FRAMES, FrameWriter
from backpack_streams.gateway.key_ring import Caller
from backpack_streams.gateway.negotiation import single_header
from backpack_streams.gateway.parameters import parse
from backpack_streams.gateway.replies import failure_response
from backpack_streams.gateway.request_notes import notes_of
from backpack_streams.gateway.stream.admission import check_room, end_with_key
from backpack_streams.gateway.stream.allowance import Allowance, cost_of
from backpack_streams.gateway.stream.broadcast import Broadcast
from backpack_streams.gateway.stream.client import CloseCode, Ending, StreamClient
from backpack_streams.gateway.stream.messages import Message, error
from backpack_streams.gateway.stream.requests import ALL, StreamRequest, read_request

__all__ = ["WebSocketStream"]

FIRST_REQUEST_SECONDS: Final = 10.0
"""A client that sends no valid request for this long after connecting is disconnected."""
CLOSE_SECONDS: Final = 5.0
"""How long a client may take to read the last message before the connection is dropped."""

logger = logging.getLogger(__name__)


class WebSocketStream:
    """The ASGI application for WebSockets on the path of the stream."""

    def __init__(
        self, broadcast: Broadcast, gate: Gate, cross_origin: CrossOrigin, max_streams: int, intervals: Iterable[str]
    ) -> None:
        """Prepare.

        Args:
            broadcast: all streams.
            gate: checks the keys.
            cross_origin: the sites whose pages may open a WebSocket.
            max_streams: how many streams may be open at the same time.
            intervals: the known intervals of candles, such as `1m`.
        """
        self._broadcast = broadcast
        self._gate = gate
        self._cross_origin = cross_origin
        self._max_streams = max_streams
        self._intervals = tuple(intervals)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one client until it leaves or its stream is ended.

        A handshake that is refused gets an HTTP answer with the envelope of any other error. Everything after the handshake is
        answered on the socket.
        """
        await receive()  # websocket.connect
        try:
            caller = await self._admitted(scope)
        except RequestError as refusal:
            await _refuse(scope, send, refusal)
            return
        notes = notes_of(scope)
        await send({"type": "websocket.accept", "headers": [(b"x-request-id", notes.request_id.encode())]})
        session = _Session(self._broadcast, self._gate, scope["extensions"][FRAMES], self._intervals)
        about = {"request_id": notes.request_id, "client": scope["client"][0] if scope["client"] else None}
        logger.info("stream opened", extra=about)
        try:
            if caller is not None:
                session.know(caller)
            await session.serve(receive)
            await session.close(send)
        finally:
            session.leave()
            seconds = round(time.monotonic() - notes.started, 3)
            logger.info(
                "stream closed", extra={**about, "key": session.key_id, "seconds": seconds, "code": session.code}
            )

    async def _admitted(self, scope: Scope) -> Caller | None:
        """Check the handshake; return its caller.

        Without a key in the headers, which browsers cannot set, the first request must contain the key: then return None.

        Raises:
            BadRequestError: the URL has parameters, or there are two different keys.
            OriginRefusedError: a page of another site asks, and the settings do not allow that site.
            UnavailableError: too many streams are open.
            KeyRefusedError: the key is not valid.
            TooManyRequestsError: the quota of the key is used up.
        """
        headers: list[tuple[bytes, bytes]] = scope["headers"]
        check_url(scope["query_string"])
        parse(scope["query_string"], {})
        self._cross_origin.check_socket(single_header(headers, b"origin"), single_header(headers, b"host"))
        check_room(len(self._broadcast), self._max_streams)
        key = key_of(headers)
        return None if key is None and not self._gate.is_open else await self._gate.admit_key(key)


class _SocketOutlet:
    """Writes to one client: frames that all clients share, directly to its transport."""

    def __init__(self, writer: FrameWriter) -> None:
        self._writer = writer
        self.ended = asyncio.Event()
        self.code: int | None = None

    @property
    def is_ready(self) -> bool:
        return self._writer.is_writable and self._writer.is_open

    def send(self, messages: list[Message]) -> None:
        self._writer.write(messages[0].frame if len(messages) == 1 else b"".join([each.frame for each in messages]))

    def end(self, ending: Ending) -> None:
        if self._writer.is_open:
            self._writer.write(ending.message.frame)
        self.code = ending.code
        self.ended.set()


class _Session:
    """One connection: its caller and its requests."""

    def __init__(self, broadcast: Broadcast, gate: Gate, writer: FrameWriter, intervals: tuple[str, ...]) -> None:
        self._broadcast = broadcast
        self._gate = gate
        self._intervals = intervals
        self._writer = writer
        self._client = StreamClient()
        self._outlet = _SocketOutlet(writer)
        self._allowance = Allowance(time.monotonic())
        self._caller: Caller | None = None
        self._unfollow: Callable[[], None] | None = None
        self._has_asked = False
        self.code: int | None = None
        writer.on_writable = lambda: broadcast.on_ready(self._client)
        broadcast.join(self._client, self._outlet)

    @property
    def key_id(self) -> str | None:
        """Public part of the client's key."""
        return None if self._caller is None else self._caller.key_id

    def know(self, caller: Caller) -> None:
        """Set the caller, and end the stream once the caller's key is revoked."""
        self._caller = caller
        self._unfollow = end_with_key(self._broadcast, self._client, caller)

    def leave(self) -> None:
        """Release everything that refers to the connection."""
        self._writer.on_writable = None
        self._broadcast.leave(self._client)
        if self._unfollow is not None:
            self._unfollow()

    async def serve(self, receive: Receive) -> None:
        """Process requests until the client leaves or the stream is ended.

        Args:
            receive: ASGI's function for the next event of the connection.
        """
        deadline = time.monotonic() + FIRST_REQUEST_SECONDS
        ended = asyncio.ensure_future(self._outlet.ended.wait())
        reading = asyncio.ensure_future(receive())
        try:
            while not ended.done():
                wait = None if self._has_asked else max(0.0, deadline - time.monotonic())
                await asyncio.wait({reading, ended}, timeout=wait, return_when=asyncio.FIRST_COMPLETED)
                if reading.done():
                    event = reading.result()
                    if event["type"] == "websocket.disconnect":
                        self.code = event.get("code")
                        return
                    await self._take(event)
                    reading = asyncio.ensure_future(receive())
                elif not ended.done():
                    text = f"no request came within {FIRST_REQUEST_SECONDS:g} s; send one at once"
                    self._end(error(None, 408, text), CloseCode.NO_REQUEST)
                    await ended
        finally:
            reading.cancel()
            ended.cancel()

    async def close(self, send: Send) -> None:
        """Send the Close frame if the stream was ended. The connection is dropped if the client does not read.

        Args:
            send: ASGI's function to send an event.
        """
        if self._outlet.code is None:
            return
        self.code = self._outlet.code
        if not self._writer.is_open:
            return
        asyncio.get_running_loop().call_later(CLOSE_SECONDS, self._writer.abort)
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                await send({"type": "websocket.close", "code": self.code})
        except (OSError, TimeoutError):  # it is gone, or does not read
            self._writer.abort()

    async def _take(self, event: Any) -> None:
        """Process one message of the client."""
        if not self._may_ask(cost_of(0)):
            return
        request: StreamRequest | None = None
        try:
            if event.get("text") is None:
                raise BadRequestError("a request is a text message that holds JSON, not a binary one")
            request = read_request(event["text"], self._intervals)
            if self._caller is None:
                self.know(await self._gate.admit_key(request.key))
            self._has_asked = True
            if self._may_ask(cost_of(self._subscriptions(request)) - cost_of(0)):
                self._broadcast.apply(self._client, request)
        except RequestError as refusal:
            self._refuse(request, refusal)

    def _subscriptions(self, request: StreamRequest) -> int:
        symbols = self._broadcast.market_count if request.symbols == ALL else len(request.symbols)
        return symbols * len(request.channels)

    def _may_ask(self, cost: float) -> bool:
        if self._allowance.spend(cost, time.monotonic()):
            return True
        text = "too many requests on one stream; subscribe to several channels and symbols at once, or to all"
        self._end(error(None, 429, text, 1), CloseCode.POLICY)
        return False

    def _refuse(self, request: StreamRequest | None, refusal: RequestError) -> None:
        """Say what is wrong with a request. The stream ends if the client can only go on with another connection."""
        request_id = None if request is None else request.id
        message = error(request_id, int(refusal.status), str(refusal), refusal.retry_after_seconds)
        if isinstance(refusal, KeyRefusedError):
            self._end(message, CloseCode.KEY_REFUSED)
        elif isinstance(refusal, TooManyRequestsError):
            self._end(message, CloseCode.TOO_MANY)
        elif isinstance(
            refusal, UnavailableError
        ):  # a client that reconnects after the end of a connection does the right thing
            self._end(message, CloseCode.TRY_AGAIN_LATER)
        else:
            self._broadcast.say(self._client, message)

    def _end(self, message: Message, code: int) -> None:
        self._broadcast.end(self._client, message, code)


async def _refuse(scope: Scope, send: Send, refusal: RequestError) -> None:
    """Answer a handshake with an HTTP error (ASGI extension `websocket.http.response`)."""
    response = failure_response(scope, refusal)
    await send(
        {
            "type": "websocket.http.response.start",
            "status": response.status_code,
            "headers": [*response.raw_headers, (b"x-request-id", notes_of(scope).request_id.encode())],
        }
    )
    await send({"type": "websocket.http.response.body", "body": response.body})
