"""What is reported as written is in Kafka."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import pytest

from backpack_streams.commands.backfill.progress import Bookmark, Reached
from backpack_streams.errors import BusError
from backpack_streams.exchange.limits import Priority
from backpack_streams.exchange.rest import RestClient, RestSettings
from backpack_streams.exchange.rest_wire import Trade
from backpack_streams.publishing.publishing import Publishing
from backpack_streams.publishing.settings import PublishingSettings
from backpack_streams.rest_poller.history import TRADE_TOPIC, History
from embedded_kafka import BlockingKafka
from kafka_faults import limit_records
from reading import read_topic

NOW_MS = 1_790_134_357_267
TOO_SMALL_BYTES = 80


@asynccontextmanager
async def publishing(kafka: BlockingKafka, prefix: str) -> AsyncIterator[Publishing]:
    settings = PublishingSettings(bootstrap_servers=kafka.bootstrap_servers, topic_prefix=prefix)
    opened = Publishing("settled", settings, lambda topic, symbol, record: f"trade.{symbol}")
    await opened.open({TRADE_TOPIC})
    try:
        yield opened
    finally:
        await opened.close()


def trades(first: int, count: int) -> list[Trade]:
    return [Trade("SOL_USDC", each, "1", "1", "1", NOW_MS, True) for each in range(first, first + count)]


async def test_history_reports_what_kafka_has_and_what_it_refuses(kafka: BlockingKafka) -> None:
    rest = RestClient(RestSettings(base_url="http://127.0.0.1:9"))
    async with publishing(kafka, "settled.") as opened:
        history = History(opened, rest, Priority.HISTORY)
        there = await history.publish_trades(trades(1, 5), NOW_MS * 1000)
        assert list(there.spans) == [(1, 6)]
        assert not there.rejected
        await asyncio.to_thread(limit_records, kafka, "settled.market.trade", TOO_SMALL_BYTES)
        refused = await history.publish_trades(trades(6, 5), NOW_MS * 1000)
        assert list(refused.rejected) == [(6, 11)]
        assert not refused.spans
        assert history.published == 5
        assert await opened.reported() == 0
    await rest.close()
    letters = await asyncio.to_thread(read_topic, kafka.bootstrap_servers, "settled.ops.dead_letter", "DeadLetter")
    assert len([letter for letter in letters if letter.value and letter.value["reason"] == "REJECTED_BY_KAFKA"]) == 5


async def test_a_bookmark_that_kafka_refuses_does_not_count(kafka: BlockingKafka) -> None:
    async with publishing(kafka, "bookmarks.") as opened:
        bookmark = Bookmark(opened, "trade.SOL_USDC", "SOL_USDC", datetime(2026, 1, 1, tzinfo=UTC))
        await bookmark.write(Reached(5, NOW_MS * 1000))
        assert await bookmark.read() == Reached(5, NOW_MS * 1000)
        await asyncio.to_thread(limit_records, kafka, "bookmarks.ops.stream_status", TOO_SMALL_BYTES)
        with pytest.raises(BusError, match="refuses the record of how far"):
            await bookmark.write(Reached(10, NOW_MS * 1000))
        assert await bookmark.read() == Reached(5, NOW_MS * 1000)
