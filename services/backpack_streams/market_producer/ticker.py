"""Rolling 24-hour statistics as Ticker records."""

from typing import Any

from backpack_streams.exchange.streams import StreamKind
from backpack_streams.exchange.wire import Decoder, Ticker
from backpack_streams.exchange.wire_times import sane_time_us
from backpack_streams.feed.family import WEBSOCKET, Family, Reading

_decode = Decoder(Ticker)


def read(data: Any, kind: StreamKind) -> Reading:
    """Read one ticker. Fields that only REST provides are null."""
    return reading_of(_decode(data), price_change=None, price_change_percent=None, cache_age_seconds=None)


def reading_of(ticker: Ticker, **more: Any) -> Reading:
    """Make the reading of a ticker, ordered by its event time; `more` are further fields of its record."""
    engine_time = ticker.engine_time
    order = sane_time_us(ticker.event_time, engine_time)
    return Reading(
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


TICKER = Family(
    channel="ticker",
    record="Ticker",
    read=read,
    topics={None: "market.ticker"},
    unknown_fields=lambda: _decode.unknown_fields,
    max_silence_seconds=30,  # sent once a second even if nothing changed
)
