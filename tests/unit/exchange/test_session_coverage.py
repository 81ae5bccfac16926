"""What the session reports about delivery: from when until when each stream is active on which socket, and what proves it."""

import pytest

from backpack_streams.exchange.session_actions import NoticeKind, SendPing, SocketProven, StreamsActive, StreamsInactive
from unit.exchange.session_driver import Driver, coverage, notices, started, wanted


def proofs(driver: Driver, mark: int = 0) -> list[SocketProven]:
    return [action for action in driver.log[mark:] if isinstance(action, SocketProven)]


def test_a_stream_is_active_from_the_pong_after_its_subscription() -> None:
    driver = started(streams=["a", "b"])
    socket_id = driver.accept()
    driver.now += 0.4
    assert driver.session.confirmed_streams == frozenset(), "an open socket proves nothing"
    driver.session.frame_seen(socket_id, driver.now)
    assert driver.session.confirmed_streams == frozenset(), "nor does a frame"
    driver.reply_all()
    assert coverage(driver.log) == [StreamsActive(("a", "b"), socket_id, 1_000.4)]
    assert driver.session.confirmed_streams == {"a", "b"}


def test_a_socket_is_proven_until_its_newest_answered_ping_was_sent() -> None:
    driver = started(streams=["a"])
    socket_id = driver.accept()
    driver.pass_time(3, with_replies=False)
    pings = [action for action in driver.log if isinstance(action, SendPing)]
    assert len(pings) == 4
    driver.servers[socket_id].confirmed = frozenset({"a"})
    driver.do(driver.session.pong(socket_id, pings[2].payload, driver.now))
    assert proofs(driver) == [SocketProven(socket_id, 1_002.0)]
    driver.do(driver.session.pong(socket_id, pings[0].payload, driver.now))
    driver.do(driver.session.pong(socket_id, pings[2].payload, driver.now))
    driver.do(driver.session.pong(socket_id, b"nobody's", driver.now))
    assert proofs(driver) == [SocketProven(socket_id, 1_002.0)], "it never goes back, nor on by a Pong to no Ping"
    assert driver.session.confirmed_streams == {"a"}
    driver.pass_time(60)
    assert len(proofs(driver)) >= 60, "every second"


def test_a_lost_socket_covers_until_its_last_proof() -> None:
    driver = started(streams=["a"])
    socket_id = driver.accept()
    driver.pass_time(10)
    driver.pass_time(3.5, with_replies=False)
    assert coverage(driver.lose(socket_id)) == [StreamsInactive(("a",), socket_id, 1_009.0, "DISCONNECTED")]


def test_a_stream_lost_at_once_ends_where_it_began() -> None:
    driver = started(streams=["a"])
    socket_id = driver.accept()
    driver.pass_time(10)
    driver.want(wanted("a", "b"))
    driver.now += 0.3
    driver.reply_all()
    assert coverage(driver.lose(socket_id)) == [
        StreamsInactive(("a",), socket_id, 1_010.0, "DISCONNECTED"),
        StreamsInactive(("b",), socket_id, 1_010.3, "DISCONNECTED"),
    ]


def test_a_dead_socket_covers_until_its_last_proof() -> None:
    driver = started(streams=["a"])
    socket_id = driver.accept()
    driver.pass_time(10)
    actions = driver.pass_time(15, with_replies=False)
    assert notices(actions, NoticeKind.SOCKET_DEAD)
    assert coverage(actions) == [StreamsInactive(("a",), socket_id, 1_009.0, "DISCONNECTED")]


def test_a_dropped_stream_covers_until_the_last_proof_of_its_socket() -> None:
    driver = started(streams=["a", "b"])
    socket_id = driver.accept()
    driver.pass_time(10)
    actions = driver.want(wanted("b"))
    assert coverage(actions) == [StreamsInactive(("a",), socket_id, 1_009.0, "UNSUBSCRIBED")]


def test_a_stopped_session_covers_until_its_last_proof() -> None:
    driver = started(streams=["a"])
    socket_id = driver.accept()
    driver.pass_time(10)
    actions = driver.do(driver.session.stop(driver.now))
    assert coverage(actions) == [StreamsInactive(("a",), socket_id, 1_009.0, "DISCONNECTED")]


def test_a_stream_rejected_later_ends_as_refused() -> None:
    driver = started(streams=["a", "b"])
    socket_id = driver.accept()
    driver.pass_time(10)
    driver.servers[socket_id].bad = frozenset({"a"})
    driver.session._pool.sockets[socket_id].subscriptions.ask_again("a")
    actions = driver.pass_time(5)
    assert [(event.streams, event.cause) for event in coverage(actions) if isinstance(event, StreamsInactive)] == [
        (("a",), "REFUSED")
    ]
    assert driver.session.rejected_streams == {"a"}


