"""One client of the stream: its subscriptions and what is still to be sent to it, in bounded memory. Sans I/O.

Only messages for this client alone are queued. Of each subscription, the client keeps its position; the changes since then are collected
when the client can take them. So a slow client needs no more memory than a fast one.
"""

from collections import deque
from typing import Final, NamedTuple

from backpack_streams.gateway.json_text import Decimals
from backpack_streams.gateway.stream.messages import Message, slow
from backpack_streams.gateway.stream.requests import Key
from backpack_streams.gateway.stream.subscriptions import Source, Subscription

__all__ = ["SLOW_SECONDS", "CloseCode", "Ending", "StreamClient"]

SLOW_SECONDS: Final = 5.0
"""A client that reads nothing for this long, although data is waiting, gets a `slow` message and is dropped."""
TAKEN_AT_ONCE_BYTES: Final = 64 * 1024
"""Approximate size of what one `take` returns."""
OWN_MESSAGES_AT_MOST: Final = 200
"""Answers to its requests that a client may leave unread; with one more it is dropped as slow."""


class CloseCode:
    """Codes with which a WebSocket is closed: below 4000 as registered (RFC 6455, 7.4), the others ours, after HTTP status codes.

    Attributes:
        POLICY: the client sent too many requests on one stream.
        RESTART: the gateway restarts, or starts over because records have left Kafka that it did not read.
        TRY_AGAIN_LATER: the client does not read, or the data is not available now.
        KEY_REFUSED: the key is not valid, or was revoked.
        NO_REQUEST: the first request did not come in time.
        TOO_MANY: the quota of the key is used up.
    """

    POLICY: Final = 1008
    RESTART: Final = 1012
    TRY_AGAIN_LATER: Final = 1013
    KEY_REFUSED: Final = 4401
    NO_REQUEST: Final = 4408
    TOO_MANY: Final = 4429


class Ending(NamedTuple):
    """The end of a stream.

    Attributes:
        message: the last message.
        code: the code with which a WebSocket is closed after it.
    """

    message: Message
    code: int


class StreamClient:
    """The state of one client.

    Attributes:
        subscriptions: what the client follows, by channel and symbol.
    """

    def __init__(self) -> None:
        """Start without subscriptions."""
        self.subscriptions: dict[Key, Subscription] = {}
        self.channels_of_all: dict[str, tuple[int, Decimals]] = {}
        """Channels that the client follows for all markets, including markets listed later, with the depth and decimals of each."""
        self.has_asked = False
        """Whether a request of the client was carried out. Before that it may have no valid key, and gets no data."""
        self._own: deque[Message] = deque()
        self._pending: dict[Key, None] = {}
        self._heartbeat: Message | None = None
        self._waiting_since: float | None = None
        self.ending: Ending | None = None
        """Set once it is decided that the stream ends."""

    @property
    def has_pending(self) -> bool:
        """Whether anything waits to be sent."""
        return bool(self._pending or self._own or self._heartbeat)

    def say(self, message: Message) -> None:
        """Queue a message for this client alone. A client that leaves more than 200 of them unread is ended as slow."""
        self._own.append(message)
        if len(self._own) > OWN_MESSAGES_AT_MOST:
            text = f"more than {OWN_MESSAGES_AT_MOST} answers wait unread; read them, or ask less"
            self.end(slow(text), CloseCode.TRY_AGAIN_LATER)

    def beat(self, heartbeat: Message) -> None:
        """Queue a heartbeat after everything that is pending; it replaces one that was not sent yet."""
        self._heartbeat = heartbeat

    def mark(self, key: Key) -> None:
        """Note that a subscription has something new. A key that the client does not follow is ignored."""
        if key in self.subscriptions:
            self._pending[key] = None

    def add(self, key: Key, subscription: Subscription) -> None:
        """Follow a channel of a market, in place of an earlier subscription with the same key.

        Args:
            key: the channel and the symbol.
            subscription: where the client begins.
        """
        self.subscriptions[key] = subscription
        self._pending.pop(key, None)
        self._pending[key] = None

    def remove(self, key: Key) -> Subscription | None:
        """Stop following a channel of a market.

        Returns:
            The subscription; None if the client did not follow this key.
        """
        self._pending.pop(key, None)
        return self.subscriptions.pop(key, None)

    def take(self, source: Source, most_bytes: int = TAKEN_AT_ONCE_BYTES) -> list[Message]:
        """Return the messages to send next: answers first, then updates in order, then a heartbeat if nothing else is left.

        A heartbeat says up to when everything was delivered, so it must not overtake anything.

        Args:
            source: the read model, for the rows and ages in snapshots.
            most_bytes: no further message is added above this size, so the last one may exceed it.
        """
        messages: list[Message] = []
        size = 0
        while self._own and size < most_bytes:
            messages.append(self._own.popleft())
            size += len(messages[-1].text)
        while self._pending and size < most_bytes:
            key = next(iter(self._pending))
            del self._pending[key]
            news = self.subscriptions[key].take(source)
            messages += news
            size += sum(len(message.text) for message in news)
        if not self._own and not self._pending and self._heartbeat is not None:
            messages.append(self._heartbeat)
            self._heartbeat = None
        return messages

    def note_progress(self, *, took: bool, now: float) -> None:
        """Note whether the client accepts messages.

        Args:
            took: True if it took what there was, False if it was not ready.
            now: the time (monotonic seconds).
        """
        if took:
            self._waiting_since = None
        elif self._waiting_since is None:
            self._waiting_since = now

    def check_speed(self, now: float) -> None:
        """End the stream if the client has accepted nothing for `SLOW_SECONDS`.

        Args:
            now: the time (monotonic seconds).
        """
        if self._waiting_since is not None and now - self._waiting_since >= SLOW_SECONDS:
            text = f"nothing was read for {SLOW_SECONDS:g} s; connect again, and read faster or subscribe to less"
            self.end(slow(text), CloseCode.TRY_AGAIN_LATER)

    def end(self, message: Message, code: int) -> None:
        """Decide that the stream ends; the first decision counts. What is pending is not sent.

        Args:
            message: the last message.
            code: one of `CloseCode`.
        """
        if self.ending is None:
            self.ending = Ending(message, code)

    def positions(self) -> dict[Key, int]:
        """Return the last sequence of each subscription from which the client was sent something."""
        return {key: each.sequence for key, each in self.subscriptions.items() if each.sequence is not None}
