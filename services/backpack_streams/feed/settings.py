"""Settings common to the producer services."""

from typing import Any, Literal

from pydantic import Field, field_validator

from backpack_streams.bus.compression import Compression
from backpack_streams.bus.publisher import DEFAULT_BUFFER_BYTES, DEFAULT_PROGRESS_SECONDS
from backpack_streams.errors import UsageError
from backpack_streams.exchange.streams import parse_kinds
from backpack_streams.runtime.exchange_settings import RestAccessSettings, SocketAccessSettings
from backpack_streams.runtime.settings import (
    KafkaSettings,
    LogSettings,
    MetricsSettings,
    Settings,
    SymbolSettings,
)

_MIB = 1024 * 1024


class MarketListSettings(RestAccessSettings):
    """Which kinds of market are carried, and how often the list of markets is read."""

    market_types: tuple[str, ...] = Field(
        default=("SPOT", "PERP", "IPERP", "DATED", "PREDICTION", "RFQ"),
        description="kinds of market to ask the exchange's list for; kinds that this version does not know may be named too",
    )
    market_refresh: float = Field(
        default=60.0,
        gt=0,
        allow_inf_nan=False,
        description="seconds between two looks at the exchange's list of markets",
        json_schema_extra={"metavar": "SECONDS"},
    )


class PublishingSettings(KafkaSettings):
    """How records go to Kafka: buffer, compression, and whether to create missing topics."""

    buffer_mib: int = Field(
        default=DEFAULT_BUFFER_BYTES // _MIB,
        ge=1,
        description="MiB of records that may wait while Kafka is slow or gone; what comes after is a gap on record",
        json_schema_extra={"metavar": "MIB"},
    )
    compression: Compression = Field(
        default="none",
        description="how batches are compressed on the way to Kafka and in it, where a topic's owner has not chosen otherwise",
    )
    progress_timeout: float = Field(
        default=DEFAULT_PROGRESS_SECONDS,
        ge=10,
        allow_inf_nan=False,
        description="seconds for which nothing may be acknowledged although Kafka is there; then the service ends, to be started anew",
        json_schema_extra={"metavar": "SECONDS"},
    )
    register_schemas: bool = Field(
        default=False,
        description="register schemas that the registry lacks; if not, it must have them (`backpack-streams schemas register`)",
    )
    create_topics: bool = Field(default=True, description="create missing topics at start; never changes existing ones")

    @property
    def buffer_bytes(self) -> int:
        """The buffer in bytes."""
        return self.buffer_mib * _MIB

    def connection_fields(self) -> dict[str, Any]:
        """The fields of a reader, and the compression."""
        return super().connection_fields() | {"compression": self.compression}


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

    Raises:
        ValueError: none is named, or a kind is unknown.
    """
    if not value:
        raise ValueError("no stream is named")
    try:
        return tuple(dict.fromkeys(str(kind) for text in value for kind in parse_kinds(text)))
    except UsageError as error:
        raise ValueError(str(error)) from None
