"""A producer that vouches for the records already in Kafka: without one, no reader shows a book LIVE."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

from aiokafka import AIOKafkaProducer

from backpack_streams.books.watermark_intake import WATERMARK_TOPIC
from benchmarks.lab import Lab

INSTANCE: Final = "benchmark"
_INTERVAL_MS = 1000


@asynccontextmanager
async def vouching(
    lab: Lab, prefix: str, symbols: Sequence[str], since_us: int, ends: Mapping[str, Sequence[int]]
) -> AsyncIterator[None]:
    """Publish one watermark per second within the context; the first is in Kafka when it begins.

    Args:
        lab: the lab.
        prefix: of the topics.
        symbols: the markets whose depth is covered.
        since_us: start of the coverage, microseconds.
        ends: by topic, without the prefix, the next offset of each partition.
    """
    encode = lab.codec.encoder("Watermark", prefix + WATERMARK_TOPIC)
    rows = lab.codec.rows("Watermark")
    producer = AIOKafkaProducer(bootstrap_servers=lab.connection.bootstrap_servers)
    await producer.start()
    sequence = int(time.time())  # greater than an earlier one of the same id

    async def publish() -> None:
        nonlocal sequence
        sequence += 1
        row = _row(sequence, prefix, symbols, since_us, ends)
        value, key = encode(rows(row)), INSTANCE.encode()
        await producer.send_and_wait(prefix + WATERMARK_TOPIC, value, key, 0, row["published_time"] // 1000)

    async def repeat() -> None:
        while True:
            await asyncio.sleep(_INTERVAL_MS / 1000)
            await publish()

    try:
        await publish()
        repeating = asyncio.create_task(repeat())
        try:
            yield
        finally:
            repeating.cancel()
    finally:
        await producer.stop()


def _row(
    sequence: int, prefix: str, symbols: Sequence[str], since_us: int, ends: Mapping[str, Sequence[int]]
) -> dict[str, Any]:
    now_us = time.time_ns() // 1000
    return {
        "service": "market-producer",
        "instance": INSTANCE,
        "sequence": sequence,
        "complete_through": now_us,
        "published_time": now_us,
        "interval_ms": _INTERVAL_MS,
        "is_final": False,
        "offsets": [{"topic": prefix + name, "next_offsets": list(offsets)} for name, offsets in ends.items()],
        "coverage_sequence": sequence,
        "coverage": [{"since": since_us, "until": None, "streams": [f"depth.{symbol}" for symbol in symbols]}],
    }
