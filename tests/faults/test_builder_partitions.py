"""The depth topic changes under a running book-builder: records vanish, partitions are added. No book or checkpoint is wrong."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, RecordsToDelete

from backpack_streams.bus.connection import KafkaConnection
from backpack_streams.bus.partitioner import partition_of
from backpack_streams.bus.reader import Reader
from embedded_kafka import BlockingKafka
from plant import Plant, Service, running_plant, same_book, wait_until
from reading import read_topic

SYMBOLS = 8
PARTITIONS, PARTITIONS_AFTER = 8, 12
POLLER = ("rest-poller", "--snapshot-refresh", "4")
BUILDER = ("book-builder", "--session-timeout", "30", "--checkpoint-seconds", "1", "--checkpoint-updates", "100")


def administer(plant: Plant, change: Callable[[AIOKafkaAdminClient], Awaitable[Any]]) -> None:
    async def run() -> None:
        admin = AIOKafkaAdminClient(bootstrap_servers=plant.bootstrap_servers)
        await admin.start()
        try:
            await change(admin)
        finally:
            await admin.close()

    asyncio.run(run())


def ends(plant: Plant) -> dict[int, int]:
    """The end offset of each partition of the depth topic."""

    async def ask() -> dict[int, int]:
        async with Reader(KafkaConnection(plant.bootstrap_servers)) as reader:
            found = await reader.ends(await reader.topic_partitions(plant.prefix + "market.depth"))
            return {number: end for (_, number), end in found.items()}

    return asyncio.run(ask())


def tops(plant: Plant) -> dict[str, list[dict[str, Any]]]:
    """All tops by symbol."""
    rows: dict[str, list[dict[str, Any]]] = {}
    for each in read_topic(plant.bootstrap_servers, plant.prefix + "market.book_top", "BookTop"):
        if each.key is not None and each.value is not None:
            rows.setdefault(each.key, []).append(each.value)
    return rows


def are_live(plant: Plant) -> bool:
    newest = [rows[-1] for rows in tops(plant).values()]
    return len(newest) == SYMBOLS and all(row["status"] == "LIVE" for row in newest)


def checkpoints(plant: Plant) -> list[tuple[str, int, dict[str, Any]]]:
    records = read_topic(plant.bootstrap_servers, plant.prefix + "market.book_snapshot", "BookSnapshot")
    return [(r.key, r.offset, r.value) for r in records if r.key and r.value and r.value["origin"] == "CHECKPOINT"]


def start(plant: Plant) -> tuple[Service, Service, Service]:
    """Start a poller, a producer and a builder, with all books LIVE."""
    exchange = plant.start_exchange("--symbols", str(SYMBOLS), "--rate", "200", "--start", "control")
    poller = plant.start(*POLLER)
    producer = plant.start("market-producer", "--streams", "depth")
    wait_until("poller and producer are ready", lambda: poller.is_ready() and producer.is_ready())
    builder = plant.start_ready(*BUILDER)
    exchange.play()
    wait_until("all books are LIVE", lambda: are_live(plant))
    return poller, producer, builder


def finish_right(plant: Plant, builder: Service) -> dict[str, Any]:
    """End the flow, and compare a late reader's books from the builder's checkpoints with the exchange's."""
    plant.exchange.finish()
    plant.exchange.wait_finished()
    wait_until("all is in the books", lambda: builder.metric("builder_lag_records") == 0 and are_live(plant))
    assert builder.stop() == 0
    truth: dict[str, Any] = plant.exchange.ask("/books")
    books = plant.books()
    assert books.keys() == truth.keys()
    assert all(same_book(books[symbol], book) for symbol, book in truth.items())
    return truth


def test_updates_deleted_before_they_are_read_make_no_book_wrong(kafka: BlockingKafka, tmp_path: Path) -> None:
    with running_plant(kafka.bootstrap_servers, tmp_path, "vanished.") as plant:
        _, _, builder = start(plant)
        builder.suspend()
        read = ends(plant)
        wait_until(
            "more updates lie in Kafka", lambda: all(end > read[n] + 20 for n, end in ends(plant).items() if read[n])
        )
        gone = {
            TopicPartition(plant.prefix + "market.depth", n): RecordsToDelete(end) for n, end in ends(plant).items()
        }
        administer(plant, lambda admin: admin.delete_records(gone))
        builder.resume()

        def is_told() -> bool:
            stale = [row for rows in tops(plant).values() for row in rows if row["status"] == "STALE"]
            return any("retention removed updates before they were read" in row["reason"] for row in stale)

        wait_until("the builder has noticed", is_told)
        wait_until("all books are LIVE again", lambda: are_live(plant))
        finish_right(plant, builder)


def test_added_partitions_are_read_and_checkpoints_name_the_right_offsets(kafka: BlockingKafka, tmp_path: Path) -> None:
    with running_plant(kafka.bootstrap_servers, tmp_path, "added.") as plant:
        _, producer, builder = start(plant)
        topic = plant.prefix + "market.depth"
        administer(plant, lambda admin: admin.create_partitions({topic: NewPartitions(PARTITIONS_AFTER)}))
        wait_until(
            "the builder has all partitions",
            lambda: builder.metric("builder_partitions") == PARTITIONS_AFTER and builder.is_ready(),
        )
        after = plant.start_ready(
            "market-producer", "--streams", "depth"
        )  # an older producer continues with its partitions
        assert producer.stop() == 0
        wait_until("the new producer writes", lambda: after.metric("published_records_total") > SYMBOLS * 20)
        new_from = max(row["received_time"] for _, _, row in checkpoints(plant))
        wait_until("all books are LIVE again", lambda: are_live(plant))
        truth = finish_right(plant, builder)
        found, end = checkpoints(plant), ends(plant)
        moved = {symbol for symbol in truth if partition_of(symbol.encode(), 8) != partition_of(symbol.encode(), 12)}
        assert moved
        for symbol, _, row in found:
            count = PARTITIONS if row["delta_partition"] == partition_of(symbol.encode(), 8) else PARTITIONS_AFTER
            assert row["delta_partition"] == partition_of(symbol.encode(), count)
            assert row["delta_offset"] <= end[row["delta_partition"]]
            if row["received_time"] > new_from:
                assert row["delta_partition"] == partition_of(symbol.encode(), PARTITIONS_AFTER)
