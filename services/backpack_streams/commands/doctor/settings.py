"""The settings of `doctor`."""

from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator

from backpack_streams.bus.access import ACCESS, BOOK_BUILDER_GROUP, RUNNING, checked_services
from backpack_streams.runtime.exchange_settings import ExchangeSettings
from backpack_streams.runtime.output_settings import OutputSettings
from backpack_streams.runtime.setting_fields import seconds
from backpack_streams.runtime.settings import KafkaSettings, LogSettings


class DoctorSettings(OutputSettings, ExchangeSettings, KafkaSettings, LogSettings):
    """The parts to check, and the time limit."""

    skip: tuple[Literal["kafka", "registry", "exchange", "key"], ...] = Field(
        default=(), description="parts to skip: kafka, registry, exchange, key"
    )
    services: tuple[str, ...] = Field(
        default=RUNNING, description=f"services whose topics and ACLs to check: {', '.join(ACCESS)}"
    )
    group_id: str = Field(default=BOOK_BUILDER_GROUP, min_length=1, description="consumer group of book-builder")
    private_key_file: Path | None = Field(
        default=None,
        description="file with the account's private key; it is only read, nothing is signed",
        json_schema_extra={"metavar": "FILE"},
    )
    timeout: float = seconds(15.0, "seconds after which an unfinished check counts as failed", gt=0)
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="error", description="minimum level that is logged"
    )

    @field_validator("services")
    @classmethod
    def _check_services(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return checked_services(value)
