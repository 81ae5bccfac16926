"""Candles and trades of one market, as far back as a request needs: from memory, then from Kafka, and only then from REST."""

import logging
import time
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from backpack_streams.errors import BusError
from backpack_streams.gateway.candles import INTERVAL_MICROS, MINUTE_MICROS, Candle, rolled, unbroken
from backpack_streams.gateway.market_data import MarketData
from backpack_streams.gateway.read_back import ReadBack
from backpack_streams.gateway.rest_history import RestHistory
from backpack_streams.gateway.topic_names import KLINE_TOPIC, TRADE_TOPIC
from backpack_streams.gateway.windows import Entry

__all__ = ["Candles", "History", "Trades"]

logger = logging.getLogger(__name__)

_MINUTE: Final = "1m"
_LATE_MICROS: Final = 5_000_000
"""Time after a candle's end (µs) during which its closed state and the next candle may still be on their way."""


class Trades(NamedTuple):
    """The newest trades, newest first."""

    entries: list[Entry]
    is_rest: bool
    """Whether some of them are from REST."""


class Candles(NamedTuple):
    """The newest candles, oldest first.

    Attributes:
        candles: the candles, without a gap.
        is_rest: whether some of them are from REST.
    """

    candles: list[Candle]
    is_rest: bool


class History:
    """Reads as much into the windows of the read model as a request needs, and answers from them."""

    def __init__(
        self,
        data: MarketData,
        read_back: ReadBack,
        rest: RestHistory | None,
        now_us: Callable[[], int] = lambda: time.time_ns() // 1000,
    ) -> None:
        """Prepare.

        Args:
            data: the read model, whose windows this fills.
            read_back: reads older records from Kafka.
            rest: requests from the exchange; None if it must not be asked.
            now_us: returns the wall clock's time (µs since the Unix epoch).
        """
        self._data = data
        self._read_back = read_back
        self._rest = rest
        self._now_us = now_us

    async def trades(self, symbol: str, limit: int) -> Trades:
        """Return the newest trades of a market without a gap; fewer if neither Kafka nor REST has more. Failures of both are only logged.

        Args:
            symbol: the market.
            limit: the maximum number of trades.
        """
        while self._data.trade_window(symbol).whole(limit) < limit and await self._further(TRADE_TOPIC, symbol):
            pass
        if self._data.trade_window(symbol).whole(limit) < limit and self._rest is not None:
            await self._rest.trades(symbol, limit)
        window = self._data.trade_window(symbol)
        entries = window.newest(window.whole(limit))
        return Trades(entries, any(entry.sequence < 0 for entry in entries))

    async def candles(self, symbol: str, interval: str, limit: int) -> Candles:
        """Return the newest candles of a market without a gap; fewer if neither Kafka nor REST has more.

        Kafka and REST are also asked for the quote volume of closed candles. Failures of both are only logged.

        Args:
            symbol: the market.
            interval: one of `INTERVAL_MICROS`.
            limit: the maximum number of candles.
        """
        candles = self._chain(symbol, interval, limit)
        while (
            not self._is_enough(candles, limit)
            and self._may_be_in_kafka(symbol, interval, limit)
            and await self._further(KLINE_TOPIC, symbol)
        ):
            candles = self._chain(symbol, interval, limit)
        if self._rest is not None and not self._is_enough(candles, limit):
            await self._rest.candles(symbol, interval, limit, self._now_us())
            candles = self._chain(symbol, interval, limit)
        return Candles(candles, any(candle.is_rest for candle in candles))

    def _chain(self, symbol: str, interval: str, limit: int) -> list[Candle]:
        """Return what the windows have: candles of this interval, completed by candles summed up from minutes."""
        own = self._with_quote_volumes(symbol, interval)[-limit:]
        minutes = self._with_quote_volumes(symbol, _MINUTE) if interval != _MINUTE else []
        added_up = rolled(self._without_missed_ends(minutes), INTERVAL_MICROS[interval])
        return unbroken(self._without_missed_ends(merged(own, added_up)), limit)

    def _without_missed_ends(self, candles: Sequence[Candle]) -> Sequence[Candle]:
        """Leave out past candles that were never closed, so that they count as gaps: their last figures are unknown."""
        oldest_end = self._now_us() - _LATE_MICROS
        return [each for each in candles if each.is_closed or each.end_us > oldest_end or each is candles[-1]]

    def _with_quote_volumes(self, symbol: str, interval: str) -> list[Candle]:
        window = self._data.candle_window(symbol, interval)
        return [self._data.with_quote_volume(symbol, candle, window) for candle in window.since(0)]

    def _is_enough(self, candles: Sequence[Candle], limit: int) -> bool:
        if len(candles) < limit:
            return False
        is_current = self._now_us() < candles[-1].end_us + _LATE_MICROS
        return is_current and all(candle.row["quote_volume"] is not None for candle in candles if candle.is_closed)

    def _may_be_in_kafka(self, symbol: str, interval: str, limit: int) -> bool:
        """Return whether older records may help: the interval is streamed, or enough minutes fit in memory to sum up `limit` candles."""
        if self._data.candle_window(symbol, interval).sequence >= 0:
            return True
        has_minutes = len(self._data.candle_window(symbol, _MINUTE)) > 0
        return has_minutes and limit * INTERVAL_MICROS[interval] <= self._data.candles_kept * MINUTE_MICROS

    async def _further(self, topic: str, symbol: str) -> bool:
        try:
            return await self._read_back.further(topic, symbol)
        except BusError as error:
            logger.info("older records cannot be read", extra={"topic": topic, "error": str(error)})
            return False


def merged(own: Sequence[Candle], added_up: Sequence[Candle]) -> list[Candle]:
    """Return the candles of both, oldest first.

    Of two with the same start, a closed one counts; of closed ones, one with its quote volume; otherwise the newer state.

    Args:
        own: candles of the interval.
        added_up: candles summed up from minutes.
    """
    found = {candle.start_us: candle for candle in added_up}
    for candle in own:
        other = found.get(candle.start_us)
        if other is None or _rank(candle) >= _rank(other):
            found[candle.start_us] = candle
    return [found[start] for start in sorted(found)]


def _rank(candle: Candle) -> tuple[bool, bool, int]:
    return candle.is_closed, candle.is_closed and candle.row["quote_volume"] is not None, candle.entry.as_of
