"""Errors of the exchange, which name neither request nor stream: which streams they delay, and for how long."""

import json

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from backpack_streams.exchange.session_actions import Action, NoticeKind, SendText
from unit.exchange.session_driver import INVALID, TROUBLE, Driver, ServerSide, notices, requests, started, wanted

KINDS = ("depth", "bookTicker", "trade", "ticker", "kline.1m")
ALL_KINDS = [f"{kind}.M{number}_USDC_PERP" for number in range(143) for kind in KINDS]


def test_names_the_rejected_streams_among_many_and_keeps_the_others() -> None:
    names = [f"depth.S{number}" for number in range(250)]
    bad = frozenset({"depth.S17", "depth.S18", "depth.S249"})
    driver = started(bad=bad)
    driver.want(wanted(*names))
    socket_id = driver.accept()
    driver.pass_time(9)
    rejected = notices(driver.log, NoticeKind.STREAM_REJECTED)
    assert sorted((notice.stream, notice.code) for notice in rejected) == sorted((name, 4006) for name in bad)
    assert driver.session.rejected_streams == bad
    assert driver.servers[socket_id].streams == set(names) - bad
    assert not notices(driver.log, NoticeKind.UNATTRIBUTED_ERROR)


def waits(driver: Driver, seconds: int) -> list[float | None]:
    """The wait announced by each rejection during that time."""
    return [notice.retry_seconds for notice in notices(driver.pass_time(seconds), NoticeKind.STREAM_REJECTED)]


def test_retries_a_rejected_stream_soon_then_less_and_less_often() -> None:
    driver = started(bad=frozenset({"x"}), rejected_base_seconds=10, rejected_retry_seconds=100)
    driver.want(wanted("x"))
    socket_id = driver.accept()
    assert waits(driver, 500) == [10, 20, 40, 80, 100, 100, 100, 100]
    assert driver.session.rejected_streams == {"x"}
    driver.servers[socket_id].bad = frozenset()
    driver.pass_time(101)
    assert driver.servers[socket_id].streams == {"x"}
    assert driver.session.rejected_streams == frozenset()
    assert driver.session.confirmed_streams == {"x"}


def test_rejections_for_a_day_keep_the_longest_wait() -> None:
    driver = started(bad=frozenset({"x"}), rejected_retry_seconds=900)
    driver.want(wanted("x"))
    driver.accept()
    assert set(waits(driver, 86_400)[8:]) == {900}


def test_a_confirmation_forgets_rejections() -> None:
    driver = started(bad=frozenset({"x"}))
    driver.want(wanted("x", "y"))
    socket_id = driver.accept()
    assert waits(driver, 35) == [10, 20, 40]
    driver.servers[socket_id].bad = frozenset()
    driver.pass_time(50)
    assert driver.session.confirmed_streams == {"x", "y"}
    driver.servers[socket_id].bad = frozenset({"x"})
    driver.session._pool.sockets[socket_id].subscriptions.ask_again("x")
    assert waits(driver, 5) == [10]


def test_a_stream_wanted_again_has_no_rejections() -> None:
    driver = started(bad=frozenset({"x"}))
    driver.want(wanted("x"))
    driver.accept()
    assert waits(driver, 35) == [10, 20, 40]
    driver.want({})
    assert driver.session.rejected_streams == frozenset()
    driver.want(wanted("x"))
    assert waits(driver, 5) == [10]


def test_a_stream_dropped_while_its_refused_frame_is_retried_is_unsubscribed() -> None:
    driver = started(bad=frozenset({"x"}), subscribe_batch_streams=2, outstanding_batches=2)
    socket_id = driver.accept()
    driver.want(wanted("x", "a"))
    driver.reply(socket_id)
    driver.want({})
    driver.pass_time(0.3, with_replies=False)
    driver.want(wanted("a"))
    driver.reply(socket_id)
    driver.reply(socket_id)
    assert driver.servers[socket_id].streams == {"a"}
    driver.want({})
    driver.pass_time(5)
    assert driver.servers[socket_id].streams == set()


