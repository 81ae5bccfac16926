"""Decodes records and passes them on to whatever takes them. Anybody may write to a topic, so a foreign record must stop nothing."""

import logging
from collections.abc import Callable, Mapping
from typing import Any

from aiokafka.structs import ConsumerRecord

from backpack_streams.bus.codec import Codec
from backpack_streams.bus.topics import topic
from backpack_streams.errors import CodecError

__all__ = ["RecordIntake", "Take", "symbol_of"]

logger = logging.getLogger(__name__)

Take = Callable[[ConsumerRecord, Mapping[str, Any] | None], None]
"""Takes a record of Kafka and its decoded value; the value is None if the record is a tombstone."""


class RecordIntake:
    """Records that cannot be decoded, are not of the topic's kind, or cannot be taken are counted, logged and passed over.

    Attributes:
        unreadable_records: number of such records.
    """

    def __init__(self, codec: Codec, prefix: str) -> None:
        """Prepare.

        Args:
            codec: decodes the records.
            prefix: the prefix of the topics.
        """
        self._codec = codec
        self._prefix = prefix
        self.unreadable_records = 0

    def take(self, record: ConsumerRecord, take: Take) -> bool:
        """Decode a record and pass it to `take`.

        Args:
            record: a record of a topic of ours.
            take: receives it.

        Returns:
            Whether it was taken.
        """
        try:
            take(record, self._decoded(record))
            return True
        except (CodecError, LookupError, TypeError, ValueError, ArithmeticError) as error:
            self.unreadable_records += 1
            where = {"topic": record.topic, "partition": record.partition, "offset": record.offset}
            logger.warning("a record cannot be read", extra=where | {"error": f"{type(error).__name__}: {error}"})
            return False

    def _decoded(self, record: ConsumerRecord) -> Mapping[str, Any] | None:
        if record.value is None:
            return None
        name, value = self._codec.read(record.value)
        expected = topic(record.topic.removeprefix(self._prefix)).record
        if name != expected:
            raise CodecError(f"this is a {name}, not a {expected}")
        return value


def symbol_of(record: ConsumerRecord) -> str:
    """Return the market that a record is about: its key."""
    return str((record.key or b"").decode("utf-8", "replace"))
