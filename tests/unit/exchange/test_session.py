"""The WebSocket session driven by hand and by Hypothesis, against a model of the exchange's server."""

import json
import random
from dataclasses import dataclass, field

import pytest
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from backpack_streams.errors import UsageError
from backpack_streams.exchange.session import Session
from backpack_streams.exchange.session_actions import (
    Action,
    DropLink,
    Notice,
    NoticeKind,
    OpenLink,
    SendClose,
    SendPing,
    SendText,
)
from backpack_streams.exchange.session_settings import MAY_STAY_QUIET, Expectation, SessionSettings


def wanted(*names: str) -> dict[str, Expectation]:
    return dict.fromkeys(names, MAY_STAY_QUIET)


def notices(actions: list[Action], kind: NoticeKind) -> list[Notice]:
    return [action for action in actions if isinstance(action, Notice) and action.kind is kind]


def opened(actions: list[Action]) -> list[int]:
    return [action.link_id for action in actions if isinstance(action, OpenLink)]


@dataclass
class ServerSide:
    """What the exchange's end of one link knows, answering frames in order as the real one was observed to."""

    bad: frozenset[str]
    streams: set[str] = field(default_factory=set)
    replies: list[tuple[str, bytes]] = field(default_factory=list)

    def take(self, action: Action) -> None:
        if isinstance(action, SendPing):
            self.replies.append(("pong", action.payload))
        if isinstance(action, SendText):
            request = json.loads(action.text)
            names = set(request["params"])
            assert len(names) == len(request["params"]) > 0
            if request["method"] == "UNSUBSCRIBE":
                self.streams -= names
            elif names & self.bad:
                # The harsher of two readings: one bad name refuses the whole frame.
                self.replies.append(("error", b""))
            else:
                self.streams |= names


class Driver:
    """Runs a session against model servers on a clock of its own."""

    def __init__(self, session: Session, bad: frozenset[str] = frozenset()) -> None:
        self.session = session
        self.bad = bad
        self.now = 1_000.0
        self.connecting: list[int] = []
        self.servers: dict[int, ServerSide] = {}
        self.log: list[Action] = []

    def do(self, actions: list[Action]) -> list[Action]:
        self.log += actions
        for action in actions:
            match action:
                case OpenLink(link_id):
                    self.connecting.append(link_id)
                case DropLink(link_id):
                    assert link_id in self.servers or link_id in self.connecting
                    self.servers.pop(link_id, None)
                case SendText(link_id) | SendPing(link_id) | SendClose(link_id):
                    assert link_id in self.servers, f"{action} for a link that is not open"
                    self.servers[link_id].take(action)
                case Notice():
                    pass
        return actions

    def accept(self) -> int:
        link_id = self.connecting.pop(0)
        self.servers[link_id] = ServerSide(self.bad)
        self.do(self.session.link_opened(link_id, self.now))
        return link_id

    def reply(self, link_id: int) -> None:
        kind, payload = self.servers[link_id].replies.pop(0)
        if kind == "pong":
            self.do(self.session.pong(link_id, payload, self.now))
        else:
            self.do(self.session.error_frame(link_id, 4006, "Invalid stream", self.now))

    def reply_all(self) -> None:
        for link_id in list(self.servers):
            while link_id in self.servers and self.servers[link_id].replies:
                self.reply(link_id)

    def pass_time(self, seconds: float, *, with_replies: bool = True, step: float = 1.0) -> list[Action]:
        """Tick at every deadline on the way, as the shell does; gives what was done meanwhile."""
        mark, end = len(self.log), self.now + seconds
        for _ in range(3_000):
            if with_replies:
                self.reply_all()
            deadline = self.session.next_deadline()
            upper = min(end, self.now + step)
            reached = upper if deadline is None else max(self.now, min(deadline, upper))
            self.now = reached
            self.do(self.session.tick(self.now))
            if self.now >= end:
                return self.log[mark:]
        raise AssertionError("time does not pass")


def started(*, bad: frozenset[str] = frozenset(), **numbers: float) -> Driver:
    driver = Driver(Session(SessionSettings(**numbers), rng=random.Random(7)), bad)  # type: ignore[arg-type]  # ints too
    driver.do(driver.session.start(driver.now))
    return driver


