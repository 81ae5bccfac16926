"""The topics that fill the read model, without their prefix."""

from typing import Final

__all__ = [
    "DEPTH_TOPIC",
    "KLINE_TOPIC",
    "LIQUIDATION_TOPIC",
    "MARKET_TOPIC",
    "MARK_PRICE_TOPIC",
    "OPEN_INTEREST_TOPIC",
    "STREAMED_TOPICS",
    "TICKER_TOPIC",
    "TRADE_TOPIC",
]

MARKET_TOPIC: Final = "reference.market"
TICKER_TOPIC: Final = "market.ticker"
TRADE_TOPIC: Final = "market.trade"
KLINE_TOPIC: Final = "market.kline"
MARK_PRICE_TOPIC: Final = "perp.mark_price"
OPEN_INTEREST_TOPIC: Final = "perp.open_interest"
LIQUIDATION_TOPIC: Final = "perp.liquidation"
DEPTH_TOPIC: Final = "market.depth"
STREAMED_TOPICS: Final = (
    TRADE_TOPIC,
    TICKER_TOPIC,
    KLINE_TOPIC,
    MARK_PRICE_TOPIC,
    OPEN_INTEREST_TOPIC,
    LIQUIDATION_TOPIC,
)
"""Topics that producers' streams fill."""
