"""How the session tells a dead socket from a quiet one, and how long it waits."""

from backpack_streams.exchange.session_actions import DropSocket, NoticeKind, SendPing
from unit.exchange.session_driver import notices, opened, started, wanted


def test_a_ping_is_sent_every_second_whatever_else_arrives() -> None:
    driver = started(streams=["a"])
    socket_id = driver.accept()
    for _ in range(100):
        driver.session.frame_seen(socket_id, driver.now)
        driver.pass_time(0.1, step=0.1)
    pings = [action for action in driver.log if isinstance(action, SendPing)]
    assert 10 <= len(pings) <= 11
    assert len({ping.payload for ping in pings}) == len(pings), "a Pong must name its Ping"


def test_a_socket_that_answers_no_ping_gets_a_successor_and_is_then_dropped() -> None:
    driver = started(streams=["a"], ping_reply_seconds=10)
    socket_id = driver.accept()
    driver.pass_time(3)
    assert not opened(driver.pass_time(4.5, with_replies=False))
    actions = driver.pass_time(1, with_replies=False)
    assert len(opened(actions)) == 1, "the successor comes before the old one goes"
    assert notices(actions, NoticeKind.SOCKET_RENEWAL)
    assert socket_id in driver.servers
    actions = driver.pass_time(5, with_replies=False)
    assert notices(actions, NoticeKind.SOCKET_DEAD)
    assert DropSocket(socket_id) in actions
    assert not opened(actions)


def test_data_without_pongs_keeps_a_socket_and_proves_nothing() -> None:
    driver = started(streams=["a"], barrier_timeout_seconds=30)
    socket_id = driver.accept()
    driver.servers[socket_id].answers_pings = False
    driver.servers[socket_id].replies.clear()
    for _ in range(200):
        driver.session.frame_seen(socket_id, driver.now)
        driver.pass_time(1)
    assert socket_id in driver.servers
    assert driver.session.confirmed_streams == frozenset()
    assert driver.ledger.through == {}
    assert len(notices(driver.log, NoticeKind.BARRIER_UNANSWERED)) == 1
    assert len(notices(driver.log, NoticeKind.SOCKET_RENEWAL)) == 1


def test_a_pong_keeps_a_quiet_socket_alive() -> None:
    driver = started()
    socket_id = driver.accept()
    driver.pass_time(600)
    assert list(driver.servers) == [socket_id]


def test_a_stall_of_this_process_drops_no_socket() -> None:
    driver = started(ping_reply_seconds=10)
    socket_id = driver.accept()
    driver.pass_time(8, with_replies=False)
    driver.now += 60
    driver.do(driver.session.tick(driver.now))
    assert socket_id in driver.servers
    driver.pass_time(9, with_replies=False)
    assert socket_id in driver.servers
    driver.pass_time(3, with_replies=False)
    assert socket_id not in driver.servers


def test_paused_reading_drops_no_socket_and_resuming_restarts_every_wait() -> None:
    driver = started()
    driver.want(wanted("a"))
    socket_id = driver.accept()
    driver.do(driver.session.reading_paused(driver.now))
    driver.pass_time(300, with_replies=False, step=300)
    driver.do(driver.session.reading_resumed(driver.now))
    driver.pass_time(1)
    assert list(driver.servers) == [socket_id]
    assert not notices(driver.log, NoticeKind.SOCKET_DEAD)
    assert not notices(driver.log, NoticeKind.BARRIER_UNANSWERED)


def test_a_closing_socket_is_not_dropped_as_soon_as_reading_resumes() -> None:
    driver = started(server_grace_seconds=30, server_grace_margin_seconds=5)
    socket_id = driver.accept()
    driver.do(driver.session.server_close(socket_id, 1001, "", driver.now))
    driver.do(driver.session.reading_paused(driver.now))
    driver.pass_time(100, step=100)
    driver.do(driver.session.reading_resumed(driver.now))
    assert socket_id in driver.servers, "what arrived meanwhile is still to be read"
    driver.pass_time(6)
    assert socket_id not in driver.servers
