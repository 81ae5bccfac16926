"""A market maker's fair price: the microprice of a LIVE book, drawn to the mark price; no price at all without both.

python examples/fair_price.py 127.0.0.1:19092 BTC_USDC_PERP
"""

import asyncio
import sys
import time
from contextlib import suppress
from decimal import Decimal

from backpack_streams import BookStream, Gap, RecordStream, Status
from backpack_streams.books.records import PERP_MARK_PRICE

MARK_WEIGHT = Decimal("0.3")
MARK_MAX_AGE_SECONDS = 5.0
HALF_SPREAD = Decimal("0.0005")


class Mark:
    """The newest mark price, and when it came by our own clock."""

    def __init__(self) -> None:
        self._price: Decimal | None = None
        self._came_at = 0.0

    def take(self, price: Decimal) -> None:
        self._price, self._came_at = price, time.monotonic()

    @property
    def price(self) -> Decimal | None:
        return self._price if time.monotonic() - self._came_at <= MARK_MAX_AGE_SECONDS else None


async def follow_mark(kafka: str, symbol: str, mark: Mark) -> None:
    async with RecordStream(kafka, PERP_MARK_PRICE, [symbol]) as prices:
        async for item in prices:
            if not isinstance(item, Gap):
                mark.take(item.value["mark_price"])


async def follow_book(kafka: str, symbol: str, mark: Mark) -> None:
    shown = ""
    async with BookStream(kafka, symbol, conflate=True) as books:
        async for update in books:
            micro, marked = update.book.microprice(), mark.price
            if update.status is not Status.LIVE:
                line = f"no price: the book is {update.status.value}, {update.reason}"
            elif micro is None or marked is None:
                line = "no price: no mark price, or a side of the book is empty"
            else:
                fair = micro * (1 - MARK_WEIGHT) + marked * MARK_WEIGHT
                bid, ask = fair * (1 - HALF_SPREAD), fair * (1 + HALF_SPREAD)
                line = f"fair {fair:.4f} quote {bid:.4f} {ask:.4f} as of {update.as_of}"
            if line != shown:
                shown = line
                print(line, flush=True)


async def main(kafka: str, symbol: str) -> None:
    mark = Mark()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(follow_mark(kafka, symbol, mark))
        tasks.create_task(follow_book(kafka, symbol, mark))


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        asyncio.run(main(*sys.argv[1:]))
