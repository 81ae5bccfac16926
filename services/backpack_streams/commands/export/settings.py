"""The settings of `export`."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Self

from pydantic import Field, model_validator

from backpack_streams.runtime.instants import KafkaInstant
from backpack_streams.runtime.setting_fields import seconds
from backpack_streams.runtime.settings import KafkaSettings, LogSettings, SettingConflict

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def millis(moment: datetime) -> int:
    """Return milliseconds since the Unix epoch, rounded down.

    Args:
        moment: a time with a zone.

    Raises:
        TypeError: the time has no zone.
    """
    return (moment - _EPOCH) // timedelta(milliseconds=1)


class ExportSettings(KafkaSettings, LogSettings):
    """The records to export, and the target folder."""

    from_time: KafkaInstant = Field(
        description="first moment to export, by Kafka's timestamp, which is the exchange's time; UTC if no zone is named",
        json_schema_extra={"flag": "--from", "metavar": "TIME"},
    )
    to_time: KafkaInstant = Field(
        description="end of the range, which is not in it any more",
        json_schema_extra={"flag": "--to", "metavar": "TIME"},
    )
    out: Path = Field(
        description="folder to write to; it gets a folder for the topic", json_schema_extra={"metavar": "DIR"}
    )
    buffer_mib: int = Field(
        default=16,
        ge=1,
        description="MiB of records as Kafka holds them, gathered before they are written; they take about 20 times that in memory",
        json_schema_extra={"metavar": "MIB"},
    )
    distinct: bool = Field(
        default=False,
        description="write each record once, however many producers, restarts and refills brought it, and of a candle no state older than "
        "one before it",
    )
    late_seconds: float | None = seconds(
        None,
        "stop reading a partition where records are this much past the range; if not given it is read to its end, "
        "since a record that was filled in later may stand anywhere",
        ge=0,
    )

    @property
    def from_ms(self) -> int:
        """Start of the range (inclusive), milliseconds since the Unix epoch."""
        return millis(self.from_time)

    @property
    def to_ms(self) -> int:
        """End of the range (exclusive), milliseconds since the Unix epoch."""
        return millis(self.to_time)

    @model_validator(mode="after")
    def _check_range(self) -> Self:
        if self.from_time >= self.to_time:
            how = "is empty" if self.from_time == self.to_time else "ends before it starts"
            raise SettingConflict(
                f"the range from {self.from_time.isoformat()} to {self.to_time.isoformat()} {how}; --from must be before --to",
                "from_time",
                "to_time",
            )
        if self.from_time > datetime.now(UTC):
            raise SettingConflict(f"{self.from_time.isoformat()} is in the future; nothing is there yet", "from_time")
        return self
