"""The settings of `market-producer`."""

from pydantic import Field

from backpack_streams.feed.settings import ProducerSettings
from backpack_streams.runtime.setting_fields import metrics_port


class MarketProducerSettings(ProducerSettings):
    """A producer's settings with market-producer's own defaults."""

    streams: tuple[str, ...] = Field(
        default=("depth", "bookTicker", "trade", "ticker", "kline.1m", "externalTicker", "stockPrice"),
        description="kinds of stream: depth, depth.200ms, depth.600ms, depth.1000ms, bookTicker, trade, ticker, externalTicker, "
        "stockPrice, kline.<interval>, kline.1m+5m+1h, kline.all",
    )
    metrics_port: int = metrics_port(9401)
