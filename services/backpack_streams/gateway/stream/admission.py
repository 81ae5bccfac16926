"""Checks whether another stream may be opened, and ends a stream when its key is revoked."""

from collections.abc import Callable
from http import HTTPStatus

from backpack_streams.gateway.errors import UnavailableError
from backpack_streams.gateway.key_ring import Caller
from backpack_streams.gateway.stream.broadcast import Broadcast
from backpack_streams.gateway.stream.client import CloseCode, StreamClient
from backpack_streams.gateway.stream.messages import error

__all__ = ["check_room", "end_with_key"]


def check_room(streams: int, most: int) -> None:
    """Check that one more stream may be opened.

    Args:
        streams: how many are open.
        most: how many may be.

    Raises:
        UnavailableError: as many streams are open as may be.
    """
    if streams >= most:
        raise UnavailableError(f"{most} streams are open, which is all; try again later", retry_after_seconds=5)


def end_with_key(broadcast: Broadcast, client: StreamClient, caller: Caller) -> Callable[[], None]:
    """End the client's stream once its key is revoked.

    Args:
        broadcast: the streams.
        client: the client.
        caller: the owner of its key.

    Returns:
        A function to call when the client has left.
    """
    gone = error(None, HTTPStatus.UNAUTHORIZED, "the key has been revoked; connect again with a valid one")
    return caller.follow_end(lambda: broadcast.end(client, gone, CloseCode.KEY_REFUSED))
