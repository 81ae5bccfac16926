"""Whatever a book receives, in any order: it is live and equal to the exchange's book, or it is not live."""

from dataclasses import dataclass, field
from decimal import Decimal
from typing import NamedTuple

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from backpack_streams.books.market_book import BaseSnapshot, MarketBook, Outcome, Status
from backpack_streams.books.units import to_units
from thoroughness import runs

SECOND = 1_000_000
FIRST_SEQUENCE_START = 10_000  # far above what a restarted sequence reaches here, as in an old market

Side = dict[Decimal, Decimal]
Change = tuple[bool, int, int]


class Frame(NamedTuple):
    first_id: int
    last_id: int
    engine_time: int
    bids: Side
    asks: Side


@dataclass
class Exchange:
    """The true book of one market after each id; a frame may contain the changes of several ids."""

    last_id: int
    now: int
    bids: Side = field(default_factory=dict)
    asks: Side = field(default_factory=dict)
    history: dict[int, tuple[int, Side, Side]] = field(default_factory=dict)
    frames: list[Frame] = field(default_factory=list)

    def trade(self, batches: list[list[Change]]) -> None:
        first_id = self.last_id + 1
        changed: tuple[Side, Side] = ({}, {})
        for batch in batches:
            for is_bid, tick, quantity in batch:
                self._set(is_bid, Decimal(tick) / 2, Decimal(quantity) / 8, changed)
            self.last_id += 1
            self.now += 1000
            self._remember()
        self.frames.append(Frame(first_id, self.last_id, self.now, *changed))

    def _set(self, is_bid: bool, price: Decimal, quantity: Decimal, changed: tuple[Side, Side]) -> None:
        mine, other = (0, 1) if is_bid else (1, 0)
        sides = (self.bids, self.asks)
        if quantity:
            sides[mine][price] = quantity
            # Orders that meet do not rest: the other side is removed.
            for crossed in [p for p in sides[other] if (p <= price if is_bid else p >= price)]:
                del sides[other][crossed]
                changed[other][crossed] = Decimal(0)
        else:
            sides[mine].pop(price, None)
        changed[mine][price] = quantity

    def _remember(self) -> None:
        self.history[self.last_id] = (self.now, dict(self.bids), dict(self.asks))


BATCHES = st.lists(
    st.lists(st.tuples(st.booleans(), st.integers(1, 8), st.sampled_from([0, 0, 1, 2, 3])), max_size=4),
    min_size=1,
    max_size=2,
)


def units(side: Side) -> list[tuple[int, int]]:
    return [(to_units(price), to_units(quantity)) for price, quantity in side.items()]


def spoilt(side: Side) -> Side:
    """Levels that the exchange never had: none of its quantities is as large."""
    return {price: quantity + 1000 for price, quantity in side.items()} | {Decimal(1) / 4: Decimal(1000)}


@dataclass
class Producer:
    """The position of one of two producers: each publishes all frames, in order, at its own pace."""

    sequence: int = 0
    frame: int = 0


