"""The settings of `replay`."""

from typing import Annotated, Literal

from pydantic import Field

from backpack_streams.runtime.settings import LogSettings

Speed = Annotated[float, Field(gt=0, allow_inf_nan=False)] | Literal["max"]
Start = Literal["first-subscriber", "all-streams", "now"]


class ReplaySettings(LogSettings):
    """The addresses of the replay, its speed, its start and its end."""

    host: str = Field(
        default="127.0.0.1",
        min_length=1,
        description="addresses to listen on, with commas; * is every one of IPv4 and IPv6",
    )
    ws_port: int = Field(
        default=18765,
        ge=0,
        le=65535,
        description="port of the WebSocket; 0 takes a free one",
        json_schema_extra={"metavar": "PORT"},
    )
    rest_port: int = Field(
        default=18766,
        ge=0,
        le=65535,
        description="port of the REST API; 0 takes a free one",
        json_schema_extra={"metavar": "PORT"},
    )
    speed: Speed = Field(
        default=1.0,
        description="1 is as recorded, 10 ten times as fast, max as fast as the slowest subscriber takes",
    )
    start: Start = Field(
        default="first-subscriber",
        description="when it begins: once somebody is subscribed and no new subscription came for --settle-seconds; "
        "once every stream of the recording is subscribed to; or at once",
    )
    settle_seconds: float = Field(
        default=1.0,
        ge=0,
        allow_inf_nan=False,
        description="quiet time after a subscription with --start first-subscriber",
        json_schema_extra={"metavar": "SECONDS"},
    )
    exit_when_done: bool = Field(
        default=False, description="end once all is played and taken; if not, stay up and answer as of the end"
    )
