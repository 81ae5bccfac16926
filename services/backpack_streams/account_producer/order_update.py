"""Events of the account's orders as OrderUpdate records."""

from typing import Any

from backpack_streams.account_producer.account_message import message_of
from backpack_streams.exchange.account_wire import AccountDecoder, OrderUpdate
from backpack_streams.exchange.streams import StreamKind
from backpack_streams.feed.stream_spec import Message, StreamSpec

_decode = AccountDecoder(OrderUpdate)


def read(data: Any, kind: StreamKind) -> Message:
    """Parse an event of an order. The Kafka key is the market; prices and quantities stay text, exactly as sent.

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
        order_id=message.order_id,
        client_order_id=message.client_order_id,
        related_order_id=message.related_order_id,
        strategy_id=message.strategy_id,
        side=message.side,
        order_type=message.order_type,
        time_in_force=message.time_in_force,
        self_trade_prevention=message.self_trade_prevention,
        is_post_only=message.is_post_only,
        is_reduce_only=message.is_reduce_only,
        status=message.status,
        expiry_reason=message.expiry_reason,
        origin=message.origin,
        quantity=message.quantity,
        quote_quantity=message.quote_quantity,
        price=message.price,
        trigger_price=message.trigger_price,
        trigger_by=message.trigger_by,
        trigger_quantity=message.trigger_quantity,
        take_profit_trigger_price=message.take_profit_trigger_price,
        take_profit_limit_price=message.take_profit_limit_price,
        take_profit_trigger_by=message.take_profit_trigger_by,
        stop_loss_trigger_price=message.stop_loss_trigger_price,
        stop_loss_limit_price=message.stop_loss_limit_price,
        stop_loss_trigger_by=message.stop_loss_trigger_by,
        executed_quantity=message.executed_quantity,
        executed_quote_quantity=message.executed_quote_quantity,
        trade_id=message.trade_id,
        fill_quantity=message.fill_quantity,
        fill_price=message.fill_price,
        is_maker=message.is_maker,
        fee=message.fee,
        fee_asset=message.fee_asset,
    )


ORDER_UPDATE = StreamSpec(
    channel="account.orderUpdate",
    record="OrderUpdate",
    read=read,
    topics={None: "account.order"},
    unknown_fields=lambda: _decode.unknown_fields,
    every_message_counts=True,
    all_markets_in_one=True,
)