def test_one_stray_error_costs_no_stream() -> None:
    driver = started()
    driver.want(wanted("a"))
    socket_id = driver.accept()
    driver.do(driver.session.error_frame(socket_id, 4002, "Parse error", driver.now))
    driver.pass_time(5)
    assert driver.session.rejected_streams == frozenset()
    assert [notice.code for notice in notices(driver.log, NoticeKind.SUBSCRIBE_REFUSED)] == [4002]
    assert driver.session.confirmed_streams == {"a"}
    assert driver.servers[socket_id].streams == {"a"}


def test_an_error_with_nothing_outstanding_is_unattributed_and_a_flood_of_them_is_bounded() -> None:
    driver = started(unattributed_notices_per_minute_limit=3)
    socket_id = driver.accept()
    for _ in range(100):
        driver.do(driver.session.error_frame(socket_id, 4002, "Parse\nerror", driver.now))
    found = notices(driver.log, NoticeKind.UNATTRIBUTED_ERROR)
    assert len(found) == 3
    assert "\n" not in found[0].message


def test_goes_on_subscribing_when_pings_stay_unanswered() -> None:
    driver = started(subscribe_batch_streams=1, outstanding_batches=1, barrier_timeout_seconds=30)
    names = [f"s{number}" for number in range(50)]
    driver.want(wanted(*names))
    socket_id = driver.accept()
    for _ in range(40):
        driver.session.heard(socket_id, driver.now)
        driver.pass_time(1, with_replies=False)
    assert driver.servers[socket_id].streams == set(names)
    assert len(notices(driver.log, NoticeKind.BARRIER_UNANSWERED)) == 1


def test_a_stream_that_one_socket_found_bad_is_not_requested_on_the_other() -> None:
    driver = started(connections=2, subscribe_batch_streams=1, outstanding_batches=1, bad=frozenset({"x"}))
    driver.want(wanted("a", "x"))
    first, second = driver.accept(), driver.accept()
    for _ in range(100):
        driver.pass_time(0.1, with_replies=False, step=0.1)
        while driver.servers[first].replies:
            driver.reply(first)
    assert driver.session.rejected_streams == {"x"}
    driver.pass_time(5)
    texts = [action.text for action in driver.log if isinstance(action, SendText) and action.socket_id == second]
    assert [json.loads(text)["params"] for text in texts] == [["a"]]


# Errors that name no stream.


def in_trouble(driver: Driver, trouble: tuple[int, str] | None) -> None:
    for server in driver.servers.values():
        server.trouble = trouble


class Exchange:
    """An exchange one round trip away; each SUBSCRIBE gets an error for a while."""

    def __init__(self, names: list[str], trouble_seconds: float, error: tuple[int, str]) -> None:
        self.driver = driver = started(streams=names)
        driver.make_server = lambda: ServerSide(trouble=error)
        self.socket_id = driver.accept()
        self.end_of_trouble = driver.now + trouble_seconds
        self.arrivals: list[float] = []

    def run_until_active(self, count: int, give_up_seconds: float) -> float:
        """Seconds from the end of the trouble until that many streams are active."""
        driver, server = self.driver, self.driver.servers[self.socket_id]
        while len(driver.session.confirmed_streams) < count:
            assert driver.now < self.end_of_trouble + give_up_seconds
            if driver.now >= self.end_of_trouble:
                server.trouble = None
            self.arrivals += [driver.now + 0.13] * (len(server.replies) - len(self.arrivals))
            while self.arrivals and self.arrivals[0] <= driver.now:
                self.arrivals.pop(0)
                driver.reply(self.socket_id)
            deadline = driver.session.next_deadline()
            assert deadline is not None
            driver.now = max(driver.now, min([deadline, *self.arrivals[:1]]))
            driver.do(driver.session.tick(driver.now))
        return driver.now - self.end_of_trouble


