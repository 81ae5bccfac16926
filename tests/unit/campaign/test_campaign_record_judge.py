"""What a reader of records was given is judged: each verdict can fail, and holds for whatever was rightly given."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backpack_streams.books import Gap, StreamedRecord
from faults.campaign.record_judge import Given, GivenTrade, RecordFindings, judge_records
from faults.campaign.record_readers import take
from faults.campaign.truth import Message

STREAM = ("trade", "SOL_USDC")


def said(*ids: int) -> list[Message]:
    return [Message(*STREAM, place, place, number, number, (number,)) for place, number in enumerate(ids)]


def trade(number: int, offset: int | None = None, *, late: bool = False, time_us: int | None = None) -> GivenTrade:
    return GivenTrade(number, number if time_us is None else time_us, 0, number if offset is None else offset, late)


def verdict(
    *items: GivenTrade | tuple[int, int], kept: set[int] | None = None, messages: list[Message] | None = None
) -> RecordFindings:
    noted = Given()
    for each in items:
        if isinstance(each, GivenTrade):
            noted.trade("SOL_USDC", each)
        else:
            noted.hole("SOL_USDC", *each)
    ids = {each.trade_id for each in items if isinstance(each, GivenTrade)} if kept is None else kept
    truth = said(*sorted(ids)) if messages is None else messages
    return judge_records(noted, {STREAM: {(each,) for each in ids}}, {STREAM: truth}, ("trade",))


def test_each_once_and_in_order_is_right():
    found = verdict(trade(1), trade(2), trade(3))
    assert (found.given, found.problems) == (3, [])


def test_what_kafka_has_and_was_not_given_is_lost():
    found = verdict(trade(1), trade(3), kept={1, 2, 3}, messages=said(1, 3))
    assert found.lost == ["trade.SOL_USDC: 1 records of Kafka not given, such as (2,)"]
    assert judge_records(Given(), {("ticker", "X"): {(1,)}}, {}, ("trade",)).problems == []


def test_what_was_given_again_is_told():
    found = verdict(trade(1), trade(2), trade(2, late=True))
    assert found.twice == ["trade.SOL_USDC: 1 records given twice, such as (2,)"]


def test_a_hole_whose_trade_came_after_it_is_true():
    found = verdict(trade(1, 0), (2, 3), trade(4, 1), trade(5, 2), trade(2, 3, late=True), messages=said(1, 2, 3, 4, 5))
    assert found.problems == []
    assert (found.holes, found.late) == (1, 1)


def test_a_hole_whose_trade_had_been_read_is_none():
    found = verdict(trade(1, 0), (2, 2), trade(3, 2), trade(2, 1, late=True))
    (why,) = found.untrue
    assert "trade 2 lay at offset 1, before 2" in why


def test_a_hole_that_covers_what_was_given_is_none():
    (why,) = verdict(trade(1, 0), trade(2, 1), (2, 3), trade(4, 2), messages=said(1, 2, 3, 4)).untrue
    assert "trade 2" in why


def test_in_another_partition_offsets_say_nothing():
    moved = trade(2, 0, late=True)._replace(partition=1)
    assert verdict(trade(1, 5), (2, 2), trade(3, 6), moved).problems == []


def test_trades_that_are_missing_without_a_hole():
    (why,) = verdict(trade(1), trade(4), messages=said(1, 2, 3, 4)).untrue
    assert why == "trade.SOL_USDC: 2 trades from 2 on are missing, and no hole was told"
    assert verdict(trade(1), (2, 2), trade(4), messages=said(1, 2, 3, 4)).untrue
    assert not verdict(trade(2), trade(3), messages=said(1, 2, 3, 4)).untrue, "before the first and after the last one"


def test_order_but_for_late_ones_and_a_new_sequence():
    (why,) = verdict(trade(2, time_us=20), trade(1, time_us=10)).untrue
    assert why == "trade.SOL_USDC: trade 1 was given after 2"
    assert not verdict(trade(2, time_us=20), trade(1, time_us=10, late=True)).untrue
    anew = verdict(trade(700, time_us=20), trade(1, time_us=30), messages=said(700, 1))
    assert not anew.untrue


@given(st.sets(st.integers(0, 30), min_size=1), st.sets(st.integers(0, 30)))
def test_whoever_tells_each_hole_is_right(kept, late):
    """A stream that gives what is there in order, tells what is not, and gives what comes later as late."""
    at_first = sorted(kept - late) or sorted(kept)
    items: list[GivenTrade | tuple[int, int]] = []
    for offset, number in enumerate(at_first):
        if offset and number > at_first[offset - 1] + 1:
            items.append((at_first[offset - 1] + 1, number - 1))
        items.append(trade(number, offset))
    items += [trade(number, 100 + number, late=True) for number in sorted(kept - set(at_first))]
    assert verdict(*items, kept=kept, messages=said(*range(31))).problems == []


@given(st.sets(st.integers(0, 30), min_size=3), st.data())
def test_whatever_is_left_out_is_found(kept, data):
    left_out = data.draw(st.sampled_from(sorted(kept)))
    found = verdict(*(trade(number) for number in sorted(kept - {left_out})), kept=kept, messages=said(*sorted(kept)))
    assert len(found.lost) == 1
    inside = min(kept) < left_out < max(kept)
    assert len(found.untrue) == inside


@pytest.mark.parametrize("key", ["engine_time", "event_time"])
def test_records_are_noted_as_streams_give_them(key):
    noted = Given()
    value: dict[str, Any] = {"trade_id": 7, "engine_time": None, "event_time": None, key: 99}
    take(noted, StreamedRecord("market.trade", "Trade", "SOL_USDC", value, 2, 5, is_late=True))
    take(noted, Gap("SOL_USDC", 8, 9))
    ids = {"first_update_id": 3, "last_update_id": 4}
    take(noted, StreamedRecord("market.depth", "DepthUpdate", "SOL_USDC", ids, 2, 5))
    assert noted.trades == {"SOL_USDC": [GivenTrade(7, 99, 2, 5, True), (8, 9)]}
    assert noted.total() == 2
    assert noted.missing({("depth", "SOL_USDC"): {(3, 4), (5, 6)}}, ("depth",)) == [
        "depth.SOL_USDC: 1 records of Kafka not given, such as (5, 6)"
    ]
