"""Outages of the exchange and of Kafka during trades and candles: afterwards all are present, each once through the library."""

import asyncio
import itertools
import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from backpack_streams.books import Gap, RecordStream, StreamedRecord
from embedded_kafka import BlockingKafka, EmbeddedKafka
from plant import Plant, Service, running_plant, wait_until
from reading import read_topic

OUTAGE_SECONDS = float(os.environ.get("OUTAGE_SECONDS", "10"))
INTERVAL = "1s"
Held = dict[str, list[int]]


@pytest.fixture
def own_kafka(tmp_path: Path) -> BlockingKafka:
    """A broker that a test may stop."""
    return BlockingKafka(EmbeddedKafka(tmp_path / "kafka", port=0))


def values(plant: Plant, topic: str, record: str) -> list[dict[str, Any]]:
    return [each.value for each in read_topic(plant.bootstrap_servers, plant.prefix + topic, record) if each.value]


def gap_reasons(plant: Plant, channel: str) -> set[str]:
    return {gap["reason"] for gap in values(plant, "ops.gap", "Gap") if gap["stream"].startswith(channel)}


def ids_in_kafka(plant: Plant) -> Held:
    found: dict[str, set[int]] = {}
    for trade in values(plant, "market.trade", "Trade"):
        found.setdefault(trade["symbol"], set()).add(trade["trade_id"])
    return {symbol: sorted(ids) for symbol, ids in found.items()}


def starts_in_kafka(plant: Plant) -> Held:
    found: dict[str, set[int]] = {}
    for candle in values(plant, "market.kline", "Kline"):
        if candle["is_closed"]:
            found.setdefault(candle["symbol"], set()).add(round(candle["start_time"].timestamp()))
    return {symbol: sorted(starts) for symbol, starts in found.items()}


def holes(held: Held) -> list[tuple[str, int, int]]:
    return [
        (symbol, before, after)
        for symbol, numbers in held.items()
        for before, after in itertools.pairwise(numbers)
        if after != before + 1
    ]


def start_plant(plant: Plant, *producer: str) -> tuple[Service, Service]:
    plant.start_exchange("--symbols", "3", "--rate", "600", "--historical-requests-per-minute", "100000")
    poller = plant.start("rest-poller", "--rate-limit-share", "1")
    market = plant.start("market-producer", "--streams", f"depth,trade,kline.{INTERVAL}", *producer)
    wait_until("the poller is ready", poller.is_ready)
    wait_until("the producer is ready", market.is_ready)
    wait_until("trades flow", lambda: market.metric("frames_published_total") > 500)
    return poller, market


def heals(plant: Plant) -> None:
    """Wait until Kafka has every trade and every closed candle between its first and its last one."""
    wait_until("the trades are complete", lambda: not holes(ids_in_kafka(plant)), 120)
    wait_until("the candles are complete", lambda: not holes(starts_in_kafka(plant)), 120)


async def _through_the_library(plant: Plant) -> list[StreamedRecord | Gap]:
    topics = ["market.trade", "market.kline"]
    found: list[StreamedRecord | Gap] = []
    async with RecordStream(plant.bootstrap_servers, topics, topic_prefix=plant.prefix, start="beginning") as stream:
        async for items in stream.rounds():
            found.extend(items)
            if stream.is_caught_up and not stream.waiting:
                return found
    raise AssertionError


