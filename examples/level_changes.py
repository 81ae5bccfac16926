"""Keeps a copy of a book in plain dicts by the levels that change, as a signal or a matching engine of one's own would.

python examples/level_changes.py 127.0.0.1:19092 SOL_USDC
"""

import asyncio
import sys
from contextlib import suppress
from decimal import Decimal

from backpack_streams import BookStream, ChangeFollower, Status


async def main(kafka: str, symbol: str) -> None:
    bids: dict[Decimal, Decimal] = {}
    asks: dict[Decimal, Decimal] = {}
    follower: ChangeFollower | None = None
    async with BookStream(kafka, symbol) as books:
        async for update in books:
            if update.status is not Status.LIVE:
                follower = None  # the next update starts over
                continue
            follower = follower or update.book.follow_changes()
            changes = follower.take()
            for copy, changed in ((bids, changes.bids), (asks, changes.asks)):
                if changes.is_reset:
                    copy.clear()
                for level in changed:
                    if level.quantity:
                        copy[level.price] = level.quantity
                    else:
                        copy.pop(level.price, None)
            is_same = (bids, asks) == tuple(map(dict, update.book.depth()))
            print(
                f"{update.last_update_id}: {len(changes.bids) + len(changes.asks)} levels, same {is_same}", flush=True
            )


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        asyncio.run(main(*sys.argv[1:]))
