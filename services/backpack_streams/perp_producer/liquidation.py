"""Public liquidations as Liquidation records."""

from typing import Any

from backpack_streams.exchange.streams import StreamKind
from backpack_streams.exchange.wire import Decoder, Liquidation
from backpack_streams.feed.family import WEBSOCKET, Family, Reading

_decode = Decoder(Liquidation)


def read(data: Any, kind: StreamKind) -> Reading:
    """One liquidation. They have no ids: what is missed while no socket is up can only be told by its bounds in time."""
    message = _decode(data)
    engine_time = message.engine_time
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
    records_outages=True,
    all_markets_in_one=True,
)
