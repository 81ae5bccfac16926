"""Streams and sockets that should deliver and do not: when this is reported, the reaction, and the effect on coverage."""

from itertools import pairwise

import pytest

from backpack_streams.exchange.session_actions import NoticeKind, StreamsActive, StreamsInactive
from backpack_streams.exchange.session_settings import MAY_STAY_QUIET, Expectation, SessionSettings
from unit.exchange.deaf_servers import BY_THE_CLOCK, DEPTH, MUST_EXIST, TICKER, asked, deafen, recover
from unit.exchange.session_driver import coverage, notices, opened, requests, started, watching

LONG_SECONDS = 6 * 3_600


def test_a_silent_stream_is_reported_once_and_inactive_until_it_delivers_on_a_new_subscription() -> None:
    driver = watching({TICKER: BY_THE_CLOCK, "trade.X": MAY_STAY_QUIET})
    driver.ticking = {TICKER, "trade.X"}
    driver.pass_time(10)
    deafen(driver, TICKER)
    mark = len(driver.log)
    actions = driver.pass_time(29)
    assert not notices(actions, NoticeKind.STREAM_SILENT)
    assert not coverage(actions)
    driver.pass_time(5)
    (told,) = notices(driver.log[mark:], NoticeKind.STREAM_SILENT)
    assert (told.stream, told.never_delivered) == (TICKER, False)
    (gone,) = coverage(driver.log[mark:])
    assert isinstance(gone, StreamsInactive)
    assert (gone.streams, gone.cause) == ((TICKER,), "SILENT")
    assert gone.through == pytest.approx(1_009, abs=1), "no later than its last frame"
    assert asked(driver, mark, TICKER) == ["UNSUBSCRIBE", "SUBSCRIBE"]
    assert driver.session.silent_streams == {TICKER}
    assert driver.session.confirmed_streams == {"trade.X"}, "it is confirmed again, which proves nothing"
    recover(driver)
    mark = len(driver.log)
    actions = driver.pass_time(3)
    assert [notice.stream for notice in notices(actions, NoticeKind.STREAM_RECOVERED)] == [TICKER]
    assert [type(event) for event in coverage(actions)] == [StreamsActive]
    assert driver.session.silent_streams == frozenset()
    assert driver.session.confirmed_streams == {TICKER, "trade.X"}
    driver.pass_time(100)
    assert not asked(driver, mark, TICKER)


def test_a_stream_that_stays_silent_is_resubscribed_and_gets_new_sockets() -> None:
    """The exchange ignored a ticker's subscription twice: it had been requested once in 24 h."""
    driver = watching({TICKER: BY_THE_CLOCK, "ticker.OTHER": BY_THE_CLOCK})
    driver.ticking = {TICKER, "ticker.OTHER"}
    driver.pass_time(100)
    deafen(driver, TICKER)
    mark = len(driver.log)
    driver.pass_time(LONG_SECONDS, accepts=True)
    subscribed = asked(driver, mark, TICKER).count("SUBSCRIBE")
    assert LONG_SECONDS / 900 <= subscribed <= 2.5 * LONG_SECONDS / 900
    assert LONG_SECONDS / 1_800 / 2 <= len(opened(driver.log[mark:])) <= LONG_SECONDS / 1_800 + 6
    assert len(notices(driver.log[mark:], NoticeKind.STREAM_SILENT)) == 1
    assert not [
        event for event in coverage(driver.log[mark:]) if isinstance(event, StreamsActive) and TICKER in event.streams
    ]
    recover(driver)
    driver.pass_time(905, accepts=True)
    assert TICKER in driver.session.confirmed_streams


def test_two_resubscriptions_come_before_a_new_socket_and_waits_grow() -> None:
    driver = watching({TICKER: BY_THE_CLOCK, "ticker.OTHER": BY_THE_CLOCK})
    driver.ticking = {TICKER, "ticker.OTHER"}
    driver.pass_time(10)
    deafen(driver, TICKER)
    driver.pass_time(35)
    begin, times = driver.now, []
    for _ in range(1_000):
        actions = driver.pass_time(1, accepts=True)
        if any(method == "UNSUBSCRIBE" for method, _ in requests(actions)):
            times.append((round(driver.now - begin), bool(notices(actions, NoticeKind.SOCKET_RENEWAL))))
    assert [renewed for _, renewed in times] == [False, True, False, True], "the second new socket waits for its turn"
    waits = [later - earlier for (earlier, _), (later, _) in pairwise(times)]
    assert waits == [pytest.approx(120, abs=3), pytest.approx(240, abs=3), pytest.approx(480, abs=3)]


