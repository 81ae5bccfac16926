"""The settings of the demo; everything else has the defaults of the programs that it runs."""

from pathlib import Path
from typing import Any, Final, Self

from pydantic import Field, model_validator

from backpack_sandbox.settings import Rate
from backpack_streams.runtime.setting_fields import port
from backpack_streams.runtime.settings import LogSettings, SettingConflict
from embedded_kafka import DEFAULT_PORT, DEFAULT_REGISTRY_PORT

__all__ = ["DemoSettings"]

_OF_THE_SANDBOX: Final = ("symbols", "rate", "recording")


def _port(default: int, whose: str) -> Any:
    return port(default, f"port of {whose}; 0 takes a free one")


class DemoSettings(LogSettings):
    """Ports, data folder, and the exchange or its stand-in. Everything listens on loopback."""

    live: bool = Field(default=False, description="take the real exchange, not the sandbox")
    kafka_port: int = _port(DEFAULT_PORT, "Kafka")
    ws_port: int = _port(18765, "the sandbox's WebSocket")
    rest_port: int = _port(18766, "the sandbox's REST API")
    control_port: int = _port(18767, "the sandbox's control API")
    gateway_port: int = _port(8080, "the gateway and its live page")
    registry: bool = Field(default=False, description="run a schema registry too, and everything with it")
    registry_port: int = _port(DEFAULT_REGISTRY_PORT, "the schema registry")
    data_dir: Path | None = Field(
        default=None,
        description="folder that keeps Kafka's data and all logs; a temporary one, removed at the end, if not given",
        json_schema_extra={"metavar": "DIR"},
    )
    symbols: int | None = Field(
        default=None, ge=1, le=600, description="number of synthetic markets; the sandbox's default if not given"
    )
    rate: Rate | None = Field(
        default=None,
        description="depth frames a second of the synthetic market, or speed of the recording (1: as recorded); "
        "max is as fast as it goes",
    )
    recording: Path | None = Field(
        default=None,
        description="play this file of `record`, its times shifted to now, in place of the synthetic market",
        json_schema_extra={"metavar": "FILE"},
    )

    @model_validator(mode="after")
    def _check_exchange(self) -> Self:
        for attribute in _OF_THE_SANDBOX if self.live else ():
            if getattr(self, attribute) is not None:
                raise SettingConflict("the sandbox does not run with --live; drop one of the two", attribute, "live")
        if self.recording is None:
            return self
        if self.symbols is not None:
            raise SettingConflict("a recording brings its own markets; drop one of the two", "symbols", "recording")
        if not self.recording.is_file():
            raise SettingConflict(f"there is no recording {self.recording}", "recording")
        return self

    @model_validator(mode="after")
    def _check_ports_differ(self) -> Self:
        attributes = ["kafka_port", "gateway_port"]
        if not self.live:
            attributes += ["ws_port", "rest_port", "control_port"]
        if self.registry:
            attributes.append("registry_port")
        seen: set[int] = set()
        for attribute in attributes:
            port = getattr(self, attribute)
            if port in seen:
                raise SettingConflict(f"port {port} is given twice; each program needs its own", attribute)
            seen |= {port} - {0}
        return self