@pytest.mark.parametrize("trouble_seconds", [1.0, 60.0, 600.0])
def test_after_a_period_of_errors_without_a_culprit_every_stream_is_soon_active(trouble_seconds: float) -> None:
    exchange = Exchange(ALL_KINDS, trouble_seconds, TROUBLE)
    assert exchange.run_until_active(715, 50.0) < 45.0
    assert not exchange.driver.session.rejected_streams
    assert not notices(exchange.driver.log, NoticeKind.STREAM_REJECTED)
    told = notices(exchange.driver.log, NoticeKind.SUBSCRIBE_REFUSED)
    assert 0 < len(told) <= 10 * (trouble_seconds / 60 + 1)


def test_a_batch_refused_without_a_culprit_is_retried_whole_three_times_then_in_halves_for_ever() -> None:
    driver = started(streams=[f"s{number}" for number in range(8)])
    socket_id = driver.accept()
    in_trouble(driver, TROUBLE)
    driver.servers[socket_id].streams.clear()
    driver.do(driver.session.error_frame(socket_id, *TROUBLE, driver.now))
    driver.pass_time(600, step=0.1)
    sizes = [len(names) for _, names in requests(driver.log)]
    assert sizes[:8] == [8, 8, 8, 8, 4, 4, 2, 2]
    assert set(sizes[-20:]) == {1}
    mark = len(driver.log)
    driver.pass_time(300)
    assert 8 * 9 <= len(requests(driver.log[mark:])) <= 8 * 40, "every 15 s on average, without end"
    in_trouble(driver, None)
    driver.pass_time(31)
    assert len(driver.session.confirmed_streams) == 8


def test_one_stream_always_refused_without_a_culprit_delays_no_other() -> None:
    names = [f"s{number}" for number in range(100)]
    driver = started(streams=names)

    class Cursed(ServerSide):
        def take(self, action: Action) -> None:
            self.trouble = TROUBLE if isinstance(action, SendText) and '"s17"' in action.text else None
            super().take(action)

    driver.make_server = Cursed
    driver.accept()
    driver.pass_time(240)
    assert driver.session.confirmed_streams == set(names) - {"s17"}
    assert not driver.session.rejected_streams
    mark = len(driver.log)
    driver.pass_time(60)
    assert {tuple(names) for _, names in requests(driver.log[mark:])} == {("s17",)}


def test_a_stream_waiting_for_its_next_retry_delays_no_other() -> None:
    driver = started(streams=["a"])
    socket_id = driver.accept()
    in_trouble(driver, TROUBLE)
    driver.do(driver.session.error_frame(socket_id, *TROUBLE, driver.now))
    driver.pass_time(100)
    in_trouble(driver, None)
    driver.want(wanted("a", "b"))
    driver.pass_time(0.2, step=0.01)
    assert "b" in driver.session.confirmed_streams


def test_an_error_without_a_culprit_during_a_search_rejects_no_good_stream() -> None:
    driver = started(streams=[f"s{number}" for number in range(16)], bad=frozenset({"s5"}))
    driver.accept()
    in_trouble(driver, None)
    for turn in range(60):
        in_trouble(driver, TROUBLE if turn % 3 == 1 else None)
        driver.pass_time(0.13, step=0.13)
    in_trouble(driver, None)
    driver.pass_time(60)
    assert driver.session.rejected_streams == {"s5"}
    assert len(driver.session.confirmed_streams) == 15


@pytest.mark.parametrize("errors", [[INVALID, TROUBLE], [TROUBLE, INVALID, INVALID]])
def test_an_error_without_a_culprit_next_to_one_with_it_rejects_no_stream(errors: list[tuple[int, str]]) -> None:
    class Troubled(ServerSide):
        def take(self, action: Action) -> None:
            super().take(action)
            if isinstance(action, SendText) and not self.deaf:
                self.replies += [("error", error, frozenset()) for error in errors]

    driver = started(streams=["a"])
    driver.make_server = Troubled
    socket_id = driver.accept()
    driver.pass_time(20)
    assert driver.session.rejected_streams == frozenset()
    driver.servers[socket_id].deaf.add("the trouble is over")
    driver.pass_time(31)
    assert driver.session.confirmed_streams == {"a"}


