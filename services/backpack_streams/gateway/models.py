"""What `data` of each answer holds, for the documents: the read API's contract, with examples."""

from decimal import Decimal

from pydantic import BaseModel, Field

_NOTE = Field(description="one sentence on what this is", examples=["Order book rebuilt from Kafka."])
_SOURCE = Field(description="where the data comes from", examples=["Backpack"])


class Data(BaseModel):
    """What every answer begins with."""

    note: str = _NOTE
    source: str = _SOURCE


class Aged(Data):
    """An answer that says how old it is."""

    as_of: int | None = Field(
        description="moment that the answer describes, µs since the Unix epoch, UTC", examples=[1781456615170000]
    )
    age_ms: int | None = Field(description="how long ago that was, milliseconds", examples=[41])


class MarketItem(BaseModel):
    """One market."""

    symbol: str = Field(examples=["SOL_USDC"])
    base: str = Field(examples=["SOL"])
    quote: str = Field(examples=["USDC"])
    market_type: str = Field(
        description="SPOT, PERP, IPERP, DATED, PREDICTION, RFQ or a kind not known yet", examples=["SPOT"]
    )
    status: str = Field(
        description="Open, Closed, CancelOnly, LimitOnly, PostOnly or a state not known yet", examples=["Open"]
    )
    created_at: str | None = Field(
        description="as the exchange writes it, UTC", examples=["2025-01-21T06:34:54.691858"]
    )


class MarketsData(Data):
    """The markets."""

    type: str | None = Field(description="the kind asked for; null for all", examples=["SPOT"])
    count: int = Field(examples=[1])
    markets: list[MarketItem]


class TickerItem(BaseModel):
    """Figures of the last 24 hours; prices are null while no trade happened."""

    symbol: str = Field(examples=["SOL_USDC"])
    last_price: Decimal | None = Field(examples=[152.31])
    first_price: Decimal | None = Field(examples=[149.9])
    high: Decimal | None = Field(examples=[154.02])
    low: Decimal | None = Field(examples=[148.77])
    volume: Decimal | None = Field(description="in the base asset", examples=[48211.52])
    quote_volume: Decimal | None = Field(description="in the quote asset", examples=[7301422.1873])
    price_change: Decimal | None = Field(description="last minus first price", examples=[2.41])
    price_change_percent: Decimal | None = Field(
        description="the same as a fraction of the first price", examples=[0.016077]
    )
    trades: int | None = Field(examples=[15320])


class TickerData(Aged):
    """One ticker if a symbol was given, otherwise all."""

    symbol: str | None = Field(default=None, description="with a symbol", examples=["SOL_USDC"])
    ticker: TickerItem | None = Field(default=None, description="with a symbol")
    count: int | None = Field(default=None, description="without a symbol", examples=[143])
    tickers: list[TickerItem] | None = Field(default=None, description="without a symbol")


class LevelItem(BaseModel):
    """One price level."""

    price: Decimal = Field(examples=[152.31])
    size: Decimal = Field(description="in the base asset", examples=[12.5])


class OrderBookData(Aged):
    """The best levels of an order book."""

    symbol: str = Field(examples=["SOL_USDC"])
    asks: list[LevelItem] = Field(description="best (lowest) first")
    bids: list[LevelItem] = Field(description="best (highest) first")
    last_update_id: int | None = Field(description="id of the last update in the book", examples=[884722031])
    book_status: str = Field(description="LIVE; with allow_stale also STALE, SYNCING or CLOSED", examples=["LIVE"])
    reason: str = Field(description="why the book is not LIVE; empty if it is", examples=[""])


class CandleItem(BaseModel):
    """One candle; prices are null while no trade happened."""

    start: str = Field(description="UTC", examples=["2026-06-10 15:00:00"])
    end: str = Field(description="start of the next candle, UTC", examples=["2026-06-10 16:00:00"])
    open: Decimal | None = Field(examples=[151.2])
    high: Decimal | None = Field(examples=[152.9])
    low: Decimal | None = Field(examples=[150.81])
    close: Decimal | None = Field(examples=[152.31])
    volume: Decimal | None = Field(description="in the base asset", examples=[2310.44])
    quote_volume: Decimal | None = Field(
        description="in the quote asset; null where Kafka does not hold it", examples=[350921.2204]
    )
    trades: int | None = Field(examples=[812])


class KlinesData(Aged):
    """Candles, oldest first; the last one is still open."""

    symbol: str = Field(examples=["SOL_USDC"])
    interval: str = Field(examples=["1h"])
    count: int = Field(examples=[1])
    candles: list[CandleItem]


class TradeItem(BaseModel):
    """One trade."""

    id: int = Field(examples=[91827364])
    side: str = Field(description="what the taker did: buy or sell", examples=["buy"])
    price: Decimal = Field(examples=[152.31])
    quantity: Decimal = Field(description="in the base asset", examples=[0.75])
    quote_quantity: Decimal = Field(description="in the quote asset", examples=[114.2325])
    timestamp: int = Field(description="milliseconds since the Unix epoch, UTC", examples=[1781456615128])


class TradesData(Aged):
    """Trades, newest first."""

    symbol: str = Field(examples=["SOL_USDC"])
    count: int = Field(examples=[1])
    trades: list[TradeItem]


class FundingData(Aged):
    """Mark price, funding and open interest of a perpetual."""

    symbol: str = Field(examples=["SOL_USDC_PERP"])
    mark_price: Decimal = Field(examples=[152.3344])
    index_price: Decimal | None = Field(examples=[152.3121])
    funding_rate: Decimal | None = Field(
        description="estimate of the interval in progress, a fraction", examples=[0.0000125]
    )
    next_funding_timestamp: int | None = Field(
        description="milliseconds since the Unix epoch, UTC", examples=[1781456400000]
    )
    open_interest: Decimal | None = Field(description="in the base asset", examples=[81022.51])
    open_interest_timestamp: int | None = Field(
        description="milliseconds since the Unix epoch, UTC", examples=[1781456580000]
    )


class MetaData(Data):
    """What this service is."""

    service: str = Field(examples=["backpack-streams gateway"])
    description: str
    endpoints: dict[str, str] = Field(description="what each path answers")
    kline_intervals: list[str]
    sample: str = Field(description="a request to begin with", examples=["/v1/orderbook?symbol=SOL_USDC&depth=25"])


class PlantData(Data):
    """How the data gets here: topics, producers, gaps, audits, books and services."""

    kafka: str = Field(description="available, or why Kafka cannot be read for now", examples=["available"])
    topics: dict[str, dict[str, int | None]] = Field(
        description="by topic: last_record_time (µs), age_ms, records_per_second, complete_through (µs)"
    )
    producers: list[dict[str, object]] = Field(description="producer instances, with the streams that they cover")
    gaps: dict[str, object] = Field(description="last_hour, open, refilled, and the recent ones")
    audits: dict[str, object] = Field(description="matches, mismatches, and the recent ones")
    books: dict[str, object] = Field(description="number of books by status, and those that are not LIVE")
    services: list[dict[str, object]] = Field(description="services by what they wrote last")
