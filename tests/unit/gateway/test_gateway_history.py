"""Rows older than memory: from Kafka first, from REST only if Kafka does not have them, and each only once."""

from decimal import Decimal
from typing import Any

import pytest

from backpack_streams.errors import BusError
from backpack_streams.gateway.candles import INTERVAL_MICROS, MINUTE_MICROS
from backpack_streams.gateway.history import History
from backpack_streams.gateway.market_data import MarketData
from backpack_streams.gateway.topic_names import KLINE_TOPIC, TRADE_TOPIC

SECOND = 1_000_000
NOW = (
    (1_796_000_000 * SECOND) // (24 * 60 * MINUTE_MICROS) * (24 * 60 * MINUTE_MICROS)
    + 15 * 60 * MINUTE_MICROS
    + 30 * SECOND
)
"""Half a minute past three in the afternoon."""
MINUTE = NOW // MINUTE_MICROS * MINUTE_MICROS


def trade(trade_id: int) -> dict[str, Any]:
    time_us = NOW - (1_000 - trade_id) * SECOND
    return {
        "symbol": "A",
        "source": "WEBSOCKET",
        "trade_id": trade_id,
        "engine_time": time_us,
        "event_time": time_us,
        "received_time": time_us,
        "price": Decimal(trade_id),
        "quantity": Decimal(1),
        "quote_quantity": None,
        "is_buyer_maker": False,
    }


def kline(start: int, interval: str = "1m", *, volume: int = 0, rest: bool = False) -> dict[str, Any]:
    end = start + INTERVAL_MICROS[interval]
    return {
        "symbol": "A",
        "source": "REST" if rest else "WEBSOCKET",
        "interval": interval,
        "start_time": start,
        "end_time": end,
        "event_time": None if rest else min(end, NOW),
        "engine_time": None,
        "received_time": min(end, NOW),
        **dict.fromkeys(("open", "high", "low", "close"), Decimal(5)),
        "base_volume": Decimal(volume),
        "quote_volume": Decimal(7) if rest else None,
        "trades": volume,
        "is_closed": end <= NOW,
    }


class OlderRecords:
    """Stands in for Kafka behind the windows: returns the given steps, newest first."""

    def __init__(
        self, data: MarketData, *steps: list[tuple[str, dict[str, Any]]], error: BusError | None = None
    ) -> None:
        self._data = data
        self._steps = list(steps)
        self._error = error
        self.asked = 0

    async def further(self, topic: str, symbol: str) -> bool:
        self.asked += 1
        if self._error is not None:
            raise self._error
        if not self._steps:
            return False
        for name, record in self._steps.pop(0):
            self._data.take(name, symbol, record, self.asked, is_news=False)
        return True


class Exchange:
    """Stands in for REST."""

    def __init__(self, data: MarketData, *rows: tuple[str, dict[str, Any]]) -> None:
        self._data = data
        self._rows = rows
        self.asked: list[tuple[Any, ...]] = []

    def _answer(self, question: tuple[Any, ...], topic: str) -> bool:
        self.asked.append(question)
        for name, record in self._rows:
            if name == topic:
                self._data.take(name, "A", record, -1, is_news=False)
        return True

    async def trades(self, symbol: str, limit: int) -> bool:
        return self._answer((symbol, limit), TRADE_TOPIC)

    async def candles(self, symbol: str, interval: str, limit: int, now_us: int) -> bool:
        return self._answer((symbol, interval, limit, now_us), KLINE_TOPIC)


def history(data: MarketData, older: Any, rest: Any = None, now_us: int = NOW) -> History:
    return History(data, older, rest, lambda: now_us)


async def trades_of(found: History, limit: int) -> tuple[list[int], bool]:
    trades = await found.trades("A", limit)
    return [entry.row["id"] for entry in trades.entries], trades.is_rest


async def test_trades_in_memory_need_no_request() -> None:
    data = MarketData()
    for trade_id in range(10, 15):
        data.take(TRADE_TOPIC, "A", trade(trade_id), trade_id)
    older, rest = OlderRecords(data), Exchange(data)
    assert await trades_of(history(data, older, rest), 5) == ([14, 13, 12, 11, 10], False)
    assert (older.asked, rest.asked) == (0, [])


