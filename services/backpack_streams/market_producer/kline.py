"""Candles as Kline records."""

from typing import Any

from backpack_streams.exchange.streams import StreamKind
from backpack_streams.exchange.wire import Kline
from backpack_streams.exchange.wire_decoding import Decoder
from backpack_streams.exchange.wire_errors import UnreadableMessageError
from backpack_streams.exchange.wire_times import micros_from_iso, sane_time_us
from backpack_streams.feed.stream_spec import Message, StreamSpec
from backpack_streams.publishing.sources import WEBSOCKET

_decode = Decoder(Kline)


def read(data: Any, kind: StreamKind) -> Message:
    """Parse a state of a candle. The event time orders the messages.

    On the wire, `T` is the close time of the candle, so there is no engine time.

    Args:
        data: the JSON text of the message's `data`; start and end are ISO 8601 without a zone (UTC).
        kind: its parameter is the interval, such as `1m`.

    Raises:
        UnreadableMessageError: not JSON, a required field is missing or has an impossible value, or the start or end is
            not a time from 2000 to 2099.
    """
    candle = _decode(data)
    start, end = micros_from_iso(candle.start), micros_from_iso(candle.end)
    if not (sane_time_us(start) and sane_time_us(end)):
        raise UnreadableMessageError(f"no candle goes from {candle.start} to {candle.end}")
    order = sane_time_us(candle.event_time)
    return Message(
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


KLINE = StreamSpec(
    channel="kline",
    record="Kline",
    read=read,
    topics={None: "market.kline"},
    unknown_fields=lambda: _decode.unknown_fields,
    candles=True,
)
