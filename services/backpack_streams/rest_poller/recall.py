"""What the topics hold from before: the reference rows published last, and how far the newest gap of each book reaches."""

import logging
from collections.abc import Callable

from backpack_streams.bus.reader import Place, Reader
from backpack_streams.errors import CodecError
from backpack_streams.feed.publishing import Publishing
from backpack_streams.rest_poller.changes import Reference

logger = logging.getLogger(__name__)

_POLL_MILLIS = 500
_EMPTY_POLLS_AT_MOST = 20
GAPS_RECALLED = 10_000


async def recall_reference(
    publishing: Publishing, topic_name: str, reference: Reference, is_ours: Callable[[str], bool]
) -> None:
    """Reads the keys that are ours of a compacted topic into `reference`.

    Raises:
        BusError: Kafka cannot be reached.
    """

    def take(key: bytes | None, value: bytes | None) -> None:
        if key is None:
            return
        name = key.decode("utf-8", "replace")
        if is_ours(name):
            reference.holds(name, None if value is None else publishing.codec.decode(value)[1].get("raw", ""))

    async with Reader(publishing.connection) as reader:
        places = await reader.places(publishing.prefix + topic_name)
        await read_to_end(reader, await reader.beginnings(places), await reader.ends(places), take)


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
