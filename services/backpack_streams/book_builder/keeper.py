"""All books of one builder's partitions, and which records are due for them. Sans I/O."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from math import isfinite
from typing import Any

from aiokafka.structs import ConsumerRecord

from backpack_streams.backoff import Backoff
from backpack_streams.book_builder.kept_book import CheckpointRules, KeptBook, Top
from backpack_streams.books.intake import Intake
from backpack_streams.books.joining import DEPTH_TOPIC
from backpack_streams.books.market_book import MarketBook, Outcome, Status
from backpack_streams.books.onlooking import Onlooker
from backpack_streams.books.selection import Selection
from backpack_streams.bus.codec import Codec
from backpack_streams.bus.depth_reader import DepthNumbers
from backpack_streams.bus.reader import Records
from backpack_streams.sequencing.runs import RunKey
from backpack_streams.topic_partition import TopicPartition

__all__ = ["BookKeeper"]

_FIRST_RETRY_SECONDS, _LONGEST_RETRY_SECONDS = 1.0, 60.0
"""Delays between retries of a refused record: Kafka may accept it once the topic's owner allows larger records."""
_APPLIED = Outcome.APPLIED
_UNCHANGED = frozenset({Outcome.DUPLICATE, Outcome.BUFFERED})
_UNUSABLE = frozenset({Status.SYNCING, Status.STALE})


