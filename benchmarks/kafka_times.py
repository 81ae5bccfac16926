"""When Kafka appended each depth update, by its own clock, and how far books served over HTTP were behind that."""

from array import array
from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import replace

from backpack_streams.bus.admin import TopicAdmin
from backpack_streams.bus.depth_reader import DepthReader
from backpack_streams.bus.reader import Reader
from backpack_streams.bus.topics import topic
from benchmarks.frames import markets
from benchmarks.lab import Lab
from benchmarks.way_in import TOPICS

__all__ = ["behind_kafka_us", "make_stamped_topic"]

_POLL_MILLIS = 200


async def make_stamped_topic(lab: Lab, prefix: str) -> None:
    """Create the topic of depth updates so that Kafka stamps each record when it appends it."""
    usual = topic(TOPICS["depth"])
    stamped = replace(usual, extra={**usual.extra, "message.timestamp.type": "LogAppendTime"})
    await TopicAdmin(lab.connection, prefix).apply([stamped], create_only=True)


async def behind_kafka_us(lab: Lab, prefix: str, books: bytes) -> list[int]:
    """Return how long before each request Kafka had appended the oldest update that the answer lacked (µs); 0 if it lacked none.

    Kafka stamps whole milliseconds, so a figure may be up to 1 ms too large.

    Args:
        lab: its Kafka.
        prefix: prefix of the topic.
        books: what `http_load --books` wrote, on this machine, so that both times are of one clock.
    """
    appended = await _appended(lab, prefix + TOPICS["depth"])
    served = array("q", books)
    symbols = [market.symbol.encode() for market in markets()]
    return list(_behind(appended, symbols, zip(*(served[each::3] for each in range(3)), strict=True)))


def _behind(
    appended: dict[bytes, tuple[list[int], list[int]]], symbols: list[bytes], served: Iterable[tuple[int, ...]]
) -> Iterable[int]:
    for market, update_id, sent_us in served:
        ids, stamps_ms = appended[symbols[market]]
        place = bisect_right(ids, update_id)
        yield max(0, sent_us - stamps_ms[place] * 1000) if place < len(ids) else 0


async def _appended(lab: Lab, name: str) -> dict[bytes, tuple[list[int], list[int]]]:
    """Return the last ids and the timestamps (ms) of all updates of each market, in order."""
    found: dict[bytes, tuple[list[int], list[int]]] = {}
    read = DepthReader(lab.codec).read
    async with Reader(lab.connection) as reader:
        ends = await reader.ends(await reader.topic_partitions(name))
        left = {each: end for each, end in ends.items() if end}
        reader.assign(dict.fromkeys(left, 0))
        while left:
            for partition, records in (await reader.poll(_POLL_MILLIS)).items():
                for record in records:
                    ids, stamps_ms = found.setdefault(record.key, ([], []))
                    ids.append(read(record.value)[1])
                    stamps_ms.append(record.timestamp)
                if records[-1].offset + 1 >= left.get((partition.topic, partition.partition), 0):
                    left.pop((partition.topic, partition.partition), None)
    return found
