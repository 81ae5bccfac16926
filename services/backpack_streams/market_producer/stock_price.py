"""A data provider's stock quotes as StockPrice records. Their key is the ticker, because a stock is not a market."""

from typing import Any

from backpack_streams.exchange.streams import StreamKind
from backpack_streams.exchange.wire import StockPrice
from backpack_streams.exchange.wire_decoding import Decoder
from backpack_streams.exchange.wire_times import micros_of_any_unit, sane_time_us
from backpack_streams.feed.stream_spec import Message, StreamSpec
from backpack_streams.publishing.sources import WEBSOCKET

_decode = Decoder(StockPrice)


def read(data: Any, kind: StreamKind) -> Message:
    """Parse a quote of a stock. The provider's time orders the messages.

    Args:
        data: the JSON text of the message's `data`. The exchange's documentation does not state the unit of its time: see
            `micros_of_any_unit`. Bid, ask and session are null outside trading hours.
        kind: not used.

    Raises:
        UnreadableMessageError: not JSON, or a required field is missing or has an impossible value.
    """
    quote = _decode(data)
    event_time = micros_of_any_unit(quote.timestamp)
    order = sane_time_us(event_time)
    return Message(
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


STOCK_PRICE = StreamSpec(
    channel="stockPrice",
    record="StockPrice",
    read=read,
    topics={None: "market.stock_price"},
    unknown_fields=lambda: _decode.unknown_fields,
)
