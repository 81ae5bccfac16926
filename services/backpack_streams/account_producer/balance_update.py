"""The account's balances as BalanceUpdate records."""

from typing import Any

from backpack_streams.account_producer.account_message import message_of
from backpack_streams.exchange.account_wire import AccountDecoder, BalanceUpdate
from backpack_streams.exchange.streams import StreamKind
from backpack_streams.feed.stream_spec import Message, StreamSpec

_decode = AccountDecoder(BalanceUpdate)


def read(data: Any, kind: StreamKind) -> Message:
    """Parse the account's balance of one asset. The Kafka key is the asset.

    Args:
        data: the JSON text of the message's `data`.
        kind: not used.

    Raises:
        UnreadableMessageError: not a JSON object, or a known field has an impossible value.
    """
    message, extra_fields = _decode(data)
    return message_of(
        message,
        message.asset,
        extra_fields,
        asset=message.asset or "",
        available=message.available,
        locked=message.locked,
        staked=message.staked,
    )


BALANCE_UPDATE = StreamSpec(
    channel="account.balanceUpdate",
    record="BalanceUpdate",
    read=read,
    topics={None: "account.balance"},
    unknown_fields=lambda: _decode.unknown_fields,
    every_message_counts=True,
    all_markets_in_one=True,
)
