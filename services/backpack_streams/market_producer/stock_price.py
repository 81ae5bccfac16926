"""A data provider's stock quotes as StockPrice records. Their key is the ticker, because a stock is not a market."""

from typing import Any

from backpack_streams.exchange.streams import StreamKind
from backpack_streams.exchange.wire import Decoder, StockPrice
from backpack_streams.exchange.wire_times import micros_of_any_unit, sane_time_us
from backpack_streams.feed.family import WEBSOCKET, Family, Reading

_decode = Decoder(StockPrice)


def read(data: Any, kind: StreamKind) -> Reading:
    """Read one quote, ordered by the provider's time."""
    quote = _decode(data)
    event_time = micros_of_any_unit(quote.timestamp)
    order = sane_time_us(event_time)
    return Reading(
        order,
        order,
        order,
        quote.symbol,
        {
            "symbol": quote.symbol,
            "source": WEBSOCKET,
            "event_time": event_time,
            "engine_time": None,
            "bid": quote.bid,
            "ask": quote.ask,
            "mid": quote.mid,
            "session": quote.session,
        },
    )


STOCK_PRICE = Family(
    channel="stockPrice",
    record="StockPrice",
    read=read,
    topics={None: "market.stock_price"},
    unknown_fields=lambda: _decode.unknown_fields,
)
