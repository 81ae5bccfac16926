"""One market's book as the builder keeps it: with what the snapshot topic and the top topic know of it. Sans I/O."""

from typing import NamedTuple

from backpack_streams.books.market_book import MarketBook, Outcome, Status
from backpack_streams.books.standing import Claim
from backpack_streams.bus.depth_reader import Levels
from backpack_streams.bus.reader import Place

__all__ = ["CheckpointRules", "KeptBook", "Top"]

_PROOF_SPACING_SECONDS = 5.0
"""Checkpoints that say nothing new but what proves them are so far apart at the least."""
_APPLIED = Outcome.APPLIED
_DOUBTED = frozenset({Outcome.BROKE, Outcome.BUFFERED})
_TELLING = frozenset({Outcome.APPLIED, Outcome.RESEEDED, Outcome.BROKE})


class CheckpointRules(NamedTuple):
    """When a book is checkpointed: whichever comes first."""

    updates: int
    """So many updates since the last snapshot."""
    seconds: float
    """So long after the first change since then."""
    reach: int
    """So many records of its partition lie between its last snapshot's place and the present."""


class Top(NamedTuple):
    """What a reader of tops sees change; levels as (price, quantity) in units of 10**-18, best first."""

    status: str
    reason: str | None
    bids: Levels
    asks: Levels


class KeptBook:
    """A `MarketBook`, the newest snapshot of it on the topic, and the newest top that was written. Times are monotonic seconds."""

    __slots__ = (
        "again_at",
        "changed_at",
        "checkpointed_since",
        "doubted_to",
        "is_doubted",
        "key",
        "market",
        "place",
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
        "updates",
    )

    def __init__(self, key: bytes, market: MarketBook, place: Place) -> None:
        self.key = key
        self.market = market
        self.place = place
        """The partition of its updates."""
        self.snapshot_id: int | None = None
        """Update id of the newest snapshot on the topic, seed or checkpoint."""
        self.snapshot_offset = 0
        """Where that one says a reader goes on."""
        self.snapshot_claim: Claim | None = None
        """What proves that one."""
        self.snapshot_at = float("-inf")
        """When a checkpoint was written here last."""
        self.updates = 0
        """Updates applied since."""
        self.changed_at: float | None = None
        """When the first of them was applied."""
        self.checkpointed_since: float | None = None
        """What `changed_at` was before the checkpoint that was written here last."""
        self.again_at: float | None = None
        """When a checkpoint is due after Kafka refused the last one."""
        self.rejections = 0
        """Checkpoints and tops that Kafka refused in a row."""
        self.rejected_at = float("-inf")
        """When it did so last."""
        self.is_doubted = False
        """Something other than an update broke the book since it was LIVE."""
        self.doubted_to = 0
        """What did so lies before this offset: a reader that begins before it meets it as well."""
        self.top: Top | None = None
        self.top_at = float("-inf")
        """When a top was last looked for."""
        self.top_id: int | None = None
        self.top_engine_time: int | None = None

    @property
    def symbol(self) -> str:
        """The market."""
        return self.market.symbol

    def on_update(self, outcome: Outcome, now: float) -> None:
        """Take note of what an update did that changed the book, or what is known of it."""
        if outcome is _APPLIED or outcome in _TELLING:
            self.updates += 1
        if self.changed_at is None:
            self.changed_at = now

    def on_outcome(self, outcome: Outcome) -> None:
        """Take note of what anything else did."""
        self.is_doubted = self.is_doubted or outcome in _DOUBTED

    def on_position(self, offset: int) -> None:
        """Take note of where the reader of its partition is, right before it is asked whether a checkpoint is due."""
        if self.is_doubted and self.market.status is Status.LIVE:
            self.is_doubted, self.doubted_to = False, offset

    def on_snapshot(self, last_update_id: int, delta_offset: int) -> None:
        """Take note of a snapshot on the topic, newer there than any before it."""
        self.snapshot_id = last_update_id
        self.snapshot_offset = delta_offset
        self.updates = 0
        self.changed_at = None
        self.again_at = None

    def on_checkpoint(self, last_update_id: int, delta_offset: int, claim: Claim, now: float) -> None:
        """Take note of a checkpoint that was written here, and of what proves it."""
        self.checkpointed_since = self.changed_at
        self.on_snapshot(last_update_id, delta_offset)
        self.snapshot_claim = claim
        self.snapshot_at = now

    def on_checkpoint_rejected(self, now: float, delay_seconds: float) -> None:
        """Kafka refused the checkpoint that was written here last, so the topic does not hold it: the next one is due after the delay."""
        self.snapshot_id = self.snapshot_claim = None
        self.snapshot_offset = 0
        self.changed_at = now if self.checkpointed_since is None else self.checkpointed_since
        self.again_at = now + delay_seconds
        self._count_rejection(now)

    def on_top_rejected(self, now: float, delay_seconds: float) -> None:
        """Kafka refused the top that was written here last: one is due after the delay, changed or not."""
        self.top = None
        self.top_at = now + delay_seconds
        self._count_rejection(now)

    def _count_rejection(self, now: float) -> None:
        self.rejections += 1
        self.rejected_at = now

    def may_prove(self, now: float) -> bool:
        """Whether a checkpoint may be written for no other reason than what proves it."""
        is_newest = (self.market.last_update_id or 0) >= (self.snapshot_id or 0)
        if self.again_at is not None:
            return False
        return self.market.status is Status.LIVE and is_newest and now - self.snapshot_at >= _PROOF_SPACING_SECONDS

    def on_changed(self, now: float) -> None:
        """Take note that the book holds more than the newest snapshot on the topic."""
        if self.changed_at is None:
            self.changed_at = now

    def wants_checkpoint(self, now: float, offset: int, rules: CheckpointRules) -> bool:
        """Whether a checkpoint is due; `offset` is where the reader of its partition is.

        Only of a book that is LIVE, and that knows more than the topic's newest snapshot or lies further on; soon where a reader that
        begins at that one would meet what broke the book.
        """
        market = self.market
        if market.status is not Status.LIVE:
            return False
        last_id = market.last_update_id or 0
        if self.snapshot_id is not None and last_id < self.snapshot_id:
            return False  # a seed is ahead of the updates: it tells more than we can
        if self.again_at is not None:
            return now >= self.again_at
        if self.snapshot_offset < self.doubted_to and now - self.snapshot_at >= _PROOF_SPACING_SECONDS:
            return True
        if self.changed_at is not None and last_id != self.snapshot_id:
            return self.updates >= rules.updates or now - self.changed_at >= rules.seconds
        return offset - self.snapshot_offset >= rules.reach

    @property
    def has_news(self) -> bool:
        """Whether the book is LIVE and past the newest snapshot: worth a checkpoint when its builder leaves."""
        market = self.market
        return market.status is Status.LIVE and (market.last_update_id or 0) > (self.snapshot_id or -1)

    def new_top(self, levels: int) -> Top | None:
        """What is to be written now; None where nothing that a reader sees has changed, or where it would go back in time.

        A top goes back only in a sequence that began again, which a later engine time shows: whoever kept this book before may have
        read further than we have.
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
        """Take note that this top was written."""
        self.top = top
        if self.market.last_update_id is not None:
            self.top_id, self.top_engine_time = self.market.last_update_id, self.market.engine_time
