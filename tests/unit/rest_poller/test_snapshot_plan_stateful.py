"""The snapshot plan with gaps, fetches, failures and listings in any order: no gap is forgotten, no book is fetched twice at once."""

import random

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from backpack_streams.rest_poller.snapshot_plan import LONGEST_RETRY_SECONDS, SnapshotPlan, SnapshotRequest
from unit.rest_poller.seeded_plans import REFRESH


class Seeding(RuleBasedStateMachine):
    """Gaps, fetches, failures and listings in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.plan = SnapshotPlan(REFRESH, random.Random(0))
        self.now = 1000.0
        self.open: set[str] = set()
        self.fetching: dict[str, SnapshotRequest] = {}
        self.newest_gap: dict[str, int] = {}
        self.gap_without_snapshot: set[str] = set()
        self.published: dict[str, int] = {}

    symbols = st.sampled_from(["A", "B", "C.D"])

    @initialize(symbols=st.sets(symbols))
    def begin(self, symbols: set[str]) -> None:
        self.list_markets(symbols)

    @rule(symbols=st.sets(symbols))
    def list_markets(self, symbols: set[str]) -> None:
        self.plan.set_open(sorted(symbols), self.now)
        for gone in self.open - symbols:
            self.newest_gap.pop(gone, None)  # if it is listed again, its ids may restart
        self.open = symbols
        self.gap_without_snapshot &= symbols

    @rule(symbol=symbols, last_id=st.integers(1, 1000), width=st.integers(1, 9))
    def gap(self, symbol: str, last_id: int, width: int) -> None:
        next_id = last_id + width
        self.newest_gap[symbol] = next_id
        if self.plan.gap(symbol, last_id, next_id, self.now):
            assert symbol in self.open
            self.gap_without_snapshot.add(symbol)

    @rule(seconds=st.sampled_from([0.0, 0.1, 1.0, 40.0, REFRESH]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def fetch(self) -> None:
        waiting = [request for request in self.plan._waiting.values() if request.symbol not in self.fetching]
        request = self.plan.next(self.now)
        due = [each for each in waiting if each.due <= self.now]
        if request is None:
            assert due == []
            return
        assert request.symbol not in self.fetching
        assert request.symbol in self.open
        assert request.urgent or not any(each.urgent for each in due)
        if request.symbol in self.newest_gap and not request.attempts:
            assert not self.plan.accepts(request, self.newest_gap[request.symbol] - 2, self.now)
        self.fetching[request.symbol] = request

    @precondition(lambda self: self.fetching)
    @rule(data=st.data(), ahead=st.integers(-3, 3))
    def answer(self, data: st.DataObject, ahead: int) -> None:
        request = self.fetching.pop(data.draw(st.sampled_from(sorted(self.fetching))))
        snapshot_id = (request.minimum_id or 0) + ahead
        published = self.published.get(request.symbol, 0)
        if self.plan.accepts(request, snapshot_id, self.now):
            self.plan.done(request, snapshot_id, self.now)
            self.published[request.symbol] = snapshot_id
            if snapshot_id < max(published, request.minimum_id or 0):  # answers were older for long: the ids restarted
                assert published >= (request.minimum_id or 0)
                if published >= self.newest_gap.get(request.symbol, 0) - 1:
                    self.newest_gap.pop(request.symbol, None)
                    self.gap_without_snapshot.discard(request.symbol)
            elif snapshot_id >= self.newest_gap.get(request.symbol, 0) - 1:
                self.gap_without_snapshot.discard(request.symbol)
        else:
            assert ahead < 0 or snapshot_id < published
            assert self.plan.failed(request, self.now) <= LONGEST_RETRY_SECONDS

    @invariant()
    def a_gap_is_never_forgotten(self) -> None:
        for symbol in self.gap_without_snapshot:
            waiting = self.plan._waiting.get(symbol)
            fetching = self.fetching.get(symbol)
            assert (waiting is not None and waiting.urgent) or (fetching is not None and fetching.urgent)

    @invariant()
    def every_open_market_is_waited_for_or_fetched(self) -> None:
        for symbol in self.open:
            assert symbol in self.plan._waiting or symbol in self.fetching

    @invariant()
    def nothing_waits_longer_than_a_refresh(self) -> None:
        due = self.plan.next_due()
        assert due is None or due <= self.now + REFRESH


TestSeeding = Seeding.TestCase
TestSeeding.settings = settings(max_examples=60, stateful_step_count=30)
