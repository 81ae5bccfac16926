"""The settings of the market list."""

from pydantic import Field

from backpack_streams.runtime.exchange_settings import RestAccessSettings
from backpack_streams.runtime.setting_fields import seconds


class MarketListSettings(RestAccessSettings):
    """Which kinds of market are carried, and how often the list of markets is read."""

    market_types: tuple[str, ...] = Field(
        default=("SPOT", "PERP", "IPERP", "DATED", "PREDICTION", "RFQ"),
        description="kinds of market to ask the exchange's list for; kinds that this version does not know may be named too",
    )
    market_refresh: float = seconds(60.0, "seconds between two looks at the exchange's list of markets", gt=0)
