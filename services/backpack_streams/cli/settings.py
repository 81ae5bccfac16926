"""Settings of the commands that are not services."""

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, field_validator

from backpack_streams.bus.access import ACCESS, BOOK_BUILDER_GROUP
from backpack_streams.runtime.settings import KafkaSettings, LogSettings, Settings


class EmbeddedKafkaSettings(LogSettings):
    """The settings of `backpack-streams kafka`."""

    port: int = Field(
        default=19092,
        ge=0,
        le=65535,
        description="port of the first broker, the others follow; 0 takes free ones",
        json_schema_extra={"metavar": "PORT"},
    )
    data_dir: Path = Field(description="folder that keeps the brokers' data", json_schema_extra={"metavar": "DIR"})
    brokers: Literal[1, 3] = Field(default=1, description="one broker, or three with every record on all of them")

    @field_validator("brokers", mode="before")
    @classmethod
    def _number(cls, value: object) -> object:
        return int(value) if isinstance(value, str) and value.isdecimal() else value


def checked_services(value: tuple[str, ...]) -> tuple[str, ...]:
    """Return the named services of the table of ACLs, each once.

    Raises:
        ValueError: no service is named, or there is no such service.
    """
    for name in value:
        if name not in ACCESS:
            raise ValueError(f"there is no service {name[:60]!r}; there are {', '.join(ACCESS)}")
    if not value:
        raise ValueError(f"no service is named; there are {', '.join(ACCESS)}")
    return tuple(dict.fromkeys(value))


class OutputSettings(Settings):
    """The output format of a command."""

    json_output: bool = Field(
        default=False, description="print one JSON object a line", json_schema_extra={"flag": "--json"}
    )


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


class SchemasSettings(KafkaSettings, LogSettings):
    """The settings of `backpack-streams schemas`."""


class EmbeddedRegistrySettings(LogSettings):
    """The settings of `backpack-streams registry`."""

    port: int = Field(
        default=18081,
        ge=0,
        le=65535,
        description="port of the registry; 0 takes a free one",
        json_schema_extra={"metavar": "PORT"},
    )
    data_dir: Path = Field(description="folder that keeps the registry's data", json_schema_extra={"metavar": "DIR"})


def parse_instant(text: object) -> datetime:
    """Parse a time as a user writes it: ISO 8601, UTC if it names no zone.

    Raises:
        ValueError: it is not such a time.
    """
    try:
        moment = text if isinstance(text, datetime) else datetime.fromisoformat(str(text))
    except ValueError:
        raise ValueError(f"{str(text)[:60]!r} is no time; write 2026-11-22T10:30:00Z") from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)


class BookSettings(OutputSettings, KafkaSettings, LogSettings):
    """The settings of `backpack-streams book`."""

    once: bool = Field(default=False, description="wait until the books are LIVE, print them and end")
    at: Annotated[datetime, BeforeValidator(parse_instant)] | None = Field(
        default=None,
        description="print the books as of this past moment, by the exchange's engine time, and end; UTC if no zone is named",
        json_schema_extra={"metavar": "TIME"},
    )
    depth: int | None = Field(
        default=None, ge=1, description="levels of each side to print; for people 10 if not given, with --json all"
    )
    timeout: float = Field(
        default=60.0,
        gt=0,
        allow_inf_nan=False,
        description="seconds to wait for the books to be LIVE with --once, or to be read with --at",
        json_schema_extra={"metavar": "SECONDS"},
    )
    max_age: float = Field(
        default=5.0,
        gt=0,
        description="seconds that the newest watermark of a LIVE book may be old; inf: it may be LIVE though no producer vouches for it",
        json_schema_extra={"metavar": "SECONDS"},
    )


class TailSettings(OutputSettings, KafkaSettings, LogSettings):
    """The settings of `backpack-streams tail`."""

    count: int | None = Field(
        default=None,
        ge=1,
        description="end after this many records",
        json_schema_extra={"short": "-n", "flag": "--count"},
    )
    from_beginning: bool = Field(
        default=False, description="start with the oldest record that Kafka holds, not with the next one"
    )
    exit_at_end: bool = Field(
        default=False, description="end once everything is printed that Kafka holds at the start, not wait for more"
    )
