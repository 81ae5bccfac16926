"""Coverage with sockets in any order: every claim was delivered by consecutive sockets, and every break is reported."""

import math
from dataclasses import dataclass, field
from itertools import pairwise

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from backpack_streams.exchange.session_actions import CoverageEvent, SocketProven, StreamsActive, StreamsInactive
from backpack_streams.feed.moments import Break, Moment
from backpack_streams.publishing import reports
from thoroughness import runs
from unit.feed.told_coverage import SECOND, S, Told, us


@dataclass
class Socket:
    """A socket and what it has really delivered of the stream: everything sent in `spans`; it is known until `proof`."""

    began: float
    proof: float = -math.inf
    active_at: float | None = None
    spans: list[tuple[float, float]] = field(default_factory=list)


class Model(RuleBasedStateMachine):
    """Sockets that come, are proven now and then, and go. What they have certainly delivered is a list of time spans."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 100.0
        self.told = Told(earlier={})
        self.sockets: dict[int, Socket] = {}
        self.next_socket = 0
        self.brought: list[tuple[float, float]] = []
        self.breaks: list[Break] = []
        self.owed: list[Break] = []
        self.stated = -math.inf
        """Until when everything since the first coverage was claimed, except for recorded breaks."""

    def take(self, event: CoverageEvent) -> None:
        self.told.now = self.now
        breaks = self.told.coverage.take(event, self.told.moment)
        self.breaks += breaks
        self.owed += breaks

    @rule(seconds=st.sampled_from([0.25, 1.0, 7.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @precondition(lambda self: len(self.sockets) < 3)
    @rule()
    def open(self) -> None:
        self.sockets[self.next_socket] = Socket(self.now)
        self.next_socket += 1

    @precondition(lambda self: self.sockets)
    @rule(data=st.data())
    def confirm(self, data: st.DataObject) -> None:
        socket = data.draw(st.sampled_from(sorted(self.sockets)))
        if self.sockets[socket].active_at is None:
            self.sockets[socket].active_at = self.now
            self.take(StreamsActive((S,), socket, self.now))

    @precondition(lambda self: self.sockets)
    @rule(data=st.data(), ago=st.sampled_from([0.0, 0.25, 1.0]))
    def prove(self, data: st.DataObject, ago: float) -> None:
        socket = data.draw(st.sampled_from(sorted(self.sockets)))
        through = max(self.now - ago, self.sockets[socket].began)
        if through > self.sockets[socket].proof:
            self.sockets[socket].proof = through
            self.take(SocketProven(socket, through))

    @precondition(lambda self: self.sockets)
    @rule(data=st.data(), cause=st.sampled_from(["DISCONNECTED", "REFUSED"]))
    def end(self, data: st.DataObject, cause: str) -> None:
        number = data.draw(st.sampled_from(sorted(self.sockets)))
        socket = self.sockets[number]
        if socket.active_at is not None:
            self.brought.append((socket.active_at, max(socket.active_at, socket.proof)))
            self.take(StreamsInactive((S,), number, max(socket.active_at, socket.proof), cause))
        if cause == "DISCONNECTED":
            del self.sockets[number]
        else:
            socket.active_at = None

    @rule()
    def settle(self) -> None:
        """The losses of all breaks are recorded."""
        self.told.coverage.settle(S)
        self.owed.clear()

    def sure(self) -> list[tuple[float, float]]:
        """Spans in which everything has certainly been delivered, joined."""
        now = [
            (socket.active_at, max(socket.active_at, socket.proof))
            for socket in self.sockets.values()
            if socket.active_at is not None
        ]
        joined: list[tuple[float, float]] = []
        for since, until in sorted([*self.brought, *now]):
            if joined and since <= joined[-1][1]:
                joined[-1] = joined[-1][0], max(joined[-1][1], until)
            else:
                joined.append((since, until))
        return joined

    def is_sure(self, since: float, until: float) -> bool:
        return any(first <= since and until <= last for first, last in self.sure())

    @invariant()
    def covered_while_a_socket_delivers_it(self) -> None:
        active = [socket for socket in self.sockets.values() if socket.active_at is not None]
        assert self.told.coverage.is_covered(S) is bool(active)

    @invariant()
    def what_is_stated_was_brought(self) -> None:
        interval = self.told.stated()
        assert interval.is_open is self.told.coverage.is_covered(S)
        if interval.since is None:
            return
        through = self.told.coverage.complete_through(Moment(self.now, us(self.now))).us
        until = through if interval.until is None else interval.until
        if until > interval.since:
            assert self.is_sure(interval.since / SECOND, until / SECOND)

    @invariant()
    def what_a_successor_counts_ends_before_the_first_break_that_is_owed(self) -> None:
        interval = self.told.stated()
        if self.owed:
            assert not interval.is_settled
            assert interval.settled_until == self.owed[0].since_us
        elif interval.since is not None:
            assert interval.is_settled

    @invariant()
    def what_is_claimed_of_a_covered_stream_only_grows(self) -> None:
        through = self.told.coverage.through(S)
        if through is not None:
            assert through >= self.stated
            self.stated = max(self.stated, through)

    @invariant()
    def breaks_are_all_that_was_not_brought(self) -> None:
        """All time since the first coverage lies in a span that was certainly delivered, in a reported break, or in an open one."""
        spans = self.sure()
        if not spans:
            assert self.breaks == []
            return
        first, *later = self.breaks
        assert (first.reason, first.since_us, first.until_us) == (reports.STREAM_START, None, us(spans[0][0]))
        told = [(gap.since_us, gap.until_us) for gap in later]
        assert all(since is not None and since < until for since, until in told)
        through = self.told.coverage.through(S)
        if through is None:
            return  # the open break is reported at its end
        for (_, until), (since, _) in pairwise(spans):
            is_open = through < since  # the previous socket may still deliver it
            assert is_open or any(gap[0] is not None and gap[0] <= us(until) and us(since) <= gap[1] for gap in told)


TestModel = Model.TestCase
TestModel.settings = runs(150, steps=30)
