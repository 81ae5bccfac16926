"""Depth frames as DepthUpdate records."""

from typing import Any

from backpack_streams.bus.codec import Encoder
from backpack_streams.bus.quick_depth import quick_depth_encoder
from backpack_streams.exchange.streams import StreamKind
from backpack_streams.exchange.wire import Decoder, Depth
from backpack_streams.exchange.wire_times import EARLIEST_US, LATEST_US, sane_time_us
from backpack_streams.feed.family import DECIMALS, WEBSOCKET, Family, Reading, RowEncoder

_decode = Decoder(Depth)


def read(data: Any, kind: StreamKind) -> Reading:
    """Read one depth frame; its ids are the update ids that it covers. The frame itself is the row: `encoder` takes it unchanged."""
    frame = _decode(data)
    engine_time = frame.engine_time
    time_us = frame.event_time if engine_time is None else engine_time
    if not EARLIEST_US <= time_us < LATEST_US:
        time_us = sane_time_us(frame.event_time)
    return Reading(frame.first_update_id, frame.last_update_id, time_us, frame.symbol, frame)


def row(frame: Depth, received_us: int) -> dict[str, Any]:
    """Return the DepthUpdate record of a frame received at `received_us` (µs since the Unix epoch)."""
    number = DECIMALS
    return {
        "symbol": frame.symbol,
        "source": WEBSOCKET,
        "event_time": frame.event_time,
        "engine_time": frame.engine_time,
        "received_time": received_us,
        "first_update_id": frame.first_update_id,
        "last_update_id": frame.last_update_id,
        "bids": [{"price": number[price], "quantity": number[quantity]} for price, quantity in frame.bids or ()],
        "asks": [{"price": number[price], "quantity": number[quantity]} for price, quantity in frame.asks or ()],
    }


def encoder(engine: Encoder) -> RowEncoder:
    """Return an encoder that writes bytes directly; with a newer schema, one that uses the schema's engine."""
    return quick_depth_encoder(engine, WEBSOCKET) or (lambda frame, received_us: engine(row(frame, received_us)))


DEPTH = Family(
    channel="depth",
    record="DepthUpdate",
    read=read,
    encoder=encoder,
    topics={
        None: "market.depth",
        "200ms": "market.depth_200ms",
        "600ms": "market.depth_600ms",
        "1000ms": "market.depth_1000ms",
    },
    unknown_fields=lambda: _decode.unknown_fields,
    chained=True,
)
