"""A reader that starts without state, in its own process: the time until every book is live, as one line of JSON.

`--mode books`: BookStream over all markets. `--mode records`: a plain aiokafka consumer, which reads a number of records from
the beginning and decodes nothing.
"""

import argparse
import asyncio
import json
import time
from contextlib import aclosing
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition

from backpack_streams.books import BookStream
from backpack_streams.runtime.loop import loop_factory

_GIVE_UP_SECONDS = 120.0


async def _books(bootstrap: str, prefix: str, count: int) -> dict[str, Any]:
    begun = time.perf_counter()
    async with BookStream(bootstrap, topic_prefix=prefix) as books, asyncio.timeout(_GIVE_UP_SECONDS):
        joined = time.perf_counter()
        async with aclosing(books.rounds()) as rounds:
            async for updates in rounds:
                for _ in updates:
                    pass
                if len(books.books) >= count and not books.not_live():
                    break
        seconds = time.perf_counter() - begun
        touches = {quantity_of(market.book.best_bid()) for market in books.books.values()}
        return {
            "seconds": seconds,
            "joined_seconds": joined - begun,
            "updates": books.updates,
            "books": len(books.books),
            "newest_ids": sorted({market.last_update_id for market in books.books.values()}),
            "touches": sorted(touches),
        }


def quantity_of(level: Any) -> str:
    """The quantity of a level as text; empty without a level."""
    return "" if level is None else str(level.quantity)


async def _records(bootstrap: str, topic: str, count: int) -> dict[str, Any]:
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, enable_auto_commit=False, auto_offset_reset="earliest")
    await consumer.start()
    try:
        consumer._client.add_topic(topic)  # a consumer with manual assignment does not discover topics
        await consumer._client.force_metadata_update()
        topic_partitions = [TopicPartition(topic, number) for number in consumer.partitions_for_topic(topic) or ()]
        consumer.assign(topic_partitions)
        await consumer.seek_to_beginning(*topic_partitions)
        read, begun = 0, time.perf_counter()
        async with asyncio.timeout(_GIVE_UP_SECONDS):
            while read < count:
                read += sum(map(len, (await consumer.getmany(timeout_ms=200, max_records=10_000)).values()))
        return {"records": read, "seconds": time.perf_counter() - begun}
    finally:
        await consumer.stop()


def main() -> None:
    """Measure once."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--bootstrap", required=True)
    parser.add_argument("--prefix", required=True)
    parser.add_argument("--mode", choices=("books", "records"), required=True)
    parser.add_argument("--count", type=int, required=True)
    arguments = parser.parse_args()
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        if arguments.mode == "books":
            found = runner.run(_books(arguments.bootstrap, arguments.prefix, arguments.count))
        else:
            found = runner.run(_records(arguments.bootstrap, arguments.prefix + "market.depth", arguments.count))
    print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
