"""What is claimed of a stream is never more than what its sockets have brought one after another, and every break is reported."""

import math
from dataclasses import dataclass, field
from itertools import pairwise

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from backpack_streams.exchange.session_actions import CoverageEvent, SocketProven, StreamsActive, StreamsInactive
from backpack_streams.feed.coverage import Break, Coverage, Moment
from backpack_streams.publishing import reports
from backpack_streams.sequencing.watermarks import Interval
from thoroughness import runs

S, OTHER = "depth.X", "trade.X"
SECOND = 1_000_000


def us(seconds: float) -> int:
    return round(seconds * SECOND)


class Told:
    """Coverage of one stream (and one more), told second by second; the wall clock goes with the monotonic one."""

    def __init__(self, *streams: str, earlier: dict[str, int | None] | None = None) -> None:
        self.coverage = Coverage()
        self.coverage.want(streams or (S,))
        self.now = 0.0
        if earlier is not None:
            self.coverage.resume(earlier)

    @property
    def moment(self) -> Moment:
        return Moment(self.now, us(self.now))

    def take(self, event: CoverageEvent, now: float) -> list[Break]:
        self.now = max(now, self.now)
        return self.coverage.take(event, self.moment)

    def active(self, socket: int, at: float, *streams: str) -> list[Break]:
        return self.take(StreamsActive(streams or (S,), socket, at), at)

    def inactive(
        self, socket: int, through: float, *streams: str, cause: str = "DISCONNECTED", now: float = 0.0
    ) -> list[Break]:
        return self.take(StreamsInactive(streams or (S,), socket, through, cause), max(through, now))

    def proven(self, socket: int, through: float) -> None:
        assert self.take(SocketProven(socket, through), through) == []

    def through(self) -> float:
        return self.coverage.complete_through(self.moment).seconds

    def stated(self, stream: str = S) -> Interval:
        return next(interval for interval, names in self.coverage.statement() if stream in names)

    def interval(self) -> tuple[int | None, int | None]:
        return self.stated()[:2]

    def owes(self) -> tuple[int | None] | None:
        """Until when it was covered before a break that is not on record yet; None where nothing is owed."""
        return None if self.stated().is_settled else (self.stated().settled_until,)


def bounds(breaks: list[Break]) -> list[tuple[str, float | None, float]]:
    return [(each.reason, each.since_us and each.since_us / SECOND, each.until_us / SECOND) for each in breaks]


def covered() -> Told:
    """A stream that others have covered until the socket 0 does, from second 10 on."""
    told = Told(earlier={S: None})
    assert told.active(0, 10.0) == []
    return told


# ---- the first coverage


def test_a_stream_that_nobody_ever_covered_begins_with_a_break_without_a_beginning() -> None:
    told = Told(earlier={})
    assert bounds(told.active(0, 10.0)) == [(reports.STREAM_START, None, 10.0)]
    assert told.interval() == (us(10.0), None)
    assert told.owes() == (None,), "whoever takes over now counts none of it"
    told.coverage.settle(S)
    assert told.owes() is None


def test_where_an_earlier_run_ended_is_where_the_break_of_a_restart_begins() -> None:
    told = Told(earlier={S: us(4.0)})
    assert bounds(told.active(0, 10.0)) == [(reports.RESTART, 4.0, 10.0)]


def test_a_clock_of_an_earlier_run_that_was_ahead_of_ours_does_not_make_the_absence_vanish() -> None:
    told = Told(earlier={S: us(3610.0)})
    assert bounds(told.active(0, 10.0)) == [(reports.RESTART, None, 10.0)]


def test_where_another_instance_covers_it_on_nothing_is_missed() -> None:
    told = covered()
    assert (told.interval(), told.owes()) == ((us(10.0), None), None)


def test_what_was_before_may_become_known_after_coverage_has_come_and_gone() -> None:
    told = Told()
    assert told.active(0, 10.0) == []
    assert told.owes() == (None,)
    assert told.inactive(0, 12.0) == []
    assert bounds(told.active(1, 20.0)) == [(reports.DISCONNECTED, 12.0, 20.0)]
    assert bounds(told.coverage.resume({S: us(4.0)})) == [(reports.RESTART, 4.0, 10.0)]
    assert (told.interval(), told.owes()) == ((us(20.0), None), (None,))
    told.coverage.settle(S)
    assert told.owes() is None


def test_a_stream_that_is_covered_later_has_its_own_beginning() -> None:
    told = Told(S, OTHER, earlier={S: None, OTHER: us(4.0)})
    told.active(0, 10.0)
    assert told.coverage.uncovered() == {OTHER}
    [gap] = told.active(0, 3600.0, OTHER)
    assert (gap.stream, *bounds([gap])[0]) == (OTHER, reports.RESTART, 4.0, 3600.0)


