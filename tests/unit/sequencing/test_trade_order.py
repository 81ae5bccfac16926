"""Trades in any order and any number of copies: each is given once, in the order of ids, gaps are given, memory is bounded."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from backpack_streams.sequencing.restart import AHEAD_AT_MOST_MICROSECONDS, TOLERANCE_MICROSECONDS
from backpack_streams.sequencing.trade_order import Gap, Given, TradeOrder

SECOND = 1_000_000


def given_ids(items: list[Any]) -> list[int]:
    return [item.item for item in items if isinstance(item, Given)]


def offered(order: TradeOrder[int], *ids: int, now: float = 0.0) -> list[Any]:
    return [out for each in ids for out in order.offer(each, 1_000 * SECOND + each, each, now, is_engine_time=True)]


@st.composite
def arrivals(draw: st.DrawFn) -> tuple[list[int], int]:
    """Two producers' copies of the same trades, each with its own gaps, and late refills, in any interleaving."""
    count = draw(st.integers(1, 40))
    whole = list(range(100, 100 + count))
    first = [each for each in whole if draw(st.booleans()) or each == 100]
    second = [each for each in whole if draw(st.booleans())]
    refill = [each for each in whole if each not in first]
    queues, out = [first[1:], second, refill], [100]
    while any(queues):
        queue = draw(st.sampled_from([queue for queue in queues if queue]))
        out.append(queue.pop(0))
    return out, count


@given(arrivals())
def test_with_enough_patience_every_trade_is_given_once_and_in_order(case: tuple[list[int], int]) -> None:
    ids, count = case
    order: TradeOrder[int] = TradeOrder("X")
    items = offered(order, *ids)
    assert given_ids(items) == list(range(100, 100 + count))
    assert not any(item.is_late for item in items)
    assert order.duplicates == len(ids) - count
    assert not order.held


@given(arrivals(), st.lists(st.booleans(), min_size=200, max_size=200))
def test_without_patience_each_trade_is_still_given_once(case: tuple[list[int], int], ticks: list[bool]) -> None:
    ids, count = case
    order: TradeOrder[int] = TradeOrder("X")
    items: list[Any] = []
    for at, each in enumerate(ids):
        items += order.offer(each, 1_000 * SECOND + each, each, float(at), is_engine_time=True)
        if ticks[at % len(ticks)]:
            items += order.tick(float(at), 0.0)
    items += order.give_up()
    assert sorted(given_ids(items)) == list(range(100, 100 + count))
    in_turn = [item.item for item in items if isinstance(item, Given) and not item.is_late]
    assert in_turn == sorted(in_turn)
    late = {item.item for item in items if isinstance(item, Given) and item.is_late}
    told = {each for item in items if isinstance(item, Gap) for each in range(item.first_id, item.last_id + 1)}
    assert late <= told | set(range(100))
    assert told | set(in_turn) >= set(range(100, 100 + count))


def test_a_gap_is_given_when_the_patience_is_over_and_not_before() -> None:
    order: TradeOrder[int] = TradeOrder("X")
    assert given_ids(offered(order, 1, 2)) == [1, 2]
    assert offered(order, 5, 6, now=10.0) == []
    assert list(order.tick(19.9, 10.0)) == []
    assert list(order.tick(20.0, 10.0)) == [Gap("X", 3, 4), Given(5), Given(6)]
    assert offered(order, 4, now=21.0) == [Given(4, is_late=True)]
    assert offered(order, 4, 3, now=21.0) == [Given(3, is_late=True)]


def test_trades_known_to_be_lost_are_not_waited_for() -> None:
    order: TradeOrder[int] = TradeOrder("X")
    offered(order, 1, 4, 6, now=0.0)
    assert list(order.lost((2, 3))) == []  # only a part of the gap: the rest may arrive
    assert list(order.lost((2, 4))) == [Gap("X", 2, 3), Given(4)]
    assert list(order.lost((5, 6))) == [Gap("X", 5, 5), Given(6)]


def test_a_restarted_sequence_is_not_a_duplicate() -> None:
    order: TradeOrder[int] = TradeOrder("X")
    items = [
        *order.offer(900, 50 * SECOND, 900, 0.0, is_engine_time=True),
        *order.offer(901, 51 * SECOND, 901, 0.0, is_engine_time=True),
    ]
    items += order.offer(1, 90 * SECOND, 1, 1.0, is_engine_time=True)
    items += order.offer(2, 91 * SECOND, 2, 1.0, is_engine_time=True)
    items += order.offer(1, 90 * SECOND, 1, 1.0, is_engine_time=True)
    assert given_ids(items) == [900, 901, 1, 2]
    assert order.duplicates == 1


def test_late_trades_of_the_sequence_that_ended_are_given_once_and_disturb_nothing() -> None:
    order: TradeOrder[int] = TradeOrder("X")
    for each, second in ((900, 50), (901, 51), (1, 90)):
        list(order.offer(each, second * SECOND, each, 0.0, is_engine_time=True))
    assert list(order.offer(901, 51 * SECOND, 901, 0.0, is_engine_time=True)) == []
    assert list(order.offer(902, 52 * SECOND, 902, 0.0, is_engine_time=True)) == [Given(902, is_late=True)], (
        "only it had come so far"
    )
    assert list(order.offer(902, 52 * SECOND, 902, 0.0, is_engine_time=True)) == []
    assert list(order.offer(2, 52 * SECOND + 1, 2, 0.0, is_engine_time=True)) == [Given(2, is_late=True)], (
        "by its time, whatever its id"
    )
    assert list(order.offer(2, 91 * SECOND, 2, 0.0, is_engine_time=True)) == [Given(2)]
    assert order.duplicates == 2


