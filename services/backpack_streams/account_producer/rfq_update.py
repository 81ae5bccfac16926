"""Requests for quote and quotes of the account as RfqUpdate records."""

from typing import Any

from backpack_streams.account_producer.account_message import message_of
from backpack_streams.exchange.account_wire import AccountDecoder, RfqUpdate
from backpack_streams.exchange.streams import StreamKind
from backpack_streams.feed.stream_spec import Message, StreamSpec

_decode = AccountDecoder(RfqUpdate)


def read(data: Any, kind: StreamKind) -> Message:
    """Parse an event of a request for quote or of a quote. The Kafka key is the market.

    The exchange sends submission and expiry times in milliseconds; the record has microseconds since the Unix epoch.

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
        rfq_id=message.rfq_id,
        quote_id=message.quote_id,
        client_id=message.client_id,
        side=message.side,
        quantity=message.quantity,
        quote_quantity=message.quote_quantity,
        price=message.price,
        status=message.status,
        submission_time=_micros(message.submission_time_ms),
        expiry_time=_micros(message.expiry_time_ms),
        system_order_type=message.system_order_type,
    )


def _micros(millis: int | None) -> int | None:
    return None if millis is None else millis * 1000


RFQ_UPDATE = StreamSpec(
    channel="account.rfqUpdate",
    record="RfqUpdate",
    read=read,
    topics={None: "account.rfq"},
    unknown_fields=lambda: _decode.unknown_fields,
    every_message_counts=True,
    all_markets_in_one=True,
)