# ---- how breaks are told


@pytest.mark.parametrize(
    ("cause", "reason"),
    [
        ("DISCONNECTED", reports.DISCONNECTED),
        ("REFUSED", reports.SUBSCRIPTION_REFUSED),
        ("SILENT", reports.SUBSCRIPTION_SILENT),
        ("UNSUBSCRIBED", reports.NOT_SUBSCRIBED),
    ],
)
def test_a_break_runs_from_what_was_proven_last_until_the_subscription_is_confirmed(cause: str, reason: str) -> None:
    told = covered()
    told.proven(0, 30.0)
    assert told.coverage.cause(S) is None
    assert told.inactive(0, 30.0, cause=cause, now=45.0) == []
    assert told.coverage.cause(S) == reason
    assert told.interval() == (us(10.0), us(30.0))
    assert not told.coverage.is_covered(S)
    assert bounds(told.active(1, 60.0)) == [(reason, 30.0, 60.0)]
    assert (told.interval(), told.owes()) == ((us(60.0), None), (us(30.0),))
    told.inactive(1, 70.0)
    told.active(2, 80.0)
    assert told.owes() == (us(30.0),), "both breaks are owed"
    told.coverage.settle(S)
    assert (told.interval(), told.owes()) == ((us(80.0), None), None)


def test_a_socket_that_takes_over_in_time_leaves_no_break() -> None:
    told = covered()
    assert told.active(1, 20.0) == []
    told.proven(0, 20.5)
    assert told.inactive(0, 20.5) == []
    assert told.interval() == (us(10.0), None)


def test_one_that_was_confirmed_after_the_other_had_been_proven_last_leaves_one() -> None:
    told = covered()
    told.proven(0, 15.0)
    told.active(1, 20.0)
    told.proven(1, 25.0)
    assert told.through() == 15.0, "what was sent between 15 and 20 may be on its way on the first socket"
    assert bounds(told.inactive(0, 15.0, now=25.0)) == [(reports.DISCONNECTED, 15.0, 20.0)]
    assert (told.interval(), told.owes()) == ((us(20.0), None), (us(15.0),))
    assert told.through() == 25.0


def test_a_third_socket_is_measured_by_the_one_that_came_furthest() -> None:
    told = covered()
    told.active(1, 11.0)
    told.proven(0, 20.0)
    told.proven(1, 15.0)
    assert told.inactive(0, 20.0) == []
    assert told.active(2, 18.0) == []
    assert told.inactive(1, 15.0) == [], "the first one had brought everything until 20"


def test_nothing_that_was_claimed_is_taken_back_when_sockets_go() -> None:
    told = covered()
    told.active(1, 11.0)
    told.proven(0, 20.0)
    told.proven(1, 15.0)
    assert told.through() == 20.0
    told.inactive(0, 20.0)
    assert told.through() == 20.0
    told.inactive(1, 15.0)
    assert told.interval() == (us(10.0), us(20.0))


def test_a_stream_that_fell_silent_is_covered_until_it_was_heard_last_whatever_its_sockets_claim() -> None:
    told = covered()
    told.active(1, 11.0)
    for socket in (0, 1):
        told.proven(socket, 100.0)
    assert told.inactive(0, 60.0, cause="SILENT", now=100.0) == []
    assert told.inactive(1, 60.0, cause="SILENT", now=100.0) == []
    assert told.interval() == (us(10.0), us(60.0))


def test_the_same_socket_may_cover_it_again_and_is_no_new_one() -> None:
    told = covered()
    told.proven(0, 20.0)
    told.inactive(0, 20.0, cause="REFUSED")
    [gap] = told.active(0, 30.0)
    assert not gap.is_new_socket
    told.active(1, 30.0)
    told.inactive(0, 31.0, cause="SILENT")
    told.inactive(1, 31.0)
    [gap] = told.active(0, 40.0)
    assert not gap.is_new_socket, "it had covered the stream before the last one did"
    told.inactive(0, 41.0)
    [gap] = told.active(2, 50.0)
    assert gap.is_new_socket


def test_what_is_wanted_no_more_is_not_stated_and_what_is_wanted_again_goes_on() -> None:
    told = Told(S, OTHER, earlier={S: None, OTHER: None})
    told.active(0, 10.0, S, OTHER)
    told.proven(0, 20.0)
    told.coverage.want([OTHER])
    told.inactive(0, 20.0, cause="UNSUBSCRIBED")
    assert [names for _, names in told.coverage.statement()] == [(OTHER,)]
    told.coverage.want([S, OTHER])
    assert told.interval() == (us(10.0), us(20.0))
    assert bounds(told.active(0, 3600.0)) == [(reports.NOT_SUBSCRIBED, 20.0, 3600.0)]


