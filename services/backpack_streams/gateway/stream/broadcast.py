"""Sends messages to the clients of all streams, in rounds, and heartbeats once a second.

Changes are collected for a moment and sent to all clients in one round. Rounds may use only a share of the event loop's time: if many
clients make a round long, the next one comes later and carries more. So streams never starve the REST answers, and no queue grows.
"""

import asyncio
import logging
import time
from collections.abc import Mapping
from typing import Final, Protocol

from backpack_streams.gateway.changes import MISSED, Change
from backpack_streams.gateway.stream.client import CloseCode, Ending, StreamClient
from backpack_streams.gateway.stream.hub import Hub, StreamSource
from backpack_streams.gateway.stream.messages import Message, error, heartbeat
from backpack_streams.gateway.stream.requests import StreamRequest

__all__ = ["Broadcast", "LiveSource", "Outlet"]

HEARTBEAT_SECONDS: Final = 1.0
ROUND_SECONDS: Final = 0.01
"""Minimum time from the start of one round to the start of the next."""
SHARE_OF_LOOP: Final = 0.3
"""Maximum share of the event loop's time for rounds."""

logger = logging.getLogger(__name__)


class LiveSource(StreamSource, Protocol):
    """The part of the read model that the streams need."""

    def complete_through(self) -> Mapping[str, int | None]:
        """Return the time (µs since the Unix epoch) up to which each topic is complete, by topic without prefix."""


class Outlet(Protocol):
    """Sends messages to one client."""

    @property
    def is_ready(self) -> bool:
        """Whether the client reads what it is sent; if not, nothing more is sent until `Broadcast.on_ready`."""

    def send(self, messages: list[Message]) -> None:
        """Send messages, without waiting. Called only while `is_ready`, with at least one message."""

    def end(self, ending: Ending) -> None:
        """Send the last message and close. Drop the connection if the client does not even read that."""


class Broadcast:
    """All streams. Everything happens in the event loop's thread.

    Attributes:
        hub: knows which client follows what.
        sent_messages: messages sent so far.
        dropped_clients: streams that were ended because the client did not read.
    """

    def __init__(self, source: LiveSource) -> None:
        """Start without streams.

        Args:
            source: the read model.
        """
        self._source = source
        self.hub = Hub(source, self._wake)
        self._outlets: dict[StreamClient, Outlet] = {}
        self._awake: dict[StreamClient, None] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._next_round = 0.0
        self.sent_messages = 0
        self.dropped_clients = 0
        self.round_seconds = 0.0
        """Time spent in rounds since the start."""

    def __len__(self) -> int:
        return len(self._outlets)

    @property
    def market_count(self) -> int:
        """Number of listed markets, which `all` stands for."""
        return len(self._source.markets())

    def join(self, client: StreamClient, outlet: Outlet) -> None:
        """Add a client.

        Args:
            client: the state of the client.
            outlet: sends messages to it.
        """
        self._outlets[client] = outlet
        self.hub.join(client)

    def leave(self, client: StreamClient) -> None:
        """Remove a client. May be called more than once, and for a client that never joined."""
        self._outlets.pop(client, None)
        self._awake.pop(client, None)
        self.hub.leave(client)

    def apply(self, client: StreamClient, request: StreamRequest) -> None:
        """Carry out a request of a client.

        Args:
            client: a client that has joined.
            request: its request.

        Raises:
            UnknownSymbolError: it names a market that does not exist; then nothing is changed.
            UnavailableError: there is no market list yet, or it resumes while Kafka cannot be read.
        """
        self.hub.apply(client, request)

    def say(self, client: StreamClient, message: Message) -> None:
        """Send a message to this client alone, with the next round."""
        client.say(message)
        self._wake(client)

    def end(self, client: StreamClient, message: Message, code: int) -> None:
        """End the stream of a client with the next round.

        Args:
            client: the client.
            message: the last message.
            code: one of `CloseCode`, for a WebSocket.
        """
        client.end(message, code)
        self._wake(client)

    def on_ready(self, client: StreamClient) -> None:
        """Continue to send to a client that has begun to read again."""
        client.note_progress(took=True, now=time.monotonic())
        if client.has_pending:
            self._wake(client)

    def on_change(self, change: Change) -> None:
        """Process a change of the read model; the clients get it with the next round.

        If records were missed, all streams end: a client that comes back learns what it cannot have any more.

        Args:
            change: the change.
        """
        if change.channel == MISSED:
            self.end_all("records left Kafka before the gateway read them; connect again, and resume")
            return
        self.hub.on_change(change)
        if self.hub.has_changed_books:
            self._schedule()

    async def run(self) -> None:
        """Send a heartbeat every second until cancelled; then end all streams."""
        try:
            while True:
                await asyncio.sleep(HEARTBEAT_SECONDS)
                self.beat()
        finally:
            self.end_all()

    def beat(self) -> None:
        """Send a heartbeat, behind everything that happened before, and end the streams of clients that do not read."""
        self.hub.notice_statuses()
        self.hub.refresh_books()
        self.hub.beat(heartbeat(time.time_ns() // 1000, self._source.complete_through()))
        self._round()
        now = time.monotonic()
        for client in list(self._outlets):
            client.check_speed(now)
            if client.ending is not None:
                self._pump(client, now)

    def end_all(self, why: str = "the gateway restarts; connect again") -> None:
        """End all streams at once: the gateway stops, or starts over.

        Args:
            why: the reason and the advice.
        """
        for client in list(self._outlets):
            client.end(error(None, 503, why, 1), CloseCode.RESTART)
            self._pump(client, time.monotonic())

    def _wake(self, client: StreamClient) -> None:
        self._awake[client] = None
        self._schedule()

    def _schedule(self) -> None:
        if self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_at(max(loop.time(), self._next_round), self._round)

    def _round(self) -> None:
        """Send each client that has something pending as much as it can take."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        loop, began = asyncio.get_running_loop(), time.monotonic()
        self.hub.refresh_books()
        awake, self._awake = self._awake, {}
        for client in awake:
            self._pump(client, began)
        seconds = time.monotonic() - began
        self.round_seconds += seconds
        self._next_round = loop.time() + max(ROUND_SECONDS - seconds, seconds * (1 / SHARE_OF_LOOP - 1))
        if self._awake:
            self._schedule()

    def _pump(self, client: StreamClient, now: float) -> None:
        outlet = self._outlets.get(client)
        if outlet is None:
            return
        if client.ending is not None:
            self._outlets.pop(client)
            self.dropped_clients += client.ending.message.kind == "slow"
            self.hub.leave(client)
            outlet.end(client.ending)
            return
        if not outlet.is_ready:
            client.note_progress(took=False, now=now)
            return
        messages = client.take(self._source)
        if messages:
            self.sent_messages += len(messages)
            outlet.send(messages)
        client.note_progress(took=True, now=now)
        if client.has_pending:
            self._awake[client] = None
