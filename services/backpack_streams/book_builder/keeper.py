"""All books of the partitions that one builder has, fed with Kafka's records: what is to be written of them. Sans I/O."""

import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

from backpack_streams.book_builder.kept_book import CheckpointRules, KeptBook, Observer, Top
from backpack_streams.books.joining import take_market
from backpack_streams.books.known_gaps import KnownGaps
from backpack_streams.books.listing import Listing
from backpack_streams.books.market_book import SEED, MarketBook, Outcome, Root, Status
from backpack_streams.books.vouching import Vouching
from backpack_streams.bus.codec import Codec
from backpack_streams.bus.depth_reader import DepthReader
from backpack_streams.bus.partitioner import partition_of
from backpack_streams.errors import CodecError
from backpack_streams.sequencing.coverage import RunKey
from backpack_streams.sequencing.reordering import EarlyUpdates

__all__ = ["BookKeeper", "KafkaRecord", "Observer"]

logger = logging.getLogger(__name__)

_UNCHANGED = frozenset({Outcome.DUPLICATE, Outcome.BUFFERED})
_UNUSABLE = frozenset({Status.SYNCING, Status.STALE})


class KafkaRecord(Protocol):
    """What is used of aiokafka's records."""

    @property
    def topic(self) -> str:
        """Its full name."""

    @property
    def partition(self) -> int:
        """From 0."""

    @property
    def offset(self) -> int:
        """In the partition."""

    @property
    def timestamp(self) -> int:
        """Milliseconds since the Unix epoch."""

    @property
    def key(self) -> bytes | None:
        """The market's symbol."""

    @property
    def value(self) -> bytes | None:
        """One framed record."""


class _Partition:
    """One partition of updates: where its reader is, and how far it must come before its books are shown."""

    __slots__ = ("books", "gaps_end", "gaps_start", "is_caught_up", "offset", "start", "updates_end")

    def __init__(self, offset: int, updates_end: int, gaps_start: int, gaps_end: int) -> None:
        self.books: dict[bytes, KeptBook] = {}
        self.start = self.offset = offset
        """Of the record that comes next."""
        self.updates_end = updates_end
        self.gaps_start = gaps_start
        """Gaps before this offset were heard of before."""
        self.gaps_end = gaps_end
        self.is_caught_up = False


