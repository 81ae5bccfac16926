"""The settings of a service that publishes."""

from typing import Any

from pydantic import Field

from backpack_streams.bus.compression import Compression
from backpack_streams.bus.publisher import DEFAULT_BUFFER_BYTES, DEFAULT_PROGRESS_SECONDS
from backpack_streams.runtime.setting_fields import seconds
from backpack_streams.runtime.settings import KafkaSettings

_MIB = 1024 * 1024


class PublishingSettings(KafkaSettings):
    """How records go to Kafka: buffer, compression, and whether to create missing topics."""

    buffer_mib: int = Field(
        default=DEFAULT_BUFFER_BYTES // _MIB,
        ge=1,
        description="MiB of records that may wait while Kafka is slow or gone; what comes after is a gap on record",
        json_schema_extra={"metavar": "MIB"},
    )
    compression: Compression = Field(
        default="none",
        description="compression of batches in transit and in Kafka, unless the topic sets `compression.type`",
    )
    progress_timeout: float = seconds(
        DEFAULT_PROGRESS_SECONDS,
        "seconds for which an available Kafka may acknowledge nothing before the service exits in order to be restarted",
        ge=10,
    )
    register_schemas: bool = Field(
        default=False,
        description="register schemas that the registry lacks; if not, it must have them (`backpack-streams schemas register`)",
    )
    create_topics: bool = Field(default=True, description="create missing topics at start; never changes existing ones")

    @property
    def buffer_bytes(self) -> int:
        """The size of the buffer in bytes."""
        return self.buffer_mib * _MIB

    def connection_fields(self) -> dict[str, Any]:
        """Return the arguments of `KafkaConnection`, including the compression. Secrets are plain text."""
        return super().connection_fields() | {"compression": self.compression}
