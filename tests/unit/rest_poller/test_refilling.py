"""Which gaps are refilled: the gap topic is the work list, and is read again after a restart."""

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backpack_streams.rest_poller.refilling import ANSWERS_AT_MOST, SETTLED_SECONDS, RefillPlan, span_of

TRADES, CANDLES = "trade.AAPL.US_USDC_PERP", "kline.1m.AAPL.US_USDC_PERP"


class UpperEnd(random.Random):
    """Draws the longest delay allowed."""

    def uniform(self, a: float, b: float) -> float:
        return b


def gap(stream: str, start: int | None, end: int | None, reason: str = "SEQUENCE_BREAK") -> dict[str, Any]:
    """A gap of the ids, or the candles, from `start` to before `end`."""
    is_kline = stream.startswith("kline")
    return {
        "stream": stream, "symbol": "AAPL.US_USDC_PERP", "reason": reason,
        "last_id": None if is_kline or start is None else start - 1, "next_id": None if is_kline else end,
        "last_time": start if is_kline else None, "next_time": end if is_kline else None,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("record", "span"),
    [
        (gap(TRADES, 5, 9), (5, 9)),
        (gap(CANDLES, 60, 180), (60, 180)),
        (gap(TRADES, 5, None), (5, 6)),
        (gap(TRADES, None, 9), None),
        (gap(TRADES, 9, 5), None),
        (gap(TRADES, 1_000_001, 5, "SEQUENCE_RESTARTED"), (1, 5)),
        (gap(TRADES, 1_000_001, 1, "SEQUENCE_RESTARTED"), None),
        (gap(CANDLES, None, 60), None),
        (gap("depth.X", 5, 9), None),
        (gap("depth.200ms.X", 5, 9), None),
        (gap("liquidation", 5, 9), None),
        (gap("ticker.X", 5, 9), None),
    ],
)
def test_the_span_of_a_gap_lies_between_its_bounds(record: dict[str, Any], span: tuple[int, int] | None) -> None:
    assert span_of(record) == span


def test_a_gap_is_fetched_once_and_then_closed() -> None:
    plan = RefillPlan()
    assert plan.take(gap(TRADES, 5, 9), 0.0)
    refill = plan.next(0.0, "trade")
    assert refill is not None
    assert (refill.span, refill.symbol) == ((5, 9), "AAPL.US_USDC_PERP")
    assert plan.next(0.0, "trade") is None
    assert plan.next(0.0, "kline") is None
    plan.closed(TRADES, (5, 9))
    plan.done(refill, 1.0)
    assert plan.open_spans("trade") == 0
    assert plan.next(9.0, "trade") is None


def test_the_first_trades_of_a_restarted_sequence_are_fetched() -> None:
    plan = RefillPlan()
    assert plan.take(gap(TRADES, 1_000_001, 5, "SEQUENCE_RESTARTED"), 0.0)
    refill = plan.next(0.0, "trade")
    assert refill is not None
    assert (refill.span, refill.is_open) == ((1, 5), False)


def test_the_age_of_the_oldest_gap_counts_only_open_gaps() -> None:
    plan = RefillPlan()
    assert plan.oldest_open_seconds("trade", 5.0) == 0.0
    plan.take(gap(TRADES, 5, 9), 10.0)
    plan.take(gap(TRADES, 20, 29), 12.0)
    plan.take(gap(CANDLES, 60, 120), 11.0)
    assert (plan.open_spans("trade"), plan.open_spans("kline")) == (2, 1)
    plan.closed(TRADES, (5, 7))
    assert plan.oldest_open_seconds("trade", 20.0) == 10.0, "a part of it is still missing"
    plan.closed(TRADES, (7, 9))
    assert plan.oldest_open_seconds("trade", 20.0) == 8.0
    assert plan.oldest_open_seconds("kline", 20.0) == 9.0
    plan.closed(TRADES, (1, 100))
    assert (plan.open_spans("trade"), plan.oldest_open_seconds("trade", 20.0)) == (0, 0.0)
    plan.take(gap(TRADES, 50, 60), 30.0)
    assert plan.oldest_open_seconds("trade", 31.0) == 1.0


