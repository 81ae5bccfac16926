"""The settings of `topics`."""

import re

from pydantic import Field, field_validator

from backpack_streams.bus.access import ACCESS, BOOK_BUILDER_GROUP, checked_services
from backpack_streams.runtime.output_settings import OutputSettings
from backpack_streams.runtime.settings import KafkaSettings, LogSettings


class TopicsSettings(OutputSettings, KafkaSettings, LogSettings):
    """The settings of `backpack-streams topics`."""

    services: tuple[str, ...] = Field(
        default=tuple(ACCESS), description=f"whose rights `acls` prints: {', '.join(ACCESS)}"
    )
    principal: str | None = Field(
        default=None,
        description="who gets the rights that `acls` prints; if not given User:<service>",
        json_schema_extra={"metavar": "User:NAME"},
    )
    group_id: str = Field(
        default=BOOK_BUILDER_GROUP, min_length=1, description="consumer group of book-builder, for `acls`"
    )

    @field_validator("services")
    @classmethod
    def _check_services(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return checked_services(value)

    @field_validator("principal")
    @classmethod
    def _check_principal(cls, value: str | None) -> str | None:
        if value is not None and not re.fullmatch(r"[A-Za-z]+:.+", value):
            raise ValueError(f"{value[:60]!r} is no principal of Kafka; write User:NAME")
        return value
