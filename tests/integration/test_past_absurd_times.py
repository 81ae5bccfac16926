"""A record with an absurd time misleads Kafka's own index, but not a reader as of a moment: with a real broker."""

import asyncio
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaProducer

from backpack_streams.books import BookStream, Status
from backpack_streams.bus.codec import Codec
from backpack_streams.bus.connection import KafkaConnection
from backpack_streams.bus.offset_search import offsets_at
from backpack_streams.bus.partitioner import partition_of
from backpack_streams.bus.reader import Reader
from backpack_streams.bus.topics import topic
from embedded_kafka import BlockingKafka
from plant import Plant, running_plant, wait_until
from reading import read_topic
from stub_producer import DEPTH, StubExchange, StubProducer, _update, now_us

SYMBOL = "BTC_USDC_PERP"
CENTURY_MILLIS = 100 * 365 * 24 * 3600 * 1000


async def send(
    servers: str, name: str, partition: int, stamps_ms: list[int], value: bytes = b"x", key: bytes = b"k"
) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=servers)
    await producer.start()
    try:
        for stamp in stamps_ms:
            await producer.send(name, value, key, partition=partition, timestamp_ms=stamp)
        await producer.flush()
    finally:
        await producer.stop()


def test_a_moment_is_found_despite_a_record_of_another_century(kafka: BlockingKafka) -> None:
    asyncio.run(asyncio.wait_for(_behind_a_record_of_another_century(kafka.bootstrap_servers), 90))


async def _behind_a_record_of_another_century(servers: str) -> None:
    async with StubProducer(servers, "absurd-index.", StubExchange((SYMBOL,))):
        pass  # creates the topics
    topic_partition, began_ms = ("absurd-index.market.depth", 3), 1_700_000_000_000
    stamps = [began_ms + number * 10 for number in range(20_000)]
    stamps[100] += CENTURY_MILLIS
    await send(servers, *topic_partition, stamps)
    async with Reader(KafkaConnection(servers)) as reader:
        ends = await reader.ends([topic_partition])
        assert await reader.offset_at(topic_partition, stamps[15_000]) == 100, (
            "Kafka's index points at the absurd record"
        )
        for wanted in (0, 50, 150, 7_777, 15_000, 19_999):
            assert await offsets_at(reader, {topic_partition: stamps[wanted]}, ends) == {topic_partition: wanted}
        assert await offsets_at(reader, {topic_partition: stamps[-1] + 1}, ends) == {topic_partition: 20_000}


def test_books_as_of_a_moment_despite_an_update_of_another_century(kafka: BlockingKafka) -> None:
    asyncio.run(asyncio.wait_for(_after_an_update_of_another_century(kafka.bootstrap_servers), 90))


async def _after_an_update_of_another_century(servers: str) -> None:
    """A foreign update of an unused market, in the partition of a used one."""
    prefix, partition = "absurd-at.", partition_of(SYMBOL.encode(), topic(DEPTH).partitions)
    async with StubProducer(servers, prefix, StubExchange((SYMBOL,))) as producer:
        await producer.watermark()
        await producer.snapshot(SYMBOL, 1)
        await producer.update(SYMBOL)
        await producer.watermark()
        foreign = _update("FOREIGN", 7) | {"engine_time": now_us() + CENTURY_MILLIS * 1000}
        codec = Codec()
        value = codec.encoder("DepthUpdate", prefix + DEPTH)(codec.rows("DepthUpdate")(foreign))
        await send(servers, prefix + DEPTH, partition, [now_us() // 1000 + CENTURY_MILLIS], value, b"FOREIGN")
        producer._next[DEPTH, partition] += 1
        moments: list[tuple[int, int]] = []
        for _ in range(40):
            await producer.update(SYMBOL)
            await producer.watermark()
            moments.append((now_us(), producer.exchange.last_ids[SYMBOL]))
            await asyncio.sleep(0.02)
    for moment_us, last_id in moments[::10]:
        stream = BookStream(servers, SYMBOL, from_time=moment_us, until=moment_us, topic_prefix=prefix)
        async with stream:
            assert await stream.until_moment(30), "one record holds up the reading"
            book = stream.books[SYMBOL]
            assert book.status is Status.LIVE, book.reason
            assert book.last_update_id == last_id


def test_a_snapshot_names_the_right_offset_despite_an_update_of_another_century(
    kafka: BlockingKafka, tmp_path: Path
) -> None:
    partition = partition_of(SYMBOL.encode(), topic(DEPTH).partitions)
    with running_plant(kafka.bootstrap_servers, tmp_path, "absurd-seed.") as plant:
        plant.start_exchange("--symbols", "1", "--rate", "5")
        plant.run("topics", "apply")
        now_ms = now_us() // 1000
        stamps = [now_ms - 3_600_000 + number for number in range(1_000)]
        stamps[100] += CENTURY_MILLIS
        asyncio.run(send(kafka.bootstrap_servers, plant.prefix + DEPTH, partition, stamps))
        plant.start_ready("rest-poller")
        wait_until("a snapshot is there", lambda: bool(snapshots(plant)))
        for snapshot in snapshots(plant):
            assert (snapshot["delta_partition"], snapshot["delta_offset"]) == (partition, 1_000)


def snapshots(plant: Plant) -> list[dict[str, Any]]:
    found = read_topic(plant.bootstrap_servers, plant.prefix + "market.book_snapshot", "BookSnapshot")
    return [each.value for each in found if each.value and each.value["symbol"] == SYMBOL]
