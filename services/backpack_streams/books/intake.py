"""Takes Kafka's records to the books they are of: updates, snapshots, gaps, the market list. No I/O."""

import logging
import math
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from aiokafka.structs import ConsumerRecord

from backpack_streams.books.book_update import BookUpdate
from backpack_streams.books.joining import DEPTH_TOPIC, GAP_TOPIC, MARKET_TOPIC, SNAPSHOT_TOPIC, take_market
from backpack_streams.books.known_gaps import KnownGaps
from backpack_streams.books.listing import Listing
from backpack_streams.books.market_book import MarketBook, Outcome, Root
from backpack_streams.books.selection import Selection
from backpack_streams.books.vouching import Vouching
from backpack_streams.bus.codec import Codec
from backpack_streams.bus.depth_reader import DepthNumbers, DepthReader
from backpack_streams.bus.partitioner import partition_of
from backpack_streams.bus.reader import Place, Records
from backpack_streams.errors import CodecError
from backpack_streams.sequencing.reordering import EarlyUpdates

__all__ = ["Intake"]

logger = logging.getLogger(__name__)

_DUPLICATE = Outcome.DUPLICATE


class Intake:
    """The books that are wanted, and what has come for them. `now` is in seconds of one clock, whichever, throughout.

    Of two copies of an update one is given. Where two producers bring a market, an update that is early waits for the one before it.
    """

    def __init__(self, codec: Codec, prefix: str, selection: Selection) -> None:
        self.depth = DepthReader(codec)
        self.listing = Listing()
        self.books: dict[str, MarketBook] = {}
        self.by_key: dict[bytes, MarketBook] = {}
        self.behind: dict[Place, int] = {}
        """Partitions of updates that are still in the past, with the offset at which they no longer are."""
        self.beginnings: dict[Place, int] = {}
        """The first offset that each partition of updates still held when it was looked at."""
        self.depth_partitions = 0
        self.closed_until_us: float = math.inf
        """What the market list has learnt later than this (µs) is not told yet."""
        self.unseeded_because = "no seed yet"
        self.updates = 0
        self.undecodable_records = 0
        self.last_problem = ""
        """Why the last record that could not be read could not be."""
        self.last_new_market = time.monotonic()
        self.vouching: Vouching | None = None
        """Who vouches for the books; None: nobody is asked, as of the past."""
        self._codec = codec
        self._selection = selection
        self._depth_topic, self._snapshot_topic, self._gap_topic, self._market_topic = (
            prefix + name for name in (DEPTH_TOPIC, SNAPSHOT_TOPIC, GAP_TOPIC, MARKET_TOPIC)
        )
        self._refused: set[bytes] = set()
        self._has_new_markets = False
        self._gaps = KnownGaps()
        self._early: EarlyUpdates[MarketBook, Outcome] = EarlyUpdates(of_all=False)
        self._unproven: dict[str, str] = {}
        self._seeded_us: dict[str, int] = {}

    # Which books ----------------------------------------------------------------------------------------------

    def add(self, key: bytes) -> MarketBook:
        """A book for this key, which shows `SYNCING` while its partition is behind."""
        symbol = key.decode("utf-8", "replace")
        is_behind = self.place(key) in self.behind
        market = MarketBook(symbol, catching_up=is_behind, unseeded_because=self.unseeded_because)
        self.by_key[key] = market
        self.books[symbol] = market
        if self.vouching is not None:
            self.vouching.add(market)
        self.last_new_market = time.monotonic()
        listed = self.listing.get(symbol)
        if listed is not None and listed.why_closed and listed.since_us <= self.closed_until_us:
            market.on_closed(listed.why_closed, listed.since_us)
        return market

    def place(self, key: bytes) -> Place:
        """The partition of updates that holds a key."""
        return self._depth_topic, partition_of(key, self.depth_partitions)

    def wants(self, key: bytes) -> bool:
        """Whether the selection takes this key, by what the market list knows of it."""
        if key in self._refused:
            return False
        symbol = key.decode("utf-8", "replace")
        is_wanted = self._selection.wants(symbol, self.listing.kind(symbol))
        if not is_wanted:
            self._refused.add(key)
        return is_wanted

    def has_new_markets(self) -> bool:
        """Whether the market list has told of any that is wanted and has no book, since this was asked last."""
        told, self._has_new_markets = self._has_new_markets, False
        return told

    def look_again(self) -> None:
        """What was told of new markets could not be followed: say so again."""
        self._has_new_markets = True

    def release(self, markets: Iterable[MarketBook]) -> Iterator[BookUpdate]:
        """These books show their own status from now on, unless something else speaks against it."""
        for market in markets:
            if market.symbol in self._unproven:
                market.hold(self._unproven[market.symbol])
            else:
                market.release()
            yield BookUpdate(market, Outcome.CAUGHT_UP)

    def release_all(self) -> Iterator[BookUpdate]:
        """All books but those that are still behind show their own status from now on."""
        return self.release([market for key, market in self.by_key.items() if self.place(key) not in self.behind])

    def doubt(self, market: MarketBook, why: str) -> None:
        """Show `SYNCING` until an update follows on what the book holds, or a seed that is beyond doubt comes."""
        self._unproven[market.symbol] = why
        market.hold(why)

    # What Kafka has -------------------------------------------------------------------------------------------

    def take(self, records: Records, now: float) -> Iterator[BookUpdate]:
        """Seeds last: one is mostly ahead of what was read before it, and is the answer to a gap that was on record before it.

        Watermarks after them: what they say is of what was read up to then.
        """
        for batch in _of_topic(records, self._depth_topic):
            yield from self._take_updates(batch, now)
        for topic in (self._gap_topic, self._snapshot_topic, self._market_topic):
            for batch in _of_topic(records, topic):
                for record in batch:
                    yield from self.take_other(record, now)
            if topic == self._gap_topic:
                yield from self.on_time(now)
        vouching = self.vouching
        if vouching is not None:
            for batch in _of_topic(records, vouching.place[0]):
                vouching.take(batch, now)
            yield from _told(vouching.refresh(self.books.values(), now))

    def take_other(self, record: ConsumerRecord, now: float) -> Iterator[BookUpdate]:
        """Take any record but an update."""
        if record.topic == self._snapshot_topic:
            yield from self.take_seed(record, is_new=True)
        elif record.topic == self._gap_topic:
            self._take_gap(record, now)
        elif record.topic == self._market_topic:
            yield from self._take_market(record)

    def on_time(self, now: float) -> Iterator[BookUpdate]:
        """Time has passed: what waited for long enough is believed."""
        if self._early:
            yield from _told(self._early.due(now))
        if self._gaps:
            yield from _told(self._gaps.due(self.books, self._seeded_us, now))

    def give_up_waiting(self) -> Iterator[BookUpdate]:
        """Nothing more comes that could be missing before an update that is early."""
        yield from _told(self._early.due(math.inf))

    def on_lost_records(self, place: Place, first: int, end: int) -> Iterator[BookUpdate]:
        """Kafka no longer had the updates of a partition from offset `first` up to `end`, which is not one of them."""
        reason = f"Kafka's retention removed updates before they were read: {place[0]}/{place[1]}, offsets {first} to {end - 1}"
        logger.warning("updates are lost", extra={"detail": reason})
        for key, market in self.by_key.items():
            if self.place(key) == place:
                yield from _told((market, outcome) for outcome in self._early.give_up(market))
                if self.vouching is not None:
                    self.vouching.on_lost(market, end)
                yield BookUpdate(market, market.on_outage_over(reason))

    def _take_updates(self, batch: list[ConsumerRecord], now: float) -> Iterator[BookUpdate]:
        read, by_key, early, unproven = self.depth.read, self.by_key, self._early, self._unproven
        vouching = self.vouching
        for record in batch:
            market = by_key.get(record.key)
            if market is None:
                if record.key is None or not self.wants(record.key):
                    continue
            elif record.offset < market.starts_at and record.timestamp <= market.starts_by_ms:
                continue
            try:
                update = read(record.value or b"")
            except CodecError as error:  # a newer writer's record, or a foreign one
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
            if outcome is _DUPLICATE:
                self._on_duplicate(market)
            else:
                yield BookUpdate(market, outcome)
        if vouching is not None:
            last = batch[-1]
            vouching.read_up_to((last.topic, last.partition), last.offset + 1)

    def _on_duplicate(self, market: MarketBook) -> None:
        """What a seed includes comes again of itself; what followed on it does so where two producers bring the market."""
        if market.is_chained:
            self._early.expect_second(market.symbol)

    def take_update(self, market: MarketBook, update: DepthNumbers, now: float) -> Iterator[BookUpdate]:
        """Take one update on the patient way."""
        for outcome in self._early.offer(market, update, now):
            if outcome is Outcome.APPLIED and self._unproven.pop(market.symbol, None) is not None:
                self._let_show(market)
            if outcome is _DUPLICATE:
                self._on_duplicate(market)
            else:
                yield BookUpdate(market, outcome)

    def not_understood(
        self, market: MarketBook | None, record: ConsumerRecord, error: Exception
    ) -> Iterator[BookUpdate]:
        """An update, so it seems, that cannot be read. A key of which nothing readable ever came is no market."""
        self._tell(record, error)
        if market is not None:
            if self.vouching is not None:
                self.vouching.on_lost(market, record.offset + 1)
            outcome = market.on_unreadable(f"the record at {record.partition}/{record.offset} cannot be read")
            yield BookUpdate(market, outcome)

    def take_seed(self, record: ConsumerRecord, *, is_new: bool = False) -> Iterator[BookUpdate]:
        """Take a snapshot: the exchange's, or a checkpoint. `is_new`: it was written after this reader came."""
        market = self.by_key.get(record.key)
        if record.value is None or record.key is None or (market is None and not self.wants(record.key)):
            return
        try:
            _, seed = self._codec.decode(record.value)
            if market is None:
                market = self.add(record.key)
            if self.vouching is not None and self.vouching.disproves(market, seed, is_new):
                market.on_outage_over(f"snapshot {seed['last_update_id']} is ahead of the book, which nothing proves")
            outcome = self._seed(market, seed)
            if self.vouching is not None:
                self.vouching.on_seed(market, seed, outcome, is_new)
            yield BookUpdate(market, outcome)
        except (CodecError, KeyError) as error:
            self._tell(record, error)
            return
        self._seeded_us[market.symbol] = seed["received_time"]
        if self._early and self._early.reached_by(market, seed["last_update_id"]):
            yield from _told((market, outcome) for outcome in self._early.give_up(market))

    def _seed(self, market: MarketBook, seed: Mapping[str, Any]) -> Outcome:
        levels, place = self.depth.levels, (seed["delta_topic"], seed["delta_partition"])
        begins, offset = self.beginnings.get(place, 0), seed["delta_offset"]
        reason = self._unproven.get(market.symbol)
        if reason is not None and offset >= begins:
            market.on_outage_over(reason)  # a seed that is known to be whole comes in place of the one that is not
        outcome = market.on_seed(
            seed["last_update_id"],
            seed["engine_time"],
            levels(seed["bids"]),
            levels(seed["asks"]),
            bids_complete=seed["bids_complete"],
            asks_complete=seed["asks_complete"],
            root=Root.of_record(seed),
        )
        if outcome is not Outcome.RESEEDED:
            return outcome
        market.starts_at = offset if place == self.place(market.symbol.encode()) else 0
        market.starts_by_ms = seed["received_time"] // 1000
        if offset >= begins:
            if self._unproven.pop(market.symbol, None) is not None:
                self._let_show(market)
        elif not market.is_chained:
            why = (
                f"Kafka's retention removed what may follow the snapshot at update {seed['last_update_id']}: it begins at offset "
                f"{offset} of {place[0]}/{place[1]}, and Kafka has that from {begins} on"
            )
            self.doubt(market, why)
        return outcome

    def _let_show(self, market: MarketBook) -> None:
        if self.place(market.symbol.encode()) in self.behind:
            market.hold()
        else:
            market.release()

    def _take_gap(self, record: ConsumerRecord, now: float) -> None:
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
        self._refused.discard(record.key)
        market = self.by_key.get(record.key)
        self._has_new_markets = self._has_new_markets or (market is None and self.wants(record.key))
        if market is not None:
            outcome = market.on_listed(listed.why_closed, listed.since_us)
            if outcome is not Outcome.IGNORED:
                yield BookUpdate(market, outcome)

    def _tell(self, record: ConsumerRecord, error: Exception) -> None:
        self.undecodable_records += 1
        self.last_problem = str(error)
        where = {"topic": record.topic, "partition": record.partition, "offset": record.offset}
        logger.warning("a record cannot be read", extra=where | {"error": str(error)})


def _told(told: Iterable[tuple[MarketBook, Outcome]]) -> Iterator[BookUpdate]:
    return (BookUpdate(market, outcome) for market, outcome in told if outcome is not _DUPLICATE)


def _of_topic(records: Records, topic: str) -> list[list[ConsumerRecord]]:
    return [batch for partition, batch in records.items() if partition.topic == topic]