def once_through_the_library(plant: Plant) -> None:
    before_ids, before_starts = ids_in_kafka(plant), starts_in_kafka(plant)
    items = asyncio.run(asyncio.wait_for(_through_the_library(plant), 60))
    records = [item for item in items if isinstance(item, StreamedRecord)]
    assert len(records) == len(items), "no hole is told"
    trades: Held = {}
    candles: Held = {}
    for record in records:
        if record.name == "Trade":
            assert not record.is_late
            trades.setdefault(record.symbol, []).append(record.value["trade_id"])
        elif record.value["is_closed"]:
            candles.setdefault(record.symbol, []).append(record.value["start_time"] // 1_000_000)
    for symbol, ids in trades.items():
        assert ids == list(range(ids[0], ids[-1] + 1))
        assert set(before_ids[symbol]) <= set(ids)
    for symbol, starts in candles.items():
        assert len(starts) == len(set(starts))
        assert set(before_starts[symbol]) <= set(starts)


def refilled_as_the_exchange_says(plant: Plant, records: Iterable[dict[str, Any]]) -> None:
    """The refill from REST equals the socket's data: the same candle from both is equal."""
    by_source: dict[tuple[str, int], dict[str, Any]] = {}
    for candle in records:
        if candle["is_closed"]:
            other = by_source.setdefault((candle["symbol"], candle["start_time"]), candle)
            for name in ("open", "high", "low", "close", "base_volume", "trades", "end_time"):
                assert candle[name] == other[name]


def test_an_outage_of_the_exchange_is_refilled_completely(kafka: BlockingKafka, tmp_path: Path) -> None:
    with running_plant(kafka.bootstrap_servers, tmp_path, "outage.") as plant:
        poller, market = start_plant(plant)
        plant.exchange.order("refuse", seconds=OUTAGE_SECONDS)
        plant.exchange.order("cut")
        wait_until("the socket is gone", lambda: market.metric("sockets") == 0)
        poller.kill()  # the gap topic is the work list: the next poller finds it there
        wait_until("the socket is back", lambda: market.metric("sockets") == 1, OUTAGE_SECONDS + 60)
        wait_until("the gap is on record", lambda: "DISCONNECTED" in gap_reasons(plant, "trade."))
        wait_until("the candles' gap is on record", lambda: "DISCONNECTED" in gap_reasons(plant, "kline."))
        assert holes(ids_in_kafka(plant))
        assert holes(starts_in_kafka(plant))
        poller = plant.start_ready("rest-poller", "--rate-limit-share", "1")
        heals(plant)
        wait_until("the work list is empty", lambda: poller.metric("gaps_open") == 0)
        once_through_the_library(plant)
        refilled_as_the_exchange_says(plant, values(plant, "market.kline", "Kline"))
        assert poller.metric("refill_gaps_incomplete_total") == 0
        published = poller.metric("refill_records_total")
        assert published > 0
        assert poller.stop() == 0
        poller = plant.start_ready("rest-poller", "--rate-limit-share", "1")
        time.sleep(3)
        assert poller.metric("refill_records_total") == 0, "what is closed is not refilled again"


def test_an_outage_of_kafka_is_refilled_completely(own_kafka: BlockingKafka, tmp_path: Path) -> None:
    with own_kafka as broker, running_plant(broker.bootstrap_servers, tmp_path, "kafka.") as plant:
        poller, market = start_plant(plant, "--buffer-mib", "1")
        broker.stop_broker(0, kill=True)
        away_since = time.monotonic()
        wait_until("the buffer is full", lambda: market.metric("publish_refused_records_total") > 1000, 120)
        wait_until("the outage has lasted", lambda: time.monotonic() - away_since > OUTAGE_SECONDS, OUTAGE_SECONDS + 60)
        broker.start_broker(0)
        wait_until("the trades' gap is on record", lambda: "BUFFER_FULL" in gap_reasons(plant, "trade."), 120)
        wait_until("the candles' gap is on record", lambda: "BUFFER_FULL" in gap_reasons(plant, "kline."), 120)
        heals(plant)
        wait_until("the work list is empty", lambda: poller.metric("gaps_open") == 0, 120)
        once_through_the_library(plant)
        refilled_as_the_exchange_says(plant, values(plant, "market.kline", "Kline"))
        assert poller.metric("refill_gaps_incomplete_total") == 0
        assert poller.metric("refill_records_total") > 0
        assert market.metric("reports_lost_total") == 0
