"""What book-builder can be told."""

from pydantic import Field

from backpack_streams.bus.access import BOOK_BUILDER_GROUP
from backpack_streams.feed.settings import PublishingSettings
from backpack_streams.runtime.settings import LogSettings, MetricsSettings, metrics_port


class BookBuilderSettings(PublishingSettings, MetricsSettings, LogSettings):
    """Which group shares the work, and how often what is written."""

    metrics_port: int = metrics_port(9406)
    group_id: str = Field(
        default=BOOK_BUILDER_GROUP,
        min_length=1,
        description="consumer group whose members share the partitions of the depth topic",
    )
    session_timeout: float = Field(
        default=10.0,
        ge=1,
        le=300,
        allow_inf_nan=False,
        description="seconds without a sign of life after which the others take over a builder's partitions",
        json_schema_extra={"metavar": "SECONDS"},
    )
    checkpoint_updates: int = Field(
        default=5_000, ge=1, description="updates of a book after which it is checkpointed, whatever the time"
    )
    checkpoint_seconds: float = Field(
        default=15.0,
        gt=0,
        allow_inf_nan=False,
        description="seconds after which a book that changed is checkpointed",
        json_schema_extra={"metavar": "SECONDS"},
    )
    checkpoint_reach: int = Field(
        default=20_000,
        ge=1,
        description="records of a partition that no reader should have to go back: a quiet book's checkpoint is renewed after so many",
    )
    top_levels: int = Field(default=20, ge=1, le=1000, description="levels a side of a book top")
    top_interval_ms: float = Field(
        default=100.0,
        ge=1,
        le=3_600_000,
        allow_inf_nan=False,
        description="milliseconds that two tops of a market are apart at the least",
        json_schema_extra={"metavar": "MS"},
    )