# Subscribing.


def test_subscribes_in_batches_with_space_between() -> None:
    driver = started(subscribe_batch_streams=100, subscribe_spacing_seconds=0.05, outstanding_batches=9)
    names = [f"depth.S{number}" for number in range(250)]
    driver.do(driver.session.set_streams(wanted(*names), driver.now))
    link_id = driver.accept()
    sent_at = []
    for _ in range(200):
        before = len([action for action in driver.log if isinstance(action, SendText)])
        driver.pass_time(0.01, with_replies=False, step=0.01)
        after = len([action for action in driver.log if isinstance(action, SendText)])
        sent_at += [driver.now] * (after - before)
    texts = [action for action in driver.log if isinstance(action, SendText)]
    assert [len(json.loads(text.text)["params"]) for text in texts] == [100, 100, 50]
    assert all(text.link_id == link_id for text in texts)
    assert sent_at[1] - sent_at[0] >= 0.04
    assert driver.servers[link_id].streams == set(names)


def test_waits_for_pongs_once_enough_batches_are_outstanding() -> None:
    driver = started(subscribe_batch_streams=1, outstanding_batches=2, barrier_timeout_seconds=30)
    driver.do(driver.session.set_streams(wanted("a", "b", "c"), driver.now))
    link_id = driver.accept()
    driver.pass_time(5, with_replies=False)
    assert driver.servers[link_id].streams == {"a", "b"}
    driver.pass_time(1)
    assert driver.servers[link_id].streams == {"a", "b", "c"}


def test_sends_only_the_difference() -> None:
    driver = started()
    driver.do(driver.session.set_streams(wanted("a", "b"), driver.now))
    link_id = driver.accept()
    driver.pass_time(1)
    mark = len(driver.log)
    driver.do(driver.session.set_streams(wanted("b", "c"), driver.now))
    driver.pass_time(1)
    requests = [json.loads(action.text) for action in driver.log[mark:] if isinstance(action, SendText)]
    assert requests == [{"method": "UNSUBSCRIBE", "params": ["a"]}, {"method": "SUBSCRIBE", "params": ["c"]}]
    assert driver.servers[link_id].streams == {"b", "c"}


# Errors.


def test_names_the_rejected_streams_among_many_and_keeps_the_others() -> None:
    names = [f"depth.S{number}" for number in range(250)]
    bad = frozenset({"depth.S17", "depth.S18", "depth.S249"})
    driver = started(bad=bad)
    driver.do(driver.session.set_streams(wanted(*names), driver.now))
    link_id = driver.accept()
    driver.pass_time(20)
    rejected = notices(driver.log, NoticeKind.STREAM_REJECTED)
    assert sorted((notice.stream, notice.code) for notice in rejected) == sorted((name, 4006) for name in bad)
    assert driver.session.rejected_streams == bad
    assert driver.servers[link_id].streams == set(names) - bad
    assert not notices(driver.log, NoticeKind.UNATTRIBUTED_ERROR)


def test_tries_a_rejected_stream_again_later() -> None:
    driver = started(bad=frozenset({"x"}), rejected_retry_seconds=900)
    driver.do(driver.session.set_streams(wanted("x"), driver.now))
    link_id = driver.accept()
    driver.pass_time(5)
    assert driver.session.rejected_streams == {"x"}
    driver.servers[link_id].bad = frozenset()
    driver.pass_time(890)
    assert driver.servers[link_id].streams == set()
    driver.pass_time(20)
    assert driver.servers[link_id].streams == {"x"}
    assert driver.session.rejected_streams == frozenset()


def test_a_stream_dropped_while_its_refused_frame_is_tried_again_is_unsubscribed() -> None:
    driver = started(bad=frozenset({"x"}), subscribe_batch_streams=2, outstanding_batches=2)
    link_id = driver.accept()
    driver.do(driver.session.set_streams(wanted("x", "a"), driver.now))
    driver.reply(link_id)
    driver.do(driver.session.set_streams({}, driver.now))
    driver.pass_time(0.3, with_replies=False)
    driver.do(driver.session.set_streams(wanted("a"), driver.now))
    driver.reply(link_id)
    driver.reply(link_id)
    assert driver.servers[link_id].streams == {"a"}
    driver.do(driver.session.set_streams({}, driver.now))
    driver.pass_time(5)
    assert driver.servers[link_id].streams == set()