def test_a_stream_that_is_dropped_while_nobody_covers_it_has_a_gap_that_no_message_will_end() -> None:
    told = Told(S, earlier={S: None})
    assert told.coverage.leave(S, Moment(5.0, us(5.0))) is None, "it was never covered"
    told.active(0, 10.0)
    assert told.coverage.leave(S, Moment(15.0, us(15.0))) is None, "it is covered"
    told.proven(0, 20.0)
    told.inactive(0, 21.0)
    left = told.coverage.leave(S, Moment(30.0, us(30.0)))
    assert left is not None
    assert bounds([left]) == [(reports.DISCONNECTED, 21.0, 30.0)]
    assert bounds(told.active(0, 60.0)) == [(reports.NOT_SUBSCRIBED, 30.0, 60.0)], "what was told is not told again"


def test_refused_is_the_reason_though_the_socket_had_gone_before() -> None:
    told = covered()
    told.inactive(0, 20.0)
    told.coverage.refused(S)
    assert told.coverage.cause(S) == reports.SUBSCRIPTION_REFUSED
    assert bounds(told.active(1, 60.0)) == [(reports.SUBSCRIPTION_REFUSED, 20.0, 60.0)]


# ---- complete_through


def test_it_is_now_where_nothing_is_covered() -> None:
    told = Told(earlier={})
    told.now = 5.0
    assert told.through() == 5.0
    assert told.coverage.through(S) is None


def test_a_stream_that_was_confirmed_just_now_does_not_speak_for_the_others_of_its_socket() -> None:
    told = Told(S, OTHER, earlier={S: None, OTHER: None})
    told.active(0, 10.0, S)
    told.inactive(0, 10.0, S, cause="REFUSED")
    told.active(0, 11.0, OTHER)
    told.proven(0, 12.0)
    told.active(0, 15.0, S)
    assert told.through() == 12.0
    assert told.coverage.through(S) == 15.0


@pytest.mark.parametrize("hours", [-1, 1])
def test_a_step_of_the_wall_clock_moves_recorded_times_alone(hours: int) -> None:
    told = covered()
    told.proven(0, 20.0)
    step = us(3600.0 * hours)
    assert told.coverage.take(StreamsInactive((S,), 0, 20.0, "DISCONNECTED"), Moment(25.0, us(25.0) + step)) == []
    [gap] = told.coverage.take(StreamsActive((S,), 1, 30.0), Moment(30.5, us(30.5) + step))
    assert (gap.since_us, gap.until_us) == (us(20.0) + min(step, 0), us(30.0) + max(step, 0)), "by whichever clock"


# ---- which sockets deliver


def test_another_socket_counts_while_it_may_deliver() -> None:
    told = covered()
    assert not told.coverage.other_socket(0)
    assert told.coverage.other_socket(1)
    told.proven(1, 11.0)
    assert told.coverage.other_socket(0), "it may bring something before its subscriptions are confirmed"
    told.active(1, 12.0)
    told.inactive(0, 13.0)
    assert not told.coverage.other_socket(1)


def test_a_socket_that_went_before_it_covered_anything_is_forgotten() -> None:
    told = covered()
    told.proven(7, 11.0)
    for second in range(12, 40):
        told.proven(0, float(second))
    assert not told.coverage.other_socket(0)


# ---- against a model


@dataclass
class Socket:
    """A socket and what it has really brought of the stream: everything sent in `spans`, and until `proof` it is known."""

    began: float
    proof: float = -math.inf
    active_at: float | None = None
    spans: list[tuple[float, float]] = field(default_factory=list)


class Model(RuleBasedStateMachine):
    """Sockets that come, are proven now and then, and go. What they have brought for sure is a list of spans of time."""

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
        """Until when everything since the first coverage was claimed, breaks on record left out."""

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
        """What the breaks cost is on record."""
        self.told.coverage.settle(S)
        self.owed.clear()

    def sure(self) -> list[tuple[float, float]]:
        """Spans in which everything has been brought for sure, joined."""
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
        """Everything since the first coverage lies in a span that was brought for sure, in a break, or goes on."""
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
            is_open = through < since  # the socket before may still bring it
            assert is_open or any(gap[0] is not None and gap[0] <= us(until) and us(since) <= gap[1] for gap in told)


TestModel = Model.TestCase
TestModel.settings = runs(150, steps=30)
