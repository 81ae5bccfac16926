"""Records of all markets, as `RecordStream` gives them. Made by `make docs` from `schemas/` and the list of topics: do not edit."""

from decimal import Decimal
from typing import Final, TypedDict

from backpack_streams.books.record_topic import RecordTopic

__all__ = [
    "MARKET_BOOK_SNAPSHOT",
    "MARKET_BOOK_TICKER",
    "MARKET_BOOK_TOP",
    "MARKET_DEPTH",
    "MARKET_DEPTH_200MS",
    "MARKET_DEPTH_600MS",
    "MARKET_DEPTH_1000MS",
    "MARKET_EXTERNAL_TICKER",
    "MARKET_KLINE",
    "MARKET_STOCK_PRICE",
    "MARKET_TICKER",
    "MARKET_TICKER_1W",
    "MARKET_TRADE",
    "BookSnapshot",
    "BookTicker",
    "BookTop",
    "CoverageRun",
    "DepthUpdate",
    "ExternalTicker",
    "Kline",
    "Level",
    "StockPrice",
    "Ticker",
    "Trade",
]


class Level(TypedDict):
    """One price level of an order book."""

    price: Decimal
    quantity: Decimal


class DepthUpdate(TypedDict):
    """One frame of a depth stream.

    Absolute quantities of the levels that changed. Per market the sequence has no gaps: first_update_id is the
    previous last_update_id plus one.
    """

    symbol: str
    source: str
    event_time: int | None
    engine_time: int | None
    received_time: int
    first_update_id: int
    last_update_id: int
    bids: list[Level]
    asks: list[Level]


class BookTicker(TypedDict):
    """Best bid and best ask after a change of the touch."""

    symbol: str
    source: str
    event_time: int | None
    engine_time: int | None
    received_time: int
    update_id: int
    bid_price: Decimal | None
    bid_quantity: Decimal | None
    ask_price: Decimal | None
    ask_quantity: Decimal | None


class Trade(TypedDict):
    """One public trade."""

    symbol: str
    source: str
    event_time: int | None
    engine_time: int | None
    received_time: int
    trade_id: int
    price: Decimal
    quantity: Decimal
    quote_quantity: Decimal | None
    buyer_order_id: str | None
    seller_order_id: str | None
    is_buyer_maker: bool


class Ticker(TypedDict):
    """Rolling statistics of the last 24 hours, sent once a second whether or not anything changed."""

    symbol: str
    source: str
    event_time: int | None
    engine_time: int | None
    received_time: int
    first_price: Decimal | None
    last_price: Decimal | None
    high: Decimal | None
    low: Decimal | None
    base_volume: Decimal | None
    quote_volume: Decimal | None
    trades: int | None
    price_change: Decimal | None
    price_change_percent: Decimal | None
    cache_age_seconds: int | None


class Kline(TypedDict):
    """One candle, sent at most once a second while open and once more when it closes."""

    symbol: str
    source: str
    event_time: int | None
    engine_time: int | None
    received_time: int
    interval: str
    start_time: int
    end_time: int
    open: Decimal | None
    high: Decimal | None
    low: Decimal | None
    close: Decimal | None
    base_volume: Decimal | None
    quote_volume: Decimal | None
    trades: int | None
    is_closed: bool


class ExternalTicker(TypedDict):
    """What a data provider says of a market's asset over its last 24 hours, passed on by the exchange.

    Ticker-shaped, of trades made elsewhere.
    """

    symbol: str
    source: str
    event_time: int | None
    engine_time: int | None
    received_time: int
    first_price: Decimal | None
    last_price: Decimal | None
    high: Decimal | None
    low: Decimal | None
    base_volume: Decimal | None
    quote_volume: Decimal | None
    trades: int | None


class StockPrice(TypedDict):
    """A data provider's quote of a stock, passed on by the exchange.

    It is no order book of the exchange and cannot be traded on.
    """

    symbol: str
    source: str
    event_time: int | None
    engine_time: int | None
    received_time: int
    bid: Decimal | None
    ask: Decimal | None
    mid: Decimal | None
    session: str | None


class CoverageRun(TypedDict):
    """An interval of coverage of one stream by one producer instance, as its watermarks state it."""

    instance: str
    since: int


class BookSnapshot(TypedDict):
    """A whole order book at one update id, with the offset in the delta topic to continue from.

    A reader starts its book from it and applies the updates that follow.
    """

    symbol: str
    source: str
    event_time: int | None
    engine_time: int | None
    received_time: int
    origin: str
    last_update_id: int
    bids: list[Level]
    asks: list[Level]
    bids_complete: bool
    asks_complete: bool
    depth_limit: int | None
    delta_topic: str
    delta_partition: int
    delta_offset: int
    seed_update_id: int | None
    seed_engine_time: int | None
    seed_received_time: int | None
    watermark_offset: int | None
    covered_by: list[CoverageRun]


class BookTop(TypedDict):
    """The best levels of an order book with its status, conflated.

    At most one a market and interval, and only when its status or one of these levels changed.
    """

    symbol: str
    source: str
    event_time: int | None
    engine_time: int | None
    received_time: int
    status: str
    reason: str | None
    status_since: int | None
    last_update_id: int | None
    bids: list[Level]
    asks: list[Level]
    levels_limit: int
    as_of: int | None


MARKET_DEPTH: Final = RecordTopic[DepthUpdate]("market.depth")
MARKET_DEPTH_200MS: Final = RecordTopic[DepthUpdate]("market.depth_200ms")
MARKET_DEPTH_600MS: Final = RecordTopic[DepthUpdate]("market.depth_600ms")
MARKET_DEPTH_1000MS: Final = RecordTopic[DepthUpdate]("market.depth_1000ms")
MARKET_BOOK_TICKER: Final = RecordTopic[BookTicker]("market.book_ticker")
MARKET_TRADE: Final = RecordTopic[Trade]("market.trade")
MARKET_TICKER: Final = RecordTopic[Ticker]("market.ticker")
MARKET_TICKER_1W: Final = RecordTopic[Ticker]("market.ticker_1w")
MARKET_KLINE: Final = RecordTopic[Kline]("market.kline")
MARKET_EXTERNAL_TICKER: Final = RecordTopic[ExternalTicker]("market.external_ticker")
MARKET_STOCK_PRICE: Final = RecordTopic[StockPrice]("market.stock_price")
MARKET_BOOK_SNAPSHOT: Final = RecordTopic[BookSnapshot | None]("market.book_snapshot")
MARKET_BOOK_TOP: Final = RecordTopic[BookTop]("market.book_top")
