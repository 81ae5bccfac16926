"""Exchanges that drop SUBSCRIBEs without a word, and sockets that bring nothing at all: what counts as active, and since when."""

from backpack_streams.exchange.session_actions import NoticeKind, StreamsActive, StreamsInactive
from backpack_streams.exchange.session_settings import MAY_STAY_QUIET, Expectation
from unit.exchange.session_driver import Driver, ServerSide, coverage, notices, opened, requests, started, watching

TICKER, DEPTH, TRADE = "ticker.X", "depth.X", "trade.X"
BY_THE_CLOCK = Expectation(30, 60)
STREAMS = {DEPTH: Expectation(None, 60), TICKER: BY_THE_CLOCK, TRADE: MAY_STAY_QUIET}


def fresh(streams: dict[str, Expectation], *, ignores: bool = False, **numbers: float) -> Driver:
    """A session whose first socket is open, with a server that may ignore what it is asked for, and tickers once a second."""
    driver = started(**numbers)
    driver.want(streams)
    driver.checks_silence = True
    driver.ticking = {name for name in streams if name.startswith("ticker")}
    driver.make_server = lambda: ServerSide(ignores=ignores)
    driver.accept()
    driver.make_server = ServerSide
    return driver


def deafen(driver: Driver) -> None:
    for server in driver.servers.values():
        server.deaf = set(driver.wanted)


def recover(driver: Driver) -> None:
    for server in driver.servers.values():
        server.deaf, server.ignores = set(), False


def subscribed(driver: Driver, mark: int) -> list[str]:
    return [name for method, names in requests(driver.log[mark:]) if method == "SUBSCRIBE" for name in names]


# A new socket.


def test_what_is_confirmed_is_active_since_its_pong_once_the_socket_has_brought_data() -> None:
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


def test_data_in_front_of_the_pong_is_enough() -> None:
    driver = fresh(STREAMS)
    driver.deliver(TICKER)
    driver.now += 0.2
    driver.reply_all()
    assert coverage(driver.log) == [StreamsActive((DEPTH, TICKER, TRADE), 1, 1_000.2)]


def test_subscriptions_that_are_ignored_for_a_while_are_claimed_only_when_they_are_taken() -> None:
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


def test_subscriptions_that_are_ignored_for_long_are_asked_for_every_half_minute() -> None:
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


def test_of_several_frames_the_newest_is_believed_and_the_others_are_asked_for_again() -> None:
    """The exchange took up its work between two SUBSCRIBEs: the first one was lost, the second one delivers."""
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


def test_a_frame_whose_streams_were_dropped_meanwhile_may_be_what_delivers() -> None:
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


def test_without_streams_by_the_clock_the_pong_is_all_there_is() -> None:
    driver = fresh({DEPTH: MAY_STAY_QUIET, "ticker.OPTIONAL": Expectation(30)})
    driver.ticking = set()
    driver.now += 0.2
    driver.reply_all()
    assert coverage(driver.log) == [StreamsActive((DEPTH, "ticker.OPTIONAL"), 1, 1_000.2)]
    driver.deliver(DEPTH)
    driver.pass_time(100)
    assert len(requests(driver.log)) == 1


def test_without_streams_by_the_clock_one_pong_proves_every_frame_in_front_of_it() -> None:
    driver = fresh(
        {DEPTH: MAY_STAY_QUIET, TRADE: MAY_STAY_QUIET}, subscribe_batch_streams=1, subscribe_spacing_seconds=0
    )
    driver.servers[1].replies = driver.servers[1].replies[-1:]
    driver.deliver(DEPTH)
    driver.reply(1)
    assert driver.session.confirmed_streams == {DEPTH, TRADE}
    assert len(requests(driver.log)) == 2


def test_what_is_active_already_is_not_asked_for_again_when_data_comes() -> None:
    driver = fresh({DEPTH: MAY_STAY_QUIET})
    driver.pass_time(3)
    driver.want(STREAMS)
    driver.ticking = {TICKER}
    driver.pass_time(5)
    assert subscribed(driver, 0) == [DEPTH, TICKER, TRADE]
    assert driver.session.confirmed_streams == STREAMS.keys()


def test_an_optional_stream_by_the_clock_that_has_delivered_must_go_on() -> None:
    driver = fresh({"ticker.OPTIONAL": Expectation(30), DEPTH: MAY_STAY_QUIET})
    driver.pass_time(5)
    driver.lose(1)
    driver.ticking = set()
    driver.pass_time(5, accepts=True)
    assert driver.session.confirmed_streams == frozenset()


def test_a_socket_opened_with_nothing_to_ask_for_is_not_trusted_by_that() -> None:
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


def test_when_the_streams_by_the_clock_are_dropped_the_others_wait_for_nothing() -> None:
    driver = fresh(STREAMS)
    driver.ticking = set()
    driver.pass_time(3)
    driver.want({DEPTH: MAY_STAY_QUIET})
    driver.pass_time(1)
    assert coverage(driver.log) == [StreamsActive((DEPTH,), 1, 1_000.0)]


def test_when_the_streams_by_the_clock_are_rejected_the_others_wait_for_nothing() -> None:
    driver = started(bad=frozenset({TICKER}))
    driver.want(STREAMS)
    driver.accept()
    driver.pass_time(5)
    assert driver.session.rejected_streams == {TICKER}
    assert driver.session.confirmed_streams == {DEPTH, TRADE}


def test_what_is_dropped_or_rejected_while_it_is_held_is_never_active() -> None:
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


def test_what_is_dropped_and_wanted_again_while_it_is_held_is_active_since_its_new_pong() -> None:
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


def test_a_socket_that_is_lost_while_it_is_held_says_nothing() -> None:
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


def test_an_old_socket_that_has_nothing_active_is_given_up() -> None:
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


def test_an_old_socket_that_fell_silent_has_nothing_active_any_more() -> None:
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


def test_what_recovers_on_the_old_socket_proves_nothing_of_the_new_one() -> None:
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


# A socket that has delivered, and delivers nothing more.


def test_a_socket_without_any_data_is_inactive_as_a_whole_after_a_third_of_the_shortest_silence() -> None:
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


def test_a_socket_that_falls_silent_again_soon_is_found_again() -> None:
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


def test_nothing_follows_from_a_silence_while_nothing_was_read() -> None:
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


def test_the_shortest_silence_of_what_is_subscribed_counts() -> None:
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


def test_a_ticker_of_a_silent_socket_is_told_of_in_its_own_time() -> None:
    driver = fresh(STREAMS)
    driver.pass_time(20)
    deafen(driver)
    driver.pass_time(11)
    driver.pass_time(3, with_replies=False)
    driver.pass_time(15)
    assert not notices(driver.log, NoticeKind.STREAM_SILENT)
    driver.pass_time(3)
    assert [notice.stream for notice in notices(driver.log, NoticeKind.STREAM_SILENT)] == [TICKER]


def test_a_new_socket_gives_each_stream_its_time_anew() -> None:
    driver = fresh({TICKER: BY_THE_CLOCK}, ignores=True, reconnect_base_seconds=0.01)
    driver.pass_time(55)
    driver.lose(1)
    driver.make_server = lambda: ServerSide(ignores=True)
    driver.pass_time(55, accepts=True)
    assert not notices(driver.log, NoticeKind.STREAM_SILENT)
    driver.pass_time(10)
    assert notices(driver.log, NoticeKind.STREAM_SILENT)


def test_a_doubt_that_ends_while_its_socket_is_held_vouches_for_nothing_before() -> None:
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
