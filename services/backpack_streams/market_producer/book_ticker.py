"""Book ticker messages as BookTicker records."""

from typing import Any

from backpack_streams.exchange.streams import StreamKind
from backpack_streams.exchange.wire import BookTicker, Decoder
from backpack_streams.exchange.wire_times import sane_time_us
from backpack_streams.feed.family import WEBSOCKET, Family, Reading

_decode = Decoder(BookTicker)


def read(data: Any, kind: StreamKind) -> Reading:
    """Read one change of the best bid or ask, ordered by the depth update that caused it."""
    message = _decode(data)
    engine_time = message.engine_time
    return Reading(
        message.update_id,
        message.update_id,
        sane_time_us(engine_time, message.event_time),
        message.symbol,
        {
            "symbol": message.symbol,
            "source": WEBSOCKET,
            "event_time": message.event_time,
            "engine_time": engine_time,
            "update_id": message.update_id,
            "bid_price": message.bid_price,
            "bid_quantity": message.bid_quantity,
            "ask_price": message.ask_price,
            "ask_quantity": message.ask_quantity,
        },
    )


BOOK_TICKER = Family(
    channel="bookTicker",
    record="BookTicker",
    read=read,
    topics={None: "market.book_ticker"},
    unknown_fields=lambda: _decode.unknown_fields,
)
