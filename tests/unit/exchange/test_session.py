"""The WebSocket session: what it subscribes to, and how it opens and replaces its sockets."""

import json

import pytest

from backpack_streams.errors import UsageError
from backpack_streams.exchange.session_actions import (
    DropSocket,
    Notice,
    NoticeKind,
    SendClose,
    SendPing,
    SendText,
    SocketProven,
)
from backpack_streams.exchange.session_settings import SessionSettings
from unit.exchange.session_driver import notices, opened, requests, started, wanted

# Subscribing.


def test_subscribes_in_batches_with_space_between() -> None:
    driver = started(subscribe_batch_streams=100, subscribe_spacing_seconds=0.05, outstanding_batches=9)
    names = [f"depth.S{number}" for number in range(250)]
    driver.want(wanted(*names))
    socket_id = driver.accept()
    sent_at = []
    for _ in range(200):
        before = len([action for action in driver.log if isinstance(action, SendText)])
        driver.pass_time(0.01, with_replies=False, step=0.01)
        after = len([action for action in driver.log if isinstance(action, SendText)])
        sent_at += [driver.now] * (after - before)
    texts = [action for action in driver.log if isinstance(action, SendText)]
    assert [len(json.loads(text.text)["params"]) for text in texts] == [100, 100, 50]
    assert all(text.socket_id == socket_id for text in texts)
    assert sent_at[1] - sent_at[0] >= 0.04
    assert driver.servers[socket_id].streams == set(names)


def test_waits_for_pongs_once_enough_batches_are_outstanding() -> None:
    driver = started(subscribe_batch_streams=1, outstanding_batches=2, barrier_timeout_seconds=30)
    driver.want(wanted("a", "b", "c"))
    socket_id = driver.accept()
    driver.pass_time(5, with_replies=False)
    assert driver.servers[socket_id].streams == {"a", "b"}
    driver.pass_time(1)
    assert driver.servers[socket_id].streams == {"a", "b", "c"}


def test_sends_only_the_difference() -> None:
    driver = started()
    driver.want(wanted("a", "b"))
    socket_id = driver.accept()
    driver.pass_time(1)
    mark = len(driver.log)
    driver.want(wanted("b", "c"))
    driver.pass_time(1)
    assert requests(driver.log[mark:]) == [("UNSUBSCRIBE", ["a"]), ("SUBSCRIBE", ["c"])]
    assert driver.servers[socket_id].streams == {"b", "c"}


def test_an_unsubscribe_is_repeated_if_its_stream_still_delivers_but_not_for_each_frame() -> None:
    driver = started(streams=["a", "b"])
    socket_id = driver.accept()
    driver.pass_time(1)
    driver.want(wanted("b"))
    driver.pass_time(1)
    mark = len(driver.log)
    driver.servers[socket_id].streams.add("a")
    for _ in range(1_000):
        driver.do(driver.session.unwanted("a", driver.now))
        driver.do(driver.session.unwanted("b", driver.now))
        driver.pass_time(0.1)
    assert requests(driver.log[mark:]) == [("UNSUBSCRIBE", ["a"])] * 3
    assert driver.servers[socket_id].streams == {"b"}
    driver.want(wanted("a", "b"))
    driver.pass_time(1)
    assert driver.session.confirmed_streams == {"a", "b"}


def test_unsubscribes_of_unknown_streams_are_bounded() -> None:
    driver = started()
    driver.accept()
    for number in range(20_000):
        driver.do(driver.session.unwanted(f"depth.X{number}", driver.now))
    driver.pass_time(20)
    names = [name for _, names in requests(driver.log) for name in names]
    assert len(names) == len(set(names)) == 10_000


# Sockets.


def test_server_close_opens_a_new_socket_at_once_and_keeps_the_old_one() -> None:
    driver = started()
    driver.want(wanted("a"))
    old = driver.accept()
    driver.pass_time(100)
    actions = driver.do(driver.session.server_close(old, 1001, "bye", driver.now))
    assert len(opened(actions)) == 1
    assert driver.session.open_sockets == 1
    new = driver.accept()
    driver.pass_time(30)
    assert driver.servers[new].streams == {"a"}
    assert old in driver.servers
    assert not [action for action in driver.log if isinstance(action, SendClose | DropSocket)]
    driver.do(driver.session.socket_lost(old, "the connection ended", driver.now))
    assert not notices(driver.log, NoticeKind.SOCKET_LOST)
    assert driver.session.open_sockets == 1


def test_a_server_close_without_an_end_is_answered_after_the_grace() -> None:
    driver = started(server_grace_seconds=30, server_grace_margin_seconds=5)
    old = driver.accept()
    driver.do(driver.session.server_close(old, 1001, "", driver.now))
    driver.pass_time(34)
    assert old in driver.servers
    actions = driver.pass_time(2)
    assert [action for action in actions if not isinstance(action, Notice | SendPing | SocketProven)] == [
        SendClose(old),
        DropSocket(old),
    ]
    assert notices(actions, NoticeKind.SOCKET_GRACE_OVER)


def test_a_server_that_closes_every_socket_at_once_is_not_hammered() -> None:
    driver = started(draining_sockets_limit=4, connects_per_minute_limit=1_000)
    for _ in range(600):
        if driver.connecting:
            socket_id = driver.accept()
            driver.do(driver.session.server_close(socket_id, 1013, "busy", driver.now))
        driver.pass_time(0.1, step=0.1)
        assert len(driver.servers) <= 4
    assert 4 < len(opened(driver.log)) < 40


