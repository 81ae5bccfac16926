"""The settings of `record`."""

from typing import Literal

from pydantic import Field, field_validator

from backpack_streams.feed.settings import ProducerSettings, checked_streams
from backpack_streams.market_producer.settings import MarketProducerSettings
from backpack_streams.markets.settings import MarketListSettings
from backpack_streams.perp_producer.settings import PerpProducerSettings
from backpack_streams.runtime.exchange_settings import SocketAccessSettings
from backpack_streams.runtime.setting_fields import metrics_port, seconds
from backpack_streams.runtime.settings import LogSettings, MetricsSettings, SymbolSettings

_MIB = 1024 * 1024
_HOUR_SECONDS = 3600


def default_streams(producer: type[ProducerSettings]) -> tuple[str, ...]:
    """Return a producer's default streams.

    Args:
        producer: the class of its settings.
    """
    streams: tuple[str, ...] = producer.model_fields["streams"].default
    return streams


class RecorderSettings(MarketListSettings, SocketAccessSettings, SymbolSettings, MetricsSettings, LogSettings):
    """The producers' choice of streams and markets, and the settings of the file."""

    streams: tuple[str, ...] = Field(
        default=(*default_streams(MarketProducerSettings), *default_streams(PerpProducerSettings)),
        description="kinds of stream to record, those of market-producer and of perp-producer alike",
    )
    connections: Literal[1, 2] = Field(
        default=1, description="sockets kept up at all times; with 2 what one misses the other may have"
    )
    rotate_mib: float | None = Field(
        default=None,
        gt=0,
        allow_inf_nan=False,
        description="begin a new file when the last one has reached this size",
        json_schema_extra={"metavar": "MIB"},
    )
    rotate_hours: float | None = Field(
        default=None,
        gt=0,
        allow_inf_nan=False,
        description="begin a new file when the last one is this old",
        json_schema_extra={"metavar": "HOURS"},
    )
    flush_seconds: float = seconds(
        1.0, "seconds at most between receiving and having it on the disk; less of it compresses worse", gt=0, le=60
    )
    snapshot_seconds: float = seconds(
        300.0, "seconds between two snapshots of each book, from which a replay can start", gt=0
    )
    rest_paths: tuple[str, ...] = Field(
        default=(
            "/api/v1/status",
            "/api/v1/assets",
            "/api/v1/tickers",
            "/api/v1/markPrices",
            "/api/v1/openInterest",
        ),
        description="other REST paths to fetch and record, besides the markets and the books",
    )
    rest_seconds: float = seconds(60.0, "seconds between two fetches of those paths", gt=0)
    buffer_mib: int = Field(
        default=256,
        ge=1,
        description="MiB that may wait for a slow disk; then the sockets are not read until it has caught up",
        json_schema_extra={"metavar": "MIB"},
    )
    metrics_port: int = metrics_port(9405)

    @property
    def buffer_bytes(self) -> int:
        """The buffer in bytes."""
        return self.buffer_mib * _MIB

    @property
    def rotate_bytes(self) -> int | None:
        """The largest size of a part in bytes; None for no limit."""
        return None if self.rotate_mib is None else max(1, int(self.rotate_mib * _MIB))

    @property
    def rotate_us(self) -> int | None:
        """The largest age of a part in microseconds; None for no limit."""
        return None if self.rotate_hours is None else max(1, int(self.rotate_hours * _HOUR_SECONDS * 1_000_000))

    @field_validator("connections", mode="before")
    @classmethod
    def _number(cls, value: object) -> object:
        return int(value) if isinstance(value, str) and value.isdecimal() else value

    @field_validator("streams")
    @classmethod
    def _check_streams(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return checked_streams(value)

    @field_validator("rest_paths")
    @classmethod
    def _check_paths(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for path in value:
            if not path.startswith("/"):
                raise ValueError(f"{path!r} is no path of the REST API; write it as /api/v1/assets")
        return tuple(dict.fromkeys(value))
