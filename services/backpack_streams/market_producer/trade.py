"""Public trades as Trade records."""

from typing import Any

from backpack_streams.exchange.streams import StreamKind
from backpack_streams.exchange.wire import Decoder, Trade
from backpack_streams.exchange.wire_times import sane_time_us
from backpack_streams.feed.family import WEBSOCKET, Family, Reading

_decode = Decoder(Trade)


def read(data: Any, kind: StreamKind) -> Reading:
    """Read one trade; the trade ids of a market are consecutive."""
    trade = _decode(data)
    engine_time = trade.engine_time
    return Reading(
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


TRADE = Family(
    channel="trade",
    record="Trade",
    read=read,
    topics={None: "market.trade"},
    unknown_fields=lambda: _decode.unknown_fields,
    chained=True,
)
