"""A consumer in its own process: reads books with `BookStream`, prints its figures as one line of JSON.

`--mode decimals`: as the README shows, `async for`, best bid and ask as `Decimal`. `--mode units`: in rounds, best bid and ask as
integers of 10**-18. `--mode latency`: the age of each update, by its engine time.
"""

import argparse
import asyncio
import json
import time
from array import array
from contextlib import aclosing
from typing import Any

from backpack_streams.books import BookStream, Status
from backpack_streams.books.market_book import Outcome
from backpack_streams.books.watermark_intake import MAX_AGE_SECONDS
from backpack_streams.runtime.loop import loop_factory
from benchmarks.numbers import latencies_ms

_GIVE_UP_SECONDS = 120.0
_UNTIL_LIVE_SECONDS = 5.0
"""Books report LIVE one round after they have caught up."""


async def _read_decimals(books: BookStream, count: int) -> None:
    async with aclosing(books.events()) as updates:
        async for update in updates:
            update.book.best_bid()
            update.book.best_ask()
            if books.updates == count:
                return


async def _read_units(books: BookStream, count: int) -> None:
    async with aclosing(books.rounds()) as rounds:
        async for updates in rounds:
            for update in updates:
                book = update.market.book
                book.best_bid_units  # noqa: B018  # reading it is what is measured
                book.best_ask_units  # noqa: B018  # as above
            if books.updates >= count:
                return


async def _read_latencies(books: BookStream, count: int) -> "array[int]":
    ages_us = array("q")
    deadline = time.monotonic() + _GIVE_UP_SECONDS
    async with aclosing(books.rounds()) as rounds:
        async for updates in rounds:
            for update in updates:
                if update.outcome is Outcome.APPLIED:
                    ages_us.append(time.time_ns() // 1000 - (update.market.engine_time or 0))
            if len(ages_us) >= count or time.monotonic() > deadline:
                return ages_us
    return ages_us


async def _measure(arguments: argparse.Namespace) -> dict[str, Any]:
    # The producer of these records has ended, so nobody vouches for the books: only their sequences are checked.
    max_age = MAX_AGE_SECONDS if arguments.mode == "latency" else None
    async with BookStream(arguments.bootstrap, topic_prefix=arguments.prefix, max_age=max_age) as books:
        cpu, wall = time.process_time(), time.perf_counter()
        found: dict[str, Any] = {}
        if arguments.mode == "latency":
            print("reading", flush=True)
            ages_us = await _read_latencies(books, arguments.count + arguments.skip)
            found["latency_ms"] = latencies_ms(ages_us[arguments.skip :])
            found["received"] = len(ages_us)
        else:
            read = _read_decimals if arguments.mode == "decimals" else _read_units
            async with asyncio.timeout(_GIVE_UP_SECONDS):
                await read(books, arguments.count)
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        await books.until_live(_UNTIL_LIVE_SECONDS)
        levels = sum(len(market.book) for market in books.books.values())
        return found | {
            "cpu_seconds": cpu,
            "seconds": wall,
            "updates": books.updates,
            "books": len(books.books),
            "broken": sum(market.breaks for market in books.books.values()),
            "not_live": sum(market.status is not Status.LIVE for market in books.books.values()),
            "levels": levels,
        }


def main() -> None:
    """Measure once and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--bootstrap", required=True)
    parser.add_argument("--prefix", required=True)
    parser.add_argument("--mode", choices=("decimals", "units", "latency"), required=True)
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--skip", type=int, default=0)
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        print(json.dumps(runner.run(_measure(parser.parse_args()))), flush=True)


if __name__ == "__main__":
    main()
