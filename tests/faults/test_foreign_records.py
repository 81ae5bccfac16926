"""Records of another program in the depth topic: a book leaves LIVE for a moment at most."""

import asyncio
import time
from pathlib import Path

from aiokafka import AIOKafkaProducer

from backpack_streams.books import BookStream, Status
from backpack_streams.bus.partitioner import partition_of
from embedded_kafka import BlockingKafka
from plant import Plant, running_plant, wait_until
from reading import read_topic

SYMBOL = "BTC_USDC_PERP"
PARTITIONS = 8
SEEDED_AT_MOST_SECONDS = 30.0
"""Routine snapshots come every 540 s."""


def write_foreign(plant: Plant) -> None:
    async def send() -> None:
        topic, key = plant.prefix + "market.depth", SYMBOL.encode()
        place = partition_of(key, PARTITIONS)
        async with AIOKafkaProducer(bootstrap_servers=plant.bootstrap_servers) as producer:
            await producer.send_and_wait(topic, b'{"hello":"kcat"}', key=key, partition=place)
            await producer.send_and_wait(topic, b'{"hello":"kcat"}', partition=place)
            await producer.send_and_wait(topic, None, key=key, partition=place)

    asyncio.run(send())


def test_the_next_update_heals_a_book_after_foreign_records(kafka: BlockingKafka, tmp_path: Path) -> None:
    """Without a book-builder, so no snapshot is requested."""
    with running_plant(kafka.bootstrap_servers, tmp_path, "foreign.") as plant:
        plant.start_exchange("--symbols", "2", "--rate", "100")
        plant.start_ready("rest-poller")
        plant.start_ready("market-producer", "--streams", "depth")
        outcomes = asyncio.run(asyncio.wait_for(_through_foreign_records(plant), 90))
        assert outcomes["broke"] >= 1
        assert plant.books(SYMBOL)  # a reader that starts after them also reads them


async def _through_foreign_records(plant: Plant) -> dict[str, int]:
    found = {"broke": 0}
    async with BookStream(plant.bootstrap_servers, [SYMBOL], topic_prefix=plant.prefix) as stream:
        await stream.until_live(60)
        breaks = stream.books[SYMBOL].breaks
        written = asyncio.create_task(asyncio.to_thread(write_foreign, plant))
        began = time.monotonic()
        async for change in stream:
            market = change.market
            found["broke"] = market.breaks - breaks
            if written.done() and found["broke"] and market.status is Status.LIVE:
                break
        assert time.monotonic() - began < 2 * SEEDED_AT_MOST_SECONDS
    return found


def test_foreign_records_in_a_quiet_market_cause_an_audit_request(kafka: BlockingKafka, tmp_path: Path) -> None:
    with running_plant(kafka.bootstrap_servers, tmp_path, "foreign-quiet.") as plant:
        exchange = plant.start_exchange("--symbols", "2", "--rate", "100", "--frames", "200", "--start", "subscribed")
        plant.start_ready("rest-poller")
        plant.start_ready("market-producer", "--streams", "depth")
        plant.start_ready("book-builder")
        exchange.wait_finished()
        plant.books(SYMBOL)
        write_foreign(plant)
        wait_until("an audit is asked for", lambda: "WANTED" in audits(plant), SEEDED_AT_MOST_SECONDS)
        wait_until("the book is LIVE again", lambda: is_live(plant), 90)


def audits(plant: Plant) -> set[str]:
    rows = read_topic(plant.bootstrap_servers, plant.prefix + "ops.book_audit", "BookAudit")
    return {each.value["result"] for each in rows if each.value and each.key == SYMBOL}


def is_live(plant: Plant) -> bool:
    done = plant.run("book", SYMBOL, "--once", "--json", "--timeout", "2")
    return '"LIVE"' in done.stdout
