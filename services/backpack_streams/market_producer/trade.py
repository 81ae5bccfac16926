"""Public trades as Trade records."""

from typing import Any

from backpack_streams.exchange.streams import StreamKind
from backpack_streams.exchange.wire import Trade
from backpack_streams.exchange.wire_decoding import Decoder
from backpack_streams.exchange.wire_times import sane_time_us
from backpack_streams.feed.stream_spec import Message, StreamSpec
from backpack_streams.publishing.sources import WEBSOCKET

_decode = Decoder(Trade)


def read(data: Any, kind: StreamKind) -> Message:
    """Parse a trade. The trade ids of a market are consecutive, so a missing id is a lost trade.

    Args:
        data: the JSON text of the message's `data`.
        kind: not used.

    Returns:
        The message; its time is the engine time, or else the event time (µs since the Unix epoch).

    Raises:
        UnreadableMessageError: not JSON, or a required field is missing or has an impossible value.
    """
    trade = _decode(data)
    engine_time = trade.engine_time
    return Message(
        trade.trade_id,
        trade.trade_id,
        sane_time_us(engine_time, trade.event_time),
        trade.symbol,
        {
            "symbol": trade.symbol,
            "source": WEBSOCKET,
            "event_time": trade.event_time,
            "engine_time": engine_time,
            "trade_id": trade.trade_id,
            "price": trade.price,
            "quantity": trade.quantity,
            "quote_quantity": None,
            "buyer_order_id": trade.buyer_order_id,
            "seller_order_id": trade.seller_order_id,
            "is_buyer_maker": trade.is_buyer_maker,
        },
    )


TRADE = StreamSpec(
    channel="trade",
    record="Trade",
    read=read,
    topics={None: "market.trade"},
    unknown_fields=lambda: _decode.unknown_fields,
    sequenced=True,
)
