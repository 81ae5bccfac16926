"""The settings of the gateway."""

from ipaddress import ip_address
from pathlib import Path
from typing import Self

from pydantic import Field, model_validator

from backpack_streams.runtime.book_settings import max_age
from backpack_streams.runtime.exchange_settings import RestAccessSettings
from backpack_streams.runtime.listening import THIS_MACHINE
from backpack_streams.runtime.setting_fields import metrics_port, port, seconds
from backpack_streams.runtime.settings import (
    KafkaSettings,
    LogSettings,
    MetricsSettings,
    SettingConflict,
)


class GatewaySettings(KafkaSettings, RestAccessSettings, MetricsSettings, LogSettings):
    """Where the gateway listens, how much it keeps in memory, and how much of the exchange's REST API it may use."""

    metrics_port: int = metrics_port(9407)
    host: str = Field(
        default="localhost",
        min_length=1,
        description="addresses to listen on, with commas between them; localhost is this machine alone, "
        "* every address of IPv4 and IPv6",
    )
    port: int = port(8080, "port of the read API; 0 takes a free one")
    max_age: float = max_age()
    trade_window: int = Field(
        default=1_000,
        ge=200,
        le=100_000,
        description="newest trades of each market kept in memory",
        json_schema_extra={"metavar": "TRADES"},
    )
    candle_window: int = Field(
        default=500,
        ge=1,
        le=10_000,
        description="newest candles of each market and interval kept in memory",
        json_schema_extra={"metavar": "CANDLES"},
    )
    keys_file: Path | None = Field(
        default=None,
        description="file of the API keys, which `keys add` writes; without it no key is asked for, and --host may name "
        "this machine alone",
        json_schema_extra={"metavar": "FILE"},
    )
    open_to_all: bool = Field(
        default=False,
        description="require no key on any --host; use it only if the network or a proxy controls access",
    )
    cors_origins: tuple[str, ...] = Field(
        default=(),
        description="sites whose pages may ask from a browser; * is every one",
        json_schema_extra={"metavar": "ORIGIN"},
    )
    access_log: bool = Field(default=True, description="log each request, without its key")
    max_connections: int = Field(default=10_000, ge=1, description="connections at the same time")
    max_streams: int = Field(default=5_000, ge=0, description="of these, streams of /v1/stream")
    rest_call_timeout: float = seconds(
        5.0, "seconds for a REST call from its turn on, its repeats included; the request that needs it waits", gt=0
    )
    rest_queue_timeout: float = seconds(
        1.0, "seconds that a REST call waits for its turn within the rate limits; then Kafka's data has to do", gt=0
    )
    rest_fallback: bool = Field(
        default=True,
        description="ask the exchange's REST API for candles and trades that Kafka does not hold",
    )
    rate_limit_share: float = Field(
        default=0.25,
        gt=0,
        le=1,
        description="share of the exchange's rate limits for that; a rest-poller at the same address has its own",
    )

    @model_validator(mode="after")
    def _check_host(self) -> Self:
        """Without keys, only this machine may send requests, unless `open_to_all` says otherwise."""
        if self.open_to_all and self.keys_file is not None:
            raise SettingConflict("a gateway that is open to all asks for no keys", "open_to_all", "keys_file")
        is_local = all(_is_loopback(name.strip()) for name in self.host.split(","))
        if not (is_local or self.open_to_all or self.keys_file is not None):
            raise SettingConflict(
                f"{self.host} is open to others, and no key would be asked for; give --keys-file "
                "(see `backpack-streams keys add`), or --host localhost, or --open-to-all",
                "host",
                "keys_file",
            )
        return self


def _is_loopback(name: str) -> bool:
    if name == THIS_MACHINE:
        return True
    try:
        return ip_address(name).is_loopback
    except ValueError:  # a name, or *
        return False
