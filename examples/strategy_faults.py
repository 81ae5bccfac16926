"""A test of a strategy against the sandbox's faults: it must not quote on a book that is not LIVE, and must quote again after.

python examples/strategy_faults.py 127.0.0.1:19092 http://127.0.0.1:18767 SOL_USDC

Runs against `backpack-streams demo`, or against any Kafka that services fill from a sandbox. Exit code 1: the strategy failed.
"""

import asyncio
import json
import sys
import urllib.request
from decimal import Decimal

from backpack_streams import BookStream, BookUpdate, Status

SECONDS = 60.0
HALF_SPREAD = Decimal("0.0005")


class Quoter:
    """The strategy under test: two quotes around the middle of a LIVE book, none otherwise."""

    def __init__(self) -> None:
        self.quotes: tuple[Decimal, Decimal] | None = None

    def on_update(self, update: BookUpdate) -> None:
        mid = update.book.mid() if update.status is Status.LIVE else None
        self.quotes = None if mid is None else (mid * (1 - HALF_SPREAD), mid * (1 + HALF_SPREAD))


def order(control: str, **fault: object) -> None:
    """A fault from now on."""
    request = urllib.request.Request(f"{control}/faults", json.dumps(fault).encode(), method="POST")
    urllib.request.urlopen(request, timeout=10).close()


async def test(kafka: str, control: str, symbol: str) -> None:
    strategy = Quoter()
    async with BookStream(kafka, symbol) as books:

        async def until(quotes: bool, what: str) -> None:
            async with asyncio.timeout(SECONDS):
                async for update in books:
                    strategy.on_update(update)
                    is_live = update.status is Status.LIVE
                    assert is_live or strategy.quotes is None, f"it quotes on a book that is {update.status.value}"
                    if (strategy.quotes is not None) == quotes and is_live == quotes:
                        print(f"{what}: {update.status.value}, quotes {strategy.quotes is not None}", flush=True)
                        return

        await until(True, "at first")
        order(control, fault="rest-5xx", seconds=5)  # else a snapshot may heal the book before anybody sees it STALE
        order(control, fault="drop", stream=f"depth.{symbol}", count=1)
        await until(False, "a frame was lost")
        await until(True, "after the snapshot")
        order(control, fault="refuse", on="ws", seconds=8)  # nobody gets in again for a while
        order(control, fault="cut")
        await until(False, "all sockets were cut")
        await until(True, "after they came back")


def main(*arguments: str) -> None:
    try:
        asyncio.run(test(*arguments))
    except (AssertionError, TimeoutError) as error:
        sys.exit(f"the strategy failed: {str(error) or f'not within {SECONDS:g} s'}")


if __name__ == "__main__":
    main(*sys.argv[1:])
