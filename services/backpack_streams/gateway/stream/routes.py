"""The routes of `/v1/stream`: one path for both kinds of stream."""

from collections.abc import Iterable
from typing import Final

from starlette.routing import BaseRoute, Route, WebSocketRoute

from backpack_streams.gateway.cross_origin import CrossOrigin
from backpack_streams.gateway.gate import Gate
from backpack_streams.gateway.stream.broadcast import Broadcast
from backpack_streams.gateway.stream.server_sent import EventStream
from backpack_streams.gateway.stream.websocket import WebSocketStream

__all__ = ["STREAM_PATH", "stream_routes"]

STREAM_PATH: Final = "/v1/stream"


def stream_routes(
    broadcast: Broadcast, gate: Gate, cross_origin: CrossOrigin, max_streams: int, intervals: Iterable[str]
) -> list[BaseRoute]:
    """Return the routes for server-sent events and for WebSockets, which share one path.

    Args:
        broadcast: all streams.
        gate: checks the keys.
        cross_origin: the sites whose pages may open a WebSocket.
        max_streams: how many streams may be open at the same time, of both kinds together.
        intervals: the known intervals of candles, such as `1m`.
    """
    kinds = tuple(intervals)
    return [
        Route(STREAM_PATH, EventStream(broadcast, gate, max_streams, kinds), methods=["GET"], name=STREAM_PATH),
        WebSocketRoute(STREAM_PATH, WebSocketStream(broadcast, gate, cross_origin, max_streams, kinds)),
    ]