def test_one_stray_error_costs_no_stream() -> None:
    driver = started()
    driver.do(driver.session.set_streams(wanted("a"), driver.now))
    link_id = driver.accept()
    driver.do(driver.session.error_frame(link_id, 4002, "Parse error", driver.now))
    driver.pass_time(5)
    assert driver.session.rejected_streams == frozenset()
    assert [notice.code for notice in notices(driver.log, NoticeKind.UNATTRIBUTED_ERROR)] == [4002]
    assert driver.servers[link_id].streams == {"a"}


def test_an_error_with_nothing_outstanding_is_unattributed_and_a_flood_of_them_is_bounded() -> None:
    driver = started(unattributed_notices_per_minute_limit=3)
    link_id = driver.accept()
    for _ in range(100):
        driver.do(driver.session.error_frame(link_id, 4002, "Parse\nerror", driver.now))
    found = notices(driver.log, NoticeKind.UNATTRIBUTED_ERROR)
    assert len(found) == 3
    assert "\n" not in found[0].message


def test_goes_on_subscribing_when_pings_stay_unanswered() -> None:
    driver = started(subscribe_batch_streams=1, outstanding_batches=1, barrier_timeout_seconds=30)
    names = [f"s{number}" for number in range(50)]
    driver.do(driver.session.set_streams(wanted(*names), driver.now))
    link_id = driver.accept()
    for _ in range(40):
        driver.session.heard(link_id, driver.now)
        driver.pass_time(1, with_replies=False)
    assert driver.servers[link_id].streams == set(names)
    assert len(notices(driver.log, NoticeKind.BARRIER_UNANSWERED)) == 1


def test_what_one_link_found_to_be_bad_is_not_sent_on_the_other() -> None:
    driver = started(connections=2, subscribe_batch_streams=1, outstanding_batches=1, bad=frozenset({"x"}))
    driver.do(driver.session.set_streams(wanted("a", "x"), driver.now))
    first, second = driver.accept(), driver.accept()
    for _ in range(100):
        driver.pass_time(0.1, with_replies=False, step=0.1)
        while driver.servers[first].replies:
            driver.reply(first)
    assert driver.session.rejected_streams == {"x"}
    driver.pass_time(5)
    texts = [action.text for action in driver.log if isinstance(action, SendText) and action.link_id == second]
    assert [json.loads(text)["params"] for text in texts] == [["a"]]


# Links.


def test_server_close_opens_a_new_link_at_once_and_leaves_the_old_one_alone() -> None:
    driver = started()
    driver.do(driver.session.set_streams(wanted("a"), driver.now))
    old = driver.accept()
    driver.pass_time(100)
    actions = driver.do(driver.session.server_close(old, 1001, "bye", driver.now))
    assert len(opened(actions)) == 1
    assert driver.session.open_links == 1
    new = driver.accept()
    driver.pass_time(30)
    assert driver.servers[new].streams == {"a"}
    assert old in driver.servers
    assert not [action for action in driver.log if isinstance(action, SendClose | DropLink)]
    driver.do(driver.session.link_lost(old, "the connection ended", driver.now))
    assert not notices(driver.log, NoticeKind.LINK_LOST)
    assert driver.session.open_links == 1


def test_server_close_without_an_end_is_answered_after_the_grace() -> None:
    driver = started(server_grace_seconds=30, server_grace_margin_seconds=5)
    old = driver.accept()
    driver.do(driver.session.server_close(old, 1001, "", driver.now))
    driver.pass_time(34)
    assert old in driver.servers
    actions = driver.pass_time(2)
    assert [action for action in actions if not isinstance(action, Notice | SendPing)] == [
        SendClose(old),
        DropLink(old),
    ]
    assert notices(actions, NoticeKind.LINK_GRACE_OVER)


def test_a_server_that_closes_every_link_at_once_is_not_hammered() -> None:
    driver = started(draining_links_limit=4, connects_per_minute_limit=1_000)
    for _ in range(600):
        if driver.connecting:
            link_id = driver.accept()
            driver.do(driver.session.server_close(link_id, 1013, "busy", driver.now))
        driver.pass_time(0.1, step=0.1)
        assert len(driver.servers) <= 4
    assert 4 < len(opened(driver.log)) < 40


