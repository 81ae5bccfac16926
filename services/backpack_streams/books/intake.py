"""Routes Kafka's records to their books: updates, snapshots, gaps, the market list, watermarks. No I/O."""

import logging
import math
from collections.abc import Generator, Iterator, Mapping
from itertools import starmap
from typing import Any

from aiokafka.structs import ConsumerRecord

from backpack_streams.books.book_update import BookUpdate
from backpack_streams.books.joining import DEPTH_TOPIC, GAP_TOPIC, MARKET_TOPIC, SNAPSHOT_TOPIC, take_market
from backpack_streams.books.kept_books import KeptBooks
from backpack_streams.books.known_gaps import KnownGaps
from backpack_streams.books.market_book import SEED, BaseSnapshot, MarketBook, Outcome
from backpack_streams.books.onlooking import Onlooker, WatchedBook
from backpack_streams.books.partitions import Partitions
from backpack_streams.books.selection import Selection
from backpack_streams.bus.codec import Codec
from backpack_streams.bus.depth_reader import DepthNumbers, DepthReader
from backpack_streams.bus.reader import Records
from backpack_streams.errors import CodecError
from backpack_streams.sequencing.reordering import EarlyUpdates
from backpack_streams.topic_partition import TopicPartition

__all__ = ["Intake"]

logger = logging.getLogger(__name__)

_DUPLICATE = Outcome.DUPLICATE


