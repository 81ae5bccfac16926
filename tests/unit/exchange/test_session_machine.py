"""The session under any order of events, then with well-behaved servers until every wanted stream is active."""

import random

from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from backpack_streams.exchange.session import Session
from backpack_streams.exchange.session_settings import MAY_STAY_QUIET, Expectation, SessionSettings
from unit.exchange.session_driver import INVALID, TROUBLE, Driver, ServerSide

STREAMS = [f"depth.S{number}_USDC" for number in range(8)] + [f"ticker.S{number}_USDC" for number in range(4)]
EXPECTATIONS = {
    name: Expectation(30, 60)
    if name.startswith("ticker")
    else Expectation(None, 60)
    if "S0" in name
    else MAY_STAY_QUIET
    for name in STREAMS
}


class SessionMachine(RuleBasedStateMachine):
    """The driver's ledger checks: a stream is reported active only on an existing socket whose barrier came back without an error, and
    whose server took the stream if any wanted stream would show that it did not; reports alternate; no proof goes back or ahead of the
    clock."""

    @initialize(
        connections=st.integers(1, 2),
        bad=st.frozensets(st.sampled_from(STREAMS), max_size=4),
        batch=st.integers(1, 5),
        ahead=st.integers(1, 3),
        ignores=st.booleans(),
    )
    def begin(self, connections: int, bad: frozenset[str], batch: int, ahead: int, ignores: bool) -> None:
        self.numbers = SessionSettings(
            connections=connections,
            subscribe_batch_streams=batch,
            outstanding_batches=ahead,
            reconnect_cap_seconds=5.0,
            rejected_base_seconds=10_000.0,
            rejected_retry_seconds=10_000.0,
        )
        self.bad = bad
        self.streams: set[str] = set()
        self.is_paused = False
        self.driver = Driver(Session(self.numbers, rng=random.Random(1)), bad)
        self.driver.keeps_order = True
        self.driver.ticking = {name for name in STREAMS if name.startswith("ticker")}
        self.driver.do(self.driver.session.start(self.driver.now))
        self.accept(ignores)

    def accept(self, ignores: bool) -> None:
        """A server that ignores SUBSCRIBEs does so from its start until it heeds them for good."""
        self.driver.make_server = lambda: ServerSide(self.bad, ignores=ignores)
        self.driver.accept()
        self.driver.make_server = lambda: ServerSide(self.bad)

    @rule(streams=st.sets(st.sampled_from(STREAMS)))
    def choose_streams(self, streams: set[str]) -> None:
        self.streams = streams
        expectations = {name: EXPECTATIONS[name] for name in sorted(streams)}
        self.driver.want(expectations)

    @rule(streams=st.sets(st.sampled_from(STREAMS), max_size=3))
    def toggle_streams(self, streams: set[str]) -> None:
        self.choose_streams(self.streams ^ streams)

    @precondition(lambda self: self.driver.connecting)
    @rule(is_good=st.booleans(), ignores=st.booleans())
    def end_connecting(self, is_good: bool, ignores: bool) -> None:
        if is_good:
            self.accept(ignores)
        else:
            self.driver.refuse()

    def one_of_the_sockets(self, data: st.DataObject) -> int:
        return data.draw(st.sampled_from(sorted(self.driver.servers)))

    @precondition(lambda self: self.driver.servers)
    @rule(data=st.data(), event=st.sampled_from(["lost", "close", "data", "error", "pong"]))
    def socket_event(self, data: st.DataObject, event: str) -> None:
        driver, session = self.driver, self.driver.session
        socket_id = self.one_of_the_sockets(data)
        if event == "lost":
            driver.lose(socket_id)
        elif event == "close":
            driver.do(session.server_close(socket_id, 1001, "", driver.now))
        elif event == "data":
            if driver.servers[socket_id].streams:
                driver.send_data(socket_id, set())
        elif event == "error":
            driver.do(
                session.error_frame(
                    socket_id, *data.draw(st.sampled_from([(4002, "Parse error"), INVALID])), driver.now
                )
            )
        else:
            driver.do(session.pong(socket_id, b"of nobody", driver.now))

    @precondition(lambda self: self.driver.servers)
    @rule(data=st.data(), mood=st.sampled_from(["trouble", "mute", "deaf", "well"]))
    def server_mood(self, data: st.DataObject, mood: str) -> None:
        server = self.driver.servers[self.one_of_the_sockets(data)]
        server.trouble = TROUBLE if mood == "trouble" else None
        server.answers_pings = mood != "mute"
        server.deaf = set(STREAMS[::2]) if mood == "deaf" else set()

    @precondition(lambda self: any(server.ignores for server in self.driver.servers.values()))
    @rule(data=st.data())
    def server_heeds(self, data: st.DataObject) -> None:
        ignoring = sorted(socket_id for socket_id, server in self.driver.servers.items() if server.ignores)
        self.driver.servers[data.draw(st.sampled_from(ignoring))].ignores = False

    @precondition(lambda self: any(server.replies for server in self.driver.servers.values()))
    @rule(data=st.data(), everything=st.booleans())
    def server_replies(self, data: st.DataObject, everything: bool) -> None:
        waiting = sorted(socket_id for socket_id, server in self.driver.servers.items() if server.replies)
        socket_id = data.draw(st.sampled_from(waiting))
        self.driver.reply(socket_id)
        while everything and socket_id in self.driver.servers and self.driver.servers[socket_id].replies:
            self.driver.reply(socket_id)

    @rule(unknown=st.integers(-5, 0), event=st.integers(0, 6))
    def event_of_no_socket(self, unknown: int, event: int) -> None:
        session, now = self.driver.session, self.driver.now
        session.frame_seen(unknown, now)
        session.heard(unknown, now)
        calls = (
            lambda: session.socket_opened(unknown, now),
            lambda: session.socket_failed(unknown, "?", now),
            lambda: session.socket_lost(unknown, "?", now),
            lambda: session.server_close(unknown, 1000, "?", now),
            lambda: session.pong(unknown, b"1", now),
            lambda: session.error_frame(unknown, 4006, "?", now),
            list,
        )
        assert calls[event]() == [] or event == 5

    @rule()
    def renew(self) -> None:
        self.driver.do(self.driver.session.renew(self.driver.now))

    @rule(streams=st.sets(st.sampled_from(STREAMS), max_size=3))
    def doubt(self, streams: set[str]) -> None:
        session = self.driver.session
        self.driver.do(session.doubt(sorted(streams), "why", self.driver.now))
        assert session.confirmed_streams.isdisjoint(streams)

    @rule(stream=st.sampled_from(STREAMS))
    def frame_of_a_stream(self, stream: str) -> None:
        self.driver.do(self.driver.session.unwanted(stream, self.driver.now))

    @rule()
    def toggle_reading(self) -> None:
        session, now = self.driver.session, self.driver.now
        self.driver.do(session.reading_resumed(now) if self.is_paused else session.reading_paused(now))
        self.is_paused = not self.is_paused

    @rule(seconds=st.sampled_from([0.01, 0.3, 3.0, 20.0, 70.0]), with_replies=st.booleans(), checks=st.booleans())
    def wait(self, seconds: float, with_replies: bool, checks: bool) -> None:
        self.driver.checks_silence = checks
        with_replies = with_replies and not self.is_paused
        self.driver.pass_time(seconds, with_replies=with_replies, step=1.0 if checks or with_replies else seconds)

    @rule(seconds=st.sampled_from([2.5, 100.0]))
    def stand_still(self, seconds: float) -> None:
        self.driver.now += seconds
        self.driver.do(self.driver.session.tick(self.driver.now))

    @invariant()
    def sockets_are_bounded(self) -> None:
        if not hasattr(self, "driver"):
            return
        draining_limit = self.numbers.draining_sockets_limit
        assert len(self.driver.connecting) <= self.numbers.connections
        assert len(self.driver.servers) <= self.numbers.connections + draining_limit
        assert len(self.driver.servers) == self.driver.session.open_sockets

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
        for server in driver.servers.values():
            server.trouble, server.answers_pings, server.deaf, server.ignores = None, True, set(), False
        shown = driver.shows_ignored()
        for socket_id, server in list(driver.servers.items()):
            if server.is_excused or (server.unheard and not shown):
                driver.lose(socket_id)  # nothing can have shown what it ignored
        driver.checks_silence = True
        driver.pass_time(1_000, accepts=True)  # the longest wait for a new subscription is 900 s
        if len(driver.servers) > self.numbers.connections:
            self.lose_sockets_kept_for_a_refused_stream()
        for name in sorted(set(STREAMS) - self.streams):  # a refused UNSUBSCRIBE shows in unwanted frames
            driver.do(driver.session.unwanted(name, driver.now))
        driver.pass_time(5)
        assert len(driver.servers) == self.numbers.connections
        rejected = driver.session.rejected_streams
        for socket_id, server in driver.servers.items():
            # A stream that one connection considers rejected stays on the other one if it is confirmed there.
            assert server.streams - rejected == self.streams - rejected
            assert driver.ledger.active.get(socket_id, {}).keys() == server.streams
            assert driver.ledger.through[socket_id] >= driver.now - 1.1
        # A stray 4006 of another request may hit the same stream twice; the stream then waits for its retry.
        assert rejected >= self.streams & self.bad
        driver.do(driver.session.stop(driver.now))
        assert driver.servers == {}
        assert driver.ledger.streams == set()

    def lose_sockets_kept_for_a_refused_stream(self) -> None:
        """An old socket stays until its successor has all its streams. A stray 4006 of another request may prevent that."""
        rejected = self.driver.session.rejected_streams
        for socket_id, active in list(self.driver.ledger.active.items()):
            if socket_id in self.driver.servers and active.keys() & rejected:
                self.driver.lose(socket_id)
        self.driver.pass_time(100, accepts=True)


TestSessionMachine = SessionMachine.TestCase
TestSessionMachine.settings = hypothesis_settings(max_examples=50, stateful_step_count=40, deadline=None)