class BookKeeper:
    """Feed it in the order in which Kafka has the records; partitions come and go with the group's rebalances.

    Books show nothing (no checkpoint, no top) before their partition has caught up with where it ended when it was opened, gaps
    included: whoever had it before knows no more than that.
    """

    def __init__(
        self,
        codec: Codec,
        rules: CheckpointRules,
        top_levels: int,
        top_interval_seconds: float,
        observer: Observer | None = None,
        depth_topic: str = "",
    ) -> None:
        """Prepare. `depth_topic`: the full name of the topic of updates."""
        self._codec = codec
        self._rules = rules
        self._top_levels = top_levels
        self._top_interval = top_interval_seconds
        self._observer = observer
        self._depth_topic = depth_topic
        self.vouching: Vouching | None = None
        """Who vouches for the books; None: nobody is asked."""
        self._depth = DepthReader(codec)
        self._count = 0
        self._partitions: dict[int, _Partition] = {}
        self._gaps = KnownGaps()
        self._early: EarlyUpdates[KeptBook, Outcome] = EarlyUpdates()
        self._gaps_offset = 0
        self._seeded_us: dict[str, int] = {}
        self.listing = Listing()
        """What the market list says of every market, also of those that are not kept here."""
        self._untold: dict[bytes, KeptBook] = {}
        self.books: dict[str, MarketBook] = {}
        self._breaks_before = 0
        self._unusable_since: dict[str, float] = {}
        self.updates = 0
        self.undecodable_records = 0

    # Which partitions there are -------------------------------------------------------------------------------

    @property
    def partitions(self) -> frozenset[int]:
        """The partitions of updates that are kept."""
        return frozenset(self._partitions)

    @property
    def offsets(self) -> dict[int, int]:
        """By partition, the offset of the update that comes next."""
        return {number: partition.offset for number, partition in self._partitions.items()}

    def place_of(self, symbol: str) -> tuple[str, int] | None:
        """The partition of a market's updates; None where it is not kept here."""
        number = partition_of(symbol.encode(), self._count) if self._count else -1
        return (self._depth_topic, number) if number in self._partitions else None

    @property
    def gaps_offset(self) -> int:
        """The offset of the gap record that comes next."""
        return self._gaps_offset

    @property
    def is_caught_up(self) -> bool:
        """Whether every partition has come to where it ended when it was opened."""
        return all(partition.is_caught_up for partition in self._partitions.values())

    def open(self, number: int, count: int, start: int, end: int, gaps: tuple[int, int]) -> None:
        """Keep the books of partition `number` of `count`, reading updates from `start`, caught up at `end`; `gaps`: the same of gaps."""
        self._count = count
        self._partitions[number] = _Partition(start, end, *gaps)
        self._gaps_offset = min(self._gaps_offset, gaps[0]) if len(self._partitions) > 1 else gaps[0]
        if self.vouching is not None:
            self.vouching.coverage.ends[self._depth_topic, number] = end
            self.vouching.read_up_to((self._depth_topic, number), start)

    def close(self, numbers: Iterable[int]) -> None:
        """Forget these partitions and their books."""
        for number in numbers:
            for key, kept in self._partitions.pop(number).books.items():
                symbol = kept.market.symbol
                del self.books[symbol]
                self._unusable_since.pop(symbol, None)
                self._breaks_before += kept.market.breaks
                self._untold.pop(key, None)
                self._early.forget(kept)
                self._seeded_us.pop(symbol, None)
                if self._observer is not None:
                    self._observer.on_dropped(symbol)

    # What Kafka has -------------------------------------------------------------------------------------------

    def take_updates(self, number: int, batch: Sequence[KafkaRecord], now: float) -> None:
        """Take updates of one partition; `now` is in monotonic seconds."""
        partition = self._partitions.get(number)
        if partition is None or not batch:
            return
        read, books, early, untold = self._depth.read, partition.books, self._early, self._untold
        vouching = self.vouching
        for record in batch:
            key = record.key
            if key is None:
                self._tell(record, CodecError("it has no key, so no market"))
                continue
            try:
                update = read(record.value or b"")
            except CodecError as error:  # a newer writer's record, or a foreign one
                self._on_unreadable(books.get(key), record, error)
                continue
            kept = books.get(key) or self._add(key, number, partition)
            if record.offset < kept.market.starts_at and record.timestamp <= kept.market.starts_by_ms:
                continue
            if record.offset >= kept.market.proof_from and vouching is not None:
                vouching.on_update(kept.market, update[1], record)
            if early or kept.market.is_early(update[0]):
                outcomes = list(early.offer(kept, update, now))
                changed = any(outcome not in _UNCHANGED for outcome in outcomes)
            else:
                changed = kept.on_update(*update) not in _UNCHANGED
            if changed:
                untold[key] = kept
                if kept.changed_at is None:
                    kept.on_changed(now)
        partition.offset = batch[-1].offset + 1
        if vouching is not None:
            vouching.read_up_to((self._depth_topic, number), partition.offset)
        self.updates += len(batch)

    def _on_unreadable(self, kept: KeptBook | None, record: KafkaRecord, error: CodecError) -> None:
        """A key of which nothing readable ever came is no market."""
        self._tell(record, error)
        if kept is not None:
            if self.vouching is not None:
                self.vouching.on_lost(kept.market, record.offset + 1)
            outcome = kept.market.on_unreadable(f"the record at {record.partition}/{record.offset} cannot be read")
            self._untold[kept.key] = kept
            if self._observer is not None:
                self._observer.on_outcome(kept.market, outcome)

    def take_watermarks(self, batch: Sequence[KafkaRecord], now: float) -> None:
        """Take records of the watermarks' topic; what they say is of what was taken before."""
        if self.vouching is not None:
            self.vouching.take(batch, now)

    def take_snapshot(self, record: KafkaRecord, now: float, *, is_new: bool = False) -> None:
        """Take a record of the snapshot topic. Our own checkpoints say nothing new, but that they are there.

        `is_new`: it was written after its partition was opened here.
        """
        kept = self._kept(record.key)
        if kept is None or record.value is None:
            return
        try:
            _, row = self._codec.decode(record.value)
            offset, last_id = row["delta_offset"], row["last_update_id"]
            if row["origin"] != SEED and kept.snapshot_id is not None:
                return  # ours, or of who had the partition before; what breaks here is healed by the exchange alone
            if offset < self._partitions[kept.partition].start and not kept.market.newest_id:
                self._tell(
                    record,
                    CodecError(f"what follows it may be lost: it begins at offset {offset}, before what is read"),
                )
                return
            vouching = self.vouching
            if vouching is not None and vouching.disproves(kept.market, row, is_new):
                kept.market.on_outage_over(f"snapshot {last_id} is ahead of the book, which nothing proves")
            outcome = self._seed(kept.market, row)
            if vouching is not None:
                vouching.on_seed(kept.market, row, outcome, is_new)
            if outcome is Outcome.RESEEDED:
                is_here = row["delta_partition"] == kept.partition
                kept.market.starts_at = offset if is_here else 0
                kept.market.starts_by_ms = row["received_time"] // 1000
        except (CodecError, KeyError) as error:
            self._tell(record, error)
            return
        if self._observer is not None:  # before the updates that waited for it follow
            self._observer.on_seed(kept.market, row, outcome)
        if self._early and self._early.reached_by(kept, last_id):
            list(self._early.give_up(kept))
        kept.on_snapshot(last_id, offset)
        kept.snapshot_claim = None if vouching is None else vouching.claim(row, is_new)
        if (kept.market.last_update_id or 0) > last_id:
            kept.on_changed(now)
        self._untold[kept.key] = kept

    def _seed(self, market: MarketBook, row: Mapping[str, Any]) -> Outcome:
        levels = self._depth.levels
        outcome = market.on_seed(
            row["last_update_id"],
            row["engine_time"],
            levels(row["bids"]),
            levels(row["asks"]),
            bids_complete=row["bids_complete"],
            asks_complete=row["asks_complete"],
            root=Root.of_record(row),
        )
        self._seeded_us[market.symbol] = row["received_time"]
        return outcome

    def take_gap(self, record: KafkaRecord, now: float) -> None:
        """Take a record of the gap topic."""
        self._gaps_offset = max(self._gaps_offset, record.offset + 1)
        partition = None if record.key is None else self._partitions.get(partition_of(record.key, self._count))
        if partition is None or record.offset < partition.gaps_start:
            return
        try:
            self._gaps.take(self._codec.decode(record.value or b"")[1], now, is_covered=self.vouching is not None)
        except (CodecError, KeyError) as error:
            self._tell(record, error)

    def take_market(self, record: KafkaRecord) -> None:
        """Take a record of the market list: a book is CLOSED while its market is."""
        try:
            listed = take_market(self.listing, self._codec, record)
        except (CodecError, KeyError) as error:
            self._tell(record, error)
            return
        kept = self._kept(record.key, adds=False)
        if kept is not None:
            outcome = kept.market.on_listed(listed.why_closed, listed.since_us)
            self._untold[kept.key] = kept
            if self._observer is not None:
                self._observer.on_outcome(kept.market, outcome)

    def on_tick(self, now: float) -> None:
        """Time has passed: books are told of gaps that no update has shown, and shown where their partition has caught up."""
        if self._early:
            for kept, _ in self._early.due(now):
                self._untold[kept.key] = kept
                kept.on_changed(now)
        if self._gaps:
            for market, outcome in self._gaps.due(self.books, self._seeded_us, now):
                if self._observer is not None:
                    self._observer.on_outcome(market, outcome)
                of_gap = self._kept(market.symbol.encode())
                if of_gap is not None:
                    self._untold[of_gap.key] = of_gap
        if self.vouching is not None:
            self._look_who_vouches(self.vouching, now)
        for partition in self._partitions.values():
            if not partition.is_caught_up and self._has_caught_up(partition):
                partition.is_caught_up = True
                for key, kept in partition.books.items():
                    kept.market.release()
                    self._untold[key] = kept

    def _look_who_vouches(self, vouching: Vouching, now: float) -> None:
        for market, outcome in vouching.refresh(self.books.values(), now):
            if self._observer is not None:
                self._observer.on_outcome(market, outcome)
            kept = self._kept(market.symbol.encode())
            if kept is not None:
                self._untold[kept.key] = kept

    def _has_caught_up(self, partition: _Partition) -> bool:
        return partition.offset >= partition.updates_end and self._gaps_offset >= partition.gaps_end

    # What is to be written ------------------------------------------------------------------------------------

    def recall_top(self, key: bytes, top: Top, last_update_id: int | None, engine_time: int | None) -> None:
        """Take note of the newest top of a market that is on the topic, whoever wrote it."""
        kept = self._kept(key, adds=True)
        if kept is not None and kept.top is None:
            kept.top, kept.top_id, kept.top_engine_time = top, last_update_id, engine_time

    def checkpoints(self, now: float) -> Iterator[tuple[KeptBook, int]]:
        """Books to be checkpointed, each with the offset of its partition's next update. Say `on_snapshot` of those written."""
        for partition in self._partitions.values():
            if partition.is_caught_up:
                for kept in partition.books.values():
                    is_due = kept.wants_checkpoint(now, partition.offset, self._rules) or self._wants_proof(kept, now)
                    if is_due and kept.symbol not in self._early:
                        yield kept, partition.offset

    def proving_runs(self, kept: KeptBook) -> frozenset[RunKey]:
        """The coverage in which a book is proven: for its checkpoint."""
        return frozenset() if self.vouching is None else self.vouching.proving_runs(kept.market)

    def _wants_proof(self, kept: KeptBook, now: float) -> bool:
        """Whether the newest snapshot on the topic proves no book any more: its coverage ended, while ours went on."""
        vouching, market = self.vouching, kept.market
        if vouching is None or not kept.may_prove(now):
            return False
        runs = vouching.proving_runs(market)
        return bool(runs) and not (
            kept.snapshot_claim is not None and vouching.keys(market, kept.snapshot_claim) & runs
        )

    def last_checkpoints(self, numbers: Iterable[int]) -> Iterator[tuple[KeptBook, int]]:
        """Books of these partitions with anything new in them: their builder leaves."""
        for number in numbers:
            partition = self._partitions.get(number)
            if partition is not None and partition.is_caught_up:
                for kept in partition.books.values():
                    if kept.has_news and kept.symbol not in self._early:
                        yield kept, partition.offset

    def tops(self, now: float) -> Iterator[tuple[KeptBook, Top]]:
        """Tops to be written. Say `on_top` of those that were; the others are asked for again."""
        for key, kept in list(self._untold.items()):
            if not self._partitions[kept.partition].is_caught_up or now - kept.top_at < self._top_interval:
                continue
            top = kept.new_top(self._top_levels)
            if top is not None:
                yield kept, top
                if kept.top is not top:
                    continue
            kept.top_at = now
            del self._untold[key]

    # What is seen from outside --------------------------------------------------------------------------------

    def has_caught_up(self, number: int) -> bool:
        """Whether a partition has come to where it ended when it was opened."""
        partition = self._partitions.get(number)
        return partition is not None and partition.is_caught_up

    def look_for_unusable(self, now: float) -> None:
        """Take note of books that cannot be used, so that it is known for how long; to be asked for now and then."""
        since = self._unusable_since
        for symbol, market in self.books.items():
            if market.status in _UNUSABLE:
                since.setdefault(symbol, now)
            else:
                since.pop(symbol, None)

    def unusable_seconds(self, now: float) -> float:
        """For how long the book that cannot be used for longest could not be, in seconds; 0 while all can."""
        return max(0.0, now - min(self._unusable_since.values(), default=now))

    def by_status(self) -> dict[str, int]:
        """How many books have which status."""
        counted = Counter(market.status for market in self.books.values())
        return {status.value: counted[status] for status in Status}

    def breaks(self) -> int:
        """How often books left LIVE."""
        return self._breaks_before + sum(market.breaks for market in self.books.values())

    def checkpoint_delay(self, now: float) -> float:
        """For how long the oldest change of a LIVE book has not been checkpointed, in seconds."""
        changed = (
            kept.changed_at
            for partition in self._partitions.values()
            for kept in partition.books.values()
            if kept.market.status is Status.LIVE and kept.changed_at is not None
        )
        return max(0.0, now - min(changed, default=now))

    def _kept(self, key: bytes | None, adds: bool = True) -> KeptBook | None:
        """The book of a key; None where it lies in a partition that is not kept."""
        if key is None or not self._count:
            return None
        number = partition_of(key, self._count)
        partition = self._partitions.get(number)
        if partition is None:
            return None
        kept = partition.books.get(key)
        return self._add(key, number, partition) if kept is None and adds else kept

    def _add(self, key: bytes, number: int, partition: _Partition) -> KeptBook:
        market = MarketBook(key.decode("utf-8", "replace"), catching_up=not partition.is_caught_up)
        kept = partition.books[key] = KeptBook(key, market, number, self._observer)
        self.books[market.symbol] = market
        if self.vouching is not None:
            self.vouching.add(market)
        listed = self.listing.get(market.symbol)
        if listed is not None and listed.why_closed:
            market.on_closed(listed.why_closed, listed.since_us)
        return kept

    def _tell(self, record: KafkaRecord, error: Exception) -> None:
        self.undecodable_records += 1
        where = {"topic": record.topic, "partition": record.partition, "offset": record.offset}
        logger.warning("a record cannot be read", extra=where | {"error": str(error)})