def test_connects_are_bounded_a_minute_and_the_bound_is_told_once() -> None:
    driver = started(
        connects_per_minute_limit=10, reconnect_base_seconds=0.01, reconnect_cap_seconds=0.02, connections=2
    )
    for _ in range(240):
        while driver.connecting:
            driver.do(driver.session.link_failed(driver.connecting.pop(0), "refused", driver.now))
        driver.pass_time(0.25, step=0.25)
    assert 10 <= len(opened(driver.log)) <= 20
    assert len(notices(driver.log, NoticeKind.CONNECT_LIMIT)) == 1


def test_backoff_grows_to_its_cap_and_starts_anew_after_a_stable_link() -> None:
    driver = started(
        reconnect_base_seconds=0.25,
        reconnect_cap_seconds=30,
        stable_after_open_seconds=60,
        connects_per_minute_limit=1_000,
    )
    for attempt in range(20):
        driver.do(driver.session.link_failed(driver.connecting.pop(), "refused", driver.now))
        delay = notices(driver.log, NoticeKind.LINK_FAILED)[-1].retry_seconds
        assert delay is not None
        assert 0 <= delay <= min(30, 0.25 * 2**attempt)
        driver.pass_time(31, step=31)
    link_id = driver.accept()
    driver.pass_time(61)
    driver.do(driver.session.link_lost(link_id, "reset", driver.now))
    delay = notices(driver.log, NoticeKind.LINK_LOST)[-1].retry_seconds
    assert delay is not None
    assert delay <= 0.25


def test_a_renewed_link_goes_only_when_the_new_one_is_subscribed_and_delivers() -> None:
    driver = started(overlap_min_seconds=1, overlap_max_seconds=10)
    driver.do(driver.session.set_streams(wanted("a"), driver.now))
    old = driver.accept()
    driver.pass_time(5)
    assert opened(driver.do(driver.session.renew(driver.now)))
    assert not opened(driver.do(driver.session.renew(driver.now)))
    driver.pass_time(5)
    assert old in driver.servers
    new = driver.accept()
    driver.session.frame_seen(new, driver.now)
    driver.pass_time(0.1, with_replies=False)
    driver.pass_time(4)
    assert old in driver.servers, "the new link has delivered nothing since it was subscribed to everything"
    driver.session.frame_seen(new, driver.now)
    driver.pass_time(0.5)
    assert old not in driver.servers
    assert driver.servers[new].streams == {"a"}


def test_a_renewed_link_stays_while_its_successor_keeps_failing() -> None:
    driver = started(overlap_max_seconds=10)
    old = driver.accept()
    driver.do(driver.session.renew(driver.now))
    for _ in range(20):
        while driver.connecting:
            driver.do(driver.session.link_failed(driver.connecting.pop(), "refused", driver.now))
        driver.pass_time(5)
    assert list(driver.servers) == [old]
    new = driver.accept() if driver.connecting else None
    driver.pass_time(11)
    assert new is None or list(driver.servers) == [new]


def test_a_long_lived_link_that_is_renewed_clears_the_record_of_failures() -> None:
    driver = started(stable_after_open_seconds=60)
    driver.do(driver.session.link_failed(driver.connecting.pop(), "refused", driver.now))
    driver.pass_time(1)
    driver.accept()
    driver.pass_time(61)
    driver.do(driver.session.renew(driver.now))
    link_id = driver.accept()
    actions = driver.do(driver.session.server_close(link_id, 1001, "", driver.now))
    assert len(opened(actions)) == 1


# Liveness.


def test_a_link_that_falls_silent_is_pinged_and_then_replaced() -> None:
    driver = started(idle_before_ping_seconds=15, ping_reply_seconds=10)
    link_id = driver.accept()
    assert not [action for action in driver.pass_time(14, with_replies=False) if isinstance(action, SendPing)]
    assert [action for action in driver.pass_time(2, with_replies=False) if isinstance(action, SendPing)]
    actions = driver.pass_time(10, with_replies=False)
    assert notices(actions, NoticeKind.LINK_DEAD)
    assert DropLink(link_id) in actions
    assert len(opened(actions)) == 1


