"""The settings of `top`."""

from pydantic import Field

from backpack_streams.runtime.book_settings import max_age
from backpack_streams.runtime.output_settings import OutputSettings
from backpack_streams.runtime.setting_fields import seconds
from backpack_streams.runtime.settings import KafkaSettings, LogSettings
from backpack_streams.screen.market_rows import Order


class TopSettings(OutputSettings, KafkaSettings, LogSettings):
    """The settings of `backpack-streams top`."""

    once: bool = Field(default=False, description="wait until everything is read that Kafka holds, print it and end")
    sort: Order = Field(
        default="volume",
        description="order of the markets: figures from the largest on, book with those first that are not LIVE",
    )
    search: str = Field(
        default="",
        description="show only markets whose symbol holds each of these words, such as 'btc perp'",
        json_schema_extra={"metavar": "WORDS"},
    )
    interval: float | None = Field(
        default=None,
        ge=0.1,
        le=3600,
        description="seconds from one picture to the next; 1 on a terminal and with --json, 10 otherwise if not given",
        json_schema_extra={"metavar": "SECONDS"},
    )
    timeout: float = seconds(60.0, "seconds to wait with --once", gt=0)
    max_age: float = max_age()
