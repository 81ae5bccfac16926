"""What the messages of all account streams share."""

from typing import Any

from backpack_streams.exchange.account_wire import BalanceUpdate, OrderUpdate, PositionUpdate, RfqUpdate
from backpack_streams.exchange.wire_times import sane_time_us
from backpack_streams.feed.stream_spec import Message
from backpack_streams.publishing.sources import WEBSOCKET

AccountUpdate = OrderUpdate | PositionUpdate | RfqUpdate | BalanceUpdate


def message_of(message: AccountUpdate, key: str | None, extra_fields: str | None, **fields: Any) -> Message:
    """Return the `Message` of an account update.

    Account streams have no ids, so the engine time, or else the event time, orders the messages. It is 0 if neither is
    plausible.

    Args:
        message: the parsed update; its times are microseconds since the Unix epoch.
        key: the Kafka key; None becomes an empty key.
        extra_fields: a JSON object of the fields that the parser does not know; None if there are none.
        fields: the fields of the record that are specific to the channel.
    """
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
    return Message(time_us, time_us, time_us, key or "", row)
