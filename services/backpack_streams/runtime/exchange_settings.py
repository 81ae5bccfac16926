"""Settings for reaching the exchange: its addresses, the network path, and the time limit of each step."""

from pathlib import Path
from typing import Any, Self

from pydantic import Field, field_validator, model_validator

from backpack_streams.runtime.setting_fields import seconds
from backpack_streams.runtime.settings import SettingConflict, Settings, check_readable
from backpack_streams.runtime.urls import check_url

_SCHEMES_OF_PROXIES = ("http", "https", "socks5", "socks5h")
_NO_PROXY = "none"


def _seconds(default: float, description: str, most: float | None = None) -> Any:
    return seconds(default, description, gt=0, le=most)


class ExchangeSettings(Settings):
    """The exchange's addresses and the network path to it."""

    ws_url: str = Field(
        default="wss://ws.backpack.exchange",
        description="the exchange's WebSocket",
        json_schema_extra={"metavar": "URL"},
    )
    rest_url: str = Field(
        default="https://api.backpack.exchange",
        description="the exchange's REST API",
        json_schema_extra={"metavar": "URL"},
    )
    exchange_proxy: str | None = Field(
        default=None,
        description="proxy to the exchange for WebSocket and REST, http://, https:// or socks5://; none connects directly; "
        "by default, HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY apply",
        json_schema_extra={"metavar": "URL|none"},
    )
    exchange_proxy_file: Path | None = Field(
        default=None,
        description="file with the proxy's URL; use it for a URL with a password",
        json_schema_extra={"metavar": "FILE"},
    )
    exchange_ca_file: Path | None = Field(
        default=None,
        description="CA certificates (PEM) to trust for the exchange and the proxy, in addition to the system's",
        json_schema_extra={"metavar": "FILE"},
    )

    @field_validator("ws_url")
    @classmethod
    def _check_ws_url(cls, value: str) -> str:
        return check_url(value, ("ws", "wss"))

    @field_validator("rest_url")
    @classmethod
    def _check_rest_url(cls, value: str) -> str:
        return check_url(value, ("http", "https")).rstrip("/")

    @field_validator("exchange_proxy")
    @classmethod
    def _check_proxy(cls, value: str | None) -> str | None:
        """Add the scheme if it is missing: code that shows settings finds the password by it."""
        if value is None or value.strip().lower() == _NO_PROXY:
            return None if value is None else _NO_PROXY
        return check_url(value if "://" in value else f"http://{value}", _SCHEMES_OF_PROXIES)

    @model_validator(mode="after")
    def _check_ca_file(self) -> Self:
        if self.exchange_ca_file is not None:
            check_readable(self.exchange_ca_file, "exchange_ca_file")
        return self


class RestAccessSettings(ExchangeSettings):
    """Time limits of a REST call."""

    rest_connect_timeout: float = _seconds(5.0, "seconds to connect to the REST API, proxy and TLS included")
    rest_read_timeout: float = _seconds(10.0, "seconds between two parts of an answer, or of a request")
    rest_call_timeout: float = _seconds(
        30.0, "seconds for a REST call after its wait for the rate limits, retries included"
    )
    rest_queue_timeout: float = _seconds(300.0, "seconds that a REST call may wait for the rate limits")


class SocketAccessSettings(ExchangeSettings):
    """Time limits of the WebSocket."""

    ws_connect_timeout: float = _seconds(10.0, "seconds until a WebSocket is open: name, TCP, proxy, TLS and handshake")
    ws_address_delay: float = _seconds(
        0.25, "seconds without an answer from one address after which the next one is tried in parallel"
    )
    ws_subscribe_timeout: float = _seconds(
        30.0, "seconds for the exchange to confirm a subscription, after which the socket is renewed"
    )
    ws_ping_interval: float = _seconds(
        1.0,
        "seconds between two Pings, which prove what a socket has delivered; watermarks advance at most that often",
        most=2.0,
    )
    ws_ping_timeout: float = _seconds(
        10.0,
        "seconds without an answer or a message after which a socket counts as dead; its successor opens after half of that",
    )
    ws_close_timeout: float = _seconds(2.0, "seconds for sockets to close at the end")
    ws_grace: float = _seconds(
        30.0, "seconds for which the exchange delivers after its Close, while a new socket takes over"
    )
    ws_reconnect_cap: float = _seconds(30.0, "maximum seconds between two attempts to connect")

    @model_validator(mode="after")
    def _check_pings(self) -> Self:
        if self.ws_ping_timeout < 2 * self.ws_ping_interval:
            raise SettingConflict(
                f"a socket would be dead after {self.ws_ping_timeout:g} s with a Ping every {self.ws_ping_interval:g} s; "
                "--ws-ping-timeout must be at least twice --ws-ping-interval",
                "ws_ping_timeout",
                "ws_ping_interval",
            )
        return self
