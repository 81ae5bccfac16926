"""Snapshots for the books of the benchmark: the poller's part, done once, so that only the delta stream is measured."""

import time
from collections.abc import Iterable

from backpack_streams.bus.partitioner import partition_of
from backpack_streams.bus.topics import topic
from backpack_streams.exchange.rest_wire import DepthSnapshot
from backpack_streams.rest_poller.records import snapshot_record
from benchmarks.frames import FIRST_ID, markets
from benchmarks.lab import Lab

SNAPSHOTS = "market.book_snapshot"
DEPTH = "market.depth"
_COMPLETE = 1_000_000


async def publish(lab: Lab, prefix: str, snapshots: Iterable[DepthSnapshot]) -> None:
    """Write snapshots before the first delta of each market; create the topics that a reader of books needs."""
    await lab.make_topics(prefix, (SNAPSHOTS, DEPTH, "ops.gap"))
    encode = lab.codec.encoder(topic(SNAPSHOTS).record, prefix + SNAPSHOTS)
    now_us = time.time_ns() // 1000
    partitions = topic(DEPTH).partitions
    rows = [
        snapshot_record(
            snapshot,
            now_us,
            _COMPLETE,
            prefix + DEPTH,
            delta_partition=partition_of(snapshot.symbol.encode(), partitions),
            delta_offset=0,
        )
        for snapshot in snapshots
    ]
    await lab.publish(prefix + SNAPSHOTS, [(row["symbol"].encode(), encode(row), now_us // 1000) for row in rows])


def empty_books() -> list[DepthSnapshot]:
    """The source's markets before their first frame: all books are empty."""
    return [DepthSnapshot(market.symbol, (), (), FIRST_ID - 1, 0) for market in markets()]
