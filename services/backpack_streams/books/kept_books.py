"""The books that a reader keeps, by key, symbol and partition, and whether each shows its own status. Sans I/O."""

import math
import time
from collections.abc import Iterable, Iterator, Mapping
from itertools import starmap
from typing import Any

from backpack_streams.books.book_update import BookUpdate
from backpack_streams.books.listing import Listing
from backpack_streams.books.market_book import MarketBook, Outcome
from backpack_streams.books.onlooking import Onlooker
from backpack_streams.books.partitions import Partitions
from backpack_streams.books.selection import Selection
from backpack_streams.books.update_buffer import BufferBudget
from backpack_streams.books.vouching import Vouching
from backpack_streams.bus.partitioner import partition_of
from backpack_streams.topic_partition import TopicPartition

__all__ = ["KeptBooks"]


class KeptBooks:
    """The selected books. A reader that shares the work (`is_shared`) keeps only those of the partitions that it has opened."""

    def __init__(
        self,
        depth_topic: str,
        partitions: Partitions,
        selection: Selection,
        onlooker: Onlooker | None = None,
        *,
        is_shared: bool = False,
    ) -> None:
        """Create without books; `add` creates them.

        Args:
            depth_topic: full name of the topic of updates.
            partitions: the positions and states of the partitions.
            selection: the markets to keep books of.
            onlooker: called for each event; None for no observer.
            is_shared: whether several readers share the depth partitions.
        """
        self.books: dict[str, MarketBook] = {}
        self.by_key: dict[bytes, MarketBook] = {}
        self.listing = Listing()
        self.partitions = partitions
        self._depth_partitions = 0
        self.buffers = BufferBudget()
        """Shared memory limit for the updates that wait for a snapshot, all books together."""
        self.closed_until_us: float = math.inf
        """Closures that the market list records after this time (µs) are not applied yet."""
        self.no_snapshot_because = "no snapshot yet"
        self.last_new_market = time.monotonic()
        self.vouching: Vouching | None = None
        """Judges the books by watermarks; None before the join, and as of a past moment without watermarks."""
        self._depth_topic = depth_topic
        self._selection = selection
        self._onlooker = onlooker
        self._is_shared = is_shared
        self._at: dict[TopicPartition, dict[bytes, MarketBook]] = {}
        self._refused: set[bytes | None] = set()
        self._has_new_markets = False
        self._unproven: dict[str, str] = {}

    @property
    def depth_partitions(self) -> int:
        """Number of partitions of the depth topic. If partitions are added, markets and their books move to others."""
        return self._depth_partitions

    @depth_partitions.setter
    def depth_partitions(self, count: int) -> None:
        self._depth_partitions = count
        self._at = {each: {} for each in self._at}
        for key, market in self.by_key.items():
            self._at.setdefault(self.topic_partition(key), {})[key] = market

    @property
    def behind(self) -> dict[TopicPartition, int]:
        """Depth partitions that are still catching up, with the offset at which they have caught up."""
        return self.partitions.behind

    @behind.setter
    def behind(self, behind: dict[TopicPartition, int]) -> None:
        self.partitions.behind = behind

    @property
    def beginnings(self) -> dict[TopicPartition, int]:
        """First offset of each depth partition from which all updates were read, or can be, with none missing."""
        return self.partitions.beginnings

    @beginnings.setter
    def beginnings(self, beginnings: dict[TopicPartition, int]) -> None:
        self.partitions.beginnings = beginnings

    @property
    def is_judged(self) -> bool:
        """Whether watermarks decide which books may be `LIVE`."""
        return self.vouching is not None and self.vouching.max_age is not None

    def open(self, topic_partition: TopicPartition, start: int, end: int, gaps: tuple[int, int] = (0, 0)) -> None:
        """Read a depth partition from offset `start` on; its books show `SYNCING` until the reader has caught up.

        A snapshot from before `start` proves nothing until an update continues it.

        Args:
            topic_partition: the depth partition, as (full topic name, partition number).
            start: offset of the first record to read.
            end: end offset of the partition when it was looked up. The reader has caught up once it is there and at the
                end of `gaps`.
            gaps: first and end offset of the records to read in the gap topic.
        """
        self.partitions.open(topic_partition, start, end, gaps)
        self._at[topic_partition] = {}
        if self.vouching is not None:
            self.vouching.watermarks.read_up_to(topic_partition, start)
            self.vouching.coverage.ends[topic_partition] = end

    def close(self, topic_partition: TopicPartition) -> None:
        """Forget a depth partition and its books."""
        self.partitions.close(topic_partition)
        for key, market in self._at.pop(topic_partition, {}).items():
            del self.by_key[key], self.books[market.symbol]
            self._unproven.pop(market.symbol, None)
            self._forget(market)

    def _forget(self, market: MarketBook) -> None:
        if self._onlooker is not None:
            self._onlooker.on_dropped(market)

    def reads(self, topic_partition: TopicPartition) -> bool:
        """Return whether this reader takes the records of this depth partition."""
        return not self._is_shared or self.partitions.is_open(topic_partition)

    def add(self, key: bytes) -> MarketBook:
        """Create the book for this key; it shows `SYNCING` while its partition is catching up.

        Args:
            key: the Kafka key of the market, which is its symbol in UTF-8. It has no book yet.
        """
        symbol, topic_partition = key.decode("utf-8", "replace"), self.topic_partition(key)
        market = MarketBook(
            symbol,
            catching_up=topic_partition in self.behind,
            no_snapshot_because=self.no_snapshot_because,
            budget=self.buffers,
        )
        self.by_key[key] = market
        self.books[symbol] = market
        self._at.setdefault(topic_partition, {})[key] = market
        if self.vouching is not None:
            self.vouching.add(market)
        self.last_new_market = time.monotonic()
        listed = self.listing.at(symbol, self.closed_until_us)
        if listed is not None and listed.why_closed:
            market.on_closed(listed.why_closed, listed.since_us)
        return market

    def topic_partition(self, key: bytes) -> TopicPartition:
        """Return the depth partition that holds a key."""
        return self._depth_topic, partition_of(key, self._depth_partitions)

    def wants(self, key: bytes) -> bool:
        """Return whether the selection includes this key, by the market list, and its partition is not another reader's."""
        if key in self._refused or (self._is_shared and not self.reads(self.topic_partition(key))):
            return False
        symbol = key.decode("utf-8", "replace")
        is_wanted = self._selection.wants(symbol, self.listing.kind(symbol))
        if not is_wanted:
            self._refused.add(key)
        return is_wanted

    def has_new_markets(self) -> bool:
        """Return whether the market list has named a selected market without a book since the last call."""
        told, self._has_new_markets = self._has_new_markets, False
        return told

    def moved_to(self, count: int) -> list[MarketBook]:
        """Return the books whose key is in another partition if the depth topic has `count` partitions."""
        before = self._depth_partitions
        return [market for key, market in self.by_key.items() if partition_of(key, count) != partition_of(key, before)]

    # Holds ----------------------------------------------------------------------------------------------------

    def doubt(self, market: MarketBook, why: str) -> None:
        """Show `SYNCING` until an update continues the book, or a snapshot comes that is known to be complete.

        Args:
            market: the book that may lack updates.
            why: the reason to show.
        """
        self._unproven[market.symbol] = why
        market.hold(why)

    def hold_moved(self, count: int) -> list[MarketBook]:
        """Hold the books that have moved to a partition which cannot be read yet, and return them.

        Args:
            count: number of partitions that the depth topic has now.
        """
        moved = self.moved_to(count)
        for market in moved:
            number = partition_of(market.symbol.encode(), count)
            market.hold(
                f"its updates have moved to partition {number} of {self._depth_topic}, which cannot be read yet"
            )
        return moved

    def release(self, markets: Iterable[MarketBook]) -> Iterator[BookUpdate]:
        """Let these books show their own status, except those still in doubt (`doubt`)."""
        for market in markets:
            if market.symbol in self._unproven:
                market.hold(self._unproven[market.symbol])
            else:
                market.release()
            yield self._told(market, Outcome.CAUGHT_UP)

    def release_all(self) -> Iterator[BookUpdate]:
        """Let all books show their own status, except those still catching up."""
        return self.release(
            [market for key, market in self.by_key.items() if self.topic_partition(key) not in self.behind]
        )

    def _catch_up(self) -> Iterator[BookUpdate]:
        """Release books that have caught up. Watermarks are judged first, so that no book shows STALE for not being read to the end."""
        vouching = self.vouching
        for topic_partition in self.partitions.caught_up():
            books = self._at.get(topic_partition, {}).values()
            if vouching is not None:
                yield from starmap(self._told, vouching.judge(books, vouching.clock()))
            yield from self.release(books)

    def _why_unfollowed(
        self, snapshot: Mapping[str, Any], topic_partition: TopicPartition, home: TopicPartition
    ) -> str:
        """Explain why updates after a snapshot that names `topic_partition` may be missing; its market's updates are in `home`."""
        what, where = (
            f"the snapshot at update {snapshot['last_update_id']}",
            f"{topic_partition[0]}/{topic_partition[1]}",
        )
        if topic_partition != home:
            return f"partitions were added: {what} is followed in {where}, and updates of its market come in partition {home[1]} now"
        if snapshot["delta_offset"] >= self.beginnings.get(home, 0):
            return (
                f"{home[0]} was recreated: {what} begins at offset {snapshot['delta_offset']} of {where}, which ends at "
                f"{self.partitions.ends.get(home)}"
            )
        return (
            f"Kafka's retention removed what may follow {what}: it begins at offset {snapshot['delta_offset']} of {where}, and Kafka has "
            f"that from {self.beginnings.get(home, 0)} on"
        )

    def _end_doubt(self, market: MarketBook) -> None:
        if self._unproven.pop(market.symbol, None) is None:
            return
        if self.topic_partition(market.symbol.encode()) in self.behind:
            market.hold()
        else:
            market.release()

    def _told(self, market: MarketBook, outcome: Outcome) -> BookUpdate:
        """Report an outcome that was caused by neither an update nor a snapshot."""
        if self._onlooker is not None:
            self._onlooker.on_outcome(market, outcome)
        return BookUpdate(market, outcome)
