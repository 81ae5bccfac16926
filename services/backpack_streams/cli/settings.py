"""Settings of the commands that are no service of their own."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, field_validator

from backpack_streams.runtime.settings import KafkaSettings, LogSettings, Settings


class EmbeddedKafkaSettings(LogSettings):
    """What `backpack-streams kafka` takes."""

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


class TopicsSettings(KafkaSettings, LogSettings):
    """What `backpack-streams topics` takes."""


class SchemasSettings(KafkaSettings, LogSettings):
    """What `backpack-streams schemas` takes."""


class EmbeddedRegistrySettings(LogSettings):
    """What `backpack-streams registry` takes."""

    port: int = Field(
        default=18081,
        ge=0,
        le=65535,
        description="port of the registry; 0 takes a free one",
        json_schema_extra={"metavar": "PORT"},
    )
    data_dir: Path = Field(description="folder that keeps the registry's data", json_schema_extra={"metavar": "DIR"})


class OutputSettings(Settings):
    """How a command prints what it found."""

    json_output: bool = Field(
        default=False, description="print one JSON object a line", json_schema_extra={"flag": "--json"}
    )


def parse_instant(text: object) -> datetime:
    """A moment as a user writes it, ISO 8601, UTC where no zone is named.

    Raises:
        ValueError: it is none.
    """
    try:
        moment = text if isinstance(text, datetime) else datetime.fromisoformat(str(text))
    except ValueError:
        raise ValueError(f"{str(text)[:60]!r} is no time; write 2026-11-22T10:30:00Z") from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)


class BookSettings(OutputSettings, KafkaSettings, LogSettings):
    """What `backpack-streams book` takes."""

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


class TailSettings(OutputSettings, KafkaSettings, LogSettings):
    """What `backpack-streams tail` takes."""

    count: int | None = Field(
        default=None,
        ge=1,
        description="end after this many records",
        json_schema_extra={"short": "-n", "flag": "--count"},
    )
    from_beginning: bool = Field(
        default=False, description="start with the oldest record that Kafka holds, not with the next one"
    )
