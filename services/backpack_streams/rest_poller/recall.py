"""What the topics hold from before: reference rows, how far each history goes, how far the newest gap of each book reaches."""

import logging
from collections.abc import Callable, Collection, Mapping
from typing import Any

from backpack_streams.bus.reader import Place, Reader
from backpack_streams.errors import CodecError
from backpack_streams.feed.publishing import Publishing

logger = logging.getLogger(__name__)

_POLL_MILLIS = 500
_EMPTY_POLLS_AT_MOST = 20
GAPS_RECALLED = 10_000

Learn = Callable[[str, dict[str, Any] | None], str]
"""Takes a key and its record (None: a deletion); returns the series that it says something of, or nothing."""


async def recall_references(publishing: Publishing, learn: Mapping[str, Learn]) -> None:
    """Reads all of the compacted topics that `learn` names.

    Raises:
        BusError: Kafka cannot be reached.
    """
    async with Reader(publishing.connection, publishing.codec) as reader:
        for topic_name, learn_of_topic in learn.items():
            places = await reader.places(publishing.prefix + topic_name)
            beginnings, ends = await reader.beginnings(places), await reader.ends(places)
            await read_to_end(reader, beginnings, ends, _learner(publishing, learn_of_topic))


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
        BusError: Kafka cannot be reached.
    """
    missing = None if wanted is None else set(wanted)

    def take(key: str, record: dict[str, Any] | None) -> str:
        series = learn(key, record)
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
            await read_to_end(reader, starts, ends, _learner(publishing, take))
            ends = starts
            read += records_at_once


def _learner(publishing: Publishing, learn: Learn) -> Callable[[bytes | None, bytes | None], None]:
    def take(key: bytes | None, value: bytes | None) -> None:
        if key is not None:
            learn(key.decode("utf-8", "replace"), None if value is None else publishing.codec.decode(value)[1])

    return take


async def read_to_end(
    reader: Reader, starts: dict[Place, int], ends: dict[Place, int], take: Callable[[bytes | None, bytes | None], None]
) -> None:
    """Hands every record between `starts` and `ends` to `take`; the ones it cannot decode are logged and passed over."""
    waiting = {place for place, start in starts.items() if start < ends[place]}
    if waiting:
        reader.assign({place: starts[place] for place in waiting})
    empty_polls = 0
    while waiting and empty_polls < _EMPTY_POLLS_AT_MOST:
        records = await reader.poll(_POLL_MILLIS)
        empty_polls = 0 if records else empty_polls + 1
        for partition, batch in records.items():
            for record in batch:
                try:
                    take(record.key, record.value)
                except CodecError as error:
                    where = {"topic": partition.topic, "partition": partition.partition, "offset": record.offset}
                    logger.warning("a record cannot be read", extra=where | {"error": str(error)})
        for place in list(waiting):
            if await reader.position(place) >= ends[place]:
                waiting.discard(place)
    for place in waiting:
        logger.warning(
            "topic not read to its end", extra={"topic": place[0], "partition": place[1], "end": ends[place]}
        )
