"""The account's futures positions as PositionUpdate records."""

from typing import Any

from backpack_streams.account_producer.account_message import message_of
from backpack_streams.exchange.account_wire import AccountDecoder, PositionUpdate
from backpack_streams.exchange.streams import StreamKind
from backpack_streams.feed.stream_spec import Message, StreamSpec

_decode = AccountDecoder(PositionUpdate)


def read(data: Any, kind: StreamKind) -> Message:
    """Parse an event of a position. The Kafka key is the market.

    A message without an event type repeats the state of an open position after a subscription; `is_snapshot` is true then.

    Args:
        data: the JSON text of the message's `data`.
        kind: not used.

    Raises:
        UnreadableMessageError: not a JSON object, or a known field has an impossible value.
    """
    message, extra_fields = _decode(data)
    return message_of(
        message,
        message.symbol,
        extra_fields,
        symbol=message.symbol or "",
        is_snapshot=message.event is None,
        position_id=message.position_id,
        net_quantity=message.net_quantity,
        exposure_quantity=message.exposure_quantity,
        exposure_notional=message.exposure_notional,
        entry_price=message.entry_price,
        break_even_price=message.break_even_price,
        mark_price=message.mark_price,
        estimated_liquidation_price=message.estimated_liquidation_price,
        initial_margin_fraction=message.initial_margin_fraction,
        maintenance_margin_fraction=message.maintenance_margin_fraction,
        realized_pnl=message.realized_pnl,
        unrealized_pnl=message.unrealized_pnl,
    )


POSITION_UPDATE = StreamSpec(
    channel="account.positionUpdate",
    record="PositionUpdate",
    read=read,
    topics={None: "account.position"},
    unknown_fields=lambda: _decode.unknown_fields,
    every_message_counts=True,
    all_markets_in_one=True,
)
