"""Book ticker messages as BookTicker records."""

from typing import Any

from backpack_streams.exchange.streams import StreamKind
from backpack_streams.exchange.wire import BookTicker
from backpack_streams.exchange.wire_decoding import Decoder
from backpack_streams.exchange.wire_times import sane_time_us
from backpack_streams.feed.stream_spec import Message, StreamSpec
from backpack_streams.publishing.sources import WEBSOCKET

_decode = Decoder(BookTicker)


def read(data: Any, kind: StreamKind) -> Message:
    """Parse a change of the best bid or ask. The id of the depth update that caused it orders the messages.

    Args:
        data: the JSON text of the message's `data`. A side that is empty has null as price and quantity.
        kind: not used.

    Returns:
        The message; its time is the engine time, or else the event time (µs since the Unix epoch).

    Raises:
        UnreadableMessageError: not JSON, or a required field is missing or has an impossible value.
    """
    message = _decode(data)
    engine_time = message.engine_time
    return Message(
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


BOOK_TICKER = StreamSpec(
    channel="bookTicker",
    record="BookTicker",
    read=read,
    topics={None: "market.book_ticker"},
    unknown_fields=lambda: _decode.unknown_fields,
)
