"""What a reader uses of a record in Kafka, so that nothing that decides depends on a client."""

from typing import Protocol

__all__ = ["KafkaRecord"]


class KafkaRecord(Protocol):
    """What is used of aiokafka's records."""

    @property
    def topic(self) -> str:
        """Its full name."""

    @property
    def partition(self) -> int:
        """From 0."""

    @property
    def offset(self) -> int:
        """In the partition."""

    @property
    def timestamp(self) -> int:
        """Milliseconds since the Unix epoch."""

    @property
    def key(self) -> bytes | None:
        """The symbol, mostly."""

    @property
    def value(self) -> bytes | None:
        """One framed record; None for a tombstone."""
