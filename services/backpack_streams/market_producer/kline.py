"""Candles as Kline records."""

from typing import Any

from backpack_streams.exchange.streams import StreamKind
from backpack_streams.exchange.wire import Decoder, Kline, UnreadableMessageError
from backpack_streams.exchange.wire_times import micros_from_iso, sane_time_us
from backpack_streams.feed.family import WEBSOCKET, Family, Reading

_decode = Decoder(Kline)


def read(data: Any, kind: StreamKind) -> Reading:
    """Read one state of a candle, ordered by its event time. On the wire `T` is the close time, so there is no engine time."""
    candle = _decode(data)
    start, end = micros_from_iso(candle.start), micros_from_iso(candle.end)
    if not (sane_time_us(start) and sane_time_us(end)):
        raise UnreadableMessageError(f"no candle goes from {candle.start} to {candle.end}")
    order = sane_time_us(candle.event_time)
    return Reading(
        order,
        order,
        order,
        candle.symbol,
        {
            "symbol": candle.symbol,
            "source": WEBSOCKET,
            "event_time": candle.event_time,
            "engine_time": None,
            "interval": kind.parameter or "",
            "start_time": start,
            "end_time": end,
            "open": candle.open,
            "high": candle.high,
            "low": candle.low,
            "close": candle.close,
            "base_volume": candle.base_volume,
            "quote_volume": None,
            "trades": candle.trades,
            "is_closed": candle.is_closed,
        },
    )


KLINE = Family(
    channel="kline",
    record="Kline",
    read=read,
    topics={None: "market.kline"},
    unknown_fields=lambda: _decode.unknown_fields,
    candles=True,
)