def test_a_subscription_that_is_ignored_again_is_retried_within_seconds() -> None:
    """With default settings: an exchange that ignores subscriptions for some seconds costs a stream little more than these."""
    base = SessionSettings().heal_base_seconds
    driver = watching({TICKER: BY_THE_CLOCK, "ticker.OTHER": BY_THE_CLOCK}, heal_base_seconds=base)
    driver.ticking = {TICKER, "ticker.OTHER"}
    driver.pass_time(10)
    deafen(driver, TICKER)
    driver.do(driver.session.doubt([TICKER], "it is late", driver.now))
    driver.pass_time(base + 1)
    recover(driver)
    mark = len(driver.log)
    driver.pass_time(2 * base + 2)
    assert notices(driver.log[mark:], NoticeKind.STREAM_RECOVERED)


def test_a_depth_stream_that_delivered_only_before_a_reconnect_is_subscribed_again() -> None:
    """Since it had delivered once, its silence was never noticed, for 24 h."""
    driver = watching({DEPTH: MUST_EXIST, "trade.BTC_USDC_PERP": Expectation()}, reconnect_base_seconds=0.01)
    driver.ticking = {DEPTH}
    driver.pass_time(100)
    driver.lose(1)
    deafen(driver, DEPTH)
    mark = len(driver.log)
    driver.pass_time(LONG_SECONDS, accepts=True)
    methods = asked(driver, mark, DEPTH)
    assert set(methods) == {"SUBSCRIBE"}, "a quiet market loses nothing by it"
    assert LONG_SECONDS / 900 <= len(methods) <= LONG_SECONDS / 900 + 10
    assert not notices(driver.log[mark:], NoticeKind.STREAM_SILENT)
    assert not notices(driver.log[mark:], NoticeKind.SOCKET_RENEWAL)
    assert DEPTH in driver.session.confirmed_streams, "the market may just be quiet"
    recover(driver)
    mark = len(driver.log)
    driver.pass_time(LONG_SECONDS / 4)
    assert not asked(driver, mark, DEPTH)


def test_a_stream_that_delivers_on_its_new_socket_is_not_resubscribed() -> None:
    driver = watching({DEPTH: MUST_EXIST})
    driver.pass_time(5)
    driver.deliver(DEPTH)
    driver.pass_time(100)
    driver.lose(1)
    driver.pass_time(3, accepts=True)
    driver.deliver(DEPTH)
    mark = len(driver.log)
    driver.pass_time(3_600)
    assert not requests(driver.log[mark:]), "a book may be quiet for an hour"


def test_deliveries_on_a_replaced_socket_prove_nothing_about_its_successor() -> None:
    driver = watching({DEPTH: MUST_EXIST}, overlap_min_seconds=10)
    driver.ticking = {DEPTH}
    driver.pass_time(100)
    deafen(driver, DEPTH)
    driver.servers[1].deaf.clear()
    driver.do(driver.session.renew(driver.now))
    driver.pass_time(30, accepts=True)
    assert list(driver.servers) == [2]
    mark = len(driver.log)
    driver.pass_time(62)
    assert asked(driver, mark, DEPTH) == ["SUBSCRIBE"]


def test_a_stream_that_never_delivers_is_reported_and_stays_active() -> None:
    driver = watching({DEPTH: MUST_EXIST})
    assert not notices(driver.pass_time(59), NoticeKind.STREAM_SILENT)
    (notice,) = notices(driver.pass_time(3), NoticeKind.STREAM_SILENT)
    assert notice.never_delivered is True
    assert driver.session.silent_streams == {DEPTH}
    assert driver.session.confirmed_streams == {DEPTH}, "a market may be quiet for good"
    driver.deliver(DEPTH)
    assert notices(driver.pass_time(2), NoticeKind.STREAM_RECOVERED)
    assert driver.session.silent_streams == frozenset()


def test_a_periodic_stream_that_never_delivers_is_not_active() -> None:
    driver = watching({TICKER: BY_THE_CLOCK, "ticker.OPTIONAL": Expectation(30, None), "trade.X": MAY_STAY_QUIET})
    driver.ticking = {"trade.X"}
    driver.pass_time(62)
    (notice,) = notices(driver.log, NoticeKind.STREAM_SILENT)
    assert (notice.stream, notice.never_delivered) == (TICKER, True)
    (gone,) = [event for event in coverage(driver.log) if isinstance(event, StreamsInactive)]
    assert (gone.streams, gone.through) == ((TICKER,), 1_000.0), "nothing of it was ever received"
    assert driver.session.confirmed_streams == {"ticker.OPTIONAL", "trade.X"}


def test_a_rejected_stream_is_not_reported_silent() -> None:
    driver = started(bad=frozenset({DEPTH}))
    driver.checks_silence = True
    driver.want({DEPTH: BY_THE_CLOCK})
    driver.accept()
    driver.pass_time(100)
    assert driver.session.rejected_streams == {DEPTH}
    assert not notices(driver.log, NoticeKind.STREAM_SILENT)


