"""The account's futures positions as PositionUpdate records."""

from typing import Any

from backpack_streams.account_producer.account_reading import reading_of
from backpack_streams.exchange.account_wire import AccountDecoder, PositionUpdate
from backpack_streams.exchange.streams import StreamKind
from backpack_streams.feed.family import Family, Reading, optional_decimal

_decode = AccountDecoder(PositionUpdate)


def read(data: Any, kind: StreamKind) -> Reading:
    """One event of a position; without an event type it is an open position, restated since somebody subscribed."""
    message, extra_fields = _decode(data)
    return reading_of(
        message,
        message.symbol,
        extra_fields,
        symbol=message.symbol or "",
        is_snapshot=message.event is None,
        position_id=message.position_id,
        net_quantity=optional_decimal(message.net_quantity),
        exposure_quantity=optional_decimal(message.exposure_quantity),
        exposure_notional=optional_decimal(message.exposure_notional),
        entry_price=optional_decimal(message.entry_price),
        break_even_price=optional_decimal(message.break_even_price),
        mark_price=optional_decimal(message.mark_price),
        estimated_liquidation_price=optional_decimal(message.estimated_liquidation_price),
        initial_margin_fraction=optional_decimal(message.initial_margin_fraction),
        maintenance_margin_fraction=optional_decimal(message.maintenance_margin_fraction),
        realized_pnl=optional_decimal(message.realized_pnl),
        unrealized_pnl=optional_decimal(message.unrealized_pnl),
    )


POSITION_UPDATE = Family(
    channel="account.positionUpdate",
    record="PositionUpdate",
    read=read,
    topics={None: "account.position"},
    unknown_fields=lambda: _decode.unknown_fields,
    records_outages=True,
    covered_by_subscription=True,
    all_markets_in_one=True,
)
