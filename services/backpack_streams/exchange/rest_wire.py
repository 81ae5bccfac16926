"""The rows of Backpack's public REST answers as typed values, one type per kind of row.

Decimals are text without exponent, exactly the digits sent; times have their unit in their name. The types follow the exchange's OpenAPI
page as far as the wire agrees with it; values that the exchange may extend are plain text.
"""

from msgspec import Struct, field

from backpack_streams.exchange.wire_values import Exact, IsoTime


class Market(Struct, frozen=True, rename="camel"):
    """One row of `/markets`: a market, its state and its rules. `raw` is the row as sent."""

    symbol: str
    base: str = field(name="baseSymbol")
    quote: str = field(name="quoteSymbol")
    market_type: str
    order_book_state: str
    created_at_us: IsoTime | None = field(name="createdAt")
    visible: bool | None
    tick_size: Exact | None = field(name="filters.price.tickSize")
    min_price: Exact | None = field(name="filters.price.minPrice")
    max_price: Exact | None = field(name="filters.price.maxPrice")
    step_size: Exact | None = field(name="filters.quantity.stepSize")
    min_quantity: Exact | None = field(name="filters.quantity.minQuantity")
    max_quantity: Exact | None = field(name="filters.quantity.maxQuantity")
    funding_interval_ms: int | None = field(name="fundingInterval")
    funding_rate_upper_bound: Exact | None
    """In basis points, as sent."""
    funding_rate_lower_bound: Exact | None
    """In basis points, as sent."""
    open_interest_limit: Exact | None
    rwa_market_type: str | None
    raw: str


class DepthSnapshot(Struct, frozen=True, rename="camel"):
    """A book from `/depth`: levels in wire order, which is ascending on both sides (the best bid is last).

    A book cut to the requested limit contains nothing beyond its deepest level.
    """

    symbol: str
    bids: tuple[tuple[Exact, Exact], ...]
    asks: tuple[tuple[Exact, Exact], ...]
    last_update_id: int
    timestamp_us: int = field(name="timestamp")
    """The matching engine's time."""


class FundingRate(Struct, frozen=True, rename="camel"):
    """One row of `/fundingRates`; the first row of an answer is the current interval and still changes."""

    symbol: str
    funding_rate: Exact
    interval_end_us: IsoTime = field(name="intervalEndTimestamp")


class Kline(Struct, frozen=True, rename="camel"):
    """One row of `/klines`; prices are None if there was no trade. The end is the start plus the interval."""

    symbol: str
    interval: str
    start_us: IsoTime = field(name="start")
    end_us: IsoTime = field(name="end")
    open: Exact | None
    high: Exact | None
    low: Exact | None
    close: Exact | None
    volume: Exact
    quote_volume: Exact
    trades: int


class Trade(Struct, frozen=True, rename="camel"):
    """One row of `/trades` and `/trades/history`; `is_buyer_maker` means that the taker sold."""

    symbol: str
    trade_id: int | None = field(name="id")
    price: Exact
    quantity: Exact
    quote_quantity: Exact | None
    timestamp_ms: int = field(name="timestamp")
    is_buyer_maker: bool


class Security(Struct, frozen=True):
    """The name of the asset in one row of `/securities`, such as `AAPL.US`."""

    asset: str