@pytest.mark.parametrize("delivers", [True, False])
def test_a_closing_server_covers_as_long_as_it_delivers(delivers: bool) -> None:
    """A server that had announced its close and delivered nothing more used to count as delivering for 35 s."""
    driver = started(streams=["a"])
    socket_id = driver.accept()
    for _ in range(20):
        driver.session.frame_seen(socket_id, driver.now)
        driver.pass_time(0.5)
    closed_at = driver.now
    driver.do(driver.session.server_close(socket_id, 1001, "bye", driver.now))
    for _ in range(29 * 2):
        while driver.connecting:
            driver.refuse()
        if delivers:
            driver.session.frame_seen(socket_id, driver.now)
        driver.pass_time(0.5)
    through = driver.ledger.through[socket_id]
    if delivers:
        assert through == pytest.approx(closed_at + 28, abs=1.1)
        driver.pass_time(1)
    else:
        assert through <= closed_at
    (gone,) = coverage(driver.lose(socket_id))
    assert isinstance(gone, StreamsInactive)
    assert gone.through == driver.ledger.through[socket_id]


def test_a_close_with_grace_leaves_no_gap() -> None:
    driver = started(streams=["a"])
    old = driver.accept()
    for _ in range(10):
        driver.session.frame_seen(old, driver.now)
        driver.pass_time(1)
    driver.do(driver.session.server_close(old, 1001, "bye", driver.now))
    driver.pass_time(2, with_replies=False)
    new = driver.accept()
    for _ in range(10):
        driver.session.frame_seen(old, driver.now)
        driver.pass_time(1)
    assert driver.ledger.active[new]["a"] <= driver.ledger.through[old]


def test_a_subscription_confirmed_on_a_closing_socket_does_not_count() -> None:
    driver = started(streams=["a"])
    socket_id = driver.accept()
    driver.do(driver.session.server_close(socket_id, 1001, "bye", driver.now))
    driver.pass_time(5)
    assert driver.session.confirmed_streams == frozenset()


def test_a_renewal_overlaps() -> None:
    driver = started(streams=["a", "b"], overlap_min_seconds=1)
    old = driver.accept()
    driver.pass_time(10)
    driver.do(driver.session.renew(driver.now))
    new = driver.accept()
    actions = driver.pass_time(5)
    assert old not in driver.servers
    gone = [event for event in coverage(actions) if isinstance(event, StreamsInactive)]
    assert [event.streams for event in gone] == [("a", "b")]
    assert max(driver.ledger.active[new].values()) <= gone[0].through


def test_a_socket_stays_until_its_own_proof_reaches_its_successor() -> None:
    driver = started(streams=["a"], overlap_max_seconds=60)
    old = driver.accept()
    driver.pass_time(10)
    driver.do(driver.session.renew(driver.now))
    new = driver.accept()
    for _ in range(20):
        driver.session.frame_seen(old, driver.now)
        driver.pass_time(1, with_replies=False)
        while driver.servers[new].replies:
            driver.reply(new)
    assert old in driver.servers
    driver.pass_time(1)
    assert old not in driver.servers


def test_without_pongs_nothing_is_ever_active_and_that_is_reported() -> None:
    driver = started(streams=["a"], barrier_timeout_seconds=30)
    socket_id = driver.accept()
    driver.servers[socket_id].answers_pings = False
    driver.servers[socket_id].replies.clear()
    for _ in range(60):
        driver.session.frame_seen(socket_id, driver.now)
        driver.pass_time(1)
    assert coverage(driver.log) == []
    assert len(notices(driver.log, NoticeKind.BARRIER_UNANSWERED)) == 1


def test_two_sockets_report_separately() -> None:
    driver = started(streams=["a"], connections=2)
    first, second = driver.accept(), driver.accept()
    driver.pass_time(5)
    assert driver.ledger.active.keys() == {first, second}
    driver.lose(first)
    assert driver.session.confirmed_streams == {"a"}
    driver.lose(second)
    assert driver.session.confirmed_streams == frozenset()


def test_paused_reading_proves_nothing_and_ends_nothing() -> None:
    driver = started(streams=["a"])
    socket_id = driver.accept()
    driver.pass_time(5)
    through = driver.ledger.through[socket_id]
    driver.do(driver.session.reading_paused(driver.now))
    driver.pass_time(100, with_replies=False, step=100)
    assert driver.session.confirmed_streams == {"a"}
    assert driver.ledger.through[socket_id] == through
    driver.do(driver.session.reading_resumed(driver.now))
    driver.pass_time(2)
    assert driver.ledger.through[socket_id] >= driver.now - 2
