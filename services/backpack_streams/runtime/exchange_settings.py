"""Where the exchange is, and the way to it."""

from pathlib import Path
from typing import Self

from pydantic import Field, field_validator, model_validator

from backpack_streams.runtime.settings import Settings, check_readable
from backpack_streams.runtime.urls import check_url

_SCHEMES_OF_PROXIES = ("http", "https", "socks5", "socks5h")
_NO_PROXY = "none"


class ExchangeSettings(Settings):
    """Where the exchange is, and the way to it."""

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
        description="proxy to the exchange, http://, https:// or socks5://, for WebSocket and REST; none is none; "
        "not given, HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY count",
        json_schema_extra={"metavar": "URL|none"},
    )
    exchange_proxy_file: Path | None = Field(
        default=None,
        description="file that holds the proxy's URL, as one with a password should be given",
        json_schema_extra={"metavar": "FILE"},
    )
    exchange_ca_file: Path | None = Field(
        default=None,
        description="certificates (PEM) that may sign the exchange's or the proxy's ones, besides the system's",
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
        """With its scheme, by which all that shows settings finds the password."""
        if value is None or value.strip().lower() == _NO_PROXY:
            return None if value is None else _NO_PROXY
        return check_url(value if "://" in value else f"http://{value}", _SCHEMES_OF_PROXIES)

    @model_validator(mode="after")
    def _check_ca_file(self) -> Self:
        if self.exchange_ca_file is not None:
            check_readable(self.exchange_ca_file, "exchange_ca_file")
        return self
