"""Finds what is missing among records, in any order, unless a gap reports it."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from backpack_streams.feed.untold import Span, Untold

TOPIC, STREAM = "p.market.trade", "trade.X"
MINUTE = 60_000_000
NOW_US = 1_800_000_000_000_000


def gap(last_id: int | None, next_id: int | None, stream: str = STREAM, **times: int | None) -> dict[str, Any]:
    return {"stream": stream, "last_id": last_id, "next_id": next_id, "last_time": None, "next_time": None} | times


def trade(untold: Untold, trade_id: int, time_us: int | None = None) -> None:
    untold.record(
        TOPIC,
        "Trade",
        {"symbol": "X", "trade_id": trade_id, "engine_time": time_us or trade_id, "received_time": trade_id},
    )


def missing(untold: Untold) -> set[int]:
    return {each for first, until in untold.of(STREAM, TOPIC, "X") for each in range(first, until)}


@given(
    st.lists(st.integers(1, 12), min_size=1, max_size=20),
    st.lists(st.tuples(st.none() | st.integers(0, 12), st.none() | st.integers(1, 13)), max_size=4),
)
def test_everything_between_the_records_that_no_gap_reports_is_missing(
    ids: list[int], gaps: list[tuple[int | None, int | None]]
) -> None:
    untold = Untold(NOW_US)
    for each in ids:
        trade(untold, each, 5)
    told: set[int] = set()
    for last_id, next_id in gaps:
        untold.gap(gap(last_id, next_id))
        if next_id is not None:
            told |= set(range((last_id or 0) + 1 if last_id is not None else 0, next_id))
    assert missing(untold) == set(range(ids[0], max(ids))) - set(ids) - told


def test_depth_updates_cover_several_ids_and_windows_may_overlap() -> None:
    untold = Untold(NOW_US)
    for first, last in ((1, 5), (4, 9), (10, 10), (13, 15)):
        row = {
            "symbol": "X",
            "first_update_id": first,
            "last_update_id": last,
            "engine_time": last,
            "received_time": last,
        }
        untold.record("t", "DepthUpdate", row)
    assert untold.of("depth.200ms.X", "t", "X") == [Span(11, 13)]


def test_only_closed_candles_count_and_each_interval_is_separate() -> None:
    untold = Untold(NOW_US)
    for minute, is_closed, interval in ((1, True, "1m"), (2, False, "1m"), (4, True, "1m"), (9, True, "3m")):
        length = MINUTE if interval == "1m" else 3 * MINUTE
        row = {
            "symbol": "X", "interval": interval, "is_closed": is_closed,
            "received_time": 9, "start_time": minute * MINUTE, "end_time": minute * MINUTE + length,
        }  # fmt: skip
        untold.record("t", "Kline", row)
    assert untold.of("kline.1m.X", "t", "X", "1m") == [Span(2 * MINUTE, 4 * MINUTE)]
    assert untold.of("kline.3m.X", "t", "X", "3m") == []
    untold.gap(gap(None, None, "kline.1m.X", last_time=2 * MINUTE, next_time=3 * MINUTE))
    assert untold.of("kline.1m.X", "t", "X", "1m") == [Span(3 * MINUTE, 4 * MINUTE)]


def test_a_restarted_sequence_leaves_nothing_missing_between_the_two() -> None:
    untold = Untold(NOW_US)
    for each, time_us in ((1000, 1), (1001, 2), (1, 3), (2, 4), (4, 5)):
        trade(untold, each, time_us)
    assert missing(untold) == {3}


def test_gaps_from_before_a_restart_of_the_exchange_do_not_explain_later_losses() -> None:
    """A market was delisted and came back with ids from 1: the old ids were far above, and some are the same."""
    untold = Untold(NOW_US)
    for each, time_us in ((1000, 10), (1005, 20), (1, 30), (4, 40), (9, 50)):
        trade(untold, each, time_us)
    untold.gap(gap(None, 1000, next_time=11))
    untold.gap(gap(4, 9, last_time=12, next_time=13))  # of the previous sequence: it had begun lower once
    assert missing(untold) == {1001, 1002, 1003, 1004, 2, 3, 5, 6, 7, 8}
    trade(untold, 1002, 15)  # refilled since then
    assert missing(untold) == {1001, 1003, 1004, 2, 3, 5, 6, 7, 8}
    untold.gap(gap(1000, 1005, last_time=12, next_time=21))
    untold.gap(gap(4, 9, last_time=42, next_time=51))
    assert missing(untold) == {2, 3}


def test_a_gap_without_an_end_and_gaps_of_other_streams_explain_nothing() -> None:
    untold = Untold(NOW_US)
    for each in (1, 5):
        trade(untold, each)
    untold.gap(gap(1, None))
    untold.gap(gap(1, 5, "trade.Y"))
    assert missing(untold) == {2, 3, 4}
    untold.gap(gap(None, 5))
    assert missing(untold) == set()


def test_records_without_a_sequence_prove_nothing() -> None:
    untold = Untold(NOW_US)
    untold.record("t", "BookTicker", {"symbol": "X", "update_id": 4})
    assert untold.of("bookTicker.X", "t", "X") == []


def test_ids_before_the_first_record_are_missing_if_it_is_newer_than_the_known_coverage() -> None:
    untold = Untold(NOW_US)
    for each in (7, 8, 11):
        trade(untold, each)

    def found(until: int | None) -> list[Span]:
        return untold.of(STREAM, TOPIC, "X", covered_until_us=until)

    assert found(None) == found(7) == [Span(9, 11)]
    assert found(6) == [Span(0, 7), Span(9, 11)]
    untold.gap(gap(None, 7))
    assert found(6) == [Span(9, 11)]


def test_a_recorded_gap_reports_the_time_since_it_began() -> None:
    untold = Untold(NOW_US)
    assert not untold.tells_of(STREAM, 5)
    untold.gap(gap(None, None, last_time=5, next_time=9))
    untold.gap(gap(None, None, last_time=3, next_time=4))
    assert untold.tells_of(STREAM, 5)
    assert not untold.tells_of(STREAM, 6)
    assert not untold.tells_of("trade.Y", 5)


def test_a_gap_from_the_future_was_written_by_a_wrong_clock_and_reports_nothing() -> None:
    untold = Untold(100)
    untold.gap(gap(None, None, last_time=3_600, next_time=3_700))
    assert not untold.tells_of(STREAM, 50)
