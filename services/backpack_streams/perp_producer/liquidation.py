"""Public liquidations as Liquidation records."""

from typing import Any

from backpack_streams.exchange.streams import StreamKind
from backpack_streams.exchange.wire import Decoder, Liquidation
from backpack_streams.exchange.wire_times import sane_time_us
from backpack_streams.feed.family import WEBSOCKET, Family, Reading

_decode = Decoder(Liquidation)


def read(data: Any, kind: StreamKind) -> Reading:
    """Read one liquidation. Liquidations have no ids, so a gap can only be bounded in time."""
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
            "side": message.side,
            "price": message.price,
            "quantity": message.quantity,
        },
    )


LIQUIDATION = Family(
    channel="liquidation",
    record="Liquidation",
    read=read,
    topics={None: "perp.liquidation"},
    unknown_fields=lambda: _decode.unknown_fields,
    every_message_counts=True,
    all_markets_in_one=True,
)
