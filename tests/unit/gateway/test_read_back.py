"""Older records are read in steps, and what anybody may write to a topic does not stop them."""

import pytest
from test_record_feed import INTEREST

from backpack_streams.bus.connection import KafkaConnection
from backpack_streams.gateway import read_back
from backpack_streams.gateway.history import History
from backpack_streams.gateway.market_data import MarketData
from backpack_streams.gateway.read_back import ReadBack
from backpack_streams.gateway.topic_names import TRADE_TOPIC
from topics_in_memory import CODEC, PREFIX, T0, MemoryReader, Topics


async def test_records_of_another_kind_do_not_stop_those_of_other_markets(monkeypatch: pytest.MonkeyPatch) -> None:
    topics = Topics({TRADE_TOPIC: 1})
    topics.add(TRADE_TOPIC, "B", "OpenInterest", INTEREST | {"symbol": "B"}, T0)
    for trade_id in range(1, 6):
        topics.trade(trade_id)
    partition = (PREFIX + TRADE_TOPIC, 0)
    monkeypatch.setattr(read_back, "Reader", lambda *_: MemoryReader(topics))
    data = MarketData()
    older = ReadBack(KafkaConnection("127.0.0.1:1"), CODEC, PREFIX, data, {partition: topics.end_of[partition]})
    for _ in range(2):
        found = await History(data, older, None).trades("A", 50)
        assert [entry.row["id"] for entry in found.entries] == [5, 4, 3, 2, 1]
    assert (older.records, older.undecodable_records) == (6, 1)


async def test_windows_that_began_anew_are_filled_once_more(monkeypatch: pytest.MonkeyPatch) -> None:
    topics = Topics({TRADE_TOPIC: 1})
    for trade_id in range(1, 6):
        topics.trade(trade_id)
    partition = (PREFIX + TRADE_TOPIC, 0)
    monkeypatch.setattr(read_back, "Reader", lambda *_: MemoryReader(topics))
    data = MarketData()
    older = ReadBack(KafkaConnection("127.0.0.1:1"), CODEC, PREFIX, data, {partition: topics.end_of[partition]})
    for starts in range(2):
        assert data.starts == starts
        found = await History(data, older, None).trades("A", 50)
        assert [entry.row["id"] for entry in found.entries] == [5, 4, 3, 2, 1]
        data.start_over()
