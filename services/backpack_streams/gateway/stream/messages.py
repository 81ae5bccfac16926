"""The messages that the server sends on a stream: JSON, encoded once and framed once for all clients that receive it."""

from collections.abc import Mapping
from typing import Any, Final

from backpack_streams.gateway.json_text import Decimals, encode

__all__ = ["Message", "conflated", "error", "heartbeat", "resumed", "row_snapshot", "row_update", "slow", "subscribed"]

_FINAL_TEXT: Final = 0x81
"""First byte of a WebSocket frame that is a whole text message (RFC 6455, 5.2)."""
_SHORT: Final = 126
_MEDIUM: Final = 1 << 16


class Message:
    """One message.

    Attributes:
        kind: its `type`, which is also the name of the server-sent event.
        text: the JSON text.
    """

    __slots__ = ("_frame", "kind", "text")

    def __init__(self, kind: str, text: bytes) -> None:
        """Store a message that is encoded already.

        Args:
            kind: its `type`.
            text: the JSON text, without line breaks.
        """
        self.kind = kind
        self.text = text
        self._frame: bytes | None = None

    @property
    def frame(self) -> bytes:
        """The message as a WebSocket frame. A server does not mask (RFC 6455, 5.1), so every client gets the same bytes."""
        if self._frame is None:
            self._frame = _head(len(self.text)) + self.text
        return self._frame

    @property
    def event(self) -> bytes:
        """The message as a server-sent event (WHATWG HTML, 9.2.6). JSON has no line breaks."""
        return b"event: %b\ndata: %b\n\n" % (self.kind.encode(), self.text)


def subscribed(request_id: Any, op: str, channels: list[str], symbols: list[str] | str) -> Message:
    """Return the answer to a request: `subscribed` or `unsubscribed`.

    Args:
        request_id: the `id` of the request, repeated as it is.
        op: `subscribe` or `unsubscribe`.
        channels: the channels of the request.
        symbols: the markets of the request, or `all`.
    """
    return _message(f"{op}d", id=request_id, channels=channels, symbols=symbols)


def resumed(channel: str, symbol: str, sequence: int | None) -> Message:
    """Return the message that says that updates continue where the client stopped, without a snapshot.

    Args:
        channel: the channel.
        symbol: the market.
        sequence: the last sequence that the client has.
    """
    return _message("resumed", channel=channel, symbol=symbol, sequence=sequence)


def conflated(channel: str, symbol: str, dropped: int | None) -> Message:
    """Return the message that says that rows are missing.

    Args:
        channel: the channel.
        symbol: the market.
        dropped: how many rows are missing; None if unknown.
    """
    return _message("conflated", channel=channel, symbol=symbol, dropped=dropped)


def slow(message: str) -> Message:
    """Return the last message to a client that does not read; `message` is the reason and the advice."""
    return _message("slow", message=message)


def error(request_id: Any, status: int, message: str, retry_after: int | None = None) -> Message:
    """Return the message that says what is wrong with a request, or why the stream ends.

    Args:
        request_id: the `id` of the request; None if there is none.
        status: the status code that HTTP has for this error.
        message: what is wrong, and what to do about it.
        retry_after: seconds after which another attempt makes sense; None if unknown.
    """
    more = {} if retry_after is None else {"retry_after": retry_after}
    return _message("error", id=request_id, status=status, message=message, **more)


def heartbeat(timestamp: int, complete_through: Mapping[str, int | None]) -> Message:
    """Return the message that says up to when each topic has been delivered completely.

    Args:
        timestamp: the time of the heartbeat (µs since the Unix epoch).
        complete_through: the time (µs since the Unix epoch) by topic, without prefix; None while it is unknown.
    """
    return _message("heartbeat", timestamp=timestamp, complete_through=dict(complete_through))


def row_snapshot(channel: str, symbol: str, sequence: int | None, data: Any, decimals: Decimals) -> Message:
    """Return the message with the newest rows of a channel, or with its newest row.

    Args:
        channel: the channel; not `book`, whose snapshots `BookView` makes.
        symbol: the market.
        sequence: the highest sequence in the snapshot; None if there is none.
        data: a list of rows, newest first, one row, or None.
        decimals: how prices and quantities are written.
    """
    fields = {"type": "snapshot", "channel": channel, "symbol": symbol, "sequence": sequence, "data": data}
    return Message("snapshot", encode(fields, decimals))


def row_update(channel: str, symbol: str, sequence: int, row: Mapping[str, Any], decimals: Decimals) -> Message:
    """Return the message with one new row.

    Args:
        channel: the channel; not `book`.
        symbol: the market.
        sequence: the offset of the row's record in Kafka.
        row: the row as in the REST answer.
        decimals: how prices and quantities are written.
    """
    fields = {"type": "update", "channel": channel, "symbol": symbol, "sequence": sequence, "data": row}
    return Message("update", encode(fields, decimals))


def _message(kind: str, **fields: Any) -> Message:
    return Message(kind, encode({"type": kind, **fields}))


def _head(length: int) -> bytes:
    if length < _SHORT:
        return bytes((_FINAL_TEXT, length))
    if length < _MEDIUM:
        return bytes((_FINAL_TEXT, 126)) + length.to_bytes(2, "big")
    return bytes((_FINAL_TEXT, 127)) + length.to_bytes(8, "big")
