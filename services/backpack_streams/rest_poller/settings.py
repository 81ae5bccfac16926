"""What rest-poller can be told."""

from pydantic import Field

from backpack_streams.feed.settings import MarketListSettings, PublishingSettings
from backpack_streams.runtime.settings import LogSettings, MetricsSettings, SymbolSettings, metrics_port


def _every(seconds: float, what: str) -> float:
    field: float = Field(
        default=seconds,
        ge=0,
        allow_inf_nan=False,
        description=f"seconds between two looks at {what}; 0 never looks",
        json_schema_extra={"metavar": "SECONDS"},
    )
    return field


class RestPollerSettings(PublishingSettings, MarketListSettings, SymbolSettings, MetricsSettings, LogSettings):
    """Intervals, budgets and bounds of the poller."""

    metrics_port: int = metrics_port(9403)
    seed_refresh: float = _every(600.0, "each book although nothing asked for it")
    asset_refresh: float = _every(300.0, "the assets")
    ticker_refresh: float = _every(30.0, "the tickers")
    mark_price_refresh: float = _every(30.0, "the mark prices")
    open_interest_refresh: float = _every(60.0, "the open interest")
    funding_rate_refresh: float = _every(900.0, "the funding rates of each perpetual")
    rate_limit_share: float = Field(
        default=0.5,
        gt=0,
        le=1,
        description="share of the exchange's rate limits to use; other programs share the address",
    )
    parallel_seeds: int = Field(default=4, ge=1, le=32, description="books asked for at the same time")
    stale_after: float = Field(
        default=60.0,
        gt=0,
        allow_inf_nan=False,
        description="seconds of age at which a cached answer is refused",
        json_schema_extra={"metavar": "SECONDS"},
    )
