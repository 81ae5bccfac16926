"""`/v1/stream` as server-sent events (WHATWG HTML, 9.2): the URL contains the request, and event ids contain what a reconnect needs."""

import asyncio
import logging
from collections.abc import Iterable
from typing import Final

from starlette.types import Receive, Scope, Send

from backpack_streams.gateway.errors import RequestError
from backpack_streams.gateway.gate import Gate
from backpack_streams.gateway.key_ring import Caller
from backpack_streams.gateway.negotiation import single_header
from backpack_streams.gateway.parameters import parse
from backpack_streams.gateway.replies import failure_response
from backpack_streams.gateway.request_notes import notes_of
from backpack_streams.gateway.stream.admission import check_room, end_with_key
from backpack_streams.gateway.stream.broadcast import Broadcast
from backpack_streams.gateway.stream.client import Ending, StreamClient
from backpack_streams.gateway.stream.messages import Message
from backpack_streams.gateway.stream.requests import EVENT_PARAMETERS, StreamRequest, request_of_url, resume_text

__all__ = ["EventStream"]

_BEGIN: Final = b"retry: 2000\n\n"
_HEADERS: Final = [
    (b"content-type", b"text/event-stream"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),  # nginx would otherwise buffer the events
]

logger = logging.getLogger(__name__)


class EventStream:
    """The ASGI application for server-sent events on the path of the stream."""

    def __init__(self, broadcast: Broadcast, gate: Gate, max_streams: int, intervals: Iterable[str]) -> None:
        """Prepare.

        Args:
            broadcast: all streams.
            gate: checks the keys.
            max_streams: how many streams may be open at the same time.
            intervals: the known intervals of candles, such as `1m`.
        """
        self._broadcast = broadcast
        self._gate = gate
        self._max_streams = max_streams
        self._intervals = tuple(intervals)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one client until it leaves or its stream is ended.

        A request that is refused gets an HTTP error in the usual envelope. A HEAD request gets the headers only.
        """
        client = StreamClient()
        outlet = _EventOutlet(self._broadcast, client)
        try:
            caller, request = await self._admitted(scope)
            self._broadcast.join(client, outlet)
            self._broadcast.apply(client, request)
        except RequestError as refusal:
            self._broadcast.leave(client)
            await failure_response(scope, refusal)(scope, receive, send)
            return
        unfollow = end_with_key(self._broadcast, client, caller)
        try:
            await self._serve(scope, outlet, receive, send)
        finally:
            unfollow()
            self._broadcast.leave(client)

    async def _admitted(self, scope: Scope) -> tuple[Caller, StreamRequest]:
        headers: list[tuple[bytes, bytes]] = scope["headers"]
        notes = notes_of(scope)
        caller = await self._gate.admit(headers, scope["query_string"])
        notes.key_id = caller.key_id
        parameters = parse(scope["query_string"], EVENT_PARAMETERS)
        notes.parameters = dict(parameters)
        notes.is_stream = True
        check_room(len(self._broadcast), self._max_streams)
        last_event_id = single_header(headers, b"last-event-id").decode("latin-1")
        return caller, request_of_url(parameters, last_event_id, self._intervals)

    async def _serve(self, scope: Scope, outlet: "_EventOutlet", receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
        is_head = scope["method"] == "HEAD"
        await send({"type": "http.response.body", "body": _BEGIN, "more_body": not is_head})
        if is_head:
            return
        leaving = asyncio.ensure_future(_until_disconnect(receive))
        writing = asyncio.ensure_future(outlet.write(send))
        try:
            await asyncio.wait({leaving, writing}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            leaving.cancel()
            writing.cancel()
        if writing.done() and not writing.cancelled():
            writing.result()
            await send({"type": "http.response.body", "body": b"", "more_body": False})


class _EventOutlet:
    """Sends to one client: one batch of events at a time, written by the client's own task."""

    def __init__(self, broadcast: Broadcast, client: StreamClient) -> None:
        self._broadcast = broadcast
        self._client = client
        self._batch: list[bytes] = []
        self._has_batch = asyncio.Event()
        self._is_writing = False
        self._is_over = False

    @property
    def is_ready(self) -> bool:
        return not self._is_writing and not self._is_over

    def send(self, messages: list[Message]) -> None:
        self._is_writing = True
        self._batch += [each.event for each in messages]
        if messages[-1].kind == "heartbeat":  # behind all news, so the positions are those that the client has reached
            position = resume_text(self._client.positions())
            if position:
                self._batch[-1] = b"id: %b\n%b" % (position.encode(), self._batch[-1])
        self._has_batch.set()

    def end(self, ending: Ending) -> None:
        self._batch.append(ending.message.event)
        self._is_over = True
        self._has_batch.set()

    async def write(self, send: Send) -> None:
        """Write batches until the stream is ended.

        Args:
            send: ASGI's function to send an event.
        """
        while True:
            await self._has_batch.wait()
            self._has_batch.clear()
            batch, self._batch = self._batch, []
            is_last = self._is_over
            await send({"type": "http.response.body", "body": b"".join(batch), "more_body": True})
            if is_last:
                return
            self._is_writing = False
            self._broadcast.on_ready(self._client)


async def _until_disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
