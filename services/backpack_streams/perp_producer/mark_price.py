"""Mark prices, with the funding rate of the interval in progress, as MarkPrice records."""

from typing import Any

from backpack_streams.exchange.streams import StreamKind
from backpack_streams.exchange.wire import MarkPrice
from backpack_streams.exchange.wire_decoding import Decoder
from backpack_streams.exchange.wire_times import sane_time_us
from backpack_streams.feed.stream_spec import Message, StreamSpec
from backpack_streams.publishing.sources import WEBSOCKET

_decode = Decoder(MarkPrice)


def read(data: Any, kind: StreamKind) -> Message:
    """Parse a mark price. The event time, or else the engine time, orders the messages.

    Args:
        data: the JSON text of the message's `data`. The next funding time is in milliseconds there, and in microseconds
            since the Unix epoch in the record. Markets without funding lack it, the funding rate and the index price.
        kind: not used.

    Raises:
        UnreadableMessageError: not JSON, or a required field is missing or has an impossible value.
    """
    message = _decode(data)
    engine_time = message.engine_time
    order = sane_time_us(message.event_time, engine_time)
    next_funding_ms = message.next_funding_time_ms
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
            "mark_price": message.mark_price,
            "index_price": message.index_price,
            "funding_rate": message.funding_rate,
            "next_funding_time": None if next_funding_ms is None else next_funding_ms * 1000,
            "cache_age_seconds": None,
        },
    )


MARK_PRICE = StreamSpec(
    channel="markPrice",
    record="MarkPrice",
    read=read,
    topics={None: "perp.mark_price"},
    unknown_fields=lambda: _decode.unknown_fields,
    max_silence_seconds=30,  # sent once a second even if nothing changed
)
