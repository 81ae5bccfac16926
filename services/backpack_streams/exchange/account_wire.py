"""Typed messages of the account's private streams. They are rare and each one counts, so all are parsed leniently.

Every field is optional: the fields depend on the event, and an unknown event type must not be lost for a missing field. Absent and null
mean the same; so does empty text for a number. Unknown fields are kept as sent. Times are microseconds since the Unix epoch unless a name
says otherwise; numbers with decimals stay text, exactly as sent.
"""

import json
from typing import Generic, TypeVar

import msgspec
from msgspec import Raw, Struct, field

from backpack_streams.exchange.unknown_fields import UnknownFields
from backpack_streams.exchange.wire_decoding import LenientDecoder
from backpack_streams.exchange.wire_errors import UnreadableMessageError
from backpack_streams.exchange.wire_values import Number


class OrderUpdate(Struct, kw_only=True, gc=False):
    """`account.orderUpdate`: an event in the life of an order."""

    event: str | None = field(name="e", default=None)
    event_time: int | None = field(name="E", default=None)
    engine_time: int | None = field(name="T", default=None)
    symbol: str | None = field(name="s", default=None)
    order_id: str | None = field(name="i", default=None)
    client_order_id: int | None = field(name="c", default=None)
    related_order_id: str | None = field(name="I", default=None)
    strategy_id: int | None = field(name="H", default=None)
    side: str | None = field(name="S", default=None)
    order_type: str | None = field(name="o", default=None)
    time_in_force: str | None = field(name="f", default=None)
    self_trade_prevention: str | None = field(name="V", default=None)
    is_post_only: bool | None = field(name="y", default=None)
    is_reduce_only: bool | None = field(name="r", default=None)
    status: str | None = field(name="X", default=None)
    expiry_reason: str | None = field(name="R", default=None)
    origin: str | None = field(name="O", default=None)
    quantity: Number | None = field(name="q", default=None)
    quote_quantity: Number | None = field(name="Q", default=None)
    price: Number | None = field(name="p", default=None)
    trigger_price: Number | None = field(name="P", default=None)
    trigger_by: str | None = field(name="B", default=None)
    trigger_quantity: Number | None = field(name="Y", default=None)
    take_profit_trigger_price: Number | None = field(name="a", default=None)
    take_profit_limit_price: Number | None = field(name="j", default=None)
    take_profit_trigger_by: str | None = field(name="d", default=None)
    stop_loss_trigger_price: Number | None = field(name="b", default=None)
    stop_loss_limit_price: Number | None = field(name="k", default=None)
    stop_loss_trigger_by: str | None = field(name="g", default=None)
    executed_quantity: Number | None = field(name="z", default=None)
    executed_quote_quantity: Number | None = field(name="Z", default=None)
    trade_id: int | None = field(name="t", default=None)
    fill_quantity: Number | None = field(name="l", default=None)
    fill_price: Number | None = field(name="L", default=None)
    is_maker: bool | None = field(name="m", default=None)
    fee: Number | None = field(name="n", default=None)
    fee_asset: str | None = field(name="N", default=None)


class PositionUpdate(Struct, kw_only=True, gc=False):
    """`account.positionUpdate`: an event in the life of a position; without `e`, the present state of an open position."""

    event: str | None = field(name="e", default=None)
    event_time: int | None = field(name="E", default=None)
    engine_time: int | None = field(name="T", default=None)
    symbol: str | None = field(name="s", default=None)
    position_id: str | None = field(name="i", default=None)
    net_quantity: Number | None = field(name="q", default=None)
    exposure_quantity: Number | None = field(name="Q", default=None)
    exposure_notional: Number | None = field(name="n", default=None)
    entry_price: Number | None = field(name="B", default=None)
    break_even_price: Number | None = field(name="b", default=None)
    mark_price: Number | None = field(name="M", default=None)
    estimated_liquidation_price: Number | None = field(name="l", default=None)
    initial_margin_fraction: Number | None = field(name="f", default=None)
    maintenance_margin_fraction: Number | None = field(name="m", default=None)
    realized_pnl: Number | None = field(name="p", default=None)
    unrealized_pnl: Number | None = field(name="P", default=None)


class RfqUpdate(Struct, kw_only=True, gc=False):
    """`account.rfqUpdate`: an event in the life of a request for quote or of a quote; `w` and `W` are milliseconds."""

    event: str | None = field(name="e", default=None)
    event_time: int | None = field(name="E", default=None)
    engine_time: int | None = field(name="T", default=None)
    symbol: str | None = field(name="s", default=None)
    rfq_id: int | None = field(name="R", default=None)
    quote_id: int | None = field(name="u", default=None)
    client_id: str | None = field(name="C", default=None)
    side: str | None = field(name="S", default=None)
    quantity: Number | None = field(name="q", default=None)
    quote_quantity: Number | None = field(name="Q", default=None)
    price: Number | None = field(name="p", default=None)
    status: str | None = field(name="X", default=None)
    submission_time_ms: int | None = field(name="w", default=None)
    expiry_time_ms: int | None = field(name="W", default=None)
    system_order_type: str | None = field(name="o", default=None)


class BalanceUpdate(Struct, kw_only=True, gc=False):
    """`account.balanceUpdate`: the account's balance of one asset."""

    event: str | None = field(name="e", default=None)
    event_time: int | None = field(name="E", default=None)
    engine_time: int | None = field(name="T", default=None)
    asset: str | None = field(name="a", default=None)
    available: Number | None = field(name="A", default=None)
    locked: Number | None = field(name="L", default=None)
    staked: Number | None = field(name="S", default=None)


M = TypeVar("M", bound=Struct)


class AccountDecoder(Generic[M]):
    """Parses one kind of account message.

    Attributes:
        unknown_fields: how often each unknown field occurred, by name; a limited number of names.
    """

    def __init__(self, kind: type[M]) -> None:
        """Prepare. `kind` is the message type."""
        self._decode = LenientDecoder(kind)
        self.unknown_fields = UnknownFields()

    def __call__(self, data: Raw | bytes) -> tuple[M, str | None]:
        """Parse the message in `data`. Returns it with a JSON object of its unknown fields, None if it has none.

        Raises:
            UnreadableMessageError: not a JSON object, or a known field has an impossible value.
        """
        message, unknown = self._decode(data)
        if not unknown:
            return message, None
        for name in unknown:
            self.unknown_fields.count(name)
        try:
            raw = msgspec.json.decode(bytes(data), type=dict[str, Raw])
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            # A text that only a lenient parser accepts as JSON cannot be kept as JSON.
            raise UnreadableMessageError(f"the message is not strictly valid JSON ({error})") from error
        return message, "{" + ",".join(f"{json.dumps(name)}:{bytes(raw[name]).decode()}" for name in unknown) + "}"
