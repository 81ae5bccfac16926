"""Settings common to the producer services."""

from typing import Literal

from pydantic import Field, field_validator

from backpack_streams.errors import UsageError
from backpack_streams.exchange.streams import parse_kinds
from backpack_streams.markets.settings import MarketListSettings
from backpack_streams.publishing.settings import PublishingSettings
from backpack_streams.runtime.exchange_settings import SocketAccessSettings
from backpack_streams.runtime.settings import (
    LogSettings,
    MetricsSettings,
    Settings,
    SymbolSettings,
)


class WatermarkSettings(Settings):
    """How often a producer publishes its coverage."""

    watermark_interval_ms: int = Field(
        default=1000,
        ge=100,
        le=10_000,
        description="milliseconds between two watermarks; to stay well below the max_age of readers, 5 s by default",
        json_schema_extra={"metavar": "MS"},
    )


class ProducerSettings(
    PublishingSettings,
    WatermarkSettings,
    MarketListSettings,
    SocketAccessSettings,
    SymbolSettings,
    MetricsSettings,
    LogSettings,
):
    """Settings of market-producer and perp-producer; each narrows `streams`."""

    streams: tuple[str, ...] = Field(default=(), description="kinds of stream to subscribe to")
    linger_ms: float = Field(
        default=10.0,
        ge=0,
        le=1000,
        allow_inf_nan=False,
        description="milliseconds that a socket is left alone after a read, so that what arrives leaves in fewer pieces; 0 never waits",
        json_schema_extra={"metavar": "MS"},
    )
    connections: Literal[1, 2] = Field(
        default=1, description="sockets kept up at all times; with 2 the first copy of each message counts"
    )

    @field_validator("connections", mode="before")
    @classmethod
    def _number(cls, value: object) -> object:
        return int(value) if isinstance(value, str) and value.isdecimal() else value

    @field_validator("streams")
    @classmethod
    def _check_streams(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return checked_streams(value)


def checked_streams(value: tuple[str, ...]) -> tuple[str, ...]:
    """Split the kinds of stream that a user wrote, without repetitions.

    Args:
        value: texts as given, each of which may name several kinds.

    Raises:
        ValueError: none is named, or a kind is unknown.
    """
    if not value:
        raise ValueError("no stream is named")
    try:
        return tuple(dict.fromkeys(str(kind) for text in value for kind in parse_kinds(text)))
    except UsageError as error:
        raise ValueError(str(error)) from None
