"""Closes one-minute bars of trades once producers say that a minute is complete, not once a clock says that it is over.

python examples/bars.py 127.0.0.1:19092 SOL_USDC [SECONDS]

A bar is printed once, and never changes. If trades of its minute were lost, it says so.
"""

import asyncio
import sys
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal

from backpack_streams import Gap, RecordStream
from backpack_streams.books.records import MARKET_TRADE, Trade

MICROS = 1_000_000


@dataclass
class Bar:
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal = Decimal(0)
    trades: int = 0

    def add(self, price: Decimal, quantity: Decimal) -> None:
        self.high, self.low, self.close = max(self.high, price), min(self.low, price), price
        self.volume += quantity
        self.trades += 1


class Bars:
    """Open bars by the start of their time; `closed` gives those that end before everything is known to be complete."""

    def __init__(self, seconds: int) -> None:
        self._length = seconds * MICROS
        self._open: dict[int, Bar] = {}
        self._next: int | None = None
        self._is_short = False

    def add(self, trade: Trade) -> None:
        time = trade["engine_time"] or trade["received_time"]
        start = time - time % self._length
        price = trade["price"]
        self._open.setdefault(start, Bar(price, price, price, price)).add(price, trade["quantity"])

    def miss(self) -> None:
        self._is_short = True

    def closed(self, complete_through: int | None) -> list[tuple[int, Bar | None, bool]]:
        if complete_through is None:
            return []
        end = complete_through - complete_through % self._length
        # Trades of the first bar may lie before our start, so it is left out.
        starts = range(self._next or end, end, self._length)
        self._open = {start: bar for start, bar in self._open.items() if start >= (self._next or end)}
        self._next = end
        done = [(start, self._open.pop(start, None), self._is_short) for start in starts]
        self._is_short = self._is_short and not done
        return done


async def main(kafka: str, symbol: str, seconds: str = "60") -> None:
    bars = Bars(int(seconds))
    async with RecordStream(kafka, MARKET_TRADE, [symbol]) as trades:
        async for batch in trades.rounds():  # an empty one now and then, so that quiet minutes close as well
            for trade in batch:
                if isinstance(trade, Gap):
                    bars.miss()
                else:
                    bars.add(trade.value)
            for start, bar, is_short in bars.closed(trades.complete_through(MARKET_TRADE)):
                moment = datetime.fromtimestamp(start / MICROS, UTC).isoformat(timespec="seconds")
                note = " TRADES ARE MISSING" if is_short else ""
                if bar is None:
                    print(f"{moment} no trades{note}", flush=True)
                else:
                    prices = f"{bar.open:f} {bar.high:f} {bar.low:f} {bar.close:f}"
                    print(f"{moment} {prices} volume {bar.volume:f} in {bar.trades}{note}", flush=True)


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        asyncio.run(main(*sys.argv[1:]))
