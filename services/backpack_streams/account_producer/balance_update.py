"""The account's balances as BalanceUpdate records."""

from typing import Any

from backpack_streams.account_producer.account_reading import reading_of
from backpack_streams.exchange.account_wire import AccountDecoder, BalanceUpdate
from backpack_streams.exchange.streams import StreamKind
from backpack_streams.feed.family import Family, Reading

_decode = AccountDecoder(BalanceUpdate)


def read(data: Any, kind: StreamKind) -> Reading:
    """Read the account's holdings of one asset; the record's key is the asset."""
    message, extra_fields = _decode(data)
    return reading_of(
        message,
        message.asset,
        extra_fields,
        asset=message.asset or "",
        available=message.available,
        locked=message.locked,
        staked=message.staked,
    )


BALANCE_UPDATE = Family(
    channel="account.balanceUpdate",
    record="BalanceUpdate",
    read=read,
    topics={None: "account.balance"},
    unknown_fields=lambda: _decode.unknown_fields,
    every_message_counts=True,
    all_markets_in_one=True,
)