def test_a_pong_keeps_a_quiet_link_alive() -> None:
    driver = started()
    link_id = driver.accept()
    driver.pass_time(600)
    assert list(driver.servers) == [link_id]


def test_a_standstill_of_this_process_kills_no_link() -> None:
    driver = started(idle_before_ping_seconds=15, ping_reply_seconds=10)
    link_id = driver.accept()
    driver.pass_time(16, with_replies=False)
    driver.now += 60
    driver.do(driver.session.tick(driver.now))
    assert link_id in driver.servers
    driver.pass_time(11, with_replies=False)
    assert link_id not in driver.servers


def test_paused_reading_kills_no_link_and_resuming_starts_every_wait_anew() -> None:
    driver = started()
    driver.do(driver.session.set_streams(wanted("a"), driver.now))
    link_id = driver.accept()
    driver.do(driver.session.reading_paused(driver.now))
    driver.pass_time(300, with_replies=False, step=300)
    driver.do(driver.session.reading_resumed(driver.now))
    driver.pass_time(1)
    assert list(driver.servers) == [link_id]
    assert not notices(driver.log, NoticeKind.LINK_DEAD)
    assert not notices(driver.log, NoticeKind.BARRIER_UNANSWERED)


def test_a_closing_link_is_not_dropped_as_soon_as_it_is_read_again() -> None:
    driver = started(server_grace_seconds=30, server_grace_margin_seconds=5)
    link_id = driver.accept()
    driver.do(driver.session.server_close(link_id, 1001, "", driver.now))
    driver.do(driver.session.reading_paused(driver.now))
    driver.pass_time(100, step=100)
    driver.do(driver.session.reading_resumed(driver.now))
    assert link_id in driver.servers, "what arrived meanwhile is still to be read"
    driver.pass_time(6)
    assert link_id not in driver.servers


# Silence.


def test_a_silent_stream_is_subscribed_anew_and_told_once_until_it_recovers() -> None:
    driver = started()
    streams = {"ticker.X": Expectation(30, 60), "depth.X": MAY_STAY_QUIET}
    driver.do(driver.session.set_streams(streams, driver.now))
    driver.accept()
    driver.pass_time(1)
    last_seen = {"ticker.X": driver.now}
    driver.pass_time(29)
    assert driver.do(driver.session.check_silence(driver.now, last_seen)) == []
    driver.pass_time(2)
    mark = len(driver.log)
    for _ in range(20):
        driver.do(driver.session.check_silence(driver.now, last_seen))
        driver.pass_time(5)
    told = notices(driver.log[mark:], NoticeKind.STREAM_SILENT)
    assert [(notice.stream, notice.never_delivered) for notice in told] == [("ticker.X", False)]
    assert driver.session.silent_streams == {"ticker.X"}
    requests = [json.loads(action.text) for action in driver.log[mark:] if isinstance(action, SendText)]
    assert requests == [
        {"method": "UNSUBSCRIBE", "params": ["ticker.X"]},
        {"method": "SUBSCRIBE", "params": ["ticker.X"]},
    ]
    last_seen["ticker.X"] = driver.now
    actions = driver.do(driver.session.check_silence(driver.now, last_seen))
    assert [notice.stream for notice in notices(actions, NoticeKind.STREAM_RECOVERED)] == ["ticker.X"]
    assert driver.session.silent_streams == frozenset()


def test_a_stream_that_never_delivers_is_told_of() -> None:
    driver = started()
    driver.do(driver.session.set_streams({"depth.NOPE": Expectation(None, 60)}, driver.now))
    driver.accept()
    driver.pass_time(59)
    assert not driver.session.check_silence(driver.now, {})
    driver.pass_time(3)
    (notice,) = notices(driver.session.check_silence(driver.now, {}), NoticeKind.STREAM_SILENT)
    assert notice.never_delivered is True


def test_a_rejected_stream_is_not_called_silent() -> None:
    driver = started(bad=frozenset({"depth.NOPE"}))
    driver.do(driver.session.set_streams({"depth.NOPE": Expectation(None, 60)}, driver.now))
    driver.accept()
    driver.pass_time(100)
    assert driver.session.rejected_streams == {"depth.NOPE"}
    assert driver.session.check_silence(driver.now, {}) == []


