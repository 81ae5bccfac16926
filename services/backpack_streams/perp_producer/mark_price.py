"""Mark prices, with the funding rate of the interval in progress, as MarkPrice records."""

from typing import Any

from backpack_streams.bus.decimals import RATE_SCALE, DecimalBytes
from backpack_streams.exchange.streams import StreamKind
from backpack_streams.exchange.wire import Decoder, MarkPrice
from backpack_streams.feed.family import DECIMALS, WEBSOCKET, Family, Reading, optional_decimal

RATES = DecimalBytes(RATE_SCALE)
_decode = Decoder(MarkPrice)


def read(data: Any, kind: StreamKind) -> Reading:
    """One mark price, ordered by its event time; the wire gives the next funding time in milliseconds."""
    message = _decode(data)
    engine_time = message.engine_time
    rate, next_funding_ms = message.funding_rate, message.next_funding_time_ms
    return Reading(
        message.event_time,
        message.event_time,
        message.event_time if engine_time is None else engine_time,
        message.symbol,
        {
            "symbol": message.symbol,
            "source": WEBSOCKET,
            "event_time": message.event_time,
            "engine_time": engine_time,
            "mark_price": DECIMALS[message.mark_price],
            "index_price": optional_decimal(message.index_price),
            "funding_rate": None if rate is None else RATES[rate],
            "next_funding_time": None if next_funding_ms is None else next_funding_ms * 1000,
            "cache_age_seconds": None,
        },
    )


MARK_PRICE = Family(
    channel="markPrice",
    record="MarkPrice",
    read=read,
    topics={None: "perp.mark_price"},
    unknown_fields=lambda: _decode.unknown_fields,
    conflated=True,
    max_silence_seconds=30,  # sent once a second even if nothing changed
)
