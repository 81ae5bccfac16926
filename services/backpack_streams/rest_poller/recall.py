"""What the topics hold from before: reference rows, how far each history goes, how far the newest gap of each book reaches."""

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from aiokafka.structs import ConsumerRecord

from backpack_streams.bus.reader import Place, Reader
from backpack_streams.bus.topic_end import read_to_end
from backpack_streams.errors import CodecError
from backpack_streams.feed.publishing import Publishing

logger = logging.getLogger(__name__)

GAPS_RECALLED = 10_000

Learn = Callable[[str, dict[str, Any] | None, int], str]
"""Takes a key, its record (None: a deletion) and its Kafka timestamp in ms; returns the series that it says something of, or nothing."""


async def recall_references(publishing: Publishing, learn: Mapping[str, Learn]) -> None:
    """Reads all of the compacted topics that `learn` names.

    Raises:
        BusError: Kafka cannot be reached, or not all of it could be read.
    """
    async with Reader(publishing.connection, publishing.codec) as reader:
        for topic_name, learn_of_topic in learn.items():
            places = await reader.places(publishing.prefix + topic_name)
            beginnings, ends = await reader.beginnings(places), await reader.ends(places)
            await read_records(reader, beginnings, ends, _learner(publishing, learn_of_topic))


async def recall_history(
    publishing: Publishing,
    topic_name: str,
    learn: Learn,
    wanted: Collection[str] | None,
    *,
    records_at_once: int = 50_000,
    records_at_most: int = 2_000_000,
) -> None:
    """Reads a topic from its end backwards until `learn` has named all `wanted` series (None: to the beginning).

    Raises:
        BusError: Kafka cannot be reached, or not all of it could be read.
    """
    missing = None if wanted is None else set(wanted)

    def take(key: str, record: dict[str, Any] | None, timestamp_ms: int) -> str:
        series = learn(key, record, timestamp_ms)
        if missing is not None:
            missing.discard(series)
        return series

    async with Reader(publishing.connection, publishing.codec) as reader:
        places = await reader.places(publishing.prefix + topic_name)
        beginnings, ends = await reader.beginnings(places), await reader.ends(places)
        read = 0
        while (
            read < records_at_most and (missing is None or missing) and any(ends[at] > beginnings[at] for at in places)
        ):
            starts = {place: max(beginnings[place], ends[place] - records_at_once) for place in places}
            await read_records(reader, starts, ends, _learner(publishing, take))
            ends = starts
            read += records_at_once


def _learner(publishing: Publishing, learn: Learn) -> Callable[[ConsumerRecord], None]:
    def take(record: ConsumerRecord) -> None:
        if record.key is not None:
            row = None if record.value is None else publishing.codec.decode(record.value)[1]
            learn(record.key.decode("utf-8", "replace"), row, record.timestamp)

    return take


async def read_records(
    reader: Reader,
    starts: Mapping[Place, int],
    ends: Mapping[Place, int],
    take: Callable[[ConsumerRecord], None],
) -> None:
    """Hands every record between `starts` and `ends` to `take`; what it cannot decode is logged and passed over.

    Raises:
        BusError: Kafka cannot be reached, or not all of it could be read.
    """

    def take_all(place: Place, records: Sequence[ConsumerRecord]) -> None:
        for record in records:
            try:
                take(record)
            except CodecError as error:
                where = {"topic": place[0], "partition": place[1], "offset": record.offset}
                logger.warning("a record cannot be read", extra=where | {"error": str(error)})

    await read_to_end(reader, starts, ends, take_all)
