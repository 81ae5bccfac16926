"""Candles that the gateway asks REST for: which of them are final, and when it asks again."""

from types import SimpleNamespace
from typing import Any

import pytest
from test_gateway_history import MINUTE, SECOND

from backpack_streams.gateway import rest_history
from backpack_streams.gateway.candles import MINUTE_MICROS
from backpack_streams.gateway.market_data import MarketData
from backpack_streams.gateway.rest_history import RestHistory
from backpack_streams.gateway.settings import GatewaySettings

FIGURES = dict.fromkeys(("open", "high", "low", "close", "volume", "quote_volume"), "5")


class Exchange:
    """Answers with two candles; the second one ends after `MINUTE`."""

    def __init__(self) -> None:
        self.now_us = MINUTE
        self.age_seconds: int | None = None
        self.asked = 0

    async def klines(self, symbol: str, interval: str, start_s: int, end_s: int) -> Any:
        self.asked += 1
        starts = (MINUTE - MINUTE_MICROS, MINUTE)
        rows = [
            SimpleNamespace(
                symbol=symbol, interval=interval, start_us=start, end_us=start + MINUTE_MICROS, trades=1, **FIGURES
            )
            for start in starts
        ]
        return SimpleNamespace(
            received_time_us=self.now_us, age_seconds=self.age_seconds, body=SimpleNamespace(rows=rows)
        )


class World:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.data = MarketData()
        self.exchange = Exchange()
        monkeypatch.setattr(rest_history, "RestClient", lambda _: self.exchange)
        monkeypatch.setattr(rest_history, "time", SimpleNamespace(monotonic=lambda: self.exchange.now_us / SECOND))
        self.history = RestHistory(GatewaySettings(bootstrap_servers="k:1"), self.data)

    async def ask(self, seconds: float) -> tuple[bool, list[bool]]:
        """Ask that long after the end of the first candle. Returns whether the exchange was asked, and which candles are closed."""
        self.exchange.now_us = MINUTE + round(seconds * SECOND)
        was_asked = await self.history.candles("A", "1m", 2, self.exchange.now_us)
        return was_asked, [candle.is_closed for candle in self.data.candle_window("A", "1m").since(0)]


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    return World(monkeypatch)


async def test_a_candle_that_has_just_ended_is_still_open(world: World) -> None:
    assert await world.ask(0.001) == (True, [False, False])
    assert await world.ask(4.9) == (False, [False, False])
    assert await world.ask(5.1) == (True, [True, False])


async def test_a_cached_answer_is_as_old_as_its_age_says(world: World) -> None:
    world.exchange.age_seconds = 3
    assert await world.ask(4) == (True, [False, False])
    assert await world.ask(10) == (True, [True, False])


async def test_the_same_is_asked_again_once_another_candle_is_final(world: World) -> None:
    assert await world.ask(30) == (True, [True, False])
    assert await world.ask(61.9) == (False, [True, False])
    assert await world.ask(62) == (True, [True, True])
    assert await world.ask(121) == (False, [True, True])
    assert await world.ask(123) == (True, [True, True])
