"""The settings of rest-poller."""

from pydantic import Field

from backpack_streams.markets.settings import MarketListSettings
from backpack_streams.publishing.settings import PublishingSettings
from backpack_streams.runtime.setting_fields import metrics_port, seconds
from backpack_streams.runtime.settings import LogSettings, MetricsSettings, SymbolSettings


def _every(interval: float, what: str) -> float:
    field: float = seconds(interval, f"seconds between two requests of {what}; 0 for none", ge=0)
    return field


class RestPollerSettings(PublishingSettings, MarketListSettings, SymbolSettings, MetricsSettings, LogSettings):
    """Intervals, rate limits and bounds of the poller."""

    metrics_port: int = metrics_port(9403)
    snapshot_refresh: float = _every(540.0, "each book without any other reason; these snapshots serve as audits")
    asset_refresh: float = _every(300.0, "the assets")
    catalogue_refresh: float = _every(
        300.0, "collateral, staking, prediction events, sessions, securities, vaults and wallets"
    )
    lending_refresh: float = _every(60.0, "the borrow and lend markets and their rates")
    status_refresh: float = _every(30.0, "the exchange's status")
    history_refresh: float = _every(3600.0, "the histories of vaults and of borrow and lend markets")
    ticker_refresh: float = _every(30.0, "the tickers")
    ticker_1w_refresh: float = _every(300.0, "the tickers of the last week")
    mark_price_refresh: float = _every(30.0, "the mark prices")
    open_interest_refresh: float = _every(60.0, "the open interest")
    funding_rate_refresh: float = _every(900.0, "the funding rates of each perpetual")
    funding_rate_page: int = Field(
        default=10_000,
        ge=2,
        le=10_000,
        description="funding rates per request, back to the last one published or the first one that the exchange keeps",
        json_schema_extra={"metavar": "ROWS"},
    )
    rate_limit_share: float = Field(
        default=0.5,
        gt=0,
        le=1,
        description=(
            "share of the exchange's rate limits that all shards of --shard-count use together, in equal parts. "
            "Other programs at the same address, including another rest-poller, need a share of their own"
        ),
    )
    parallel_snapshots: int = Field(default=4, ge=1, le=32, description="books requested in parallel")
    stale_after: float = seconds(60.0, "age in seconds from which a cached answer is refused", gt=0)

    @property
    def own_rate_limit_share(self) -> float:
        """This process's part of the share."""
        return self.rate_limit_share / self.shard_count
