"""Exchanges that drop SUBSCRIBEs silently: which streams of a new socket count as active, and since when."""

from backpack_streams.exchange.session_actions import StreamsActive, StreamsInactive
from backpack_streams.exchange.session_settings import MAY_STAY_QUIET, Expectation
from unit.exchange.session_driver import ServerSide, coverage, opened, requests, started
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

# A new socket.


def test_confirmed_streams_are_active_since_their_pong_once_the_socket_has_delivered() -> None:
    driver = fresh(STREAMS)
    driver.ticking = set()
    driver.now += 0.2
    driver.reply_all()
    driver.pass_time(3)
    assert coverage(driver.log) == [], "a Pong alone proves nothing"
    driver.deliver(TICKER)
    assert driver.session.confirmed_streams == frozenset()
    driver.pass_time(1)
    assert coverage(driver.log) == [StreamsActive((DEPTH, TICKER, TRADE), 1, 1_000.2)]
    driver.pass_time(5)
    assert len(requests(driver.log)) == 1, "one frame was sent, so the data was of it"


def test_data_before_the_pong_is_enough() -> None:
    driver = fresh(STREAMS)
    driver.deliver(TICKER)
    driver.now += 0.2
    driver.reply_all()
    assert coverage(driver.log) == [StreamsActive((DEPTH, TICKER, TRADE), 1, 1_000.2)]


def test_streams_whose_subscriptions_are_ignored_for_a_while_are_active_only_once_taken() -> None:
    driver = fresh(STREAMS, ignores=True)
    driver.pass_time(8)
    driver.servers[1].ignores = False
    driver.pass_time(2)
    assert coverage(driver.log) == []
    driver.pass_time(2.5)
    (active,) = coverage(driver.log)
    assert isinstance(active, StreamsActive)
    assert set(active.streams) == STREAMS.keys()
    assert 1_010 < active.at <= driver.now
    assert not opened(driver.log)[2:], "the socket is renewed once at most"
    driver.pass_time(5)
    assert len(requests(driver.log)) == 2


def test_subscriptions_that_are_ignored_for_long_are_repeated_every_half_minute() -> None:
    driver = fresh(STREAMS, ignores=True)
    times = []
    for _ in range(200):
        mark = len(driver.log)
        driver.pass_time(1)
        times += [round(driver.now - 1_000)] if {DEPTH, TRADE} <= set(subscribed(driver, mark)) else []
    assert times == [11, 22, 52, 82, 112, 142, 172]
    assert coverage(driver.log) == []
    recover(driver)
    driver.pass_time(32)
    assert driver.session.confirmed_streams >= {DEPTH, TRADE}


def test_of_several_frames_the_newest_counts_and_the_others_are_repeated() -> None:
    """The exchange started to work between two SUBSCRIBEs: the first one was lost, the second one delivers."""
    driver = fresh(STREAMS, ignores=True, subscribe_batch_streams=1, subscribe_spacing_seconds=0.1)
    driver.reply_all()
    driver.servers[1].ignores = False
    driver.pass_time(0.1, step=0.1)
    driver.deliver(TICKER)
    driver.reply_all()
    assert driver.session.confirmed_streams == {TICKER}
    driver.pass_time(0.4, step=0.1)
    assert subscribed(driver, 0) == [DEPTH, TICKER, TRADE, DEPTH]
    assert [
        (event.streams, round(event.at, 1)) for event in coverage(driver.log) if isinstance(event, StreamsActive)
    ] == [
        ((TICKER,), 1_000.1),
        ((TRADE,), 1_000.2),
        ((DEPTH,), 1_000.3),
    ]


def test_one_pong_for_several_frames_proves_the_newest() -> None:
    driver = fresh(STREAMS, ignores=True, subscribe_batch_streams=2, subscribe_spacing_seconds=0)
    server = driver.servers[1]
    assert [names for _, names in requests(driver.log)] == [[DEPTH, TICKER], [TRADE]]
    server.replies = server.replies[-1:]
    server.ignores, server.streams, server.ever_taken = False, {TRADE}, {TRADE}  # it began between the two
    driver.deliver(TRADE)
    driver.reply(1)
    assert driver.session.confirmed_streams == {TRADE}
    driver.pass_time(1)
    assert driver.session.confirmed_streams == STREAMS.keys()


