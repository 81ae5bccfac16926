"""Public liquidations as Liquidation records."""

from typing import Any

from backpack_streams.exchange.streams import StreamKind
from backpack_streams.exchange.wire import Liquidation
from backpack_streams.exchange.wire_decoding import Decoder
from backpack_streams.exchange.wire_times import sane_time_us
from backpack_streams.feed.stream_spec import Message, StreamSpec
from backpack_streams.publishing.sources import WEBSOCKET

_decode = Decoder(Liquidation)


def read(data: Any, kind: StreamKind) -> Message:
    """Parse a liquidation. It has no id, so a gap can only be bounded in time: the event time orders the messages.

    Args:
        data: the JSON text of the message's `data`; price and quantity stay text, exactly as sent.
        kind: not used.

    Raises:
        UnreadableMessageError: not JSON, or a required field is missing or has an impossible value.
    """
    message = _decode(data)
    engine_time = message.engine_time
    order = sane_time_us(message.event_time, engine_time)
    return Message(
        order,
        order,
        sane_time_us(engine_time, message.event_time),
        message.symbol,
        {
            "symbol": message.symbol,
            "source": WEBSOCKET,
            "event_time": message.event_time,
            "engine_time": engine_time,
            "side": message.side,
            "price": message.price,
            "quantity": message.quantity,
        },
    )


LIQUIDATION = StreamSpec(
    channel="liquidation",
    record="Liquidation",
    read=read,
    topics={None: "perp.liquidation"},
    unknown_fields=lambda: _decode.unknown_fields,
    every_message_counts=True,
    all_markets_in_one=True,
)
