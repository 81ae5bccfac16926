"""Routes Kafka's updates to their books: in the order of their ids, each once, whichever partition they came in. No I/O."""

import logging
from collections.abc import Iterator
from math import inf

from aiokafka.structs import ConsumerRecord

from backpack_streams.books.book_update import BookUpdate
from backpack_streams.books.kept_books import KeptBooks
from backpack_streams.books.market_book import MarketBook, Outcome
from backpack_streams.books.onlooking import Onlooker, WatchedBook
from backpack_streams.books.partitions import Partitions
from backpack_streams.books.selection import Selection
from backpack_streams.bus.codec import Codec
from backpack_streams.bus.depth_reader import DepthNumbers, DepthReader
from backpack_streams.errors import CodecError
from backpack_streams.sequencing.reordering import EarlyUpdates
from backpack_streams.topic_partition import TopicPartition

__all__ = ["UpdateIntake", "topic_partition_of"]

logger = logging.getLogger(__name__)

_DUPLICATE = Outcome.DUPLICATE


class UpdateIntake(KeptBooks):
    """The half of `Intake` that takes updates. `now` is in seconds of any one clock, the same throughout."""

    def __init__(
        self,
        codec: Codec,
        depth_topic: str,
        partitions: Partitions,
        selection: Selection,
        onlooker: Onlooker | None = None,
        *,
        is_shared: bool = False,
    ) -> None:
        """Create without books. Set `depth_partitions` before the first record.

        Args:
            codec: decodes the records.
            depth_topic: full name of the topic of updates.
            partitions: the positions and states of the partitions.
            selection: the markets to keep books of.
            onlooker: called right after each event has reached its book; None for no observer.
            is_shared: whether readers share the depth partitions, so that only opened ones are read.
        """
        super().__init__(depth_topic, partitions, selection, onlooker, is_shared=is_shared)
        self.depth = DepthReader(codec)
        self.updates = 0
        self.misplaced_updates = 0
        """Updates found in a partition other than that of their key."""
        self.undecodable_records = 0
        self.last_problem = ""
        """Why the last undecodable record could not be decoded."""
        self._misplaced: set[bytes] = set()
        self._early: EarlyUpdates[MarketBook | WatchedBook, Outcome] = EarlyUpdates(of_all=False)

    def _forget(self, market: MarketBook) -> None:
        self._early.forget(market)
        super()._forget(market)

    def awaits(self, symbol: str) -> bool:
        """Return whether an update of this market has been read, but waits for the one before it, so that its book lacks it."""
        return symbol in self._early

    def give_up_waiting(self) -> Iterator[BookUpdate]:
        """Apply early updates at once: nothing that is missing before them will come."""
        yield from self._given_up(inf)

    def _take_updates(self, batch: list[ConsumerRecord], now: float) -> Iterator[BookUpdate]:
        topic_partition = topic_partition_of(batch[0])
        read, books, early, unproven = (
            self.depth.read,
            self._at.setdefault(topic_partition, {}),
            self._early,
            self._unproven,
        )
        vouching, onlooker, refused = self.vouching, self._onlooker, self._refused
        for record in batch:
            market, is_misplaced = books.get(record.key), False
            if market is None:
                if record.key in refused or not self._is_wanted(record):
                    continue
                is_misplaced = self.topic_partition(record.key) != topic_partition
                market = self._book_elsewhere(record) if is_misplaced else None
            elif record.offset < market.starts_at and record.timestamp <= market.starts_by_ms:
                continue
            try:
                update = read(record.value or b"")
            except CodecError as error:  # written by a newer or a foreign producer
                yield from self.not_understood(market, record, error)
                continue
            if market is None:
                market = self.add(record.key)
            self.updates += 1
            if (record.offset >= market.proof_from or is_misplaced) and vouching is not None:
                vouching.on_update(market, update[1], record)
            if is_misplaced or unproven or early or market.is_early(update[0]):
                if is_misplaced:
                    early.expect_second(market.symbol)
                yield from self.take_update(market, update, now)
                continue
            outcome = market.on_update(*update)
            if onlooker is not None:
                onlooker.on_update(market, update, outcome)
            if outcome is _DUPLICATE:
                self._on_duplicate(market)
            else:
                yield BookUpdate(market, outcome)

    def _is_wanted(self, record: ConsumerRecord) -> bool:
        if record.key is None:
            self._tell(record, CodecError("it has no key, so no market"))
            return False
        return self.wants(record.key)

    def _book_elsewhere(self, record: ConsumerRecord) -> MarketBook | None:
        """Return the book for an update that its producer, started before partitions were added, wrote to the old partition.

        Only ids give the order of such updates and those in the new partition.
        """
        self.misplaced_updates += 1
        if record.key not in self._misplaced:
            self._misplaced.add(record.key)
            where = {"partition": record.partition, "partitions": self.depth_partitions, "key": repr(record.key)}
            logger.error(
                "an update is not in its market's partition: restart what began before some were added", extra=where
            )
        return self.by_key.get(record.key)

    def _on_duplicate(self, market: MarketBook) -> None:
        """A duplicate of a snapshot is normal; a duplicate of an update that continued it shows that two producers bring the market."""
        if market.is_sequenced:
            self._early.expect_second(market.symbol)

    def take_update(self, market: MarketBook, update: DepthNumbers, now: float) -> Iterator[BookUpdate]:
        """Take one update that may have to wait for an earlier one.

        Args:
            market: the book that the update is for.
            update: first id, last id, engine time (µs), bids and asks.
            now: current time in seconds, of the same clock as in `take`.
        """
        if self.vouching is not None and self.vouching.producers(market) > 1:
            self._early.expect_second(market.symbol)  # a second producer exists, even if no duplicate came yet
        taker = market if self._onlooker is None else WatchedBook(market, self._onlooker)
        for outcome in self._early.offer(taker, update, now):
            if outcome is Outcome.APPLIED:
                self._end_doubt(market)
            if outcome is _DUPLICATE:
                self._on_duplicate(market)
            else:
                yield BookUpdate(market, outcome)

    def _given_up(self, now: float) -> Iterator[BookUpdate]:
        for taker, outcome in self._early.due(now):
            if outcome is not _DUPLICATE:
                yield BookUpdate(self.books[taker.symbol], outcome)

    def _not_waiting(self, market: MarketBook) -> Iterator[BookUpdate]:
        """Apply the waiting updates of this market to its book."""
        for outcome in self._early.give_up(market):
            if outcome is not _DUPLICATE:
                yield BookUpdate(market, outcome)

    def not_understood(
        self, market: MarketBook | None, record: ConsumerRecord, error: Exception
    ) -> Iterator[BookUpdate]:
        """Take a record that seems to be an update but cannot be decoded. A key without any readable record has no book."""
        self._tell(record, error)
        if market is not None:
            if self.vouching is not None:
                self.vouching.on_lost(market, record.offset + 1)
            where = f"{record.partition}/{record.offset}"
            outcome = market.on_unreadable(f"the record at {where} cannot be read", record.timestamp * 1000)
            yield self._told(market, outcome)

    def _tell(self, record: ConsumerRecord, error: Exception) -> None:
        self.undecodable_records += 1
        self.last_problem = str(error)
        where = {"topic": record.topic, "partition": record.partition, "offset": record.offset}
        logger.warning("a record cannot be read", extra=where | {"error": str(error)})


def topic_partition_of(record: ConsumerRecord) -> TopicPartition:
    """Return where a record is."""
    return record.topic, record.partition