async def test_older_trades_come_from_kafka_step_by_step_and_no_further_than_needed() -> None:
    data = MarketData()
    data.take(TRADE_TOPIC, "A", trade(14), 14)
    steps = [[(TRADE_TOPIC, trade(13))], [(TRADE_TOPIC, trade(12))], [(TRADE_TOPIC, trade(11))]]
    older, rest = OlderRecords(data, *steps), Exchange(data)
    assert await trades_of(history(data, older, rest), 3) == ([14, 13, 12], False)
    assert (older.asked, rest.asked) == (2, [])


async def test_trades_that_kafka_does_not_have_come_from_rest_and_are_marked() -> None:
    data = MarketData()
    data.take(TRADE_TOPIC, "A", trade(14), 14)
    rest = Exchange(data, *((TRADE_TOPIC, trade(trade_id)) for trade_id in (12, 13, 14)))
    assert await trades_of(history(data, OlderRecords(data), rest), 3) == ([14, 13, 12], True)
    assert await trades_of(history(data, OlderRecords(data), rest), 1) == ([14], False)
    assert rest.asked == [("A", 3)]


async def test_a_trade_missing_between_others_is_fetched() -> None:
    data = MarketData()
    for trade_id in (11, 12, 14):
        data.take(TRADE_TOPIC, "A", trade(trade_id), trade_id)
    rest = Exchange(data, (TRADE_TOPIC, trade(13)))
    assert await trades_of(history(data, OlderRecords(data), rest), 4) == ([14, 13, 12, 11], True)


async def test_trades_before_a_gap_that_nobody_can_fill_are_left_out() -> None:
    data = MarketData()
    for trade_id in (10, 11, 13, 14):
        data.take(TRADE_TOPIC, "A", trade(trade_id), trade_id)
    assert await trades_of(history(data, OlderRecords(data), Exchange(data)), 4) == ([14, 13], False)


async def test_without_rest_and_kafka_only_memory_is_used() -> None:
    data = MarketData()
    data.take(TRADE_TOPIC, "A", trade(14), 14)
    broken = OlderRecords(data, error=BusError("gone"))
    assert await trades_of(history(data, broken), 3) == ([14], False)