def test_gaps_of_a_stream_come_one_at_a_time_oldest_first() -> None:
    plan = RefillPlan()
    for start in (50, 5, 7):
        plan.take(gap(TRADES, start, start + 2), 0.0)
    spans = []
    while (refill := plan.next(0.0, "trade")) is not None:
        spans.append(refill.span)
        plan.closed(TRADES, refill.span)
        plan.done(refill, 0.0)
    assert spans == [(5, 9), (50, 52)]


def test_missing_rows_are_requested_again_but_not_for_ever() -> None:
    plan, now, waits = RefillPlan(UpperEnd()), 0.0, []
    plan.take(gap(CANDLES, 60, 120), now)
    for attempt in range(ANSWERS_AT_MOST):
        refill = plan.next(now, "kline")
        assert refill is not None
        assert refill.is_last_answer == (attempt == ANSWERS_AT_MOST - 1)
        plan.failed(refill, now, had_answer=True)
        assert plan.next(now, "kline") is None
        due = plan.next_due("kline")
        assert due is not None
        waits.append(due - now)
        now = due
    assert waits == sorted(waits)
    assert waits[-1] <= 30


def test_an_exchange_that_is_down_does_not_use_up_attempts() -> None:
    plan, now = RefillPlan(), 0.0
    plan.take(gap(TRADES, 5, 9), now)
    for _ in range(100):
        refill = plan.next(now, "trade")
        assert refill is not None
        assert not refill.is_last_answer
        plan.failed(refill, now, had_answer=False)
        now = plan.next_due("trade") or now
    assert plan.open_spans("trade") == 1


@given(
    st.lists(
        st.tuples(st.sampled_from(["SEQUENCE_BREAK", "REFILLED", "REFILL_INCOMPLETE"]), st.integers(1, 30), st.integers(1, 30)),
        max_size=30,
    )
)  # fmt: skip
def test_after_reading_the_topic_again_the_remaining_work_is_known(records: list[tuple[str, int, int]]) -> None:
    plan, missing = RefillPlan(), set[int]()
    for reason, start, end in records:
        plan.take(gap(TRADES, start, end, reason), 0.0)
        ids = set(range(start, end))
        missing = missing | ids if reason == "SEQUENCE_BREAK" else missing - ids
    fetched = set[int]()
    while (refill := plan.next(0.0, "trade")) is not None:
        fetched |= set(range(*refill.span))
        plan.closed(TRADES, refill.span)
        plan.done(refill, 0.0)
    assert fetched == missing


def test_an_uncovered_time_is_checked_twice_and_no_more() -> None:
    plan = RefillPlan()
    plan.take(gap(TRADES, 5, None, "RESTART"), 0.0)
    refill = plan.next(0.0, "trade")
    assert refill is not None
    assert (refill.span, refill.is_open, refill.is_last_answer) == ((5, 6), True, False)
    plan.settles(refill, 1.0)
    assert plan.next_due("trade") == 1.0 + SETTLED_SECONDS
    refill = plan.next(1.0 + SETTLED_SECONDS, "trade")
    assert refill is not None
    assert (refill.is_open, refill.is_last_answer) == (True, True)
    plan.closed(TRADES, (5, 6))
    plan.done(refill, 12.0)
    assert plan.next_due("trade") is None


def test_known_losses_are_not_taken_for_an_uncovered_time() -> None:
    plan = RefillPlan()
    plan.take(gap(TRADES, 5, None, "RESTART"), 0.0)
    plan.take(gap(TRADES, 5, 8), 0.0)  # the next trade has shown it
    plan.take(gap(TRADES, 20, None) | {"lost_records": 1}, 0.0)  # an unreadable frame
    for span in ((5, 8), (20, 21)):
        refill = plan.next(0.0, "trade")
        assert refill is not None
        assert (refill.span, refill.is_open) == (span, False)
        plan.closed(TRADES, span)
        plan.done(refill, 0.0)


def test_losses_found_in_an_uncovered_time_stay_on_the_list() -> None:
    plan = RefillPlan()
    plan.take(gap(TRADES, 5, None, "DISCONNECTED"), 0.0)
    refill = plan.next(0.0, "trade")
    assert refill is not None
    plan.extend(TRADES, (5, 9))
    plan.failed(refill, 0.0, had_answer=True)
    refill = plan.next(60.0, "trade")
    assert refill is not None
    assert (refill.span, refill.is_open) == ((5, 9), False)
