"""What anybody may write to a topic does not end the gateway's reading."""

from collections.abc import Iterable, Mapping
from dataclasses import replace

import pytest
from aiokafka import TopicPartition
from aiokafka.structs import ConsumerRecord

from backpack_streams.bus.connection import KafkaConnection
from backpack_streams.gateway.market_data import MarketData
from backpack_streams.gateway.plant import Plant
from backpack_streams.gateway.record_feed import RecordFeed
from backpack_streams.gateway.topic_names import TRADE_TOPIC
from topics_in_memory import CODEC, PREFIX, T0, MemoryReader, Topics

INTEREST = {
    "symbol": "A",
    "source": "WEBSOCKET",
    "received_time": T0,
    "event_time": T0,
    "engine_time": T0,
    "cache_age_seconds": None,
    "open_interest": "1",
}


class EndOfTopicsError(Exception):
    """Everything was read."""


class EndingReader(MemoryReader):
    def follow(self, offsets: Mapping[TopicPartition, int]) -> None:
        self.assign(offsets)

    async def poll(
        self, timeout_ms: int, most: int = 10_000, only: Iterable[TopicPartition] = ()
    ) -> Mapping[TopicPartition, list[ConsumerRecord]]:
        found = await super().poll(timeout_ms, most, only)
        if not found:
            raise EndOfTopicsError
        return found


async def test_records_of_another_kind_are_counted_and_passed_over() -> None:
    topics = Topics()
    topics.trade(1)
    topics.add(TRADE_TOPIC, "A", "OpenInterest", INTEREST, T0)
    odd = topics.add(TRADE_TOPIC, "A", "OpenInterest", INTEREST, T0)
    log = topics.logs[odd.topic, odd.partition]
    log[-1] = replace(odd, key=b"\xff\xfe")
    topics.trade(2)
    data = MarketData()
    feed = RecordFeed(KafkaConnection("127.0.0.1:1"), CODEC, PREFIX, data, Plant())
    offsets = {each: 0 for each in topics.logs if each[0] == PREFIX + TRADE_TOPIC}
    with pytest.raises(EndOfTopicsError):
        await feed._follow(EndingReader(topics), offsets)  # type: ignore[arg-type]
    assert [entry.row["id"] for entry in data.trade_window("A").newest(9)] == [2, 1]
    assert feed.undecodable_records == 2
