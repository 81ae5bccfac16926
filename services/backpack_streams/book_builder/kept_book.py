"""One market's book as the builder keeps it, with its newest snapshot and top on the topics. Sans I/O."""

from typing import NamedTuple

from backpack_streams.books.market_book import MarketBook, Outcome, Status
from backpack_streams.books.standing import Claim
from backpack_streams.bus.depth_reader import Levels
from backpack_streams.topic_partition import TopicPartition

__all__ = ["CheckpointRules", "KeptBook", "Top"]

_PROOF_SPACING_SECONDS = 5.0
"""Minimum time between two checkpoints whose only news is their proof."""
_APPLIED = Outcome.APPLIED
_DOUBTED = frozenset({Outcome.BROKE, Outcome.BUFFERED})
_TELLING = frozenset({Outcome.APPLIED, Outcome.RESYNCED, Outcome.BROKE})


class CheckpointRules(NamedTuple):
    """When a book is checkpointed: as soon as one limit is reached.

    Attributes:
        updates: updates since the last snapshot.
        seconds: time since the first change after it.
        reach: records of the partition between the last snapshot's position and the newest record.
    """

    updates: int
    seconds: float
    reach: int


class Top(NamedTuple):
    """The part of a top of book that makes a new record worth writing.

    Attributes:
        status: the book's status.
        reason: why it has this status, None if there is no reason.
        bids: (price, quantity) in units of 10**-18, best first.
        asks: the same.
    """

    status: str
    reason: str | None
    bids: Levels
    asks: Levels


