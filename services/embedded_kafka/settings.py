"""The settings of the commands `kafka` and `registry`."""

from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator

from backpack_streams.runtime.setting_fields import port
from backpack_streams.runtime.settings import LogSettings


class EmbeddedKafkaSettings(LogSettings):
    """The settings of `backpack-streams kafka`."""

    port: int = port(19092, "port of the first broker, the others follow; 0 takes free ones")
    data_dir: Path = Field(description="folder that keeps the brokers' data", json_schema_extra={"metavar": "DIR"})
    brokers: Literal[1, 3] = Field(default=1, description="one broker, or three with every record on all of them")

    @field_validator("brokers", mode="before")
    @classmethod
    def _number(cls, value: object) -> object:
        return int(value) if isinstance(value, str) and value.isdecimal() else value


class EmbeddedRegistrySettings(LogSettings):
    """The settings of `backpack-streams registry`."""

    port: int = port(18081, "port of the registry; 0 takes a free one")
    data_dir: Path = Field(description="folder that keeps the registry's data", json_schema_extra={"metavar": "DIR"})
