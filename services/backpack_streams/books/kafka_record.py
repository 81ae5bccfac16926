"""The part of a Kafka record that readers use, so that their logic does not depend on a Kafka client."""

from typing import Protocol

__all__ = ["KafkaRecord"]


class KafkaRecord(Protocol):
    """The attributes of aiokafka's records that are used."""

    @property
    def topic(self) -> str:
        """Full topic name."""

    @property
    def partition(self) -> int:
        """Partition number, from 0."""

    @property
    def offset(self) -> int:
        """Offset in the partition."""

    @property
    def timestamp(self) -> int:
        """Milliseconds since the Unix epoch."""

    @property
    def key(self) -> bytes | None:
        """Usually the symbol."""

    @property
    def value(self) -> bytes | None:
        """One framed record; None for a tombstone."""
