"""The account's private streams as records: events of orders and positions, requests for quote, balances.

A record has the fields of its parsed message (`exchange/account_wire.py`) under the same names; prices and quantities stay text, exactly as
sent. Account streams have no ids, so the engine time, or else the event time, orders the messages; it is 0 if neither is plausible.
"""

from collections.abc import Callable
from typing import Any, Final, TypeVar

from msgspec.structs import asdict

from backpack_streams.exchange.account_wire import AccountDecoder, BalanceUpdate, OrderUpdate, PositionUpdate, RfqUpdate
from backpack_streams.exchange.streams import StreamKind
from backpack_streams.exchange.wire_times import sane_time_us
from backpack_streams.feed.stream_spec import Message, StreamSpec
from backpack_streams.publishing.sources import WEBSOCKET

__all__ = ["BALANCE_UPDATE", "ORDER_UPDATE", "POSITION_UPDATE", "RFQ_UPDATE"]

Update = TypeVar("Update", OrderUpdate, PositionUpdate, RfqUpdate, BalanceUpdate)


Row = dict[str, Any]


def _spec(kind: type[Update], channel: str, topic: str, key: str, adapt: Callable[[Row], None]) -> StreamSpec:
    """Return how one private stream becomes records.

    Args:
        kind: the type of the parsed message, whose name is the record's.
        channel: the channel's name on the exchange.
        topic: the topic, without prefix.
        key: the field with the Kafka key, which is an empty text if the message lacks it.
        adapt: changes the fields that differ between message and record.
    """
    decode = AccountDecoder(kind)

    def read(data: Any, kind: StreamKind) -> Message:
        """Parse one message.

        Args:
            data: the JSON text of the message's `data`.
            kind: not used.

        Raises:
            UnreadableMessageError: not a JSON object, or a known field has an impossible value.
        """
        message, extra_fields = decode(data)
        row = asdict(message)
        row["source"], row["event_type"], row["extra_fields"] = WEBSOCKET, row.pop("event"), extra_fields
        row[key] = row[key] or ""
        adapt(row)
        time_us = sane_time_us(message.engine_time, message.event_time)
        return Message(time_us, time_us, time_us, row[key], row)

    return StreamSpec(
        channel=channel,
        record=kind.__name__,
        read=read,
        topics={None: topic},
        unknown_fields=lambda: decode.unknown_fields,
        every_message_counts=True,
        all_markets_in_one=True,
    )


def _as_it_is(row: Row) -> None:
    """Change nothing: the record has all fields of the message."""


def _adapt_position(row: Row) -> None:
    # Without an event type it repeats the state of an open position after a subscription.
    row["is_snapshot"] = row["event_type"] is None


def _adapt_rfq(row: Row) -> None:
    row["submission_time"] = _micros(row.pop("submission_time_ms"))
    row["expiry_time"] = _micros(row.pop("expiry_time_ms"))


def _micros(millis: int | None) -> int | None:
    return None if millis is None else millis * 1000


ORDER_UPDATE: Final = _spec(OrderUpdate, "account.orderUpdate", "account.order", "symbol", _as_it_is)
POSITION_UPDATE: Final = _spec(PositionUpdate, "account.positionUpdate", "account.position", "symbol", _adapt_position)
RFQ_UPDATE: Final = _spec(RfqUpdate, "account.rfqUpdate", "account.rfq", "symbol", _adapt_rfq)
BALANCE_UPDATE: Final = _spec(BalanceUpdate, "account.balanceUpdate", "account.balance", "asset", _as_it_is)
