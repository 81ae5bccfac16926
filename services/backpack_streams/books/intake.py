"""Routes Kafka's records to their books: updates, snapshots, gaps, the market list, watermarks. No I/O."""

import logging
import math
from collections.abc import Iterator, Mapping
from itertools import starmap
from typing import Any

from aiokafka.structs import ConsumerRecord

from backpack_streams.books.book_update import BookUpdate
from backpack_streams.books.joining import DEPTH_TOPIC, GAP_TOPIC, MARKET_TOPIC, SNAPSHOT_TOPIC, take_market
from backpack_streams.books.known_gaps import KnownGaps
from backpack_streams.books.market_book import SEED, BaseSnapshot, MarketBook, Outcome
from backpack_streams.books.onlooking import Onlooker
from backpack_streams.books.partitions import Partitions
from backpack_streams.books.selection import Selection
from backpack_streams.books.update_intake import UpdateIntake, topic_partition_of
from backpack_streams.bus.codec import Codec
from backpack_streams.bus.reader import Records
from backpack_streams.errors import CodecError
from backpack_streams.topic_partition import TopicPartition

__all__ = ["Intake"]

logger = logging.getLogger(__name__)

_DUPLICATE = Outcome.DUPLICATE


class Intake(UpdateIntake):
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
        super().__init__(codec, depth_topic, Partitions(self._gap_topic), selection, onlooker, is_shared=is_shared)
        self._codec = codec
        self._gaps = KnownGaps()
        self._snapshot_us: dict[str, int] = {}

    def _forget(self, market: MarketBook) -> None:
        self._snapshot_us.pop(market.symbol, None)
        super()._forget(market)

    def take(self, records: Records, now: float) -> Iterator[BookUpdate]:
        """Take one answer of Kafka; without records, time has passed. Snapshots follow the updates, which they are mostly ahead of, and the
        gaps that they answer. Watermarks come last, since they refer to everything read before. Rows of markets without a book come first:
        they may say that the selection includes what follows.

        Args:
            records: the records by partition, each partition in order; may be empty.
            now: current time in seconds.
        """
        rows = [record for batch in _of_topic(records, self._market_topic) for record in batch]
        first_keys = {record.key for record in rows} - self.by_key.keys()
        for record in rows:
            if record.key in first_keys:
                yield from self._take_market(record)
        for batch in _of_topic(records, self._depth_topic):
            if self.reads(topic_partition := topic_partition_of(batch[0])):
                yield from self.on_position(topic_partition, batch[0].offset)
                yield from self._take_updates(batch, now)
                self._note(batch[-1])
        for topic in (self._gap_topic, self._snapshot_topic, self._market_topic):
            for batch in _of_topic(records, topic):
                yield from self.on_position(topic_partition_of(batch[0]), batch[0].offset)
                for record in batch:
                    if topic != self._market_topic or record.key not in first_keys:
                        yield from self.take_other(record, now)
                self._note(batch[-1])
            if topic == self._gap_topic:
                yield from self.on_time(now)
        vouching = self.vouching
        if vouching is not None:
            for batch in _of_topic(records, vouching.watermarks.topic_partition[0]):
                yield from self.on_position(topic_partition_of(batch[0]), batch[0].offset)
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

    def on_position(self, topic_partition: TopicPartition, offset: int) -> Iterator[BookUpdate]:
        """Record the reader's position in a partition, with or without a record. Offsets skipped before it are lost; one that went back
        shows that the partition was recreated.

        Args:
            topic_partition: a partition of any topic.
            offset: offset of the next record in it.
        """
        expected = self.partitions.positions.get(topic_partition)
        if expected is not None and offset > expected:
            if topic_partition[0] == self._depth_topic:
                yield from self.on_lost_records(topic_partition, expected, offset)
            self.partitions.positions[topic_partition] = offset
        elif expected is not None and offset < expected:
            yield from self._on_recreated(topic_partition, offset)

    def on_gone(self, topic_partition: TopicPartition) -> Iterator[BookUpdate]:
        """Record that a depth partition no longer exists: its topic was recreated with fewer. Its books move to others."""
        yield from self._on_recreated(topic_partition, 0)
        self.partitions.close(topic_partition)

    def _on_recreated(self, topic_partition: TopicPartition, offset: int) -> Iterator[BookUpdate]:
        """Void everything that names offsets of a partition that was recreated, or truncated, and is read again from `offset`."""
        topic, partition = topic_partition
        why = f"offsets of {topic}/{partition} went back: it was recreated or truncated, so updates may be missing"
        logger.warning("a partition was recreated", extra={"partition": f"{topic}/{partition}", "offset": offset})
        self.partitions.begin_anew(topic_partition, offset)
        if topic == self._depth_topic:
            yield from self._on_depth_recreated(topic_partition, offset, why)
        elif self.vouching is not None and topic_partition == self.vouching.watermarks.topic_partition:
            self.vouching.on_watermarks_recreated(self.books.values())

    def _on_depth_recreated(self, topic_partition: TopicPartition, offset: int, why: str) -> Iterator[BookUpdate]:
        """Drop the proof of the partition's books: acknowledged updates that were not read yet are gone."""
        markets, vouching = list(self._at.get(topic_partition, {}).values()), self.vouching
        for market in markets:
            market.starts_at = market.starts_by_ms = 0
        if vouching is not None:
            vouching.watermarks.read_up_to(topic_partition, offset)
            vouching.on_recreated(markets, why)
        if not self.is_judged:
            for market in markets:
                yield self._told(market, market.on_unreadable(why))

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
            self.vouching.watermarks.read_up_to(topic_partition, end)
        for market in list(self._at.get(topic_partition, {}).values()):
            yield from self._not_waiting(market)
            if self.vouching is not None:
                self.vouching.on_lost(market, end)
            yield self._told(market, market.on_outage_over(reason))

    def _note(self, last: ConsumerRecord) -> None:
        topic_partition = topic_partition_of(last)
        self.partitions.positions[topic_partition] = last.offset + 1
        if self.vouching is not None and last.topic == self._depth_topic:
            self.vouching.watermarks.read_up_to(topic_partition, last.offset + 1)

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
            outcome = self._adopt_record(market, snapshot, is_new)
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

    def _adopt_record(self, market: MarketBook, snapshot: Mapping[str, Any], is_new: bool) -> Outcome:
        levels, home = self.depth.levels, self.topic_partition(market.symbol.encode())
        topic_partition, offset = (snapshot["delta_topic"], snapshot["delta_partition"]), snapshot["delta_offset"]
        is_here = topic_partition == home
        is_followed = (
            self.partitions.follows(home, offset, is_new=is_new) if is_here else topic_partition[0] != home[0]
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
        market.starts_at = offset if is_here and is_followed else 0
        market.starts_by_ms = snapshot["received_time"] // 1000
        if is_followed:
            self._end_doubt(market)
        elif not market.is_sequenced:
            self.doubt(market, self._why_unfollowed(snapshot, topic_partition, home))
        return outcome

    def _take_gap(self, record: ConsumerRecord, now: float) -> None:
        key = record.key
        if self._is_shared and (key is None or not self.partitions.is_news(self.topic_partition(key), record.offset)):
            return
        try:
            self._gaps.take(self._codec.decode(record.value or b"")[1], now, is_covered=self.is_judged)
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


def _of_topic(records: Records, topic: str) -> list[list[ConsumerRecord]]:
    return [batch for partition, batch in records.items() if partition.topic == topic]