def test_the_first_subscription_that_succeeds_lets_all_others_retry() -> None:
    names = [f"s{number}" for number in range(40)]
    driver = started(streams=names)
    socket_id = driver.accept()
    in_trouble(driver, TROUBLE)
    driver.servers[socket_id].replies.insert(0, ("error", TROUBLE, frozenset()))
    driver.pass_time(600)
    in_trouble(driver, None)
    while not driver.session.confirmed_streams:
        driver.pass_time(0.1, step=0.1)
    driver.pass_time(3, step=0.1)
    assert driver.session.confirmed_streams == set(names)


def test_errors_on_a_socket_that_is_being_replaced_count_too() -> None:
    driver = started(streams=["a"])
    old = driver.accept()
    driver.do(driver.session.renew(driver.now))
    driver.accept()
    driver.do(driver.session.error_frame(old, *TROUBLE, driver.now))
    driver.reply(old)
    assert driver.session.confirmed_streams == frozenset(), "the exchange refused it"


def test_one_pong_for_several_batches_with_an_error_confirms_none_of_them() -> None:
    driver = started(streams=["a", "b", "c"], subscribe_batch_streams=1, bad=frozenset({"b"}))
    socket_id = driver.accept()
    driver.pass_time(1, with_replies=False, step=0.05)
    server = driver.servers[socket_id]
    pongs = [reply for reply in server.replies if reply[0] == "pong"]
    server.replies = [("error", INVALID, frozenset()), pongs[-1]]
    driver.reply(socket_id)
    driver.reply(socket_id)
    assert driver.session.confirmed_streams == frozenset()
    driver.pass_time(5)
    assert driver.session.confirmed_streams == {"a", "c"}
    assert driver.session.rejected_streams == {"b"}


def test_a_stream_refused_on_one_socket_stays_active_on_another_that_confirmed_it() -> None:
    driver = started(streams=["a", "b"])
    old = driver.accept()
    driver.pass_time(2)
    driver.make_server = lambda: ServerSide(bad=frozenset({"b"}))
    driver.do(driver.session.renew(driver.now))
    driver.accept()
    driver.pass_time(0.5, step=0.01)
    assert driver.session.rejected_streams == {"b"}
    assert driver.ledger.active == {old: {"a": 1_000.0, "b": 1_000.0}, 2: {"a": pytest.approx(1_002.1, abs=0.2)}}
    driver.pass_time(5)
    assert driver.session.confirmed_streams == {"a", "b"}


@hypothesis_settings(max_examples=40, deadline=None)
@given(
    data=st.data(),
    bad=st.frozensets(st.integers(0, 29), max_size=3),
    batch=st.integers(1, 12),
)
def test_no_good_stream_is_ever_rejected_and_every_one_is_active_in_the_end(
    data: st.DataObject, bad: frozenset[int], batch: int
) -> None:
    names = [f"s{number}" for number in range(30)]
    bad_names = frozenset(names[number] for number in bad)
    driver = started(streams=names, bad=bad_names, subscribe_batch_streams=batch)
    driver.accept()
    for _ in range(data.draw(st.integers(0, 12))):
        in_trouble(driver, data.draw(st.sampled_from([None, TROUBLE, (4002, "Parse error")])))
        driver.pass_time(data.draw(st.sampled_from([0.05, 0.6, 5.0, 40.0])), with_replies=data.draw(st.booleans()))
        assert driver.session.rejected_streams <= bad_names
    in_trouble(driver, None)
    driver.pass_time(120, accepts=True)
    assert driver.session.rejected_streams == bad_names
    assert driver.session.confirmed_streams == set(names) - bad_names
