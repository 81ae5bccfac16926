"""A consumer of the ccxt loop's JSON, in its own process: counts distinct items and measures their age on arrival.

Reads the records after it has printed "reading". On SIGTERM it reads the rest and prints one line of JSON.
Items with ids outside the requested range (of a warm-up) do not count.
"""

import argparse
import asyncio
import json
import signal
import time
from array import array
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition

from benchmarks.numbers import latencies_ms

_POLL_MILLIS = 200


async def _measure(bootstrap: str, topic: str, ids: range) -> dict[str, Any]:
    is_over = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, is_over.set)
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, enable_auto_commit=False)
    await consumer.start()
    try:
        await consumer._client.force_metadata_update()  # without it a topic without a subscription has no partitions
        known = await consumer._client.fetch_all_metadata()
        consumer.assign([TopicPartition(topic, number) for number in known.partitions_for_topic(topic)])
        await consumer.seek_to_end()
        print("reading", flush=True)
        return await _read(consumer, is_over, ids)
    finally:
        await consumer.stop()


async def _read(consumer: AIOKafkaConsumer, is_over: asyncio.Event, ids: range) -> dict[str, Any]:
    ages_us = array("q")
    items: set[tuple[str, int]] = set()
    while True:
        batches = await consumer.getmany(timeout_ms=_POLL_MILLIS)
        if not batches and is_over.is_set():
            return {"distinct": len(items), "latency_ms": latencies_ms(ages_us)}
        for batch in batches.values():
            for record in batch:
                item = json.loads(record.value)
                if int(item["id"]) not in ids:
                    continue
                items.add((item["symbol"], int(item["id"])))
                if "info" in item:
                    ages_us.append(time.time_ns() // 1000 - int(item["info"]["E"]))


def main() -> None:
    """Measure once and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--bootstrap", required=True)
    parser.add_argument("--topic", required=True)
    parser.add_argument("--first-id", type=int, required=True)
    parser.add_argument("--ids", type=int, required=True)
    arguments = parser.parse_args()
    ids = range(arguments.first_id, arguments.first_id + arguments.ids)
    print(json.dumps(asyncio.run(_measure(arguments.bootstrap, arguments.topic, ids))), flush=True)


if __name__ == "__main__":
    main()
