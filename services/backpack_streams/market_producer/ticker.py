"""Rolling 24-hour statistics as Ticker records."""

from typing import Any

from backpack_streams.exchange.streams import StreamKind
from backpack_streams.exchange.wire import Ticker
from backpack_streams.exchange.wire_decoding import Decoder
from backpack_streams.exchange.wire_times import sane_time_us
from backpack_streams.feed.stream_spec import Message, StreamSpec
from backpack_streams.publishing.sources import WEBSOCKET

_decode = Decoder(Ticker)


def read(data: Any, kind: StreamKind) -> Message:
    """Parse a ticker: statistics of the last 24 hours, sent once a second. Fields that only REST provides are null.

    Args:
        data: the JSON text of the message's `data`.
        kind: not used.

    Raises:
        UnreadableMessageError: not JSON, or a required field is missing or has an impossible value.
    """
    return message_of(_decode(data), price_change=None, price_change_percent=None, cache_age_seconds=None)


def message_of(ticker: Ticker, **more: Any) -> Message:
    """Return the message of a ticker. The event time, or else the engine time, orders the messages.

    Args:
        ticker: the parsed ticker; times are microseconds since the Unix epoch, prices and volumes text as sent.
        more: further fields of the record.
    """
    engine_time = ticker.engine_time
    order = sane_time_us(ticker.event_time, engine_time)
    return Message(
        order,
        order,
        sane_time_us(engine_time, ticker.event_time),
        ticker.symbol,
        {
            "symbol": ticker.symbol,
            "source": WEBSOCKET,
            "event_time": ticker.event_time,
            "engine_time": engine_time,
            "first_price": ticker.first_price,
            "last_price": ticker.last_price,
            "high": ticker.high,
            "low": ticker.low,
            "base_volume": ticker.base_volume,
            "quote_volume": ticker.quote_volume,
            "trades": ticker.trades,
            **more,
        },
    )


TICKER = StreamSpec(
    channel="ticker",
    record="Ticker",
    read=read,
    topics={None: "market.ticker"},
    unknown_fields=lambda: _decode.unknown_fields,
    max_silence_seconds=30,  # sent once a second even if nothing changed
)