def test_nothing_is_silent_while_nothing_is_connected_or_read() -> None:
    driver = started(reconnect_cap_seconds=1, reconnect_base_seconds=1)
    driver.do(driver.session.set_streams({"ticker.X": Expectation(30, 60)}, driver.now))
    link_id = driver.accept()
    driver.pass_time(1)
    last_seen = {"ticker.X": driver.now}
    driver.do(driver.session.link_lost(link_id, "reset", driver.now))
    driver.pass_time(300)
    assert not notices(driver.session.check_silence(driver.now, last_seen), NoticeKind.STREAM_SILENT)
    driver.accept()
    driver.pass_time(20)
    assert not notices(driver.session.check_silence(driver.now, last_seen), NoticeKind.STREAM_SILENT)
    driver.do(driver.session.reading_paused(driver.now))
    driver.pass_time(300, step=300)
    assert not driver.session.check_silence(driver.now, last_seen)
    driver.do(driver.session.reading_resumed(driver.now))
    assert not notices(driver.session.check_silence(driver.now, last_seen), NoticeKind.STREAM_SILENT)
    driver.pass_time(31)
    assert notices(driver.session.check_silence(driver.now, last_seen), NoticeKind.STREAM_SILENT)


# The rest.


def test_stop_closes_everything_for_good() -> None:
    driver = started(connections=2)
    link_id = driver.accept()
    actions = driver.do(driver.session.stop(driver.now))
    assert SendClose(link_id) in actions
    assert len([action for action in actions if isinstance(action, DropLink)]) == 2
    assert driver.session.next_deadline() is None
    assert driver.session.tick(driver.now + 1_000) == []
    assert driver.session.link_opened(2, driver.now) == []


@pytest.mark.parametrize(
    "numbers",
    [
        {"connections": 3},
        {"connections": 0},
        {"subscribe_batch_streams": 0},
        {"idle_before_ping_seconds": -1.0},
        {"overlap_min_seconds": 11.0},
        {"reconnect_cap_seconds": 0.1},
    ],
)
def test_settings_out_of_range_are_refused(numbers: dict[str, float]) -> None:
    with pytest.raises(UsageError):
        SessionSettings(**numbers)  # type: ignore[arg-type]  # wrong on purpose


STREAMS = [f"depth.S{number}_USDC" for number in range(12)]