def test_nothing_is_silent_while_nothing_is_connected_or_read() -> None:
    driver = watching({TICKER: BY_THE_CLOCK}, reconnect_cap_seconds=1, reconnect_base_seconds=1)
    driver.ticking = {TICKER}
    driver.pass_time(10)
    driver.ticking = set()
    driver.lose(1)
    driver.pass_time(300)
    assert not notices(driver.log, NoticeKind.STREAM_SILENT)
    driver.accept()
    driver.pass_time(20)
    assert not notices(driver.log, NoticeKind.STREAM_SILENT)
    driver.do(driver.session.reading_paused(driver.now))
    driver.pass_time(300, step=300)
    driver.do(driver.session.reading_resumed(driver.now))
    driver.pass_time(29)
    assert not notices(driver.log, NoticeKind.STREAM_SILENT)
    driver.pass_time(3)
    assert notices(driver.log, NoticeKind.STREAM_SILENT)


def test_a_silent_stream_recovers_on_a_new_socket() -> None:
    driver = watching({TICKER: BY_THE_CLOCK, DEPTH: MUST_EXIST})
    driver.ticking = {TICKER, DEPTH}
    driver.pass_time(10)
    deafen(driver, TICKER)
    driver.pass_time(40)
    driver.lose(1)
    recover(driver)
    driver.pass_time(5, accepts=True)
    assert driver.session.confirmed_streams == {TICKER, DEPTH}
    assert not driver.session.silent_streams


def test_an_outage_does_not_count_as_a_retry() -> None:
    driver = watching({TICKER: BY_THE_CLOCK, DEPTH: MUST_EXIST}, connects_per_minute_limit=1_000)
    driver.ticking = {TICKER, DEPTH}
    driver.pass_time(10)
    deafen(driver, TICKER)
    driver.pass_time(32)
    driver.lose(1)
    for _ in range(3_600):
        while driver.connecting:
            driver.refuse()
        driver.pass_time(1)
    driver.pass_time(35, accepts=True)
    mark = len(driver.log)
    actions = driver.pass_time(35)
    assert asked(driver, mark, TICKER) == ["UNSUBSCRIBE", "SUBSCRIBE"]
    assert not notices(actions, NoticeKind.SOCKET_RENEWAL)


def test_a_silent_stream_that_is_dropped_and_wanted_again_starts_over() -> None:
    other = {"trade.X": MAY_STAY_QUIET}
    driver = watching({TICKER: BY_THE_CLOCK, **other})
    driver.ticking = {TICKER, "trade.X"}
    driver.pass_time(10)
    deafen(driver, TICKER)
    driver.pass_time(40)
    driver.want(other)
    assert driver.session.silent_streams == frozenset()
    driver.want({TICKER: BY_THE_CLOCK, **other})
    driver.pass_time(1)
    assert driver.session.confirmed_streams == {TICKER, "trade.X"}
    (notice,) = notices(driver.pass_time(62), NoticeKind.STREAM_SILENT)
    assert notice.never_delivered is True


# A socket as a whole.


def test_a_socket_that_answers_pings_and_delivers_nothing_is_renewed() -> None:
    """24 h of Pongs without data had opened no other socket."""
    driver = watching({TICKER: BY_THE_CLOCK, DEPTH: MUST_EXIST})
    driver.ticking = {TICKER, DEPTH}
    driver.pass_time(50)
    deafen(driver, TICKER, DEPTH)
    mark = len(driver.log)
    actions = driver.pass_time(65, accepts=True)
    assert len(opened(actions)) == 1
    assert "delivered nothing" in notices(actions, NoticeKind.SOCKET_RENEWAL)[0].message
    driver.pass_time(LONG_SECONDS, accepts=True)
    assert 12 <= len(opened(driver.log[mark:])) <= 18, "not given up, nor hammered"
    recover(driver)
    driver.pass_time(1_800, accepts=True)
    mark = len(driver.log)
    driver.pass_time(3_600, accepts=True)
    assert not opened(driver.log[mark:])
    assert driver.session.confirmed_streams == {TICKER, DEPTH}


def test_a_socket_of_streams_that_may_stay_quiet_is_not_renewed() -> None:
    driver = watching({"account.orderUpdate": MAY_STAY_QUIET, DEPTH: MUST_EXIST, "ticker.OPTIONAL": Expectation(30)})
    driver.pass_time(10_000)
    assert len(opened(driver.log)) == 1


def test_silence_on_both_connections_renews_each() -> None:
    driver = started(connections=2)
    driver.checks_silence = True
    driver.want({TICKER: BY_THE_CLOCK})
    driver.ticking = {TICKER}
    driver.accept()
    driver.accept()
    driver.pass_time(20)
    deafen(driver, TICKER)
    driver.pass_time(70, accepts=True)
    assert len(opened(driver.log)) == 4


def test_a_count_that_restarts_is_no_delivery() -> None:
    driver = watching({TICKER: BY_THE_CLOCK})
    driver.ticking = {TICKER}
    driver.pass_time(100)
    driver.ticking = set()
    driver.deliveries.clear()
    driver.pass_time(31)
    assert driver.session.silent_streams == {TICKER}
