"""Reads the watermarks that exist when a reader joins: back to every instance's full statement, and to the newest snapshots."""

from collections.abc import Collection
from typing import Final

from backpack_streams.books.market_book import MarketBook
from backpack_streams.books.vouching import Vouching
from backpack_streams.bus.reader import Reader
from backpack_streams.bus.topic_end import read_to_end
from backpack_streams.topic_partition import TopicPartition

__all__ = ["read_watermarks"]

LOOKED_BACK: Final = 1_000
"""Minimum number of watermarks to read: one minute of fifteen instances, each of which states its coverage every ten records."""
LOOKED_BACK_AT_MOST: Final = 16_000
STATED_WITHIN: Final = 200
"""How many records before a snapshot's watermark offset to look for the statements valid at that time."""
_GROWTH: Final = 4


async def read_watermarks(
    reader: Reader, vouching: Vouching, markets: Collection[MarketBook]
) -> dict[TopicPartition, int]:
    """Feed the existing watermarks to `vouching`. The reader's assignment is replaced.

    It reads back to before the exchange snapshots that the books are based on, within bounds: a run that covered a
    stream at that time and still does proves its book.

    Args:
        reader: asks Kafka.
        vouching: starts over with the watermarks that are read.
        markets: the books to judge by them.

    Returns:
        The offset to read on from, by partition; empty if there is no topic of watermarks.

    Raises:
        BusError: Kafka is unreachable, or the topic could not be read to its end.
    """
    topic_partition = vouching.watermarks.topic_partition
    if not await reader.has(topic_partition[0]):
        return {}
    asked_at = vouching.clock()
    end, begin = (
        (await reader.ends([topic_partition]))[topic_partition],
        (await reader.beginnings([topic_partition]))[topic_partition],
    )
    claim = vouching.oldest_claim(markets)
    back = max(LOOKED_BACK, 0 if claim is None else end - claim + STATED_WITHIN)
    while True:
        back = min(back, LOOKED_BACK_AT_MOST)
        start = max(begin, end - back)
        vouching.watermarks.join(end, asked_at)
        with reader.searching():
            await read_to_end(
                reader,
                {topic_partition: start},
                {topic_partition: end},
                lambda _, records: vouching.take(records, vouching.clock()),
            )
        if start == begin or back == LOOKED_BACK_AT_MOST or not vouching.coverage.is_incomplete():
            vouching.expect_updates(markets)
            return {topic_partition: end}
        back *= _GROWTH
