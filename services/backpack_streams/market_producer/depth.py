"""Depth frames as DepthUpdate records."""

from typing import Any

from backpack_streams.bus.codec import Encoder
from backpack_streams.bus.quick_depth import quick_depth_encoder
from backpack_streams.exchange.streams import StreamKind
from backpack_streams.exchange.wire import Depth
from backpack_streams.exchange.wire_decoding import Decoder
from backpack_streams.exchange.wire_times import EARLIEST_US, LATEST_US, sane_time_us
from backpack_streams.feed.stream_spec import DECIMALS, Message, RowEncoder, StreamSpec
from backpack_streams.publishing.sources import WEBSOCKET

_decode = Decoder(Depth)


def read(data: Any, kind: StreamKind) -> Message:
    """Parse a depth frame. Its ids are the first and last update ids that it covers (`U` and `u`).

    The frame itself is the row, which `encoder` accepts unchanged.

    Args:
        data: the JSON text of the message's `data`.
        kind: not used; a stream with a window has the same messages.

    Returns:
        The message; its time is the engine time, or else the event time (µs since the Unix epoch).

    Raises:
        UnreadableMessageError: not JSON, or a required field is missing or has an impossible value.
    """
    frame = _decode(data)
    engine_time = frame.engine_time
    time_us = frame.event_time if engine_time is None else engine_time
    if not EARLIEST_US <= time_us < LATEST_US:
        time_us = sane_time_us(frame.event_time)
    return Message(frame.first_update_id, frame.last_update_id, time_us, frame.symbol, frame)


def row(frame: Depth, received_us: int) -> dict[str, Any]:
    """Return the DepthUpdate record of a frame.

    Args:
        frame: the frame; its quantities are absolute, and 0 deletes a level.
        received_us: when it was received (µs since the Unix epoch).

    Raises:
        DecimalDoesNotFit: a price or quantity is not a decimal, or has too many digits.
    """
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
    """Return the encoder of depth frames: one that writes the bytes directly, if the schema is the one that it knows.

    Args:
        engine: the encoder of the schema, which is used for any other schema.
    """
    return quick_depth_encoder(engine, WEBSOCKET) or (lambda frame, received_us: engine(row(frame, received_us)))


DEPTH = StreamSpec(
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
    sequenced=True,
)
