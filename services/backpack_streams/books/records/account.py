"""Records of one's own account, as `RecordStream` gives them. Made by `make docs` from `schemas/` and the list of topics: do not edit."""

from decimal import Decimal
from typing import Final, TypedDict

from backpack_streams.books.record_topic import RecordTopic

__all__ = [
    "ACCOUNT_BALANCE",
    "ACCOUNT_ORDER",
    "ACCOUNT_POSITION",
    "ACCOUNT_RFQ",
    "BalanceUpdate",
    "OrderUpdate",
    "PositionUpdate",
    "RfqUpdate",
]


class OrderUpdate(TypedDict):
    """One event in the life of an order of the account."""

    symbol: str
    source: str
    event_time: int | None
    engine_time: int | None
    received_time: int
    event_type: str | None
    order_id: str | None
    client_order_id: int | None
    related_order_id: str | None
    strategy_id: int | None
    side: str | None
    order_type: str | None
    time_in_force: str | None
    self_trade_prevention: str | None
    is_post_only: bool | None
    is_reduce_only: bool | None
    status: str | None
    expiry_reason: str | None
    origin: str | None
    quantity: Decimal | None
    quote_quantity: Decimal | None
    price: Decimal | None
    trigger_price: Decimal | None
    trigger_by: str | None
    trigger_quantity: str | None
    take_profit_trigger_price: Decimal | None
    take_profit_limit_price: Decimal | None
    take_profit_trigger_by: str | None
    stop_loss_trigger_price: Decimal | None
    stop_loss_limit_price: Decimal | None
    stop_loss_trigger_by: str | None
    executed_quantity: Decimal | None
    executed_quote_quantity: Decimal | None
    trade_id: int | None
    fill_quantity: Decimal | None
    fill_price: Decimal | None
    is_maker: bool | None
    fee: Decimal | None
    fee_asset: str | None
    extra_fields: str | None


class PositionUpdate(TypedDict):
    """A futures position of the account: an event in its life, or its state restated."""

    symbol: str
    source: str
    event_time: int | None
    engine_time: int | None
    received_time: int
    event_type: str | None
    is_snapshot: bool
    position_id: str | None
    net_quantity: Decimal | None
    exposure_quantity: Decimal | None
    exposure_notional: Decimal | None
    entry_price: Decimal | None
    break_even_price: Decimal | None
    mark_price: Decimal | None
    estimated_liquidation_price: Decimal | None
    initial_margin_fraction: Decimal | None
    maintenance_margin_fraction: Decimal | None
    realized_pnl: Decimal | None
    unrealized_pnl: Decimal | None
    extra_fields: str | None


class RfqUpdate(TypedDict):
    """One event in the life of a request for quote or of a quote that concerns the account."""

    symbol: str
    source: str
    event_time: int | None
    engine_time: int | None
    received_time: int
    event_type: str | None
    rfq_id: int | None
    quote_id: int | None
    client_id: str | None
    side: str | None
    quantity: Decimal | None
    quote_quantity: Decimal | None
    price: Decimal | None
    status: str | None
    submission_time: int | None
    expiry_time: int | None
    system_order_type: str | None
    extra_fields: str | None


class BalanceUpdate(TypedDict):
    """What the account holds of one asset, after a change."""

    asset: str
    source: str
    event_time: int | None
    engine_time: int | None
    received_time: int
    event_type: str | None
    available: Decimal | None
    locked: Decimal | None
    staked: Decimal | None
    extra_fields: str | None


ACCOUNT_ORDER: Final = RecordTopic[OrderUpdate]("account.order")
ACCOUNT_POSITION: Final = RecordTopic[PositionUpdate]("account.position")
ACCOUNT_RFQ: Final = RecordTopic[RfqUpdate]("account.rfq")
ACCOUNT_BALANCE: Final = RecordTopic[BalanceUpdate]("account.balance")
