"""Each record is given once, whatever the number, order and delay of its copies; memory is bounded."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backpack_streams.books.distinct import RECENT_MICROS, CandleOrder, Distinct, IdRanges, Recent, identity_of
from backpack_streams.bus.topics import topic
from backpack_streams.sequencing.trade_order import Given

MINUTE = 60_000_000
MILLI = 1_000
Update = tuple[int, int, int]


def states(order: CandleOrder, *candles: tuple[int, int, bool]) -> list[tuple[int, int, bool]]:
    """Those of `candles` (minute, event time, closed) that are given."""
    return [
        each for each in candles if order.offer(each[0] * MINUTE, each[1], each[2], (each[0] + 1) * MINUTE) is not None
    ]


def test_a_closed_candle_is_given_once_and_its_open_states_only_before_that() -> None:
    order = CandleOrder("1m")
    assert states(order, (1, 5, False), (1, 5, False), (1, 7, False), (1, 6, False)) == [(1, 5, False), (1, 7, False)]
    assert states(order, (1, 9, True), (1, 0, True), (1, 10, False)) == [(1, 9, True)]
    assert states(order, (3, 20, False), (2, 0, True), (3, 21, False)) == [(3, 20, False), (2, 0, True), (3, 21, False)]


@pytest.mark.parametrize("is_closed", [True, False])
def test_a_candle_with_an_absurd_start_hides_no_other_and_makes_none_late(is_closed: bool) -> None:
    order = CandleOrder("1m")
    assert order.offer(10**9 * MINUTE, 1, is_closed, MINUTE) is not None
    for minute in range(1, 200):
        for event, closed in ((1, False), (2, False), (3, True)):
            assert order.offer(minute * MINUTE, event, closed, (minute + 1) * MINUTE) == Given(None)
            assert order.offer(minute * MINUTE, event, closed, (minute + 1) * MINUTE) is None


@pytest.mark.parametrize("end", [0, 60_000_000, 86_400_000_000])
def test_the_end_that_a_closed_candle_claims_hides_no_other_candle(end: int) -> None:
    distinct, candles = Distinct(), topic("market.kline")

    def is_new(start: int, end_us: int) -> bool:
        value = {"interval": "1m", "start_time": start, "end_time": end_us, "event_time": 1, "is_closed": True}
        return distinct.offer(candles, 0, "A", "Kline", value | {"received_time": start}) is not None

    assert is_new(0, end)
    assert not is_new(0, MINUTE)
    assert is_new(MINUTE, 2 * MINUTE)


def test_each_candle_of_an_interval_that_the_exchange_has_added_is_given_once() -> None:
    order = CandleOrder("1quarter")
    assert states(order, (1, 5, True), (1, 5, True), (2, 6, True)) == [(1, 5, True), (2, 6, True)]


def test_the_number_of_open_candles_remembered_is_bounded() -> None:
    order = CandleOrder("1m")
    for minute in range(100_000):  # no closed state ever comes
        assert order.offer(minute * MINUTE, 1, False, (minute + 1) * MINUTE) == Given(None)
    assert len(order._open) < 100


@given(st.lists(st.tuples(st.integers(0, 8), st.integers(0, 5), st.booleans())))
def test_no_closed_candle_is_given_twice_in_any_order(candles: list[tuple[int, int, bool]]) -> None:
    got = states(CandleOrder("1m"), *candles)
    closed = [each[0] for each in got if each[2]]
    assert sorted(closed) == sorted({each[0] for each in candles if each[2]})
    assert len(got) == len(set(got)) or len(closed) == len(set(closed))
    for at, each in enumerate(got):
        assert each[2] or all(other[0] != each[0] or not other[2] for other in got[:at])


@pytest.mark.parametrize(
    ("name", "one", "other", "same"),
    [
        ("Liquidation", {"event_time": 1, "price": 2, "received_time": 3}, {"received_time": 9}, True),
        ("Liquidation", {"event_time": 1, "price": 2, "received_time": 3}, {"price": 4}, False),
        ("Ticker", {"event_time": None, "engine_time": None, "received_time": 3}, {"received_time": 4}, False),
        ("Ticker", {"event_time": 5, "engine_time": None, "received_time": 3}, {"received_time": 4}, True),
        ("FundingRate", {"interval_end_time": 1, "is_settled": True, "funding_rate": 1}, {"received_time": 4}, True),
        ("Market", {"event_time": None, "raw": "{}", "received_time": 3}, {"received_time": 4}, True),
    ],
)
def test_copies_of_a_record_are_recognised_by_their_values(
    name: str, one: dict[str, Any], other: dict[str, Any], same: bool
) -> None:
    assert (identity_of(name, one) == identity_of(name, one | other)) is same


@given(st.lists(st.integers(0, 20)), st.integers(1, 5))
def test_the_number_of_remembered_records_is_bounded(identities: list[int], most: int) -> None:
    recent = Recent(most)
    fresh: list[int] = []
    for at, each in enumerate(identities):
        if recent.offer(each, 0):
            assert each not in fresh[-most:]
            fresh.append(each)
        else:
            assert each in identities[:at]
        assert len(recent) <= 2 * most
    assert set(fresh) == set(identities)


def test_records_of_quiet_markets_are_forgotten_in_time() -> None:
    recent = Recent()
    assert recent.offer(1, 0)
    assert recent.offer(2, RECENT_MICROS + 1)
    assert not recent.offer(1, RECENT_MICROS + 2)
    assert recent.offer(3, 2 * RECENT_MICROS + 2)
    assert recent.offer(1, 2 * RECENT_MICROS + 3)
    assert len(recent) == 3


# ---- ranges of ids


@st.composite
def published(draw: st.DrawFn) -> tuple[list[Update], list[Update]]:
    """The updates of an exchange that restarts its ids, and the order in which producers' copies of them lie in the topic.

    One producer is ahead, the others are any distance behind it, and none has everything. A sequence begins with an id that was already
    passed: with ids alone, a sequence that goes on above them cannot be told from the one before.
    """
    sent: list[Update] = []
    begins: list[Update] = []
    time_us = 10**15
    for _ in range(draw(st.integers(1, 3))):
        first = draw(st.integers(1, begins[-1][1] if begins else 30))
        time_us += 5_000 * MILLI
        for number in range(draw(st.integers(1, 15))):
            last = first + (draw(st.integers(0, 2)) if number else 0)
            time_us += draw(st.sampled_from([2 * MILLI, 500 * MILLI]))
            sent.append((first, last, time_us))
            if not number:
                begins.append(sent[-1])
            first = last + 1
    came: list[Update] = []
    behind: list[list[Update]] = [[] for _ in range(draw(st.integers(0, 2)))]
    for each in sent:
        if each in begins or draw(st.booleans()):
            came.append(each)
        for queue in behind:
            if draw(st.booleans()):
                queue.append(each)
            while queue and draw(st.booleans()):
                came.append(queue.pop(0))
    for queue in behind:
        came += queue
    return [each for each in sent if each in came], came


@given(published())
def test_each_update_is_given_once_however_far_behind_a_copy_is(case: tuple[list[Update], list[Update]]) -> None:
    sent, came = case
    ranges = IdRanges()
    given_once = [each for each in came if ranges.offer(*each) is not None]
    assert sorted(given_once, key=lambda each: each[2]) == sent


@given(st.integers(1, 10), st.integers(0, 999))
def test_a_copy_whose_time_was_truncated_to_milliseconds_is_a_copy(trade_id: int, rest: int) -> None:
    time_us = 10**15 + rest
    for times in ((time_us, time_us - rest), (time_us - rest, time_us)):
        ranges = IdRanges()
        assert ranges.offer(trade_id, trade_id, times[0]) is not None
        assert ranges.offer(trade_id, trade_id, times[1]) is None


def test_an_update_that_another_producer_publishes_later_is_late() -> None:
    ranges = IdRanges()
    told = [ranges.offer(each, each, 10**15 + each * MILLI) for each in (1, 3, 2)]
    assert [each is not None and each.is_late for each in told] == [False, False, True]


def test_an_impossible_time_does_not_pass_for_a_new_sequence() -> None:
    distinct, depth = Distinct(), topic("market.depth")

    def offer(update_id: int, engine_us: int, received_us: int) -> bool:
        value = {"first_update_id": update_id, "last_update_id": update_id, "event_time": None}
        value |= {"engine_time": engine_us, "received_time": received_us}
        return distinct.offer(depth, 0, "A", "DepthUpdate", value) is not None

    start, year_2100 = 10**15, 4_102_444_800_000_000
    assert offer(1, start, start)
    assert offer(2, year_2100, start + 1)
    assert offer(3, start + 2 * MILLI, start + 2 * MILLI)
    assert not offer(2, year_2100, start + 1)
    assert offer(1, start + 20_000 * MILLI, start + 20_000 * MILLI)  # the exchange starts a new sequence
    assert not offer(1, start, start)


def test_in_a_compacted_topic_only_a_repetition_is_a_copy() -> None:
    distinct, market = Distinct(), topic("reference.market")
    rows: list[Any] = [{"raw": "1"}, {"raw": "1"}, {"raw": "2"}, {"raw": "1"}, None, None, {"raw": "1"}]
    told = [distinct.offer(market, 0, "A", "Market", row) is not None for row in rows]
    assert told == [True, False, True, True, True, False, True]
    assert distinct.duplicates == 2


def test_a_copy_in_another_partition_is_a_copy() -> None:
    """Its key has moved there because partitions were added; a producer that does not know them publishes the same records."""
    distinct, prices = Distinct(), topic("perp.mark_price")

    def is_new(partition: int, at: int, symbol: str = "A") -> bool:
        value = {"symbol": symbol, "event_time": at, "engine_time": at, "received_time": 3, "mark_price": 1}
        return distinct.offer(prices, partition, symbol, "MarkPrice", value) is not None

    assert [is_new(0, 1), is_new(1, 1), is_new(1, 2), is_new(0, 2), is_new(2, 1)] == [True, False, True, False, False]
    assert is_new(0, 1, "B")
    assert distinct.duplicates == 3