class KeptBook:
    """A `MarketBook`, its newest snapshot on the topic, and the newest top written. Times are monotonic seconds."""

    __slots__ = (
        "again_at",
        "changed_at",
        "checkpointed_since",
        "doubted_to",
        "is_doubted",
        "key",
        "market",
        "rejected_at",
        "rejections",
        "snapshot_at",
        "snapshot_claim",
        "snapshot_id",
        "snapshot_offset",
        "top",
        "top_at",
        "top_engine_time",
        "top_id",
        "topic_partition",
        "updates",
    )

    def __init__(self, key: bytes, market: MarketBook, topic_partition: TopicPartition) -> None:
        """Prepare.

        Args:
            key: the market's Kafka key.
            market: the book.
            topic_partition: the partition of its updates.
        """
        self.key = key
        self.market = market
        self.topic_partition = topic_partition
        """The partition of its updates."""
        self.snapshot_id: int | None = None
        """The update id of the newest snapshot on the topic, from REST or a checkpoint."""
        self.snapshot_offset = 0
        """The offset of the first update after that snapshot."""
        self.snapshot_claim: Claim | None = None
        """The proof of that snapshot."""
        self.snapshot_at = float("-inf")
        """When this builder last wrote a checkpoint."""
        self.updates = 0
        """Updates applied since that snapshot."""
        self.changed_at: float | None = None
        """When the first of these updates was applied."""
        self.checkpointed_since: float | None = None
        """The value of `changed_at` before this builder's last checkpoint."""
        self.again_at: float | None = None
        """When to retry after Kafka refused the last checkpoint."""
        self.rejections = 0
        """Consecutive checkpoints and tops that Kafka refused."""
        self.rejected_at = float("-inf")
        """When Kafka last refused one."""
        self.is_doubted = False
        """Whether an event other than an update has broken the book since it was last LIVE."""
        self.doubted_to = 0
        """The event lies before this offset: a reader that starts earlier meets it as well."""
        self.top: Top | None = None
        self.top_at = float("-inf")
        """When a top was last due."""
        self.top_id: int | None = None
        self.top_engine_time: int | None = None

    @property
    def symbol(self) -> str:
        """The market."""
        return self.market.symbol

    def on_update(self, outcome: Outcome, now: float) -> None:
        """Note an update that changed the book or its status."""
        if outcome is _APPLIED or outcome in _TELLING:
            self.updates += 1
        if self.changed_at is None:
            self.changed_at = now

    def on_outcome(self, outcome: Outcome) -> None:
        """Note the outcome of any other event."""
        self.is_doubted = self.is_doubted or outcome in _DOUBTED

    def on_position(self, offset: int) -> None:
        """Note the reader's offset in the book's partition. Call this just before `wants_checkpoint`."""
        if offset < self.doubted_to:  # the partition was recreated
            self.doubted_to = 0
        if self.is_doubted and self.market.status is Status.LIVE:
            self.is_doubted, self.doubted_to = False, offset

    def on_snapshot(self, last_update_id: int, delta_offset: int) -> None:
        """Note a new snapshot on the topic.

        Args:
            last_update_id: the last update id in it.
            delta_offset: the offset of the first update after it; 0 if it names another partition.
        """
        self.snapshot_id = last_update_id
        self.snapshot_offset = delta_offset
        self.updates = 0
        self.changed_at = None
        self.again_at = None

    def on_checkpoint(self, last_update_id: int, delta_offset: int, claim: Claim, now: float) -> None:
        """Note a checkpoint written by this builder.

        Args:
            last_update_id: the last update id in it.
            delta_offset: the offset of the first update after it.
            claim: its proof.
            now: the time.
        """
        self.checkpointed_since = self.changed_at
        self.on_snapshot(last_update_id, delta_offset)
        self.snapshot_claim = claim
        self.snapshot_at = now

    def on_checkpoint_rejected(self, now: float, delay_seconds: float) -> None:
        """Note that Kafka refused this builder's last checkpoint, so the topic lacks it.

        Args:
            now: the time.
            delay_seconds: when the next one is due, in seconds from now.
        """
        self.snapshot_id = self.snapshot_claim = None
        self.snapshot_offset = 0
        self.changed_at = now if self.checkpointed_since is None else self.checkpointed_since
        self.again_at = now + delay_seconds
        self._count_rejection(now)

    def on_top_rejected(self, now: float, delay_seconds: float) -> None:
        """Note that Kafka refused this builder's last top.

        Args:
            now: the time.
            delay_seconds: when the next one is due, in seconds from now, even if nothing changes.
        """
        self.top = None
        self.top_at = now + delay_seconds
        self._count_rejection(now)

    def _count_rejection(self, now: float) -> None:
        self.rejections += 1
        self.rejected_at = now

    def may_prove(self, now: float) -> bool:
        """Whether a checkpoint may be written only to renew the proof."""
        is_newest = (self.market.last_update_id or 0) >= (self.snapshot_id or 0)
        if self.again_at is not None:
            return False
        return self.market.status is Status.LIVE and is_newest and now - self.snapshot_at >= _PROOF_SPACING_SECONDS

    def on_changed(self, now: float) -> None:
        """Note that the book is ahead of the newest snapshot on the topic."""
        if self.changed_at is None:
            self.changed_at = now

    def wants_checkpoint(self, now: float, offset: int, rules: CheckpointRules) -> bool:
        """Whether a checkpoint is due.

        Only if the book is LIVE, and ahead of the topic's newest snapshot or far past its offset. It is due soon if a
        reader that starts at that snapshot would meet the event that broke the book.

        Args:
            now: the time.
            offset: the reader's offset in the book's partition.
            rules: the limits.
        """
        market = self.market
        if market.status is not Status.LIVE:
            return False
        last_id = market.last_update_id or 0
        if self.snapshot_id is not None and last_id < self.snapshot_id:
            return False  # a REST snapshot is ahead of the updates read
        if self.again_at is not None:
            return now >= self.again_at
        if self.snapshot_offset < self.doubted_to and now - self.snapshot_at >= _PROOF_SPACING_SECONDS:
            return True
        if self.changed_at is not None and last_id != self.snapshot_id:
            return self.updates >= rules.updates or now - self.changed_at >= rules.seconds
        return offset - self.snapshot_offset >= rules.reach

    @property
    def has_news(self) -> bool:
        """Whether the book is LIVE and ahead of the newest snapshot: worth a checkpoint before the partition is given up."""
        market = self.market
        return market.status is Status.LIVE and (market.last_update_id or 0) > (self.snapshot_id or -1)

    def new_top(self, levels: int) -> Top | None:
        """Return the top to write; None if nothing visible has changed or if it would go back in time.

        Update ids may go back only if the sequence has restarted, which a later engine time shows. Otherwise the
        previous builder has read further than this one. `levels` is the number of levels per side.
        """
        market = self.market
        bids, asks = market.book.depth_units(levels)
        top = Top(market.status.value, market.reason or None, bids, asks)
        return None if top == self.top or self._goes_back() else top

    def _goes_back(self) -> bool:
        last_id, engine_time = self.market.last_update_id, self.market.engine_time
        if last_id is None or self.top_id is None or last_id >= self.top_id:
            return False
        return engine_time is None or self.top_engine_time is None or engine_time <= self.top_engine_time

    def on_top(self, top: Top) -> None:
        """Note that this top was written."""
        self.top = top
        if self.market.last_update_id is not None:
            self.top_id, self.top_engine_time = self.market.last_update_id, self.market.engine_time