async def candles_of(found: History, interval: str, limit: int) -> tuple[list[int], bool]:
    candles = await found.candles("A", interval, limit)
    length = INTERVAL_MICROS[interval]
    newest = NOW // length * length
    return [(candle.start_us - newest) // length for candle in candles.candles], candles.is_rest


def minutes(first: int, last: int) -> list[tuple[str, dict[str, Any]]]:
    return [(KLINE_TOPIC, kline(MINUTE + number * MINUTE_MICROS)) for number in range(first, last + 1)]


async def test_hours_are_built_from_minutes_in_kafka() -> None:
    data = MarketData()
    for name, record in minutes(-60, 0):
        data.take(name, "A", record, 1)
    older, rest = OlderRecords(data, minutes(-125, -61)), Exchange(data)
    assert await candles_of(history(data, older, rest), "1h", 3) == ([-2, -1, 0], False)
    assert (older.asked, rest.asked) == (1, [])


async def test_hours_beyond_the_minutes_are_requested_from_rest() -> None:
    data = MarketData()
    for name, record in minutes(-20, 0):
        data.take(name, "A", record, 1)
    hour = INTERVAL_MICROS["1h"]
    newest = NOW // hour * hour
    rest = Exchange(data, *((KLINE_TOPIC, kline(newest + n * hour, "1h", rest=True)) for n in range(-4, 1)))
    found = history(data, OlderRecords(data), rest)
    assert await candles_of(found, "1h", 4) == ([-3, -2, -1, 0], True)
    assert rest.asked == [("A", "1h", 4, NOW)]
    assert await candles_of(found, "1h", 2) == ([-1, 0], True)
    assert len(rest.asked) == 1, "it is in memory by now"


async def test_kafka_is_not_searched_for_more_hours_than_minutes_are_kept_for() -> None:
    data = MarketData(candles_kept=200)
    for name, record in minutes(-20, 0):
        data.take(name, "A", record, 1)
    older = OlderRecords(data, minutes(-220, -21))
    await history(data, older).candles("A", "1h", 4)
    assert older.asked == 0
    await history(data, older).candles("A", "1h", 3)
    assert older.asked > 0


async def test_hours_from_rest_are_continued_by_minutes_from_kafka() -> None:
    data = MarketData()
    hour = INTERVAL_MICROS["1h"]
    newest = NOW // hour * hour
    rest = Exchange(data, *((KLINE_TOPIC, kline(newest + n * hour, "1h", rest=True)) for n in range(-4, 1)))
    await history(data, OlderRecords(data), rest).candles("A", "1h", 4)
    for number in range(125):
        record = kline(newest + number * MINUTE_MICROS) | {
            "is_closed": True,
            "event_time": newest + (number + 1) * MINUTE_MICROS,
        }
        data.take(KLINE_TOPIC, "A", record, number)
    later = history(data, OlderRecords(data), rest, newest + 125 * MINUTE_MICROS - SECOND)
    found = await later.candles("A", "1h", 5)
    assert [(candle.start_us - newest) // hour for candle in found.candles] == [-2, -1, 0, 1, 2]
    assert [candle.is_rest for candle in found.candles] == [True, True, False, False, False]
    assert len(rest.asked) == 1


async def test_a_candle_without_a_proven_quote_volume_is_requested() -> None:
    data = MarketData()
    data.take(KLINE_TOPIC, "A", kline(MINUTE - MINUTE_MICROS, volume=3), 1)
    data.take(KLINE_TOPIC, "A", kline(MINUTE, volume=1), 2)
    rest = Exchange(data, (KLINE_TOPIC, kline(MINUTE - MINUTE_MICROS, volume=3, rest=True)))
    found = await history(data, OlderRecords(data), rest).candles("A", "1m", 2)
    assert [candle.row["quote_volume"] for candle in found.candles] == [7, None]
    assert found.is_rest


@pytest.mark.parametrize("interval", ["1m", "3m"])
async def test_a_past_candle_that_was_never_closed_is_a_gap_until_rest_closes_it(interval: str) -> None:
    data = MarketData()
    length = INTERVAL_MICROS[interval]
    newest = NOW // length * length
    half = newest - length
    for number, start in enumerate(range(newest - 2 * length, MINUTE + 1, MINUTE_MICROS)):
        is_closed = start not in (half, MINUTE)
        data.take(KLINE_TOPIC, "A", kline(start) | {"is_closed": is_closed, "event_time": start + SECOND}, number)
    assert await candles_of(history(data, OlderRecords(data)), interval, 3) == ([0], False)
    rest = Exchange(data, (KLINE_TOPIC, kline(half, rest=True)))
    assert await candles_of(history(data, OlderRecords(data), rest), interval, 3) == ([-2, -1, 0], True)
    assert len(rest.asked) == 1


async def test_the_close_of_a_candle_may_come_a_little_late() -> None:
    data = MarketData()
    for start in (MINUTE - MINUTE_MICROS, MINUTE):
        data.take(KLINE_TOPIC, "A", kline(start) | {"is_closed": False, "event_time": start + SECOND}, start)
    assert await candles_of(history(data, OlderRecords(data), None, MINUTE + 4 * SECOND), "1m", 2) == ([-1, 0], False)
    assert await candles_of(history(data, OlderRecords(data), None, MINUTE + 6 * SECOND), "1m", 2) == ([0], False)


@pytest.mark.parametrize("has_rest", [True, False])
async def test_old_candles_are_not_current(has_rest: bool) -> None:
    data = MarketData()
    data.take(KLINE_TOPIC, "A", kline(MINUTE - 3 * MINUTE_MICROS), 1)
    rest = Exchange(data, (KLINE_TOPIC, kline(MINUTE, rest=True)))
    found = await candles_of(history(data, OlderRecords(data), rest if has_rest else None), "1m", 1)
    assert found == (([0], True) if has_rest else ([-3], False))
