"""The settings of book-builder."""

from pydantic import Field

from backpack_streams.bus.access import BOOK_BUILDER_GROUP
from backpack_streams.publishing.settings import PublishingSettings
from backpack_streams.runtime.setting_fields import metrics_port, seconds
from backpack_streams.runtime.settings import LogSettings, MetricsSettings


class BookBuilderSettings(PublishingSettings, MetricsSettings, LogSettings):
    """The consumer group that shares the work, and how often checkpoints and tops are written."""

    metrics_port: int = metrics_port(9406)
    group_id: str = Field(
        default=BOOK_BUILDER_GROUP,
        min_length=1,
        description="consumer group whose members share the partitions of the depth topic",
    )
    session_timeout: float = seconds(
        10.0, "seconds without a sign of life after which other builders take over a builder's partitions", ge=1, le=300
    )
    checkpoint_updates: int = Field(
        default=5_000, ge=1, description="updates of a book after which it is checkpointed, regardless of the time"
    )
    checkpoint_seconds: float = seconds(15.0, "seconds after which a book that changed is checkpointed", gt=0)
    checkpoint_reach: int = Field(
        default=20_000,
        ge=1,
        description="records of a partition after which a quiet book's checkpoint is renewed, so that no reader has to go back further",
    )
    top_levels: int = Field(default=20, ge=1, le=1000, description="levels per side of a top of book")
    top_interval_ms: float = Field(
        default=100.0,
        ge=1,
        le=3_600_000,
        allow_inf_nan=False,
        description="minimum milliseconds between two tops of a market",
        json_schema_extra={"metavar": "MS"},
    )
