"""The rows of Backpack's public REST answers as typed values, one type per kind of row.

Decimals are text without exponent, exactly the digits sent; times have their unit in their name. The types follow the exchange's OpenAPI
page as far as the wire agrees with it; values that the exchange may extend are plain text.
"""

from msgspec import Struct


class Market(Struct, frozen=True):
    """One row of `/markets`: a market, its state and its rules. `raw` is the row as sent."""

    symbol: str
    base: str
    quote: str
    market_type: str
    order_book_state: str
    created_at_us: int | None
    visible: bool | None
    tick_size: str | None
    min_price: str | None
    max_price: str | None
    step_size: str | None
    min_quantity: str | None
    max_quantity: str | None
    funding_interval_ms: int | None
    funding_rate_upper_bound: str | None
    """In basis points, as sent."""
    funding_rate_lower_bound: str | None
    """In basis points, as sent."""
    open_interest_limit: str | None
    rwa_market_type: str | None
    raw: str


class DepthSnapshot(Struct, frozen=True):
    """A book from `/depth`: levels in wire order, which is ascending on both sides (the best bid is last).

    A book cut to the requested limit contains nothing beyond its deepest level.
    """

    symbol: str
    bids: tuple[tuple[str, str], ...]
    asks: tuple[tuple[str, str], ...]
    last_update_id: int
    timestamp_us: int
    """The matching engine's time."""


class FundingRate(Struct, frozen=True):
    """One row of `/fundingRates`; the first row of an answer is the current interval and still changes."""

    symbol: str
    funding_rate: str
    interval_end_us: int


class Kline(Struct, frozen=True):
    """One row of `/klines`; prices are None if there was no trade. The end is the start plus the interval."""

    symbol: str
    interval: str
    start_us: int
    end_us: int
    open: str | None
    high: str | None
    low: str | None
    close: str | None
    volume: str
    quote_volume: str
    trades: int


class Trade(Struct, frozen=True):
    """One row of `/trades` and `/trades/history`; `is_buyer_maker` means that the taker sold."""

    symbol: str
    trade_id: int | None
    price: str
    quantity: str
    quote_quantity: str | None
    timestamp_ms: int
    is_buyer_maker: bool
