"""The settings of `audit`."""

from pydantic import Field

from backpack_streams.markets.settings import MarketListSettings
from backpack_streams.runtime.output_settings import OutputSettings
from backpack_streams.runtime.setting_fields import seconds
from backpack_streams.runtime.settings import KafkaSettings, LogSettings


class AuditSettings(OutputSettings, MarketListSettings, KafkaSettings, LogSettings):
    """The time limit of an audit, and its share of the exchange's rate limits."""

    timeout: float = seconds(60.0, "seconds in which every book is to be LIVE and compared", gt=0)
    rate_limit_share: float = Field(
        default=0.25,
        gt=0,
        le=1,
        description="share of the exchange's rate limits to use; a rest-poller at the same address has its own",
    )
