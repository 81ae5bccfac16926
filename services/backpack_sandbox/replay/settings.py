"""The settings of `replay`."""

from typing import Annotated, Literal

from pydantic import Field

from backpack_streams.runtime.setting_fields import port, seconds
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
    ws_port: int = port(18765, "port of the WebSocket; 0 takes a free one")
    rest_port: int = port(18766, "port of the REST API; 0 takes a free one")
    speed: Speed = Field(
        default=1.0,
        description="1 is as recorded, 10 ten times as fast, max as fast as the slowest subscriber takes",
    )
    start: Start = Field(
        default="first-subscriber",
        description="when it begins: once somebody is subscribed and no new subscription came for --settle-seconds; "
        "once every stream of the recording is subscribed to; or at once",
    )
    settle_seconds: float = seconds(1.0, "quiet time after a subscription with --start first-subscriber", ge=0)
    exit_when_done: bool = Field(
        default=False, description="end once all is played and taken; if not, stay up and answer as of the end"
    )
