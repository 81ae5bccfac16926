"""The settings of `backfill`."""

from datetime import UTC, datetime, timedelta
from typing import Self

from pydantic import Field, model_validator

from backpack_streams.markets.settings import MarketListSettings
from backpack_streams.publishing.settings import PublishingSettings
from backpack_streams.runtime.instants import KafkaInstant
from backpack_streams.runtime.settings import LogSettings, SettingConflict

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def micros(moment: datetime) -> int:
    """Return microseconds since the Unix epoch.

    Args:
        moment: a time with a zone.

    Raises:
        TypeError: the time has no zone.
    """
    return (moment - _EPOCH) // timedelta(microseconds=1)


class BackfillSettings(PublishingSettings, MarketListSettings, LogSettings):
    """The time range of a backfill, and its speed."""

    from_time: KafkaInstant = Field(
        description="first moment of the history, by the exchange's clock; UTC if no zone is named",
        json_schema_extra={"flag": "--from", "metavar": "TIME"},
    )
    to_time: KafkaInstant | None = Field(
        default=None,
        description="end of the history, which is not in it any more; now if not given",
        json_schema_extra={"flag": "--to", "metavar": "TIME"},
    )
    again: bool = Field(default=False, description="start over although an earlier run got further")
    rate_limit_share: float = Field(
        default=0.5,
        gt=0,
        le=1,
        description="share of the exchange's rate limits to use; a rest-poller at the same address has its own",
    )

    @property
    def from_us(self) -> int:
        """Start of the history (inclusive), microseconds since the Unix epoch."""
        return micros(self.from_time)

    def to_us(self, now_us: int) -> int:
        """Return the end of the history (exclusive), microseconds since the Unix epoch.

        Args:
            now_us: the end if none was set, µs since the Unix epoch.
        """
        return now_us if self.to_time is None else micros(self.to_time)

    @model_validator(mode="after")
    def _check_range(self) -> Self:
        now = datetime.now(UTC)
        for name, moment in (("from_time", self.from_time), ("to_time", self.to_time)):
            if moment is not None and moment > now:
                raise SettingConflict(f"{moment.isoformat()} is in the future; nothing has happened there yet", name)
        if self.to_time is not None and self.from_time >= self.to_time:
            raise SettingConflict(
                f"the history from {self.from_time.isoformat()} to {self.to_time.isoformat()} is empty; "
                "--from must be before --to",
                "from_time",
                "to_time",
            )
        return self
