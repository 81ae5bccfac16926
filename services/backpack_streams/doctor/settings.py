"""The settings of `doctor`."""

from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator

from backpack_streams.bus.access import ACCESS, BOOK_BUILDER_GROUP, RUNNING
from backpack_streams.cli.settings import OutputSettings, checked_services
from backpack_streams.runtime.exchange_settings import ExchangeSettings
from backpack_streams.runtime.settings import KafkaSettings, LogSettings


class DoctorSettings(OutputSettings, ExchangeSettings, KafkaSettings, LogSettings):
    """The parts to check, and the time limit."""

    skip: tuple[Literal["kafka", "registry", "exchange", "key"], ...] = Field(
        default=(), description="parts to leave out: kafka, registry, exchange, key"
    )
    services: tuple[str, ...] = Field(
        default=RUNNING, description=f"whose topics and rights to look at: {', '.join(ACCESS)}"
    )
    group_id: str = Field(default=BOOK_BUILDER_GROUP, min_length=1, description="consumer group of book-builder")
    private_key_file: Path | None = Field(
        default=None,
        description="file that holds the account's private key; only read, nothing is signed",
        json_schema_extra={"metavar": "FILE"},
    )
    timeout: float = Field(
        default=15.0,
        gt=0,
        allow_inf_nan=False,
        description="seconds after which what has not answered counts as failed",
        json_schema_extra={"metavar": "SECONDS"},
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="error", description="least level that is logged"
    )

    @field_validator("services")
    @classmethod
    def _check_services(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return checked_services(value)
