"""Follows the gap topic for proof that this instance does not receive what it is subscribed to.

A book-builder sees what the sockets cannot: a REST snapshot that stays ahead of a book whose stream counts as covered
(`COVERAGE_DISPROVED`). Then the exchange has forgotten the subscription, so this producer renews it.
"""

import asyncio
import logging
from collections.abc import Callable, Container, Iterable

from backpack_streams.backoff import Backoff
from backpack_streams.bus.reader import Reader
from backpack_streams.errors import BusError, CodecError
from backpack_streams.feed.what_kafka_has import GAPS
from backpack_streams.publishing.publishing import Publishing
from backpack_streams.publishing.reports import COVERAGE_DISPROVED
from backpack_streams.topic_partition import TopicPartition

__all__ = ["Disproofs", "disproved_stream"]

logger = logging.getLogger(__name__)

_FIRST_RETRY_SECONDS, _LONGEST_RETRY_SECONDS = 1.0, 10.0
_POLL_MILLIS = 1000


class Disproofs:
    """Reads the gap topic from its present end. Older records are about an earlier subscription."""

    def __init__(
        self, publishing: Publishing, streams: Container[str], doubt: Callable[[Iterable[str], str], None]
    ) -> None:
        """Prepare; `run` connects.

        Args:
            publishing: the connection, the codec and the topic prefix.
            streams: the names of the streams that are subscribed to now.
            doubt: called with the disproved streams and the evidence in words.
        """
        self._publishing = publishing
        self._streams = streams
        self._doubt = doubt
        self._offsets: dict[TopicPartition, int] = {}

    async def run(self) -> None:
        """Follow the topic until cancelled, through any failure of Kafka."""
        backoff = Backoff(_FIRST_RETRY_SECONDS, _LONGEST_RETRY_SECONDS)
        while True:
            try:
                async with Reader(self._publishing.connection, self._publishing.codec) as reader:
                    if not self._offsets:
                        self._offsets = await reader.ends(await reader.topic_partitions(self._publishing.prefix + GAPS))
                    reader.follow(self._offsets)
                    while True:
                        await self._take(reader)
                        backoff.reset()
            except BusError as error:
                logger.warning("gaps of others cannot be read; trying again", extra={"error": str(error)})
            await asyncio.sleep(backoff.next_delay_seconds())

    async def _take(self, reader: Reader) -> None:
        for partition, batch in (await reader.poll(_POLL_MILLIS)).items():
            for record in batch:
                self._offsets[partition.topic, partition.partition] = record.offset + 1
                try:
                    _, gap = self._publishing.codec.decode(record.value or b"")
                    stream = disproved_stream(gap, self._streams)
                except (CodecError, KeyError) as error:
                    logger.warning("a gap record cannot be read", extra={"error": str(error)})
                    continue
                if stream is not None:
                    self._doubt([stream], gap["detail"])


def disproved_stream(gap: dict[str, object], streams: Container[str]) -> str | None:
    """Return the stream of ours that a Gap record says is not delivered; None for any other record.

    Args:
        gap: a decoded record of `ops.gap`.
        streams: the names of our streams.

    Raises:
        KeyError: the record is no Gap.
    """
    stream = gap["stream"]
    return stream if gap["reason"] == COVERAGE_DISPROVED and isinstance(stream, str) and stream in streams else None