class BookKeeper:
    """The `Onlooker` of an `Intake` that keeps the books. Partitions come and go with the group's rebalances.

    Until its partition has caught up with the end it had when it was opened, gaps included, a book yields no checkpoint
    and no top: until then this builder knows less than the previous one. Times are monotonic seconds.
    """

    def __init__(
        self,
        codec: Codec,
        prefix: str,
        rules: CheckpointRules,
        top_levels: int,
        top_interval_seconds: float,
        audits: Onlooker | None = None,
    ) -> None:
        """Prepare; `open` adds partitions.

        Args:
            codec: decodes the records.
            prefix: the topic prefix.
            rules: when checkpoints are due.
            top_levels: levels per side of a top of book.
            top_interval_seconds: the minimum time between two tops of one market.
            audits: also receives every event, None for no audits.
        """
        self.intake = Intake(codec, prefix, Selection(None), self, is_shared=True)
        self._depth_topic = prefix + DEPTH_TOPIC
        self._rules = rules
        self._top_levels = top_levels
        self._top_interval = top_interval_seconds
        self._audits = audits
        self._backoff = Backoff(_FIRST_RETRY_SECONDS, _LONGEST_RETRY_SECONDS)
        self._now = 0.0
        self._kept: dict[str, KeptBook] = {}
        self._changed: dict[str, KeptBook] = {}
        self._breaks_before = 0
        self._unusable_since: dict[str, float] = {}

    # Partitions -----------------------------------------------------------------------------------------------

    @property
    def partitions(self) -> frozenset[int]:
        """The depth partitions whose books are kept."""
        return frozenset(number for _, number in self.intake.partitions.opened)

    @property
    def offsets(self) -> dict[int, int]:
        """The offset of the next update, by partition."""
        positions = self.intake.partitions.positions
        return {each[1]: positions[each] for each in self.intake.partitions.opened}

    @property
    def is_caught_up(self) -> bool:
        """Whether all partitions have reached the end that they had when they were opened."""
        return not self.intake.behind

    def has_caught_up(self, number: int) -> bool:
        """Whether this partition has reached the end that it had when it was opened."""
        topic_partition = self._depth_topic, number
        return self.intake.partitions.is_open(topic_partition) and topic_partition not in self.intake.behind

    def topic_partition_of(self, symbol: str) -> TopicPartition | None:
        """Return the partition of a market's updates, None if it is not kept here."""
        if not self.intake.depth_partitions:
            return None
        topic_partition = self.intake.topic_partition(symbol.encode())
        return topic_partition if self.intake.partitions.is_open(topic_partition) else None

    def open(self, number: int, start: int, end: int, gaps: tuple[int, int]) -> None:
        """Start keeping the books of a depth partition.

        Args:
            number: the partition.
            start: the offset of the first update to read.
            end: the offset at which the partition counts as caught up.
            gaps: the same two offsets of the gap topic.
        """
        self.intake.open((self._depth_topic, number), start, end, gaps)

    def close(self, numbers: Iterable[int]) -> None:
        """Forget these partitions and their books."""
        for number in numbers:
            self.intake.close((self._depth_topic, number))

    # Input ----------------------------------------------------------------------------------------------------

    def take(self, records: Records, now: float) -> None:
        """Take records from Kafka. Call it without records as well, so that timeouts pass.

        Args:
            records: the records by partition.
            now: the time.
        """
        self._now = now
        for _ in self.intake.take(records, now):
            pass

    def begin(self, snapshots: Iterable[ConsumerRecord], now: float) -> None:
        """Take the newest snapshots, read when the partitions were opened.

        Args:
            snapshots: the records.
            now: the time.
        """
        self._now = now
        for record in snapshots:
            for _ in self.intake.take_snapshot(record):
                pass

    def set_positions(self, positions: Mapping[TopicPartition, int | None], now: float) -> None:
        """Note the reader's positions, which may have passed offsets without records.

        Args:
            positions: the next offset of each partition, None if unknown.
            now: the time.
        """
        self._now = now
        for topic_partition, offset in positions.items():
            if offset is not None:
                for _ in self.intake.on_position(topic_partition, offset):
                    pass

    def on_update(self, market: MarketBook, update: DepthNumbers, outcome: Outcome) -> None:
        """Take an update and its outcome."""
        if (
            outcome is _APPLIED or outcome not in _UNCHANGED
        ):  # the identity check first, because hashing an Enum is slow
            kept = self._kept.get(market.symbol) or self._keep(market)
            kept.on_update(outcome, self._now)
            self._changed[market.symbol] = kept
        if self._audits is not None:
            self._audits.on_update(market, update, outcome)

    def on_snapshot(self, market: MarketBook, snapshot: Mapping[str, Any], outcome: Outcome, is_new: bool) -> None:
        """Take a snapshot and its outcome. It is the newest on its topic, even if the book does not use it."""
        if self._audits is not None:
            self._audits.on_snapshot(market, snapshot, outcome, is_new)
        kept, vouching = self._kept.get(market.symbol) or self._keep(market), self.intake.vouching
        is_here = (snapshot["delta_topic"], snapshot["delta_partition"]) == kept.topic_partition
        kept.on_snapshot(snapshot["last_update_id"], snapshot["delta_offset"] if is_here else 0)
        kept.snapshot_claim = None if vouching is None else vouching.claim(snapshot, is_new)
        if (market.last_update_id or 0) > snapshot["last_update_id"]:
            kept.on_changed(self._now)
        self._changed[market.symbol] = kept

    def on_outcome(self, market: MarketBook, outcome: Outcome) -> None:
        """Take the outcome of any other event."""
        kept = self._changed[market.symbol] = self._kept.get(market.symbol) or self._keep(market)
        kept.on_outcome(outcome)
        if self._audits is not None:
            self._audits.on_outcome(market, outcome)

    def on_dropped(self, market: MarketBook) -> None:
        """Forget a book that another builder keeps from now on."""
        self._breaks_before += market.breaks
        for by_symbol in (self._kept, self._changed, self._unusable_since):
            by_symbol.pop(market.symbol, None)
        if self._audits is not None:
            self._audits.on_dropped(market)

    def _keep(self, market: MarketBook) -> KeptBook:
        key = market.symbol.encode()
        kept = self._kept[market.symbol] = KeptBook(key, market, self.intake.topic_partition(key))
        return kept

    # Due records ----------------------------------------------------------------------------------------------

    def recall_top(self, symbol: str, top: Top, last_update_id: int | None, engine_time: int | None) -> None:
        """Note the newest top of a market on the topic, whichever builder wrote it.

        Args:
            symbol: the market.
            top: its content.
            last_update_id: the last update id in it, None if the book had none.
            engine_time: its engine time (µs since the Unix epoch), None if unknown.
        """
        kept = self._kept.get(symbol)
        if kept is not None and kept.top is None:
            kept.top, kept.top_id, kept.top_engine_time = top, last_update_id, engine_time

    def checkpoints(self, now: float) -> Iterator[tuple[KeptBook, int]]:
        """Yield the books whose checkpoint is due, with the offset of the next update in their partition. Call
        `KeptBook.on_checkpoint` for each one written.
        """
        for kept, offset in self._shown():
            kept.on_position(offset)
            if kept.wants_checkpoint(now, offset, self._rules) or self._wants_proof(kept, now):
                yield kept, offset

    def on_checkpoint_rejected(self, symbol: str, now: float) -> None:
        """Note that Kafka finally refused a market's last checkpoint: it does not count as written, and another becomes due soon."""
        kept = self._kept.get(symbol)
        if kept is not None:
            kept.on_checkpoint_rejected(now, self._delay_seconds(kept, now))

    def on_top_rejected(self, symbol: str, now: float) -> None:
        """Note that Kafka finally refused a market's last top: another becomes due soon."""
        kept = self._kept.get(symbol)
        if kept is not None:
            kept.on_top_rejected(now, self._delay_seconds(kept, now))
            self._changed[symbol] = kept

    def _delay_seconds(self, kept: KeptBook, now: float) -> float:
        if now - kept.rejected_at > 2 * _LONGEST_RETRY_SECONDS:
            kept.rejections = 0  # records written meanwhile were accepted
        return self._backoff.delay_seconds(kept.rejections)

    def last_checkpoints(self, numbers: Iterable[int]) -> Iterator[tuple[KeptBook, int]]:
        """Yield the books of these partitions that are ahead of their newest snapshot. For a builder that gives the partitions up."""
        leaving = frozenset(numbers)
        return (
            (kept, offset) for kept, offset in self._shown() if kept.topic_partition[1] in leaving and kept.has_news
        )

    def _shown(self) -> Iterator[tuple[KeptBook, int]]:
        """Yield the books that include everything read for them, with the offset up to which that was read."""
        partitions = self.intake.partitions
        for kept in self._kept.values():
            if kept.topic_partition not in partitions.behind and not self.intake.awaits(kept.symbol):
                yield kept, partitions.positions[kept.topic_partition]

    def proving_runs(self, kept: KeptBook) -> frozenset[RunKey]:
        """Return the coverage that proves a book, for its checkpoint."""
        vouching = self.intake.vouching
        return frozenset() if vouching is None else vouching.proving_runs(kept.market)

    def _wants_proof(self, kept: KeptBook, now: float) -> bool:
        """Whether the newest snapshot on the topic no longer proves a book: the coverage that it names has ended, while
        this book's coverage continued.
        """
        vouching, market, claim = self.intake.vouching, kept.market, kept.snapshot_claim
        if vouching is None or not kept.may_prove(now):
            return False
        runs = vouching.proving_runs(market)
        return bool(runs) and not (claim is not None and vouching.keys(market, claim) & runs)

    def tops(self, now: float) -> Iterator[tuple[KeptBook, Top]]:
        """Yield the tops that are due. Call `KeptBook.on_top` for each one written; the others are yielded again."""
        for symbol, kept in list(self._changed.items()):
            if kept.topic_partition in self.intake.behind or now - kept.top_at < self._top_interval:
                continue
            top = kept.new_top(self._top_levels)
            if top is not None:
                yield kept, top
                if kept.top is not top:
                    continue
            kept.top_at = now
            del self._changed[symbol]

    # State ---------------------------------------------------------------------------------------------------

    def look_for_unusable(self, now: float) -> None:
        """Note which books are unusable, to measure for how long. Call this regularly."""
        since = self._unusable_since
        for symbol, market in self.intake.books.items():
            if market.status in _UNUSABLE:
                since.setdefault(symbol, now)
            else:
                since.pop(symbol, None)

    def unusable_seconds(self, now: float) -> float:
        """Return how long the longest unusable book has been so; 0 if all are usable."""
        return max(0.0, now - min(self._unusable_since.values(), default=now))

    def by_status(self) -> dict[str, int]:
        """Return the number of books by status."""
        counted = Counter(market.status for market in self.intake.books.values())
        return {status.value: counted[status] for status in Status}

    def breaks(self) -> int:
        """Return how often books left LIVE."""
        return self._breaks_before + sum(market.breaks for market in self.intake.books.values())

    def vouched_seconds(self) -> float:
        """Return the maximum age, by our clock, of a watermark that vouches for a LIVE book; 0 without LIVE books."""
        vouching = self.intake.vouching
        live = (each.standing.until for each in self.intake.books.values() if each.status is Status.LIVE)
        earliest = min(filter(isfinite, live), default=None)
        if vouching is None or vouching.max_age is None or earliest is None:
            return 0.0
        return max(0.0, vouching.clock() - earliest + vouching.max_age)

    def checkpoint_delay(self, now: float) -> float:
        """Return how long the oldest change of a LIVE book has waited for a checkpoint, in seconds."""
        live = (kept for kept in self._kept.values() if kept.market.status is Status.LIVE)
        return max(0.0, now - min((kept.changed_at for kept in live if kept.changed_at is not None), default=now))
