"""The settings of `tail`."""

from pydantic import Field

from backpack_streams.runtime.output_settings import OutputSettings
from backpack_streams.runtime.settings import KafkaSettings, LogSettings


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