class SessionMachine(RuleBasedStateMachine):
    """Any order of events, then a fair world in which everything wanted must come true."""

    @initialize(
        connections=st.integers(1, 2),
        bad=st.frozensets(st.sampled_from(STREAMS), max_size=4),
        batch=st.integers(1, 5),
        ahead=st.integers(1, 3),
    )
    def begin(self, connections: int, bad: frozenset[str], batch: int, ahead: int) -> None:
        self.numbers = SessionSettings(
            connections=connections,
            subscribe_batch_streams=batch,
            outstanding_batches=ahead,
            reconnect_cap_seconds=5.0,
            rejected_retry_seconds=10_000.0,
        )
        self.streams: set[str] = set()
        self.closing: set[int] = set()
        self.is_paused = False
        self.driver = Driver(Session(self.numbers, rng=random.Random(1)), bad)
        self.driver.do(self.driver.session.start(self.driver.now))
        self.driver.accept()

    @rule(streams=st.sets(st.sampled_from(STREAMS)))
    def choose_streams(self, streams: set[str]) -> None:
        self.streams = streams
        self.driver.do(self.driver.session.set_streams(wanted(*streams), self.driver.now))

    @rule(streams=st.sets(st.sampled_from(STREAMS), max_size=3))
    def toggle_streams(self, streams: set[str]) -> None:
        self.choose_streams(self.streams ^ streams)

    @precondition(lambda self: self.driver.connecting)
    @rule(is_good=st.booleans())
    def end_connecting(self, is_good: bool) -> None:
        if is_good:
            self.driver.accept()
        else:
            link_id = self.driver.connecting.pop(0)
            self.driver.do(self.driver.session.link_failed(link_id, "refused", self.driver.now))

    @precondition(lambda self: self.driver.servers)
    @rule(data=st.data(), event=st.sampled_from(["lost", "close", "data", "error", "pong"]))
    def link_event(self, data: st.DataObject, event: str) -> None:
        driver, session = self.driver, self.driver.session
        link_id = data.draw(st.sampled_from(sorted(driver.servers)))
        if event == "lost":
            del driver.servers[link_id]
            driver.do(session.link_lost(link_id, "reset", driver.now))
        elif event == "close":
            self.closing.add(link_id)
            driver.do(session.server_close(link_id, 1001, "", driver.now))
        elif event == "data":
            session.frame_seen(link_id, driver.now)
        elif event == "error":
            driver.do(session.error_frame(link_id, 4002, "Parse error", driver.now))
        else:
            driver.do(session.pong(link_id, b"of nobody", driver.now))

    @precondition(lambda self: any(server.replies for server in self.driver.servers.values()))
    @rule(data=st.data())
    def server_replies(self, data: st.DataObject) -> None:
        waiting = sorted(link_id for link_id, server in self.driver.servers.items() if server.replies)
        self.driver.reply(data.draw(st.sampled_from(waiting)))

    @rule(unknown=st.integers(-5, 0), event=st.integers(0, 6))
    def event_of_no_link(self, unknown: int, event: int) -> None:
        session, now = self.driver.session, self.driver.now
        session.frame_seen(unknown, now)
        session.heard(unknown, now)
        calls = (
            lambda: session.link_opened(unknown, now),
            lambda: session.link_failed(unknown, "?", now),
            lambda: session.link_lost(unknown, "?", now),
            lambda: session.server_close(unknown, 1000, "?", now),
            lambda: session.pong(unknown, b"?", now),
            lambda: session.error_frame(unknown, 4006, "?", now),
            list,
        )
        assert calls[event]() == []

    @rule()
    def renew(self) -> None:
        self.driver.do(self.driver.session.renew(self.driver.now))

    @rule()
    def toggle_reading(self) -> None:
        session, now = self.driver.session, self.driver.now
        self.driver.do(session.reading_resumed(now) if self.is_paused else session.reading_paused(now))
        self.is_paused = not self.is_paused

    @rule(seconds=st.sampled_from([0.01, 0.3, 3.0, 20.0, 70.0]))
    def wait(self, seconds: float) -> None:
        self.driver.pass_time(seconds, with_replies=False, step=seconds)

    @rule(silent=st.booleans())
    def look_for_silence(self, silent: bool) -> None:
        last_seen = {} if silent else dict.fromkeys(STREAMS, self.driver.now)
        self.driver.do(self.driver.session.check_silence(self.driver.now, last_seen))

    @invariant()
    def links_are_bounded(self) -> None:
        if not hasattr(self, "driver"):
            return
        draining_limit = self.numbers.draining_links_limit
        assert len(self.driver.connecting) <= self.numbers.connections
        assert len(self.driver.servers) <= self.numbers.connections + draining_limit
        assert len(self.driver.servers) == self.driver.session.open_links

    @invariant()
    def time_moves_on(self) -> None:
        if not hasattr(self, "driver"):
            return
        session, now = self.driver.session, self.driver.now
        for _ in range(3):
            deadline = session.next_deadline()
            if deadline is None or deadline > now:
                return
            self.driver.do(session.tick(now))
        raise AssertionError("ticks due now never end")

    def teardown(self) -> None:
        if not hasattr(self, "driver"):
            return
        driver = self.driver
        if self.is_paused:
            driver.do(driver.session.reading_resumed(driver.now))
        for _ in range(150):
            while driver.connecting:
                driver.accept()
            for link_id in list(driver.servers):
                driver.session.frame_seen(link_id, driver.now)
            driver.pass_time(1)
        assert len(driver.servers) == self.numbers.connections
        for server in driver.servers.values():
            assert server.streams == self.streams - driver.session.rejected_streams
        # A stray error of another request may hit the same stream twice, and it then waits for its retry.
        assert driver.session.rejected_streams >= self.streams & driver.bad
        for link_id in list(driver.servers):
            driver.do(driver.session.stop(driver.now))
            assert link_id not in driver.servers


TestSessionMachine = SessionMachine.TestCase
TestSessionMachine.settings = hypothesis_settings(max_examples=80, stateful_step_count=40, deadline=None)
