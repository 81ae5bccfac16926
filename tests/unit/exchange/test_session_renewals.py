"""A renewed socket is kept until its successor has every stream that is active on it, whatever the exchange answers to the successor."""

import random
from collections.abc import Callable

import pytest

from backpack_streams.exchange.session import Session
from backpack_streams.exchange.session_actions import StreamsInactive
from backpack_streams.exchange.session_settings import SessionSettings
from unit.exchange.session_driver import TROUBLE, Driver, ServerSide, coverage, started, wanted
from unit.exchange.test_signed_subscriptions import ORDERS, POSITIONS, REFUSED, Wall

DEPTH, TRADE = "depth.A", "trade.A"


def renewed(make_server: Callable[[], ServerSide], *streams: str) -> tuple[Driver, int]:
    """A session whose socket 1 had all streams before its successor, the second value, opened on such a server."""
    driver = Driver(Session(SessionSettings(rejected_retry_seconds=20.0), rng=random.Random(7), sign=Wall().sign))
    driver.do(driver.session.start(driver.now))
    driver.want(wanted(*streams))
    driver.accept()
    driver.pass_time(10)
    return driver, renew(driver, make_server)


def renew(driver: Driver, make_server: Callable[[], ServerSide]) -> int:
    driver.do(driver.session.renew(driver.now))
    driver.make_server = make_server
    return driver.accept()


def refuse_trades() -> ServerSide:
    return ServerSide(bad=frozenset({TRADE}))


def breaks(driver: Driver) -> list[StreamsInactive]:
    """The ends of coverage that no other socket had taken over by then."""
    return [
        event
        for event in coverage(driver.log)
        if isinstance(event, StreamsInactive)
        and not all(any(name in active for active in driver.ledger.active.values()) for name in event.streams)
    ]


@pytest.mark.parametrize(
    ("make_server", "streams"),
    [
        (lambda: ServerSide(trouble=REFUSED), (ORDERS, POSITIONS)),
        (refuse_trades, (DEPTH, TRADE)),
        (lambda: ServerSide(trouble=TROUBLE), (DEPTH, TRADE)),
    ],
    ids=["signature", "stream", "trouble"],
)
def test_a_socket_stays_while_its_successor_is_refused_a_stream(
    make_server: Callable[[], ServerSide], streams: tuple[str, ...]
) -> None:
    driver, new = renewed(make_server, *streams)
    driver.pass_time(600)
    assert driver.session.confirmed_streams == set(streams)
    assert not [event for event in coverage(driver.log) if isinstance(event, StreamsInactive)]
    driver.servers[new].bad, driver.servers[new].trouble = frozenset(), None
    driver.pass_time(60)
    assert list(driver.servers) == [new]
    assert driver.session.confirmed_streams == set(streams)
    assert breaks(driver) == []


def test_a_refused_stream_that_is_no_longer_wanted_keeps_no_socket() -> None:
    driver, new = renewed(refuse_trades, DEPTH, TRADE)
    driver.pass_time(10)
    driver.want(wanted(DEPTH))
    driver.pass_time(2)
    assert list(driver.servers) == [new]
    assert driver.session.confirmed_streams == {DEPTH}


def test_the_newest_socket_takes_over_from_all_before_it() -> None:
    driver, _ = renewed(refuse_trades, DEPTH, TRADE)
    driver.pass_time(35)
    newest = renew(driver, ServerSide)
    driver.pass_time(25)
    assert list(driver.servers) == [newest]
    assert breaks(driver) == []


def test_a_chain_of_renewals_keeps_the_socket_that_has_the_streams() -> None:
    driver, _ = renewed(lambda: ServerSide(trouble=TROUBLE), DEPTH, TRADE)
    for _ in range(10):
        driver.pass_time(120)
        newest = renew(driver, lambda: ServerSide(trouble=TROUBLE))
    driver.pass_time(120)
    assert list(driver.servers) == [1, newest], "one that has no stream is given up"
    assert driver.session.confirmed_streams == {DEPTH, TRADE}


def test_the_loss_of_a_socket_that_was_kept_ends_what_only_it_had() -> None:
    driver, new = renewed(refuse_trades, DEPTH, TRADE)
    driver.pass_time(5)
    driver.lose(1)
    assert driver.session.confirmed_streams == {DEPTH}
    driver.servers[new].bad = frozenset()
    driver.pass_time(30)
    assert driver.session.confirmed_streams == {DEPTH, TRADE}


def test_a_socket_that_leaves_pings_unanswered_is_not_waited_for() -> None:
    driver = started(streams=[DEPTH])
    driver.accept()
    driver.pass_time(10)
    driver.servers[1].answers_pings = False
    driver.servers[1].replies.clear()
    driver.pass_time(2)
    driver.do(driver.session.renew(driver.now))
    driver.accept()
    for _ in range(25):
        driver.session.frame_seen(1, driver.now)
        driver.pass_time(1)
    assert 1 in driver.servers, "a late Pong may prove it until its successor had the stream"
    for _ in range(5):
        driver.session.frame_seen(1, driver.now)
        driver.pass_time(1)
    assert list(driver.servers) == [2]
    assert driver.session.confirmed_streams == {DEPTH}


def test_a_pause_of_reading_costs_no_proof_of_the_old_socket() -> None:
    driver = started(streams=[DEPTH])
    driver.accept()
    driver.pass_time(10)
    driver.do(driver.session.renew(driver.now))
    new = driver.accept()
    while driver.servers[new].replies:
        driver.reply(new)
    driver.do(driver.session.reading_paused(driver.now))
    driver.pass_time(200, with_replies=False, step=200)
    assert 1 in driver.servers
    driver.do(driver.session.reading_resumed(driver.now))
    assert 1 in driver.servers
    driver.pass_time(5)
    assert list(driver.servers) == [new]
    (gone,) = [event for event in coverage(driver.log) if isinstance(event, StreamsInactive)]
    assert gone.through >= driver.ledger.active[new][DEPTH]
