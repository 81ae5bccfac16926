"""Sockets that delivered and then fall silent: when their streams become inactive, and when they are active again."""

from backpack_streams.exchange.session_actions import NoticeKind, StreamsActive, StreamsInactive
from backpack_streams.exchange.session_settings import Expectation
from unit.exchange.session_driver import ServerSide, coverage, notices, requests, watching
from unit.exchange.ticking_session import (
    BY_THE_CLOCK,
    DEPTH,
    STREAMS,
    TICKER,
    TRADE,
    deafen,
    fresh,
    recover,
    subscribed,
)


def test_all_streams_of_a_silent_socket_are_inactive_after_a_third_of_the_shortest_silence() -> None:
    driver = fresh(STREAMS)
    driver.pass_time(20)
    deafen(driver)
    mark = len(driver.log)
    driver.pass_time(9.5)
    assert coverage(driver.log[mark:]) == []
    driver.pass_time(1.5)
    (gone,) = coverage(driver.log[mark:])
    assert isinstance(gone, StreamsInactive)
    assert (set(gone.streams), gone.cause) == (STREAMS.keys(), "SILENT")
    assert 1_018 <= gone.through <= 1_020
    assert sorted(subscribed(driver, mark)) == sorted(STREAMS)
    assert len(notices(driver.log[mark:], NoticeKind.SOCKET_RENEWAL)) == 1
    assert all(method == "SUBSCRIBE" for method, _ in requests(driver.log[mark:]))
    assert driver.lose(1)
    assert len(coverage(driver.log[mark:])) == 1


def test_data_on_one_stream_ends_the_silence_of_all() -> None:
    driver = fresh(STREAMS)
    driver.pass_time(20)
    deafen(driver)
    driver.pass_time(15)
    driver.ticking = set()
    recover(driver)
    mark = len(driver.log)
    driver.pass_time(2)
    assert coverage(driver.log[mark:]) == []
    driver.deliver(TRADE)
    driver.pass_time(2)
    (back,) = coverage(driver.log[mark:])
    assert isinstance(back, StreamsActive)
    assert set(back.streams) == STREAMS.keys()
    assert back.at > 1_030, "since it was confirmed anew, not since it was confirmed before"


def test_a_socket_that_soon_falls_silent_again_is_detected_again() -> None:
    driver = fresh(STREAMS)
    driver.pass_time(20)
    deafen(driver)
    driver.pass_time(60)
    recover(driver)
    driver.pass_time(2)
    driver.pass_time(4)
    assert driver.session.confirmed_streams >= {DEPTH, TRADE}
    deafen(driver)
    mark = len(driver.log)
    driver.pass_time(12)
    assert driver.session.confirmed_streams == frozenset()
    assert subscribed(driver, mark).count(TRADE) == 1
    driver.pass_time(12)
    assert subscribed(driver, mark).count(TRADE) == 2, "the second time comes as soon as in the first silence"


def test_silence_has_no_effect_while_nothing_was_read() -> None:
    driver = fresh(STREAMS)
    driver.pass_time(20)
    driver.do(driver.session.reading_paused(driver.now))
    driver.ticking = set()
    driver.pass_time(100, with_replies=False, step=100)
    driver.do(driver.session.reading_resumed(driver.now))
    mark = len(driver.log)
    driver.pass_time(9)
    assert coverage(driver.log[mark:]) == []
    driver.pass_time(3)
    (gone,) = coverage(driver.log[mark:])
    assert isinstance(gone, StreamsInactive)
    assert gone.through <= 1_020


def test_the_shortest_silence_of_the_subscribed_streams_counts() -> None:
    driver = fresh({**STREAMS, "openInterest.X": Expectation(180, 180)})
    driver.ticking = {"openInterest.X"}
    driver.reply_all()
    driver.deliver("openInterest.X")
    driver.ticking = set()
    driver.pass_time(12)
    assert [type(event) for event in coverage(driver.log)] == [StreamsActive, StreamsInactive]
    slow = watching({"openInterest.X": Expectation(180, 180)})
    slow.deliver("openInterest.X")
    slow.pass_time(59)
    assert [type(event) for event in coverage(slow.log)] == [StreamsActive]
    slow.pass_time(3)
    assert [type(event) for event in coverage(slow.log)] == [StreamsActive, StreamsInactive]


def test_a_ticker_of_a_silent_socket_is_reported_at_its_own_time() -> None:
    driver = fresh(STREAMS)
    driver.pass_time(20)
    deafen(driver)
    driver.pass_time(11)
    driver.pass_time(3, with_replies=False)
    driver.pass_time(15)
    assert not notices(driver.log, NoticeKind.STREAM_SILENT)
    driver.pass_time(3)
    assert [notice.stream for notice in notices(driver.log, NoticeKind.STREAM_SILENT)] == [TICKER]


def test_a_new_socket_restarts_the_wait_of_each_stream() -> None:
    driver = fresh({TICKER: BY_THE_CLOCK}, ignores=True, reconnect_base_seconds=0.01)
    driver.pass_time(55)
    driver.lose(1)
    driver.make_server = lambda: ServerSide(ignores=True)
    driver.pass_time(55, accepts=True)
    assert not notices(driver.log, NoticeKind.STREAM_SILENT)
    driver.pass_time(10)
    assert notices(driver.log, NoticeKind.STREAM_SILENT)


def test_a_doubt_that_ends_while_its_socket_is_held_covers_nothing_before() -> None:
    driver = fresh(STREAMS, trust_again_seconds=30)
    driver.ticking = set(STREAMS)
    driver.pass_time(20)
    driver.do(driver.session.doubt([DEPTH], "why", driver.now))
    deafen(driver)
    while not notices(driver.log, NoticeKind.STREAM_RECOVERED):
        driver.pass_time(1)
    ended_at = driver.now
    driver.pass_time(1)
    recover(driver)
    driver.ticking = {TRADE}
    driver.pass_time(3)
    assert driver.ledger.active[1][DEPTH] >= ended_at
