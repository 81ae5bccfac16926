"""A consumer of the ccxt loop's JSON, a process of its own: counts distinct items and measures how old they are on arrival.

Reads what comes after it has said "reading". Once asked to end (SIGTERM) it reads what is left and prints one line of JSON.
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


async def _measure(bootstrap: str, topic: str) -> dict[str, Any]:
    is_over = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, is_over.set)
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, enable_auto_commit=False)
    await consumer.start()
    try:
        await consumer._client.force_metadata_update()  # without it a topic without subscription has no partitions
        known = await consumer._client.fetch_all_metadata()
        consumer.assign([TopicPartition(topic, number) for number in known.partitions_for_topic(topic)])
        await consumer.seek_to_end()
        print("reading", flush=True)
        return await _read(consumer, is_over)
    finally:
        await consumer.stop()


async def _read(consumer: AIOKafkaConsumer, is_over: asyncio.Event) -> dict[str, Any]:
    ages_us = array("q")
    items: set[tuple[str, str]] = set()
    while True:
        batches = await consumer.getmany(timeout_ms=_POLL_MILLIS)
        if not batches and is_over.is_set():
            return {"distinct": len(items), "latency_ms": latencies_ms(ages_us)}
        for batch in batches.values():
            for record in batch:
                item = json.loads(record.value)
                items.add((item["symbol"], str(item["id"])))
                if "info" in item:
                    ages_us.append(time.time_ns() // 1000 - int(item["info"]["E"]))


def main() -> None:
    """Measures once and prints."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--bootstrap", required=True)
    parser.add_argument("--topic", required=True)
    arguments = parser.parse_args()
    print(json.dumps(asyncio.run(_measure(arguments.bootstrap, arguments.topic))), flush=True)


if __name__ == "__main__":
    main()
