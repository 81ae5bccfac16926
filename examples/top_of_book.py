"""Prints the touch of each market whenever it changes, and why a book is not LIVE.

python examples/top_of_book.py 127.0.0.1:19092 'BTC*' SOL_USDC
"""

import asyncio
import sys
from contextlib import suppress

from backpack_streams import BookStream, Level, Status


async def main(kafka: str, *symbols: str) -> None:
    shown: dict[str, str] = {}
    async with BookStream(kafka, symbols or None, conflate=True) as books:
        async for update in books:
            if update.status is Status.LIVE:
                line = f"{side(update.book.best_bid())} | {side(update.book.best_ask())}"
            else:  # what it shows may be old or incomplete: do not trade on it
                line = f"{update.status.value}: {update.market.reason}"
            if shown.get(update.symbol) != line:
                shown[update.symbol] = line
                print(f"{update.symbol:20} {line}", flush=True)


def side(level: Level | None) -> str:
    return "nothing" if level is None else f"{level.quantity:f} at {level.price:f}"


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        asyncio.run(main(*sys.argv[1:]))
