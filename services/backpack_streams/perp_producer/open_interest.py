"""Open interest as OpenInterest records."""

from typing import Any

from backpack_streams.exchange.streams import StreamKind
from backpack_streams.exchange.wire import Decoder, OpenInterest
from backpack_streams.exchange.wire_times import sane_time_us
from backpack_streams.feed.family import WEBSOCKET, Family, Reading

_decode = Decoder(OpenInterest)


def read(data: Any, kind: StreamKind) -> Reading:
    """Read one value, ordered by its event time."""
    message = _decode(data)
    engine_time = message.engine_time
    order = sane_time_us(message.event_time, engine_time)
    return Reading(
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


OPEN_INTEREST = Family(
    channel="openInterest",
    record="OpenInterest",
    read=read,
    topics={None: "perp.open_interest"},
    unknown_fields=lambda: _decode.unknown_fields,
    max_silence_seconds=180,  # sent every 60 s
)
