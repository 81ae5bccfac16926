"""Open interest as OpenInterest records."""

from typing import Any

from backpack_streams.exchange.streams import StreamKind
from backpack_streams.exchange.wire import OpenInterest
from backpack_streams.exchange.wire_decoding import Decoder
from backpack_streams.exchange.wire_times import sane_time_us
from backpack_streams.feed.stream_spec import Message, StreamSpec
from backpack_streams.publishing.sources import WEBSOCKET

_decode = Decoder(OpenInterest)


def read(data: Any, kind: StreamKind) -> Message:
    """Parse an open interest, which the exchange sends every 60 s. The event time, or else the engine time, orders the messages.

    Args:
        data: the JSON text of the message's `data`.
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
            "open_interest": message.open_interest,
            "cache_age_seconds": None,
        },
    )


OPEN_INTEREST = StreamSpec(
    channel="openInterest",
    record="OpenInterest",
    read=read,
    topics={None: "perp.open_interest"},
    unknown_fields=lambda: _decode.unknown_fields,
    max_silence_seconds=180,  # sent every 60 s
)