def test_data_may_come_from_a_frame_whose_streams_were_dropped_meanwhile() -> None:
    driver = fresh({DEPTH: BY_THE_CLOCK, TICKER: BY_THE_CLOCK}, ignores=True, subscribe_batch_streams=1)
    driver.reply_all()
    driver.servers[1].ignores = False
    driver.pass_time(0.05, with_replies=False)
    driver.deliver(TICKER)
    driver.want({DEPTH: BY_THE_CLOCK})
    driver.reply_all()
    assert driver.session.confirmed_streams == frozenset(), "that of the other frame was ignored"
    driver.pass_time(1)
    assert driver.session.confirmed_streams == {DEPTH}


def test_without_periodic_streams_the_pong_is_the_only_proof() -> None:
    driver = fresh({DEPTH: MAY_STAY_QUIET, "ticker.OPTIONAL": Expectation(30)})
    driver.ticking = set()
    driver.now += 0.2
    driver.reply_all()
    assert coverage(driver.log) == [StreamsActive((DEPTH, "ticker.OPTIONAL"), 1, 1_000.2)]
    driver.deliver(DEPTH)
    driver.pass_time(100)
    assert len(requests(driver.log)) == 1


def test_without_periodic_streams_one_pong_proves_every_frame_before_it() -> None:
    driver = fresh(
        {DEPTH: MAY_STAY_QUIET, TRADE: MAY_STAY_QUIET}, subscribe_batch_streams=1, subscribe_spacing_seconds=0
    )
    driver.servers[1].replies = driver.servers[1].replies[-1:]
    driver.deliver(DEPTH)
    driver.reply(1)
    assert driver.session.confirmed_streams == {DEPTH, TRADE}
    assert len(requests(driver.log)) == 2


def test_active_streams_are_not_requested_again_when_data_arrives() -> None:
    driver = fresh({DEPTH: MAY_STAY_QUIET})
    driver.pass_time(3)
    driver.want(STREAMS)
    driver.ticking = {TICKER}
    driver.pass_time(5)
    assert subscribed(driver, 0) == [DEPTH, TICKER, TRADE]
    assert driver.session.confirmed_streams == STREAMS.keys()


def test_an_optional_periodic_stream_that_has_delivered_must_go_on() -> None:
    driver = fresh({"ticker.OPTIONAL": Expectation(30), DEPTH: MAY_STAY_QUIET})
    driver.pass_time(5)
    driver.lose(1)
    driver.ticking = set()
    driver.pass_time(5, accepts=True)
    assert driver.session.confirmed_streams == frozenset()


def test_a_socket_opened_without_streams_is_not_trusted_for_that() -> None:
    driver = fresh({}, ignores=True)
    driver.pass_time(100)
    driver.want(STREAMS)
    driver.ticking = {TICKER}
    driver.pass_time(9)
    assert coverage(driver.log) == []
    assert len(requests(driver.log)) == 1, "it is given its time from the subscription on"
    recover(driver)
    driver.pass_time(4)
    assert driver.session.confirmed_streams == STREAMS.keys()


def test_if_the_periodic_streams_are_dropped_the_others_do_not_wait() -> None:
    driver = fresh(STREAMS)
    driver.ticking = set()
    driver.pass_time(3)
    driver.want({DEPTH: MAY_STAY_QUIET})
    driver.pass_time(1)
    assert coverage(driver.log) == [StreamsActive((DEPTH,), 1, 1_000.0)]


def test_if_the_periodic_streams_are_rejected_the_others_do_not_wait() -> None:
    driver = started(bad=frozenset({TICKER}))
    driver.want(STREAMS)
    driver.accept()
    driver.pass_time(5)
    assert driver.session.rejected_streams == {TICKER}
    assert driver.session.confirmed_streams == {DEPTH, TRADE}


def test_streams_dropped_or_rejected_while_held_are_never_active() -> None:
    driver = fresh(STREAMS)
    driver.ticking = set()
    driver.pass_time(2)
    driver.servers[1].bad = frozenset({TRADE})
    driver.session._pool.sockets[1].subscriptions.ask_again(TRADE)
    actions = driver.want({TICKER: BY_THE_CLOCK, TRADE: MAY_STAY_QUIET})
    assert coverage(actions) == []
    driver.pass_time(2)
    driver.deliver(TICKER)
    driver.pass_time(2)
    assert [event.streams for event in coverage(driver.log)] == [(TICKER,)]
    assert driver.session.rejected_streams == {TRADE}