class Intake(KeptBooks):
    """The single path from Kafka's records to books. `now` is in seconds of any one clock, the same throughout.

    Of two copies of an update only one is given. If several producers bring a market, an early update waits for the one before it. If
    offsets vanish, by retention or by hand, every book of that partition may miss something.

    A reader that shares the work (`is_shared`) writes checkpoints and finds them on the topic again: it only starts its books from them.
    After a later break, only the exchange's snapshots restore a book.
    """

    def __init__(
        self,
        codec: Codec,
        prefix: str,
        selection: Selection,
        onlooker: Onlooker | None = None,
        *,
        is_shared: bool = False,
    ) -> None:
        """Create without books. Set `depth_partitions` before the first record.

        Args:
            codec: decodes the records.
            prefix: prefix of every topic name.
            selection: the markets to keep books of.
            onlooker: called right after each event has reached its book; None for no observer.
            is_shared: whether readers share the depth partitions, so that only opened ones are read.
        """
        depth_topic, self._snapshot_topic, self._gap_topic, self._market_topic = (
            prefix + name for name in (DEPTH_TOPIC, SNAPSHOT_TOPIC, GAP_TOPIC, MARKET_TOPIC)
        )
        super().__init__(depth_topic, Partitions(self._gap_topic), selection, onlooker, is_shared=is_shared)
        self.depth = DepthReader(codec)
        self.updates = 0
        self.misplaced_updates = 0
        """Updates found in a partition other than that of their key."""
        self.undecodable_records = 0
        self.last_problem = ""
        """Why the last undecodable record could not be decoded."""
        self._codec = codec
        self._misplaced: set[bytes] = set()
        self._gaps = KnownGaps()
        self._early: EarlyUpdates[MarketBook | WatchedBook, Outcome] = EarlyUpdates(of_all=False)
        self._snapshot_us: dict[str, int] = {}

    def _forget(self, market: MarketBook) -> None:
        self._early.forget(market)
        self._snapshot_us.pop(market.symbol, None)
        super()._forget(market)

    def awaits(self, symbol: str) -> bool:
        """Return whether an update of this market has been read, but waits for the one before it, so that its book lacks it."""
        return symbol in self._early

    def take(self, records: Records, now: float) -> Iterator[BookUpdate]:
        """Take one answer of Kafka; without records, time has passed. Snapshots follow the updates, which they are mostly ahead of, and the
        gaps that they answer. Watermarks come last, since they refer to everything read before.

        Args:
            records: the records by partition, each partition in order; may be empty.
            now: current time in seconds.
        """
        for batch in _of_topic(records, self._depth_topic):
            if self.reads(topic_partition := _topic_partition_of(batch[0])):
                yield from self.on_position(topic_partition, batch[0].offset)
                yield from self._take_updates(batch, now)
                self._note(batch[-1])
        for topic in (self._gap_topic, self._snapshot_topic, self._market_topic):
            for batch in _of_topic(records, topic):
                for record in batch:
                    yield from self.take_other(record, now)
                self._note(batch[-1])
            if topic == self._gap_topic:
                yield from self.on_time(now)
        vouching = self.vouching
        if vouching is not None:
            for batch in _of_topic(records, vouching.topic_partition[0]):
                vouching.take(batch, vouching.clock())
                self._note(batch[-1])
            yield from starmap(self._told, vouching.refresh(self.books.values(), vouching.clock()))
        if self.behind:
            yield from self._catch_up()

    def take_other(self, record: ConsumerRecord, now: float) -> Iterator[BookUpdate]:
        """Take any record except an update."""
        if record.topic == self._snapshot_topic:
            yield from self.take_snapshot(record, is_new=True)
        elif record.topic == self._gap_topic:
            self._take_gap(record, now)
        elif record.topic == self._market_topic:
            yield from self._take_market(record)

    def on_time(self, now: float) -> Iterator[BookUpdate]:
        """Apply what has waited for long enough by `now`."""
        if self._early:
            yield from self._given_up(now)
        if self._gaps:
            yield from starmap(self._told, self._gaps.due(self.books, self._snapshot_us, now))

    def give_up_waiting(self) -> Iterator[BookUpdate]:
        """Apply early updates at once: nothing that is missing before them will come."""
        yield from self._given_up(math.inf)

    def on_position(self, topic_partition: TopicPartition, offset: int) -> Iterator[BookUpdate]:
        """Record the reader's position in a partition, with or without a record; offsets skipped before it are lost.

        Args:
            topic_partition: a partition of any topic.
            offset: offset of the next record in it.
        """
        expected = self.partitions.positions.get(topic_partition)
        if expected is not None and offset > expected:
            if topic_partition[0] == self._depth_topic:
                yield from self.on_lost_records(topic_partition, expected, offset)
            self.partitions.positions[topic_partition] = offset

    def on_lost_records(self, topic_partition: TopicPartition, first: int, end: int) -> Iterator[BookUpdate]:
        """Record that Kafka no longer had some updates of a partition: every book of the partition needs a new snapshot.

        Args:
            topic_partition: the depth partition.
            first: first missing offset.
            end: offset after the last missing one.
        """
        topic, partition = topic_partition
        reason = f"Kafka's retention removed updates before they were read: {topic}/{partition}, offsets {first} to {end - 1}"
        logger.warning("updates are lost", extra={"detail": reason})
        self.partitions.positions[topic_partition] = self.beginnings[topic_partition] = end
        if self.vouching is not None:
            self.vouching.read_up_to(topic_partition, end)
        for market in list(self._at.get(topic_partition, {}).values()):
            yield from self._not_waiting(market)
            if self.vouching is not None:
                self.vouching.on_lost(market, end)
            yield self._told(market, market.on_outage_over(reason))

    def _note(self, last: ConsumerRecord) -> None:
        topic_partition = _topic_partition_of(last)
        self.partitions.positions[topic_partition] = last.offset + 1
        if self.vouching is not None and last.topic == self._depth_topic:
            self.vouching.read_up_to(topic_partition, last.offset + 1)

    # Updates --------------------------------------------------------------------------------------------------

    def _take_updates(self, batch: list[ConsumerRecord], now: float) -> Iterator[BookUpdate]:
        topic_partition = _topic_partition_of(batch[0])
        read, books, early, unproven = (
            self.depth.read,
            self._at.setdefault(topic_partition, {}),
            self._early,
            self._unproven,
        )
        vouching, onlooker, refused = self.vouching, self._onlooker, self._refused
        for record in batch:
            market = books.get(record.key)
            if market is None:
                if record.key in refused or not (yield from self._is_new_market(record, topic_partition, now)):
                    continue
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
            if record.offset >= market.proof_from and vouching is not None:
                vouching.on_update(market, update[1], record)
            if unproven or early or market.is_early(update[0]):
                yield from self.take_update(market, update, now)
                continue
            outcome = market.on_update(*update)
            if onlooker is not None:
                onlooker.on_update(market, update, outcome)
            if outcome is _DUPLICATE:
                self._on_duplicate(market)
            else:
                yield BookUpdate(market, outcome)

    def _is_new_market(
        self, record: ConsumerRecord, topic_partition: TopicPartition, now: float
    ) -> Generator[BookUpdate, None, bool]:
        """Return whether an update whose market has no book in this partition may begin one there."""
        if record.key is None:
            self._tell(record, CodecError("it has no key, so no market"))
            return False
        if not self.wants(record.key):
            return False
        if self.topic_partition(record.key) == topic_partition:
            return True
        yield from self._take_misplaced(record, now)
        return False

    def _take_misplaced(self, record: ConsumerRecord, now: float) -> Iterator[BookUpdate]:
        """Take an update that its producer, started before partitions were added, wrote to the old partition; only ids give its order."""
        self.misplaced_updates += 1
        if record.key not in self._misplaced:
            self._misplaced.add(record.key)
            where = {"partition": record.partition, "partitions": self.depth_partitions, "key": repr(record.key)}
            logger.error(
                "an update is not in its market's partition: restart what began before some were added", extra=where
            )
        market = self.by_key.get(record.key)
        try:
            update = self.depth.read(record.value or b"")
        except CodecError as error:
            yield from self.not_understood(market, record, error)
            return
        market = market or self.add(record.key)
        self.updates += 1
        self._early.expect_second(market.symbol)
        yield from self.take_update(market, update, now)

    def _on_duplicate(self, market: MarketBook) -> None:
        """A duplicate of a snapshot is normal; a duplicate of an update that continued it shows that two producers bring the market."""
        if market.is_chained:
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

    # Other records --------------------------------------------------------------------------------------------

    def take_snapshot(self, record: ConsumerRecord, *, is_new: bool = False) -> Iterator[BookUpdate]:
        """Take a snapshot: the exchange's, or a checkpoint. `is_new`: it was written after this reader joined.

        Args:
            record: a record of the snapshot topic. Tombstones and records of markets that are not selected are ignored.
            is_new: proves the book by its place in the order of reading, if the snapshot does not say when it was
                requested.
        """
        market = self.by_key.get(record.key)
        if record.value is None or record.key is None or (market is None and not self.wants(record.key)):
            return
        try:
            _, snapshot = self._codec.decode(record.value)
            if market is None:
                market = self.add(record.key)
            elif self._is_shared and snapshot["origin"] != SEED and market.last_update_id is not None:
                return
            outcome = self._adopt_record(market, snapshot)
            if self.vouching is not None:
                self.vouching.on_snapshot(market, snapshot, outcome, is_new)
        except (CodecError, KeyError) as error:
            self._tell(record, error)
            return
        if self._onlooker is not None:
            self._onlooker.on_snapshot(market, snapshot, outcome, is_new)
        yield BookUpdate(market, outcome)
        self._snapshot_us[market.symbol] = snapshot["received_time"]
        if self._early and self._early.reached_by(market, snapshot["last_update_id"]):
            yield from self._not_waiting(market)

    def _adopt_record(self, market: MarketBook, snapshot: Mapping[str, Any]) -> Outcome:
        levels, home = self.depth.levels, self.topic_partition(market.symbol.encode())
        topic_partition, offset = (snapshot["delta_topic"], snapshot["delta_partition"]), snapshot["delta_offset"]
        is_here, begins = topic_partition == home, self.beginnings.get(home, 0)
        is_followed = (
            offset >= begins if is_here else topic_partition[0] != home[0]
        )  # offsets of a mirrored topic differ
        reason = self._unproven.get(market.symbol)
        if reason is not None and is_followed:
            market.on_outage_over(reason)  # so that a snapshot known to be complete replaces the doubtful one
        outcome = market.on_snapshot(
            snapshot["last_update_id"],
            snapshot["engine_time"],
            levels(snapshot["bids"]),
            levels(snapshot["asks"]),
            bids_complete=snapshot["bids_complete"],
            asks_complete=snapshot["asks_complete"],
            base=BaseSnapshot.of_record(snapshot),
        )
        if outcome is not Outcome.RESYNCED:
            return outcome
        market.starts_at = offset if is_here else 0
        market.starts_by_ms = snapshot["received_time"] // 1000
        if is_followed:
            self._end_doubt(market)
        elif not market.is_chained:
            self.doubt(market, self._why_unfollowed(snapshot, topic_partition, home))
        return outcome

    def _take_gap(self, record: ConsumerRecord, now: float) -> None:
        key = record.key
        if self._is_shared and (key is None or not self.partitions.is_news(self.topic_partition(key), record.offset)):
            return
        try:
            self._gaps.take(self._codec.decode(record.value or b"")[1], now, is_covered=self.vouching is not None)
        except (CodecError, KeyError) as error:
            self._tell(record, error)

    def _take_market(self, record: ConsumerRecord) -> Iterator[BookUpdate]:
        try:
            listed = take_market(self.listing, self._codec, record)
        except (CodecError, KeyError) as error:
            self._tell(record, error)
            return
        if self.closed_until_us < math.inf:  # while reading the past: advance the applied part of the market list
            self.closed_until_us = max(self.closed_until_us, record.timestamp * 1000)
        self._refused.discard(record.key)
        market = self.by_key.get(record.key)
        self._has_new_markets = self._has_new_markets or (market is None and self.wants(record.key))
        if market is not None:
            outcome = market.on_listed(listed.why_closed, listed.since_us)
            if outcome is not Outcome.IGNORED:
                yield self._told(market, outcome)

    def _tell(self, record: ConsumerRecord, error: Exception) -> None:
        self.undecodable_records += 1
        self.last_problem = str(error)
        where = {"topic": record.topic, "partition": record.partition, "offset": record.offset}
        logger.warning("a record cannot be read", extra=where | {"error": str(error)})


def _of_topic(records: Records, topic: str) -> list[list[ConsumerRecord]]:
    return [batch for partition, batch in records.items() if partition.topic == topic]


def _topic_partition_of(record: ConsumerRecord) -> TopicPartition:
    return record.topic, record.partition
