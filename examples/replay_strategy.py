"""Plays what Kafka holds through a strategy, books and trades in one order of engine time: the same result each time.

python examples/replay_strategy.py 127.0.0.1:19092 SOL_USDC [TOPIC_PREFIX]

What Kafka holds may be live data, a backfill or a recording: `backpack-streams replay FILE` with a producer brings one there. The
strategy is a plain class, so it runs the same on live data (`until=None`).
"""

import asyncio
import sys
from decimal import Decimal

from backpack_streams import Gap, RecordStream, is_of
from backpack_streams.books.records import BookTicker, Trade

TOPICS = ("market.book_ticker", "market.trade")
SIZE = Decimal(1)
TRADES_IN_A_ROW = 2


class Momentum:
    """Buys at the ask after so many trades of buyers in a row, sells at the bid after as many of sellers. No fees."""

    def __init__(self) -> None:
        self.position = self.cash = Decimal(0)
        self.fills = 0
        self._bid: Decimal | None = None
        self._ask: Decimal | None = None
        self._run = 0

    def on_touch(self, bid: Decimal | None, ask: Decimal | None) -> None:
        self._bid, self._ask = bid, ask

    def on_trade(self, is_buyer_maker: bool) -> None:
        step = -1 if is_buyer_maker else 1
        self._run = self._run + step if self._run * step > 0 else step
        if self._run >= TRADES_IN_A_ROW and self.position <= 0 and self._ask is not None:
            self._fill(SIZE, self._ask)
        elif self._run <= -TRADES_IN_A_ROW and self.position >= 0 and self._bid is not None:
            self._fill(-SIZE, self._bid)

    def on_gap(self) -> None:
        """What lies in a gap is not known: a run does not go on over it."""
        self._run = 0

    def worth(self) -> Decimal:
        if self.position == 0 or self._bid is None or self._ask is None:
            return self.cash
        return self.cash + self.position * (self._bid if self.position > 0 else self._ask)

    def _fill(self, size: Decimal, price: Decimal) -> None:
        self.position += size
        self.cash -= size * price
        self.fills += 1


async def main(kafka: str, symbol: str, prefix: str = "backpack.") -> None:
    strategy, records = Momentum(), 0
    history = RecordStream(kafka, TOPICS, [symbol], start="beginning", until="end", merged=True, topic_prefix=prefix)
    async with history:
        async for item in history:
            records += 1
            if isinstance(item, Gap):
                strategy.on_gap()
            elif is_of(item, BookTicker):
                strategy.on_touch(item.value["bid_price"], item.value["ask_price"])
            elif is_of(item, Trade):
                strategy.on_trade(item.value["is_buyer_maker"])
    print(f"{records} records, {strategy.fills} fills, position {strategy.position:f}, worth {strategy.worth():f}")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
