"""Streams that their owner doubts: inactive until they deliver on a new subscription, or until the doubt is over."""

import pytest

from backpack_streams.exchange.session_actions import NoticeKind, SendText, StreamsActive, StreamsInactive
from backpack_streams.exchange.session_settings import MAY_STAY_QUIET, SessionSettings
from unit.exchange.deaf_servers import BY_THE_CLOCK, DEPTH, MUST_EXIST, TICKER, asked, deafen, recover
from unit.exchange.session_driver import coverage, notices, started, watching


def test_a_doubted_stream_of_a_quiet_market_is_trusted_again_before_it_is_resubscribed() -> None:
    """With default settings: each subscription ends the coverage, and a book would wait for its proof once more."""
    driver = watching({DEPTH: MUST_EXIST, TICKER: BY_THE_CLOCK}, heal_base_seconds=SessionSettings().heal_base_seconds)
    driver.ticking = {TICKER}
    driver.pass_time(10)
    driver.do(driver.session.doubt([DEPTH], "its sibling is ahead", driver.now))
    driver.pass_time(1)
    mark = len(driver.log)
    driver.pass_time(SessionSettings().trust_again_seconds + 3)
    assert DEPTH in driver.session.confirmed_streams
    assert asked(driver, mark, DEPTH) == []


def test_a_doubted_stream_is_inactive_until_it_delivers_on_a_new_subscription() -> None:
    driver = watching({DEPTH: MUST_EXIST, "bookTicker.X": MAY_STAY_QUIET})
    driver.ticking = {DEPTH}
    driver.pass_time(100)
    deafen(driver, DEPTH)
    driver.pass_time(5)
    mark = len(driver.log)
    actions = driver.do(driver.session.doubt([DEPTH, "unknown"], "bookTicker is at 7, depth at 5", driver.now))
    (gone,) = coverage(actions)
    assert isinstance(gone, StreamsInactive)
    assert (gone.streams, gone.cause) == ((DEPTH,), "SILENT")
    assert 1_098 <= gone.through <= 1_100
    (notice,) = notices(actions, NoticeKind.STREAM_SILENT)
    assert "bookTicker is at 7" in notice.message
    for _ in range(50):
        actions = driver.pass_time(1)
        assert not coverage(actions)
        assert not coverage(driver.do(driver.session.doubt([DEPTH], "bookTicker is at 8", driver.now)))
    assert asked(driver, mark, DEPTH) == ["UNSUBSCRIBE", "SUBSCRIBE"], "to doubt what is doubted asks for nothing"
    driver.pass_time(20)
    assert asked(driver, mark, DEPTH) == ["UNSUBSCRIBE", "SUBSCRIBE"] * 2
    recover(driver)
    actions = driver.pass_time(2)
    (back,) = coverage(actions)
    assert isinstance(back, StreamsActive)
    assert back.at > gone.through
    assert notices(actions, NoticeKind.STREAM_RECOVERED)


def test_data_before_the_new_subscription_is_confirmed_ends_no_doubt() -> None:
    driver = watching({DEPTH: MUST_EXIST})
    driver.pass_time(2)
    driver.deliver(DEPTH)
    driver.pass_time(2)
    driver.do(driver.session.doubt([DEPTH], "why", driver.now))
    driver.servers[1].streams.add(DEPTH)
    for _ in range(5):
        driver.deliver(DEPTH)
        driver.pass_time(1, with_replies=False)
    assert driver.session.confirmed_streams == frozenset()
    driver.pass_time(2)
    assert driver.session.confirmed_streams == frozenset()
    driver.deliver(DEPTH)
    driver.pass_time(2)
    assert driver.session.confirmed_streams == {DEPTH}


def test_a_doubt_that_is_not_repeated_ends_if_the_market_has_gone_quiet() -> None:
    driver = watching({DEPTH: MUST_EXIST}, trust_again_seconds=30)
    driver.ticking = {DEPTH}
    driver.pass_time(100)
    driver.ticking = set()
    driver.do(driver.session.doubt([DEPTH], "why", driver.now))
    driver.pass_time(20)
    driver.do(driver.session.doubt([DEPTH], "why", driver.now))
    assert not coverage(driver.pass_time(29))
    (back,) = coverage(driver.pass_time(3))
    assert isinstance(back, StreamsActive)
    assert back.at == pytest.approx(driver.now, abs=3), "for the time before nobody vouches"


def test_a_doubt_about_a_stream_that_is_not_active_has_no_effect() -> None:
    driver = started(streams=[DEPTH])
    assert driver.do(driver.session.doubt([DEPTH], "why", driver.now)) == []
    driver.accept()
    assert not [
        action for action in driver.do(driver.session.doubt([DEPTH], "why", driver.now)) if isinstance(action, SendText)
    ]
    driver.pass_time(1)
    assert driver.session.confirmed_streams == {DEPTH}


def test_a_doubted_stream_is_inactive_on_an_old_socket_too() -> None:
    driver = watching({DEPTH: MUST_EXIST})
    driver.ticking = {DEPTH}
    driver.pass_time(10)
    driver.do(driver.session.renew(driver.now))
    driver.accept()
    driver.reply_all()
    assert {socket for socket, active in driver.ledger.active.items() if DEPTH in active} == {1, 2}
    driver.do(driver.session.doubt([DEPTH], "why", driver.now))
    assert driver.ledger.streams == set()
    driver.pass_time(5)
    assert {socket for socket, active in driver.ledger.active.items() if DEPTH in active} == {2}


def test_a_doubted_stream_that_one_connection_rejects_recovers_on_the_other() -> None:
    driver = started(connections=2, rejected_retry_seconds=10_000)
    driver.checks_silence = True
    driver.want({DEPTH: MUST_EXIST})
    first = driver.accept()
    second = driver.accept()
    driver.ticking = {DEPTH}
    driver.pass_time(10)
    driver.servers[second].bad = frozenset({DEPTH})
    driver.do(driver.session.doubt([DEPTH], "why", driver.now))
    while driver.servers[first].replies:
        driver.reply(first)
    driver.pass_time(10)
    assert driver.session.rejected_streams == {DEPTH}
    assert driver.ledger.active == {first: {DEPTH: pytest.approx(1_010.1, abs=0.2)}, second: {}}
