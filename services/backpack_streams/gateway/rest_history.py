"""Requests candles and trades that Kafka does not have from the exchange's REST API, within the gateway's share of its limits."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from decimal import Decimal
from typing import Any, Final, NamedTuple

from prometheus_client.registry import Collector

from backpack_streams.exchange.limits import LimitSettings, Priority
from backpack_streams.exchange.rest import RestClient
from backpack_streams.exchange.rest_errors import RestError
from backpack_streams.exchange_clients.from_settings import rest_settings
from backpack_streams.exchange_clients.measures import rest_measures
from backpack_streams.gateway.candles import INTERVAL_MICROS
from backpack_streams.gateway.market_data import MarketData
from backpack_streams.gateway.settings import GatewaySettings
from backpack_streams.gateway.topic_names import KLINE_TOPIC, TRADE_TOPIC
from backpack_streams.rest_poller.history_records import kline_record, trade_record
from backpack_streams.rest_poller.history_search import SETTLING_MICROS

__all__ = ["RestHistory"]

logger = logging.getLogger(__name__)

_NUMBERS: Final = (
    *("price", "quantity", "quote_quantity"),
    *("open", "high", "low", "close", "base_volume", "quote_volume"),
)
_ASKED_AGAIN_SECONDS: Final = 60.0
"""The same question is not repeated sooner, unless a candle of the answer is final before that."""
_AFTER_FAILURE_SECONDS: Final = 5.0
"""A question that failed, or whose answer is soon outdated, is not repeated sooner."""
_MICROS: Final = 1_000_000


class _Running(NamedTuple):
    """A call to the exchange in progress, and for how many rows."""

    task: asyncio.Task[None]
    limit: int


class RestHistory:
    """Adds what REST returns to the read model. Requests with the same question share one call to the exchange."""

    def __init__(self, settings: GatewaySettings, data: MarketData) -> None:
        """Prepare; nothing is sent before the first question.

        Args:
            settings: the REST API, its timeouts, and the share of its rate limits.
            data: the read model, which gets the rows.

        Raises:
            UsageError: the URL of the REST API or of the proxy is invalid, or the share leaves too few requests.
        """
        limits = LimitSettings(share=settings.rate_limit_share)
        self._rest = RestClient(rest_settings(settings, limits=limits))
        self._data = data
        self._asked: dict[tuple[str, ...], tuple[float, int]] = {}
        """By question, when it may be repeated (monotonic seconds) and for how many rows it was answered."""
        self._running: dict[tuple[str, ...], _Running] = {}

    async def close(self) -> None:
        """Cancel the calls in progress and close the connections."""
        for running in self._running.values():
            running.task.cancel()
        await self._rest.close()

    def collectors(self) -> tuple[Collector, ...]:
        """Return the metrics of the REST client for /metrics."""
        return tuple(rest_measures(self._rest))

    async def trades(self, symbol: str, limit: int) -> bool:
        """Fetch the newest trades of a market.

        Args:
            symbol: the market.
            limit: the number of trades, at most 1,000.

        Returns:
            Whether the exchange was asked and answered. A question is repeated within a minute only for more rows.
        """

        async def ask() -> float:
            answer = await self._rest.trades(symbol, limit, priority=Priority.HISTORY)
            for trade in answer.body.rows:
                if trade.trade_id is not None:
                    self._take(TRADE_TOPIC, symbol, trade_record(trade, answer.received_time_us))
            return _ASKED_AGAIN_SECONDS

        return await self._once(("trades", symbol), limit, ask)

    async def candles(self, symbol: str, interval: str, limit: int, now_us: int) -> bool:
        """Fetch the newest candles of a market, the open one included.

        Args:
            symbol: the market.
            interval: one of `INTERVAL_MICROS`.
            limit: the number of closed candles to fetch.
            now_us: the wall clock's time (µs since the Unix epoch).

        Returns:
            Whether the exchange was asked and answered. A question is repeated within a minute only for more rows, or if another
            candle is final by now.
        """

        async def ask() -> float:
            start_s = (now_us - (limit + 1) * INTERVAL_MICROS[interval]) // _MICROS
            answer = await self._rest.klines(symbol, interval, max(0, start_s), now_us // _MICROS)
            made_us = answer.received_time_us - (answer.age_seconds or 0) * _MICROS
            settled_us = [candle.end_us + SETTLING_MICROS for candle in answer.body.rows]
            for candle, final_us in zip(answer.body.rows, settled_us, strict=True):
                self._take(KLINE_TOPIC, symbol, kline_record(candle, made_us) | {"is_closed": final_us <= made_us})
            next_s = min((final_us - made_us for final_us in settled_us if final_us > made_us), default=0) / _MICROS
            return min(_ASKED_AGAIN_SECONDS, max(_AFTER_FAILURE_SECONDS, next_s)) if next_s else _ASKED_AGAIN_SECONDS

        return await self._once(("klines", symbol, interval), limit, ask)

    async def _once(self, question: tuple[str, ...], limit: int, ask: Callable[[], Awaitable[float]]) -> bool:
        answered_until, answered_for = self._asked.get(question, (0.0, 0))
        if limit <= answered_for and time.monotonic() < answered_until:
            return False
        while (running := self._running.get(question)) is not None and running.limit < limit:
            await asyncio.wait({running.task})
            if running.task.cancelled():
                return False
        if running is None:
            task = asyncio.ensure_future(self._ask(question, limit, ask))
            running = self._running[question] = _Running(task, limit)
            task.add_done_callback(lambda _: self._running.pop(question, None))
        await asyncio.wait({running.task})
        return not running.task.cancelled() and running.task.exception() is None

    async def _ask(self, question: tuple[str, ...], limit: int, ask: Callable[[], Awaitable[float]]) -> None:
        try:
            seconds = await ask()
        except RestError as error:
            logger.warning("the exchange's history is unavailable", extra={"of": question, "error": str(error)})
            self._asked[question] = time.monotonic() + _AFTER_FAILURE_SECONDS, limit
            raise
        self._asked[question] = time.monotonic() + seconds, limit

    def _take(self, topic: str, symbol: str, record: Mapping[str, Any]) -> None:
        numbers = {name: Decimal(record[name]) for name in _NUMBERS if record.get(name) is not None}
        self._data.take(topic, symbol, {**record, **numbers}, -1, is_news=False)
