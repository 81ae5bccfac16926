"""Whatever reaches a book, in whatever order: it is live and equal to the exchange's book, or it is not live."""

from dataclasses import dataclass, field
from decimal import Decimal
from typing import NamedTuple

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from backpack_streams.books.market_book import MarketBook, Outcome, Status
from backpack_streams.books.units import to_units

SECOND = 1_000_000
FIRST_SEQUENCE_START = 10_000  # far above what a restarted sequence reaches here, as with a market that has lived

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
    """One market's true book after every single id; a frame may carry the changes of several."""

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
            # Orders that meet do not rest: the other side gives way.
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


class BookMachine(RuleBasedStateMachine):
    @initialize(batches=BATCHES, buffered=st.sampled_from([2, 5, 100]), held=st.booleans())
    def begin(self, batches: list[list[Change]], buffered: int, held: bool) -> None:
        self.sequences = [Exchange(last_id=FIRST_SEQUENCE_START, now=SECOND)]
        self.exchange.trade(batches)
        self.unread = 0
        self.market = MarketBook("SOL_USDC", buffered_updates=buffered, catching_up=held)
        self.is_held = held
        # Index of the newest sequence that the book has had an update of.
        self.shown = 0
        self.newest_read = 0

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
        return outcome

    def send_seed(self, levels: int | None, update_id: int, exchange: Exchange, answered_at: int | None) -> Outcome:
        time, bids, asks = exchange.history[update_id]
        kept_bids = sorted(bids, reverse=True)[:levels]
        kept_asks = sorted(asks)[:levels]
        return self.market.on_seed(
            update_id,
            time if answered_at is None else answered_at,
            units({price: bids[price] for price in kept_bids}),
            units({price: asks[price] for price in kept_asks}),
            bids_complete=len(kept_bids) == len(bids),
            asks_complete=len(kept_asks) == len(asks),
        )

    @rule(batches=BATCHES, fate=st.sampled_from(["read", "read", "read", "waits", "lost"]))
    def trade(self, batches: list[list[Change]], fate: str) -> None:
        self.exchange.trade(batches)
        if fate == "lost":
            self.exchange.frames.pop()
        elif fate == "read":
            self.read()

    @rule()
    def read(self) -> None:
        for frame in self.exchange.frames[self.unread :]:
            self.shown = len(self.sequences) - 1
            self.newest_read = max(self.newest_read, frame.last_id)
            self.send(frame)
        self.unread = len(self.exchange.frames)

    @precondition(lambda self: self.unread > 0)
    @rule(data=st.data())
    def read_again(self, data: st.DataObject) -> None:
        self.send(self.exchange.frames[data.draw(st.integers(0, self.unread - 1))])

    @rule(age=st.integers(0, 6), levels=st.sampled_from([None, None, 1, 2, 4]), is_answer_time=st.booleans())
    def seed_of_this_sequence(self, age: int, levels: int | None, is_answer_time: bool) -> None:
        """The time of a snapshot may be that of the answer; with the low ids of a young sequence that misleads."""
        update_id = self.exchange.last_id - age
        if update_id in self.exchange.history:
            has_high_ids = update_id > FIRST_SEQUENCE_START
            self.send_seed(
                levels, update_id, self.exchange, self.exchange.now if is_answer_time and has_high_ids else None
            )

    @precondition(lambda self: len(self.sequences) > 1)
    @rule(data=st.data())
    def seed_of_the_sequence_before(self, data: st.DataObject) -> None:
        before = self.sequences[0]
        self.send_seed(None, data.draw(st.sampled_from(sorted(before.history, reverse=True))), before, None)

    @rule(is_bad=st.sampled_from([False, False, True]))
    def lose_a_record_to_bad_bytes(self, is_bad: bool) -> None:
        if not is_bad:
            return
        self.market.on_unreadable("cannot be decoded")
        if self.unread < len(self.exchange.frames):
            self.unread += 1

    @precondition(lambda self: len(self.sequences) == 1 and self.exchange.last_id > FIRST_SEQUENCE_START + 15)
    @rule(batches=BATCHES)
    def relist(self, batches: list[list[Change]]) -> None:
        # Its first id is at most 1: a sequence that is picked up again by chance at the old one's next id cannot be told.
        self.sequences.append(Exchange(last_id=0, now=self.exchange.now + 60 * SECOND))
        self.unread = self.newest_read = 0
        self.exchange.trade(batches)

    @rule(is_held=st.sampled_from([False, False, False, True]))
    def hold_or_release(self, is_held: bool) -> None:
        (self.market.hold if is_held else self.market.release)()
        self.is_held = is_held

    @rule(batches=BATCHES)
    def ask_for_a_fresh_seed(self, batches: list[list[Change]]) -> None:
        """A whole snapshot past everything that was read always makes a book live that is not."""
        self.exchange.trade(batches)
        self.exchange.frames.pop()
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
        if self.shown == len(self.sequences) - 1:
            assert self.market.last_update_id is not None
            assert self.market.last_update_id >= self.newest_read, "live, yet behind an update that was read"
        truths = [s.history[self.market.last_update_id] for s in self.sequences[self.shown :] if self._has(s)]
        assert truths, "live at an id that the sequence being read does not have"
        assert any(self._agrees(bids, asks) for _, bids, asks in truths)

    def _has(self, exchange: Exchange) -> bool:
        return self.market.last_update_id in exchange.history

    def _agrees(self, bids: Side, asks: Side) -> bool:
        """Equal as far as the book claims to know; what it has beyond is right but need not be all."""
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
TestBookMachine.settings = settings(max_examples=80, stateful_step_count=40, deadline=None)
