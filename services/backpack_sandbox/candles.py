"""Candles in exact integers: prices in ticks, volume in steps, quote volume in ticks times steps."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from backpack_sandbox.decimals import trimmed
from backpack_sandbox.intervals import naive_iso


@dataclass(slots=True)
class Candle:
    """Trades between two times. Prices have no meaning while `trades` is 0.

    Attributes:
        start_seconds: when it begins, seconds since the Unix epoch.
        end_seconds: when it ends (exclusive), seconds since the Unix epoch.
        open: price of the first trade, in ticks.
        high: highest price, in ticks.
        low: lowest price, in ticks.
        close: price of the last trade, in ticks.
        volume: traded quantity, in steps.
        quote: sum of price times quantity, in ticks times steps.
        trades: number of trades.
    """

    start_seconds: int
    end_seconds: int
    open: int = 0
    high: int = 0
    low: int = 0
    close: int = 0
    volume: int = 0
    quote: int = 0
    trades: int = 0

    def add(self, tick: int, steps: int) -> None:
        """Add one trade, later than all before. Does not check that it falls into the candle.

        Args:
            tick: price in ticks.
            steps: quantity in steps.
        """
        if not self.trades:
            self.open = self.high = self.low = tick
        elif tick > self.high:
            self.high = tick
        elif tick < self.low:
            self.low = tick
        self.close = tick
        self.volume += steps
        self.quote += tick * steps
        self.trades += 1

    def merge(self, later: "Candle") -> None:
        """Add a candle whose trades follow this one's. The start and the end of this one stay."""
        if not later.trades:
            return
        if not self.trades:
            self.open, self.high, self.low = later.open, later.high, later.low
        self.high, self.low, self.close = max(self.high, later.high), min(self.low, later.low), later.close
        self.volume += later.volume
        self.quote += later.quote
        self.trades += later.trades

    def row(self, price_places: int, quantity_places: int) -> dict[str, Any]:
        """Return the row of `/api/v1/klines`: a blank in the times, `trades` a string, null prices without trades.

        Args:
            price_places: decimal places of a tick.
            quantity_places: decimal places of a step.
        """

        def price(tick: int) -> str | None:
            return trimmed(tick, price_places) if self.trades else None

        return {
            "start": naive_iso(self.start_seconds, " "),
            "end": naive_iso(self.end_seconds, " "),
            "open": price(self.open),
            "high": price(self.high),
            "low": price(self.low),
            "close": price(self.close),
            "volume": trimmed(self.volume, quantity_places),
            "quoteVolume": trimmed(self.quote, price_places + quantity_places),
            "trades": str(self.trades),
        }


def merged(start_seconds: int, end_seconds: int, parts: Iterable[Candle]) -> Candle:
    """Merge consecutive smaller candles into one.

    Args:
        start_seconds: start of the whole, seconds since the Unix epoch.
        end_seconds: its end (exclusive), seconds since the Unix epoch.
        parts: the candles, earliest first; they are not changed.
    """
    whole = Candle(start_seconds, end_seconds)
    for part in parts:
        whole.merge(part)
    return whole
