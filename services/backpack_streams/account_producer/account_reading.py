"""What the messages of all account streams have in common."""

from typing import Any

from backpack_streams.exchange.account_wire import BalanceUpdate, OrderUpdate, PositionUpdate, RfqUpdate
from backpack_streams.exchange.wire_times import sane_time_us
from backpack_streams.feed.family import WEBSOCKET, Reading

Message = OrderUpdate | PositionUpdate | RfqUpdate | BalanceUpdate


def reading_of(message: Message, key: str | None, extra_fields: str | None, **fields: Any) -> Reading:
    """Make the reading of one message. Account streams have no ids, so times order them; time 0: no usable time was given."""
    event_time, engine_time = message.event_time, message.engine_time
    time_us = sane_time_us(engine_time, event_time)
    row = {
        "source": WEBSOCKET,
        "event_time": event_time,
        "engine_time": engine_time,
        "event_type": message.event,
        "extra_fields": extra_fields,
        **fields,
    }
    return Reading(time_us, time_us, time_us, key or "", row)