class BookMachine(RuleBasedStateMachine):
    @initialize(batches=BATCHES, buffered=st.sampled_from([2, 5, 100]), held=st.booleans())
    def begin(self, batches: list[list[Change]], buffered: int, held: bool) -> None:
        self.sequences = [Exchange(last_id=FIRST_SEQUENCE_START, now=SECOND)]
        self.producers = [Producer(), Producer()]
        self.buffered = buffered
        self.market = MarketBook("SOL_USDC", buffered_updates=buffered, catching_up=held)
        self.is_held = held
        # Index of the newest sequence of which the book has had an update, and the newest of those updates.
        self.shown = 0
        self.newest_read = 0
        # What arrived since the book was last live, and whether a record is known to be lost without a trace in it.
        self.waiting: list[tuple[int, int]] = []
        self.is_doubted = False
        self.is_cut_off = False
        # Whether the exchange's clock is behind an earlier value, and that value.
        self.clock_went_back = False
        self.latest = SECOND
        # The update that an audit found different from the exchange's.
        self.wrong_id = 0
        self.exchange.trade(batches)

    @property
    def exchange(self) -> Exchange:
        return self.sequences[-1]

    def send(self, frame: Frame) -> Outcome:
        was_live, was_at = self.market.status is Status.LIVE, self.market.last_update_id
        lines = self.market.book.to_lines()
        outcome = self.market.on_update(
            frame.first_id, frame.last_id, frame.engine_time, units(frame.bids), units(frame.asks)
        )
        if outcome in (Outcome.DUPLICATE, Outcome.BUFFERED):
            assert self.market.book.to_lines() == lines
        if was_live and self.market.status is Status.LIVE and self.shown == len(self.sequences) - 1:
            assert self.market.last_update_id is not None
            assert was_at is not None
            assert self.market.last_update_id >= was_at
        self.waiting.append((frame.first_id, frame.last_id))
        return outcome

    def publish(self, producer: Producer) -> bool:
        """Gives the book a producer's next frame; returns whether there was one."""
        frames = self.sequences[producer.sequence].frames
        if producer.frame == len(frames):
            if producer.sequence == len(self.sequences) - 1:
                return False
            producer.sequence, producer.frame = producer.sequence + 1, 0
            frames = self.exchange.frames
        frame = frames[producer.frame]
        producer.frame += 1
        if frame.last_id > self.market.newest_id:
            self.is_cut_off = False
        if producer.sequence > self.shown:
            self.is_cut_off = False
            self.shown, self.newest_read, self.waiting = producer.sequence, 0, []
            self.is_doubted = True  # what waited from before is not of this sequence: only a snapshot of it helps
        if producer.sequence == self.shown and frame.last_id > self.newest_read:
            self.newest_read = frame.last_id
        self.send(frame)
        return True

    def send_seed(
        self,
        levels: int | None,
        update_id: int,
        exchange: Exchange,
        answered_at: int | None,
        base: BaseSnapshot | None = None,
    ) -> Outcome:
        """A snapshot of an older sequence was requested before the newest began, and may have been in transit for a while."""
        time, bids, asks = exchange.history[update_id]
        received = self.latest if exchange is self.exchange else min(time + 15 * SECOND, self.latest)
        kept_bids = sorted(bids, reverse=True)[:levels]
        kept_asks = sorted(asks)[:levels]
        return self.market.on_snapshot(
            update_id,
            time if answered_at is None else answered_at,
            units({price: bids[price] for price in kept_bids}),
            units({price: asks[price] for price in kept_asks}),
            bids_complete=len(kept_bids) == len(bids),
            asks_complete=len(kept_asks) == len(asks),
            base=base or BaseSnapshot(update_id, time if answered_at is None else answered_at, received),
        )

    # ---- what the exchange and the producers do

    @rule(batches=BATCHES, fate=st.sampled_from(["read", "read", "read", "waits", "lost"]))
    def trade(self, batches: list[list[Change]], fate: str) -> None:
        self.exchange.trade(batches)
        self.latest = max(self.latest, self.exchange.now)
        if fate == "lost":
            self.exchange.frames.pop()
        elif fate == "read":
            while self.publish(self.producers[0]):
                pass

    @rule(which=st.integers(0, 1), count=st.integers(1, 8))
    def read(self, which: int, count: int) -> None:
        """One of the producers continues; what the other has already published arrives again."""
        for _ in range(count):
            self.publish(self.producers[which])

    @rule(which=st.integers(0, 1), count=st.integers(1, 3))
    def a_producer_is_down(self, which: int, count: int) -> None:
        """It misses frames that the other publishes, or that neither does."""
        producer = self.producers[which]
        producer.frame = min(producer.frame + count, len(self.sequences[producer.sequence].frames))

    @rule(data=st.data())
    def read_again(self, data: st.DataObject) -> None:
        """A restarted reader or producer repeats any frame of the topic."""
        producer = max(self.producers, key=lambda each: (each.sequence, each.frame))
        if producer.frame and producer.sequence == self.shown:
            frame = self.exchange.frames if producer.sequence == len(self.sequences) - 1 else self.sequences[0].frames
            copy = frame[data.draw(st.integers(0, producer.frame - 1))]
            if copy.last_id <= self.newest_read:
                self.send(copy)

    @precondition(lambda self: len(self.sequences) == 1 and self.exchange.last_id > FIRST_SEQUENCE_START + 15)
    @rule(batches=BATCHES)
    def relist(self, batches: list[list[Change]]) -> None:
        # Its first id is at most 1: a sequence that happens to continue at the old one's next id cannot be recognised.
        self.sequences.append(Exchange(last_id=0, now=self.latest + 60 * SECOND))
        self.exchange.trade(batches)
        self.latest = self.exchange.now

    @rule(seconds=st.sampled_from([0, 0, 0, 1, 5, 30]))
    def the_clock_steps_back(self, seconds: int) -> None:
        if seconds:
            self.exchange.now = max(self.exchange.now - seconds * SECOND, self.sequences[-1].frames[0].engine_time)
            self.clock_went_back = True

    @rule(seconds=st.sampled_from([0, 0, 10, 25]))
    def nothing_happens_for_a_while(self, seconds: int) -> None:
        self.exchange.now += seconds * SECOND
        self.latest = max(self.latest, self.exchange.now)

    # ---- snapshots and checkpoints

    @rule(age=st.integers(0, 6), levels=st.sampled_from([None, None, 1, 2, 4]), is_answer_time=st.booleans())
    def seed_of_this_sequence(self, age: int, levels: int | None, is_answer_time: bool) -> None:
        """The time of a snapshot may be that of the answer; with the low ids of a young sequence that misleads."""
        update_id = self.exchange.last_id - age
        if update_id not in self.exchange.history:
            return
        has_high_ids = update_id > FIRST_SEQUENCE_START
        must_do = levels is None and self.is_enough(update_id)
        self.send_seed(levels, update_id, self.exchange, self.exchange.now if is_answer_time and has_high_ids else None)
        self.market.release()
        if must_do:
            assert self.market.status is Status.LIVE, (update_id, self.waiting, self.market.reason)
        if self.is_held:
            self.market.hold()

    def is_enough(self, update_id: int) -> bool:
        """Whether a snapshot of this id is enough, by the simplest check on all updates since the book was last live."""
        if self.is_doubted or self.is_cut_off or self.clock_went_back or update_id < self.wrong_id:
            return False
        if self.shown < len(self.sequences) - 1 or len(self.waiting) > self.buffered:
            return False
        if self.market.book.is_exhausted and update_id < (self.market.last_update_id or 0):
            return False  # what led beyond a truncated snapshot has been applied, and is gone
        at, is_first = update_id, True
        for first_id, last_id in sorted(set(self.waiting)):
            if last_id > at:
                if first_id > at + 1 or (first_id < at + 1 and not is_first):
                    return False
                at, is_first = last_id, False
        return True

    @rule(age=st.integers(0, 6), base_age=st.integers(0, 12), levels=st.sampled_from([None, None, 2]))
    def checkpoint(self, age: int, base_age: int, levels: int | None) -> None:
        """A correct book that another reader built, based on a snapshot of the exchange that may be old."""
        update_id = self.exchange.last_id - age
        base_id = update_id - base_age
        if update_id in self.exchange.history and base_id in self.exchange.history:
            base = BaseSnapshot(base_id, self.exchange.history[base_id][0])
            self.send_seed(levels, update_id, self.exchange, None, base)

    @precondition(lambda self: len(self.sequences) > 1)
    @rule(data=st.data())
    def seed_of_the_sequence_before(self, data: st.DataObject) -> None:
        before = self.sequences[0]
        self.send_seed(None, data.draw(st.sampled_from(sorted(before.history, reverse=True))), before, None)

    # ---- what goes wrong

    @rule(is_bad=st.sampled_from([False, False, True]))
    def lose_a_record_to_bad_bytes(self, is_bad: bool) -> None:
        if is_bad:
            self.market.on_unreadable("cannot be decoded", self.latest)
            for producer in self.producers:
                producer.frame = min(producer.frame + 1, len(self.sequences[producer.sequence].frames))
            self.is_doubted = True

    @rule(is_over=st.booleans(), is_so=st.sampled_from([False, False, True]))
    def outage(self, is_over: bool, is_so: bool) -> None:
        if is_so:
            (self.market.on_outage_over if is_over else self.market.on_outage)("no socket")
            self.is_cut_off = not is_over
            self.is_doubted = True
            assert self.market.status is not Status.LIVE

    @precondition(lambda self: len(self.sequences) == 1)
    @rule(batches=BATCHES, checkpoint_after=st.booleans())
    def an_update_is_corrupted_and_an_audit_finds_it(self, batches: list[list[Change]], checkpoint_after: bool) -> None:
        """In both producers' copies: only the audit finds it. Then no book that contains it is live or returns to it."""
        self.exchange.trade(batches)
        self.latest = max(self.latest, self.exchange.now)
        for producer in self.producers:
            while producer.frame < len(self.exchange.frames) - 1:
                self.publish(producer)
            producer.frame += 1
        frame = self.exchange.frames[-1]
        self.newest_read = frame.last_id
        self.is_cut_off = False
        self.send(frame._replace(bids=spoilt(frame.bids)))
        self.wrong_id = frame.last_id
        self.market.on_wrong(frame.last_id, self.latest, "audited")
        self.is_doubted = True
        assert self.market.status is not Status.LIVE
        if checkpoint_after:
            self.spoilt_checkpoint(0)

    @precondition(lambda self: self.wrong_id and len(self.sequences) == 1)
    @rule(base_age=st.integers(0, 12))
    def spoilt_checkpoint(self, base_age: int) -> None:
        """Of a builder that does not know of the audit yet: never accepted as correct."""
        _, bids, asks = self.exchange.history[self.exchange.last_id]
        base_id = self.wrong_id - 1 - base_age
        was_live = self.market.status is Status.LIVE
        outcome = self.market.on_snapshot(
            self.exchange.last_id,
            self.exchange.now,
            units(spoilt(bids)),
            units(asks),
            base=BaseSnapshot(base_id, None),
        )
        if not was_live:
            assert outcome is not Outcome.RESYNCED

    @rule(is_held=st.sampled_from([False, False, False, True]))
    def hold_or_release(self, is_held: bool) -> None:
        (self.market.hold if is_held else self.market.release)()
        self.is_held = is_held

    @rule(batches=BATCHES)
    def ask_for_a_fresh_seed(self, batches: list[list[Change]]) -> None:
        """A complete snapshot past everything read always makes a book live, once the clock has caught up."""
        self.exchange.now = self.latest = max(self.exchange.now, self.latest + SECOND)
        self.clock_went_back = False
        self.exchange.trade(batches)
        self.latest = self.exchange.now
        self.exchange.frames.pop()
        if self.is_cut_off:
            self.market.on_outage_over("back")
            self.is_cut_off = False
        self.send_seed(None, self.exchange.last_id, self.exchange, self.exchange.now)
        self.market.release()
        self.is_held = False
        assert self.market.status is Status.LIVE, self.market.reason

    @invariant()
    def a_live_book_is_right(self) -> None:
        if not hasattr(self, "market"):
            return
        if self.is_held:
            assert self.market.status is Status.SYNCING
        if self.market.status is not Status.LIVE:
            assert self.market.reason
            return
        assert not self.market.reason
        assert not self.is_cut_off
        self.waiting, self.is_doubted = [], False
        if self.shown == len(self.sequences) - 1 and not self.clock_went_back:
            assert self.market.last_update_id is not None
            assert self.market.last_update_id >= self.newest_read, "live, yet behind an update that was read"
        truths = [s.history[self.market.last_update_id] for s in self.sequences[self.shown :] if self._has(s)]
        assert truths, "live at an id that the sequence being read does not have"
        assert any(self._agrees(bids, asks) for _, bids, asks in truths)

    def _has(self, exchange: Exchange) -> bool:
        return self.market.last_update_id in exchange.history

    def _agrees(self, bids: Side, asks: Side) -> bool:
        """Equal within the coverage that the book claims; levels beyond are correct but may be incomplete."""
        coverage = self.market.book.coverage
        for levels, truth, edge, is_bid in (
            (self.market.book.depth()[0], bids, coverage.bids, True),
            (self.market.book.depth()[1], asks, coverage.asks, False),
        ):
            found = dict(levels)
            if list(found) != sorted(found, reverse=is_bid) or any(truth.get(p) != q for p, q in found.items()):
                return False
            covered = {p for p in truth if edge is None or (p >= edge if is_bid else p <= edge)}
            if not covered <= found.keys() or (truth and (not found or next(iter(found)) not in covered)):
                return False
        return True


TestBookMachine = BookMachine.TestCase
TestBookMachine.settings = runs(120, steps=40)
