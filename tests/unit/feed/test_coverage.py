"""Coverage of a stream whose sockets come and go in a given order: what is claimed, and which breaks are reported."""

import pytest

from backpack_streams.exchange.session_actions import SocketProven, StreamsActive, StreamsInactive
from backpack_streams.feed.moments import Break, Moment
from backpack_streams.publishing import reports
from unit.feed.told_coverage import SECOND, S, Told, us

OTHER = "trade.X"


def bounds(breaks: list[Break]) -> list[tuple[str, float | None, float]]:
    return [(each.reason, each.since_us and each.since_us / SECOND, each.until_us / SECOND) for each in breaks]


def covered() -> Told:
    """A stream that others covered until socket 0 does, from second 10 on."""
    told = Told(earlier={S: None})
    assert told.active(0, 10.0) == []
    return told


# ---- the first coverage


def test_a_stream_that_was_never_covered_starts_with_a_break_without_a_beginning() -> None:
    told = Told(earlier={})
    assert bounds(told.active(0, 10.0)) == [(reports.STREAM_START, None, 10.0)]
    assert told.interval() == (us(10.0), None)
    assert told.owes() == (None,), "whoever takes over now counts none of it"
    told.coverage.settle(S)
    assert told.owes() is None


def test_a_break_during_the_start_is_not_settled_by_others_that_covered_up_to_it() -> None:
    told = Told()
    told.active(0, 10.0)
    told.proven(0, 11.0)
    told.inactive(0, 11.0)
    assert bounds(told.active(1, 20.0)) == [(reports.DISCONNECTED, 11.0, 20.0)]
    assert told.coverage.resume({S: None}) == []
    assert told.owes() is not None, "the start holds that break, and the stream has told nothing yet"


def test_a_pong_that_is_handled_after_a_suspend_vouches_for_nothing_of_it() -> None:
    """The monotonic clock stands still meanwhile."""
    told, asleep = covered(), 3600.0
    told.proven(0, 99.0)
    events = (
        (SocketProven(0, 99.9), 100.0),
        (StreamsInactive((S,), 0, 99.9, "DISCONNECTED"), 100.1),
        (StreamsActive((S,), 1, 101.0), 101.0),
    )
    awake = [Moment(now, us(now + asleep)) for _, now in events]
    found = told.coverage.take(events[0][0], awake[0])
    assert told.coverage.complete_through(awake[0]).us == us(99.9)
    for (event, _), now in zip(events[1:], awake[1:], strict=True):
        found += told.coverage.take(event, now)
    assert bounds(found) == [(reports.DISCONNECTED, 99.9, 101.0 + asleep)]


def test_the_break_of_a_restart_begins_where_an_earlier_run_ended() -> None:
    told = Told(earlier={S: us(4.0)})
    assert bounds(told.active(0, 10.0)) == [(reports.RESTART, 4.0, 10.0)]


def test_an_earlier_run_with_a_fast_clock_does_not_hide_the_absence() -> None:
    told = Told(earlier={S: us(3610.0)})
    assert bounds(told.active(0, 10.0)) == [(reports.RESTART, None, 10.0)]


def test_nothing_is_missed_if_another_instance_goes_on_covering_the_stream() -> None:
    told = covered()
    assert (told.interval(), told.owes()) == ((us(10.0), None), None)


def test_earlier_coverage_may_become_known_after_coverage_has_come_and_gone() -> None:
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


# ---- how breaks are reported


@pytest.mark.parametrize(
    ("cause", "reason"),
    [
        ("DISCONNECTED", reports.DISCONNECTED),
        ("REFUSED", reports.SUBSCRIPTION_REFUSED),
        ("SILENT", reports.SUBSCRIPTION_SILENT),
        ("UNSUBSCRIBED", reports.NOT_SUBSCRIBED),
    ],
)
def test_a_break_runs_from_the_last_proof_until_the_subscription_is_confirmed(cause: str, reason: str) -> None:
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


