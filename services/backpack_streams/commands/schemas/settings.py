"""The settings of `schemas`."""

from backpack_streams.runtime.settings import KafkaSettings, LogSettings


class SchemasSettings(KafkaSettings, LogSettings):
    """The settings of `backpack-streams schemas`."""
