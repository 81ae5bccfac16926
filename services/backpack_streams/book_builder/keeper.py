"""All books of the partitions that one builder has: what is to be written of them. Sans I/O."""

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
from backpack_streams.bus.reader import Place, Records
from backpack_streams.sequencing.coverage import RunKey

__all__ = ["BookKeeper"]

_FIRST_RETRY_SECONDS, _LONGEST_RETRY_SECONDS = 1.0, 60.0
"""Between two tries with what Kafka refused: it may be taken once the topic's owner allows larger records."""
_APPLIED = Outcome.APPLIED
_UNCHANGED = frozenset({Outcome.DUPLICATE, Outcome.BUFFERED})
_UNUSABLE = frozenset({Status.SYNCING, Status.STALE})


class BookKeeper:
    """Looks on while an `Intake` keeps the books; partitions come and go with the group's rebalances.

    Books show nothing (no checkpoint, no top) before their partition has caught up with where it ended when it was opened, gaps
    included: whoever had it before knows no more than that. Times are monotonic seconds.
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
        self.intake = Intake(codec, prefix, Selection(None), self, is_shared=True)
        self._depth_topic = prefix + DEPTH_TOPIC
        self._rules = rules
        self._top_levels = top_levels
        self._top_interval = top_interval_seconds
        self._audits = audits
        self._backoff = Backoff(_FIRST_RETRY_SECONDS, _LONGEST_RETRY_SECONDS)
        self._now = 0.0
        self._kept: dict[str, KeptBook] = {}
        self._untold: dict[str, KeptBook] = {}
        self._breaks_before = 0
        self._unusable_since: dict[str, float] = {}

    # Which partitions there are -------------------------------------------------------------------------------

    @property
    def partitions(self) -> frozenset[int]:
        """The partitions of updates that are kept."""
        return frozenset(number for _, number in self.intake.partitions.opened)

    @property
    def offsets(self) -> dict[int, int]:
        """By partition, the offset of the update that comes next."""
        positions = self.intake.partitions.positions
        return {place[1]: positions[place] for place in self.intake.partitions.opened}

    @property
    def is_caught_up(self) -> bool:
        """Whether every partition has come to where it ended when it was opened."""
        return not self.intake.behind

    def has_caught_up(self, number: int) -> bool:
        """Whether this partition has."""
        place = self._depth_topic, number
        return self.intake.partitions.is_open(place) and place not in self.intake.behind

    def place_of(self, symbol: str) -> Place | None:
        """The partition of a market's updates; None where it is not kept here."""
        if not self.intake.depth_partitions:
            return None
        place = self.intake.place(symbol.encode())
        return place if self.intake.partitions.is_open(place) else None

    def open(self, number: int, start: int, end: int, gaps: tuple[int, int]) -> None:
        """Keep the books of a partition, reading updates from `start`, caught up at `end`; `gaps`: the same of gaps."""
        self.intake.open((self._depth_topic, number), start, end, gaps)

    def close(self, numbers: Iterable[int]) -> None:
        """Forget these partitions and their books."""
        for number in numbers:
            self.intake.close((self._depth_topic, number))

    # What Kafka has -------------------------------------------------------------------------------------------

    def take(self, records: Records, now: float) -> None:
        """Take what Kafka has; without records, time has passed."""
        self._now = now
        for _ in self.intake.take(records, now):
            pass

    def begin(self, snapshots: Iterable[ConsumerRecord], now: float) -> None:
        """Take the snapshots that were there when partitions were opened."""
        self._now = now
        for record in snapshots:
            for _ in self.intake.take_seed(record):
                pass

    def stand_at(self, positions: Mapping[Place, int | None], now: float) -> None:
        """Take note of where the reader stands (None: nobody knows), which may be past offsets at which nothing came."""
        self._now = now
        for place, offset in positions.items():
            for _ in self.intake.on_position(place, offset or 0):
                pass

    def on_update(self, market: MarketBook, update: DepthNumbers, outcome: Outcome) -> None:
        """An update and what it did."""
        if outcome is _APPLIED or outcome not in _UNCHANGED:  # an Enum is slow to look up
            kept = self._kept.get(market.symbol) or self._keep(market)
            kept.on_update(outcome, self._now)
            self._untold[market.symbol] = kept
        if self._audits is not None:
            self._audits.on_update(market, update, outcome)

    def on_seed(self, market: MarketBook, seed: Mapping[str, Any], outcome: Outcome, is_new: bool) -> None:
        """A snapshot and what it did: it is the newest on the topic, whether the book has a use for it or not."""
        if self._audits is not None:
            self._audits.on_seed(market, seed, outcome, is_new)
        kept, vouching = self._kept.get(market.symbol) or self._keep(market), self.intake.vouching
        is_here = (seed["delta_topic"], seed["delta_partition"]) == kept.place
        kept.on_snapshot(seed["last_update_id"], seed["delta_offset"] if is_here else 0)
        kept.snapshot_claim = None if vouching is None else vouching.claim(seed, is_new)
        if (market.last_update_id or 0) > seed["last_update_id"]:
            kept.on_changed(self._now)
        self._untold[market.symbol] = kept

    def on_outcome(self, market: MarketBook, outcome: Outcome) -> None:
        """What anything else did."""
        kept = self._untold[market.symbol] = self._kept.get(market.symbol) or self._keep(market)
        kept.on_outcome(outcome)
        if self._audits is not None:
            self._audits.on_outcome(market, outcome)

    def on_dropped(self, market: MarketBook) -> None:
        """The book is another builder's from now on."""
        self._breaks_before += market.breaks
        for by_symbol in (self._kept, self._untold, self._unusable_since):
            by_symbol.pop(market.symbol, None)
        if self._audits is not None:
            self._audits.on_dropped(market)

    def _keep(self, market: MarketBook) -> KeptBook:
        key = market.symbol.encode()
        kept = self._kept[market.symbol] = KeptBook(key, market, self.intake.place(key))
        return kept

    # What is to be written ------------------------------------------------------------------------------------

    def recall_top(self, symbol: str, top: Top, last_update_id: int | None, engine_time: int | None) -> None:
        """Take note of the newest top of a market that is on the topic, whoever wrote it."""
        kept = self._kept.get(symbol)
        if kept is not None and kept.top is None:
            kept.top, kept.top_id, kept.top_engine_time = top, last_update_id, engine_time

    def checkpoints(self, now: float) -> Iterator[tuple[KeptBook, int]]:
        """Books to be checkpointed, each with the offset of its partition's next update. Say `on_checkpoint` of those written."""
        for kept, offset in self._shown():
            kept.on_position(offset)
            if kept.wants_checkpoint(now, offset, self._rules) or self._wants_proof(kept, now):
                yield kept, offset

    def on_checkpoint_rejected(self, symbol: str, now: float) -> None:
        """Kafka refused the last checkpoint of a market for good: it does not count as written, and another one is due soon."""
        kept = self._kept.get(symbol)
        if kept is not None:
            kept.on_checkpoint_rejected(now, self._delay_seconds(kept, now))

    def on_top_rejected(self, symbol: str, now: float) -> None:
        """The same of its last top."""
        kept = self._kept.get(symbol)
        if kept is not None:
            kept.on_top_rejected(now, self._delay_seconds(kept, now))
            self._untold[symbol] = kept

    def _delay_seconds(self, kept: KeptBook, now: float) -> float:
        if now - kept.rejected_at > 2 * _LONGEST_RETRY_SECONDS:
            kept.rejections = 0  # what was written meanwhile got there
        return self._backoff.delay_seconds(kept.rejections)

    def last_checkpoints(self, numbers: Iterable[int]) -> Iterator[tuple[KeptBook, int]]:
        """Books of these partitions with anything new in them: their builder leaves."""
        leaving = frozenset(numbers)
        return ((kept, offset) for kept, offset in self._shown() if kept.place[1] in leaving and kept.has_news)

    def _shown(self) -> Iterator[tuple[KeptBook, int]]:
        """Books that hold all that was read of them, each with how far that is."""
        partitions = self.intake.partitions
        for kept in self._kept.values():
            if kept.place not in partitions.behind and not self.intake.awaits(kept.symbol):
                yield kept, partitions.positions[kept.place]

    def proving_runs(self, kept: KeptBook) -> frozenset[RunKey]:
        """The coverage in which a book is proven: for its checkpoint."""
        vouching = self.intake.vouching
        return frozenset() if vouching is None else vouching.proving_runs(kept.market)

    def _wants_proof(self, kept: KeptBook, now: float) -> bool:
        """Whether the newest snapshot on the topic proves no book any more: its coverage ended, while ours went on."""
        vouching, market, claim = self.intake.vouching, kept.market, kept.snapshot_claim
        if vouching is None or not kept.may_prove(now):
            return False
        runs = vouching.proving_runs(market)
        return bool(runs) and not (claim is not None and vouching.keys(market, claim) & runs)

    def tops(self, now: float) -> Iterator[tuple[KeptBook, Top]]:
        """Tops to be written. Say `on_top` of those that were; the others are asked for again."""
        for symbol, kept in list(self._untold.items()):
            if kept.place in self.intake.behind or now - kept.top_at < self._top_interval:
                continue
            top = kept.new_top(self._top_levels)
            if top is not None:
                yield kept, top
                if kept.top is not top:
                    continue
            kept.top_at = now
            del self._untold[symbol]

    # What is seen from outside --------------------------------------------------------------------------------

    def look_for_unusable(self, now: float) -> None:
        """Take note of books that cannot be used, so that it is known for how long; to be asked for now and then."""
        since = self._unusable_since
        for symbol, market in self.intake.books.items():
            if market.status in _UNUSABLE:
                since.setdefault(symbol, now)
            else:
                since.pop(symbol, None)

    def unusable_seconds(self, now: float) -> float:
        """For how long the book that cannot be used for longest could not be, in seconds; 0 while all can."""
        return max(0.0, now - min(self._unusable_since.values(), default=now))

    def by_status(self) -> dict[str, int]:
        """How many books have which status."""
        counted = Counter(market.status for market in self.intake.books.values())
        return {status.value: counted[status] for status in Status}

    def breaks(self) -> int:
        """How often books left LIVE."""
        return self._breaks_before + sum(market.breaks for market in self.intake.books.values())

    def vouched_seconds(self, now: float) -> float:
        """How old the watermark is that vouches for a LIVE book, by our clock, of the book for which it is oldest; 0 without such books."""
        vouching = self.intake.vouching
        max_age = None if vouching is None else vouching.max_age
        until = [each.standing.until for each in self.intake.books.values() if each.status is Status.LIVE]
        if max_age is None or not until:
            return 0.0
        return max(0.0, now - min(filter(isfinite, until), default=now) + max_age)

    def checkpoint_delay(self, now: float) -> float:
        """For how long the oldest change of a LIVE book has not been checkpointed, in seconds."""
        live = (kept for kept in self._kept.values() if kept.market.status is Status.LIVE)
        return max(0.0, now - min((kept.changed_at for kept in live if kept.changed_at is not None), default=now))