def test_a_rest_servers_clock_may_be_off() -> None:
    order: TradeOrder[int] = TradeOrder("X")
    list(order.offer(100, 100 * SECOND, 100, 0.0, is_engine_time=True))
    list(order.offer(102, 100 * SECOND, 102, 0.0, is_engine_time=True))
    list(order.tick(99.0, 10.0))
    refill = order.offer(101, 100 * SECOND + TOLERANCE_MICROSECONDS, 101, 99.0, is_engine_time=False)
    assert list(refill) == [Given(101, is_late=True)]
    list(order.offer(103, 100 * SECOND, 103, 99.0, is_engine_time=False))
    assert list(order.offer(101, 100 * SECOND + TOLERANCE_MICROSECONDS, 101, 99.0, is_engine_time=True)) == []
    assert order.duplicates == 1
    assert list(order.offer(1, 100 * SECOND + TOLERANCE_MICROSECONDS + 1, 1, 99.0, is_engine_time=True)) == [Given(1)]


def test_one_trade_with_an_absurd_time_neither_is_nor_hides_a_restart() -> None:
    order: TradeOrder[int] = TradeOrder("X")
    list(order.offer(100, 100 * SECOND, 100, 0.0, is_engine_time=True))
    absurd = 100 * SECOND + 10 * AHEAD_AT_MOST_MICROSECONDS
    assert list(order.offer(50, absurd, 50, 0.0, received_us=101 * SECOND, is_engine_time=True)) == [
        Given(50, is_late=True)
    ]
    assert list(order.offer(101, absurd, 101, 0.0, is_engine_time=True)) == [Given(101)]
    assert list(order.offer(102, 102 * SECOND, 102, 0.0, is_engine_time=True)) == [Given(102)]
    assert list(order.offer(1, 103 * SECOND, 1, 0.0, is_engine_time=True)) == [Given(1)]
    assert list(order.offer(2, 104 * SECOND, 2, 0.0, is_engine_time=True)) == [Given(2)]


def test_a_refill_that_is_hours_late_does_not_move_the_sequence() -> None:
    order: TradeOrder[int] = TradeOrder("X")
    for each in (100, 103):
        list(order.offer(each, (20_000 + each) * SECOND, each, 0.0, is_engine_time=True))
    list(order.give_up())
    assert list(order.offer(101, 101 * SECOND, 101, 0.0, is_engine_time=True)) == [Given(101, is_late=True)]
    assert list(order.offer(103, 20_103 * SECOND, 103, 0.0, is_engine_time=True)) == []


@given(st.lists(st.tuples(st.integers(0, 1), st.booleans()), max_size=80), st.integers(1, 12), st.integers(1, 12))
def test_two_producers_across_a_restart_give_each_trade_once(
    turns: list[tuple[int, bool]], before: int, after: int
) -> None:
    """The model: two sequences with overlapping ids; each trade is given once, and those given in time ascend within their sequence."""
    old = [(1000 - before + each, (100 + each) * SECOND) for each in range(before)]
    new = [(1000 - before - after // 2 + each, (700 + each) * SECOND) for each in range(after)]
    queues = [[*old, *new], [*old, *new]]
    order: TradeOrder[tuple[int, int]] = TradeOrder("X")
    items: list[Any] = []
    for side, _ in [*turns, *[(0, True)] * len(queues[0]), *[(1, True)] * len(queues[1])]:
        if queues[side]:
            trade = queues[side].pop(0)
            items += order.offer(*trade, trade, 0.0, is_engine_time=True)
    found = [item.item for item in items if isinstance(item, Given)]
    assert sorted(found) == sorted([*old, *new])
    in_time = [item.item for item in items if isinstance(item, Given) and not item.is_late]
    for sequence in (old, new):
        mine = [each for each in in_time if each in sequence]
        assert mine == sorted(mine)


@given(st.permutations(range(100)))
def test_ranges_and_not_trades_are_remembered(ids: list[int]) -> None:
    order: TradeOrder[int] = TradeOrder("X")
    offered(order, -1, *ids, *ids)
    assert len(order._seen) == 1
    assert order.duplicates == 100


@given(st.integers(1, 50), st.integers(1, 40))
def test_refills_from_hours_ago_never_make_later_trades_look_new(first: int, gap: int) -> None:
    """A market was listed again, and REST returns trades from between the two listings that are hours older than both."""
    order: TradeOrder[int] = TradeOrder("X")
    now_us, hours = 100_000 * SECOND, 5 * AHEAD_AT_MOST_MICROSECONDS
    after = first + 2 * gap + 1
    items = [*order.offer(first, now_us, first, 0.0, is_engine_time=True)]
    items += order.offer(after, now_us + SECOND, after, 0.0, is_engine_time=True)
    for each in range(first + 1, first + 1 + gap):
        items += order.offer(each, now_us - hours + each, each, 0.0, is_engine_time=False)
    items += order.tick(5.0, 5.0)  # the rest is late
    for each in range(first + 1 + gap, after):
        items += order.offer(each, now_us - hours + each * 60 * SECOND, each, 6.0, is_engine_time=False)
    in_turn = [item.item for item in items if isinstance(item, Given) and not item.is_late]
    assert in_turn == [*range(first, first + 1 + gap), after]
    assert [item for item in items if isinstance(item, Gap)] == [Gap("X", first + 1 + gap, after - 1)]
    assert sorted(given_ids(items)) == list(range(first, after + 1))