def test_connects_per_minute_are_bounded_and_the_bound_is_reported_once() -> None:
    driver = started(
        connects_per_minute_limit=10, reconnect_base_seconds=0.01, reconnect_cap_seconds=0.02, connections=2
    )
    for _ in range(240):
        while driver.connecting:
            driver.do(driver.session.socket_failed(driver.connecting.pop(0), "refused", driver.now))
        driver.pass_time(0.25, step=0.25)
    assert 10 <= len(opened(driver.log)) <= 20
    assert len(notices(driver.log, NoticeKind.CONNECT_LIMIT)) == 1


def test_backoff_grows_to_its_cap_and_restarts_after_a_stable_socket() -> None:
    driver = started(
        reconnect_base_seconds=0.25,
        reconnect_cap_seconds=30,
        stable_after_open_seconds=60,
        connects_per_minute_limit=1_000,
    )
    for attempt in range(20):
        driver.do(driver.session.socket_failed(driver.connecting.pop(), "refused", driver.now))
        delay = notices(driver.log, NoticeKind.SOCKET_FAILED)[-1].retry_seconds
        assert delay is not None
        assert 0 <= delay <= min(30, 0.25 * 2**attempt)
        driver.pass_time(31, step=31)
    socket_id = driver.accept()
    driver.pass_time(61)
    driver.do(driver.session.socket_lost(socket_id, "reset", driver.now))
    delay = notices(driver.log, NoticeKind.SOCKET_LOST)[-1].retry_seconds
    assert delay is not None
    assert delay <= 0.25


def test_a_renewed_socket_is_closed_only_when_its_successor_is_subscribed_to_everything() -> None:
    driver = started(streams=["a", "b"], subscribe_batch_streams=1, overlap_min_seconds=1, overlap_max_seconds=60)
    old = driver.accept()
    driver.pass_time(5)
    assert opened(driver.do(driver.session.renew(driver.now)))
    assert not opened(driver.do(driver.session.renew(driver.now)))
    driver.pass_time(5)
    assert old in driver.servers
    new = driver.accept()
    for _ in range(20):
        driver.session.frame_seen(new, driver.now)
        driver.pass_time(1, with_replies=False)
        while driver.servers[old].replies:
            driver.reply(old)
    assert old in driver.servers, "the new socket has confirmed nothing"
    driver.pass_time(3)
    assert old not in driver.servers
    assert driver.servers[new].streams == {"a", "b"}


def test_a_renewed_socket_stays_however_long_its_successor_takes() -> None:
    driver = started(streams=["a"], overlap_max_seconds=20)
    old = driver.accept()
    driver.pass_time(5)
    driver.do(driver.session.renew(driver.now))
    driver.accept()
    driver.servers[2].replies.clear()
    driver.servers[2].answers_pings = False
    for _ in range(28):
        driver.session.heard(2, driver.now)
        driver.pass_time(1)
    assert old in driver.servers, "the new socket has confirmed nothing"
    driver.servers[2].answers_pings = True
    driver.pass_time(3)
    assert list(driver.servers) == [2]


def test_an_old_socket_is_renewed() -> None:
    driver = started(streams=["a"], max_socket_age_seconds=3_600)
    driver.accept()
    driver.pass_time(0.89 * 3_600, step=100)
    assert len(opened(driver.log)) == 1
    driver.pass_time(0.22 * 3_600, step=100)
    driver.accept()
    driver.pass_time(5)
    assert list(driver.servers) == [2]
    assert [notice.socket_id for notice in notices(driver.log, NoticeKind.SOCKET_RENEWAL)] == [1]


def test_a_renewed_socket_stays_while_its_successor_keeps_failing() -> None:
    driver = started(overlap_max_seconds=10)
    old = driver.accept()
    driver.do(driver.session.renew(driver.now))
    for _ in range(20):
        while driver.connecting:
            driver.do(driver.session.socket_failed(driver.connecting.pop(), "refused", driver.now))
        driver.pass_time(5)
    assert list(driver.servers) == [old]
    new = driver.accept() if driver.connecting else None
    driver.pass_time(11)
    assert new is None or list(driver.servers) == [new]


def test_renewing_a_long_lived_socket_clears_the_record_of_failures() -> None:
    driver = started(stable_after_open_seconds=60)
    driver.do(driver.session.socket_failed(driver.connecting.pop(), "refused", driver.now))
    driver.pass_time(1)
    driver.accept()
    driver.pass_time(61)
    driver.do(driver.session.renew(driver.now))
    socket_id = driver.accept()
    actions = driver.do(driver.session.server_close(socket_id, 1001, "", driver.now))
    assert len(opened(actions)) == 1


# Stop and settings.


def test_stop_closes_everything_for_good() -> None:
    driver = started(connections=2)
    socket_id = driver.accept()
    actions = driver.do(driver.session.stop(driver.now))
    assert SendClose(socket_id) in actions
    assert len([action for action in actions if isinstance(action, DropSocket)]) == 2
    assert driver.session.next_deadline() is None
    assert driver.session.tick(driver.now + 1_000) == []
    assert driver.session.socket_opened(2, driver.now) == []


@pytest.mark.parametrize(
    "numbers",
    [
        {"connections": 3},
        {"connections": 0},
        {"subscribe_batch_streams": 0},
        {"ping_interval_seconds": -1.0},
        {"heal_cap_seconds": 1.0},
        {"overlap_min_seconds": 61.0},
        {"reconnect_cap_seconds": 0.1},
    ],
)
def test_settings_out_of_range_are_refused(numbers: dict[str, float]) -> None:
    with pytest.raises(UsageError):
        SessionSettings(**numbers)  # type: ignore[arg-type]  # wrong on purpose