def test_streams_dropped_and_wanted_again_while_held_are_active_since_their_new_pong() -> None:
    driver = fresh(STREAMS)
    driver.ticking = set()
    driver.pass_time(2)
    driver.want({TICKER: BY_THE_CLOCK})
    driver.want(STREAMS)
    driver.pass_time(1)
    driver.deliver(TICKER)
    driver.pass_time(3)
    since = driver.ledger.active[1]
    assert since.keys() == STREAMS.keys()
    assert min(since[DEPTH], since[TRADE]) > 1_001.9


def test_a_socket_lost_while_held_reports_nothing() -> None:
    driver = fresh(STREAMS, ignores=True)
    driver.pass_time(15)
    assert driver.lose(1)
    assert coverage(driver.log) == []
    driver.pass_time(5, accepts=True)
    assert driver.session.confirmed_streams == STREAMS.keys()


def test_a_failing_stream_is_not_active_just_because_its_socket_delivers() -> None:
    driver = fresh(STREAMS)
    driver.ticking = set(STREAMS)
    driver.pass_time(5)
    driver.ticking = {TICKER}
    driver.do(driver.session.doubt([DEPTH], "why", driver.now))
    driver.lose(1)
    driver.make_server = lambda: ServerSide(deaf={DEPTH})
    driver.pass_time(12, accepts=True)
    assert driver.session.confirmed_streams == {TICKER, TRADE}


# Make before break.


def test_the_old_socket_stays_while_the_new_one_is_ignored() -> None:
    driver = fresh(STREAMS, overlap_max_seconds=60)
    driver.pass_time(10)
    driver.do(driver.session.renew(driver.now))
    driver.make_server = lambda: ServerSide(ignores=True)
    new = driver.accept()
    mark = len(driver.log)
    driver.pass_time(150)
    assert 1 in driver.servers
    assert coverage(driver.log[mark:]) == []
    assert driver.ledger.active.keys() == {1}
    driver.servers[new].ignores = False
    driver.pass_time(40)
    assert 1 not in driver.servers
    active, gone = coverage(driver.log[mark:])
    assert isinstance(active, StreamsActive)
    assert isinstance(gone, StreamsInactive)
    assert set(active.streams) == set(gone.streams) == STREAMS.keys()
    assert active.at <= gone.through


def test_an_old_socket_without_active_streams_is_given_up() -> None:
    driver = fresh(STREAMS, overlap_max_seconds=60)
    driver.pass_time(10)
    driver.do(driver.session.renew(driver.now))
    driver.make_server = lambda: ServerSide(ignores=True)
    driver.accept()
    deafen(driver)
    driver.pass_time(12)
    assert driver.ledger.streams == set(), "an old socket that falls silent is no better than a new one"
    driver.pass_time(50)
    assert 1 not in driver.servers


def test_an_old_socket_that_fell_silent_has_no_active_streams() -> None:
    driver = fresh(STREAMS)
    driver.pass_time(10)
    driver.do(driver.session.renew(driver.now))
    driver.make_server = lambda: ServerSide(ignores=True)
    driver.accept()
    deafen(driver)
    driver.pass_time(15)
    driver.servers[1].deaf = set()
    driver.pass_time(10)
    assert not driver.ledger.active[1], "nobody asks it anything again"


def test_a_recovery_on_the_old_socket_proves_nothing_about_the_new_one() -> None:
    driver = fresh({**STREAMS, "ticker.Y": BY_THE_CLOCK})
    driver.ticking |= {DEPTH}
    driver.pass_time(10)
    driver.servers[1].deaf = {TICKER}
    driver.pass_time(35)
    assert driver.session.silent_streams == {TICKER}
    driver.do(driver.session.renew(driver.now))
    driver.make_server = lambda: ServerSide(ignores=True)
    new = driver.accept()
    driver.pass_time(1)
    driver.servers[1].deaf = set()
    driver.pass_time(30)
    assert driver.session.silent_streams == frozenset()
    assert not driver.ledger.active.get(new)
