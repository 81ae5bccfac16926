"""The settings of `perp-producer`."""

from pydantic import Field

from backpack_streams.feed.settings import ProducerSettings
from backpack_streams.runtime.setting_fields import metrics_port


class PerpProducerSettings(ProducerSettings):
    """A producer's settings with perp-producer's own defaults."""

    streams: tuple[str, ...] = Field(
        default=("markPrice", "openInterest", "liquidation"),
        description="kinds of stream: markPrice, openInterest, liquidation (one stream, which brings every market whatever the symbols "
        "are; one of several shards has it), liquidation.symbol (a stream a market in place of that)",
    )
    metrics_port: int = metrics_port(9402)
