"""Depth frames as DepthUpdate records."""

from typing import Any

from backpack_streams.exchange.streams import StreamKind
from backpack_streams.exchange.wire import Decoder, Depth
from backpack_streams.feed.family import DECIMALS, WEBSOCKET, Family, Reading

_decode = Decoder(Depth)


def read(data: Any, kind: StreamKind) -> Reading:
    """One depth frame; its ids are the update ids it covers."""
    frame = _decode(data)
    engine_time = frame.engine_time
    number = DECIMALS
    return Reading(
        frame.first_update_id,
        frame.last_update_id,
        frame.event_time if engine_time is None else engine_time,
        frame.symbol,
        {
            "symbol": frame.symbol,
            "source": WEBSOCKET,
            "event_time": frame.event_time,
            "engine_time": engine_time,
            "first_update_id": frame.first_update_id,
            "last_update_id": frame.last_update_id,
            "bids": [{"price": number[price], "quantity": number[quantity]} for price, quantity in frame.bids or ()],
            "asks": [{"price": number[price], "quantity": number[quantity]} for price, quantity in frame.asks or ()],
        },
    )


DEPTH = Family(
    channel="depth",
    record="DepthUpdate",
    read=read,
    topics={
        None: "market.depth",
        "200ms": "market.depth_200ms",
        "600ms": "market.depth_600ms",
        "1000ms": "market.depth_1000ms",
    },
    unknown_fields=lambda: _decode.unknown_fields,
    chained=True,
)
