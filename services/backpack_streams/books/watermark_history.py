"""Reads the watermarks that exist when a reader joins: back to every instance's full statement, and to the newest snapshots."""

import time
from collections.abc import Collection
from typing import Final

from backpack_streams.books.market_book import MarketBook
from backpack_streams.books.vouching import Vouching
from backpack_streams.bus.reader import Place, Reader

__all__ = ["read_watermarks"]

LOOKED_BACK: Final = 1_000
"""Minimum number of watermarks to read: one minute of fifteen instances, each of which states its coverage every ten records."""
LOOKED_BACK_AT_MOST: Final = 16_000
STATED_WITHIN: Final = 200
"""How many records before a snapshot's watermark offset to look for the statements valid at that time."""
_GROWTH: Final = 4
_POLL_MILLIS: Final = 200


async def read_watermarks(reader: Reader, vouching: Vouching, markets: Collection[MarketBook]) -> dict[Place, int]:
    """Feed the existing watermarks to `vouching`; returns where to read on, empty if there is no such topic. Assigns the reader anew.

    It reads back to before the exchange snapshots that the books are based on, within bounds: a run that covered a stream at that time
    and still does proves its book.

    Raises:
        BusError: Kafka is unreachable.
    """
    place = vouching.place
    if not await reader.has(place[0]):
        return {}
    asked_at = time.monotonic()
    end, begin = (await reader.ends([place]))[place], (await reader.beginnings([place]))[place]
    claim = vouching.oldest_claim(markets)
    back = max(LOOKED_BACK, 0 if claim is None else end - claim + STATED_WITHIN)
    while True:
        back = min(back, LOOKED_BACK_AT_MOST)
        start = max(begin, end - back)
        vouching.join(end, asked_at)
        await _read(reader, vouching, start, end)
        if start == begin or back == LOOKED_BACK_AT_MOST or not vouching.coverage.is_incomplete():
            vouching.expect_updates(markets)
            return {place: end}
        back *= _GROWTH


async def _read(reader: Reader, vouching: Vouching, start: int, end: int) -> None:
    place = vouching.place
    if start >= end:
        return
    reader.assign({place: start})
    with reader.searching():
        while await reader.position(place) < end:
            for batch in (await reader.poll(_POLL_MILLIS)).values():
                vouching.take([record for record in batch if record.offset < end], time.monotonic())