def test_a_socket_confirmed_after_the_last_proof_of_the_other_leaves_a_break() -> None:
    told = covered()
    told.proven(0, 15.0)
    told.active(1, 20.0)
    told.proven(1, 25.0)
    assert told.through() == 15.0, "what was sent between 15 and 20 may be on its way on the first socket"
    assert bounds(told.inactive(0, 15.0, now=25.0)) == [(reports.DISCONNECTED, 15.0, 20.0)]
    assert (told.interval(), told.owes()) == ((us(20.0), None), (us(15.0),))
    assert told.through() == 25.0


def test_a_third_socket_is_measured_against_the_one_that_got_furthest() -> None:
    told = covered()
    told.active(1, 11.0)
    told.proven(0, 20.0)
    told.proven(1, 15.0)
    assert told.inactive(0, 20.0) == []
    assert told.active(2, 18.0) == []
    assert told.inactive(1, 15.0) == [], "the first one had brought everything until 20"


def test_no_claim_is_withdrawn_when_sockets_go() -> None:
    told = covered()
    told.active(1, 11.0)
    told.proven(0, 20.0)
    told.proven(1, 15.0)
    assert told.through() == 20.0
    told.inactive(0, 20.0)
    assert told.through() == 20.0
    told.inactive(1, 15.0)
    assert told.interval() == (us(10.0), us(20.0))


def test_a_stream_that_fell_silent_is_covered_until_its_last_message_whatever_its_sockets_claim() -> None:
    told = covered()
    told.active(1, 11.0)
    for socket in (0, 1):
        told.proven(socket, 100.0)
    assert told.inactive(0, 60.0, cause="SILENT", now=100.0) == []
    assert told.inactive(1, 60.0, cause="SILENT", now=100.0) == []
    assert told.interval() == (us(10.0), us(60.0))


def test_the_same_socket_may_cover_it_again_and_is_not_a_new_one() -> None:
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


def test_an_unwanted_stream_is_not_stated_and_resumes_when_wanted_again() -> None:
    told = Told(S, OTHER, earlier={S: None, OTHER: None})
    told.active(0, 10.0, S, OTHER)
    told.proven(0, 20.0)
    told.coverage.want([OTHER])
    told.inactive(0, 20.0, cause="UNSUBSCRIBED")
    assert [names for _, names in told.coverage.statement()] == [(OTHER,)]
    told.coverage.want([S, OTHER])
    assert told.interval() == (us(10.0), us(20.0))
    assert bounds(told.active(0, 3600.0)) == [(reports.NOT_SUBSCRIBED, 20.0, 3600.0)]


def test_a_stream_dropped_while_uncovered_has_a_gap_that_no_message_will_end() -> None:
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


def test_refused_is_the_reason_even_if_the_socket_went_before() -> None:
    told = covered()
    told.inactive(0, 20.0)
    told.coverage.refused(S)
    assert told.coverage.cause(S) == reports.SUBSCRIPTION_REFUSED
    assert bounds(told.active(1, 60.0)) == [(reports.SUBSCRIPTION_REFUSED, 20.0, 60.0)]


# ---- complete_through


def test_complete_through_is_now_if_nothing_is_covered() -> None:
    told = Told(earlier={})
    told.now = 5.0
    assert told.through() == 5.0
    assert told.coverage.through(S) is None


def test_a_stream_confirmed_just_now_does_not_speak_for_the_others_of_its_socket() -> None:
    told = Told(S, OTHER, earlier={S: None, OTHER: None})
    told.active(0, 10.0, S)
    told.inactive(0, 10.0, S, cause="REFUSED")
    told.active(0, 11.0, OTHER)
    told.proven(0, 12.0)
    told.active(0, 15.0, S)
    assert told.through() == 12.0
    assert told.coverage.through(S) == 15.0


@pytest.mark.parametrize("hours", [-1, 1])
def test_a_step_of_the_wall_clock_moves_only_recorded_times(hours: int) -> None:
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
