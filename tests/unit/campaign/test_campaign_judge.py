"""The judge finds what was lost without a record and which LIVE book was wrong, and nothing else: each verdict can fail."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from faults.campaign.judge import Loss, Sight, lost_messages, overclaims, wrong_books
from faults.campaign.kept import GapRecord, message_in, split_stream
from faults.campaign.truth import BookTimes, Listed, Message, read_ledger

SECOND = 1_000_000
START = 1_790_000_000 * SECOND


def trade(number: int, at: float, symbol: str = "SOL_USDC") -> Message:
    wall_us = START + int(at * SECOND)
    return Message("trade", symbol, wall_us, wall_us, number, number, (number,))


def ticker(at: float) -> Message:
    wall_us = START + int(at * SECOND)
    return Message("ticker", "SOL_USDC", wall_us, wall_us, None, None, (wall_us,))


def candle(minute: int) -> Message:
    start = START // SECOND // 60 * 60 + 60 * minute
    wall_us = (start + 60) * SECOND + 10_000
    return Message("kline.1m", "SOL_USDC", wall_us, wall_us, start, start, (start,))


TRADES = [trade(100 + number, number) for number in range(20)]
TICKERS = [ticker(number) for number in range(20)]


def gap(
    last_id: int | None = None,
    next_id: int | None = None,
    last: float | None = None,
    next_at: float | None = None,
    reason: str = "RESTART",
) -> GapRecord:
    times = [None if each is None else START + int(each * SECOND) for each in (last, next_at)]
    return GapRecord("trade", "SOL_USDC", reason, last_id, next_id, times[0], times[1], "")


def lost(
    messages: list[Message], missing: set[int], *gaps: GapRecord, since_us: int | None = None, until: float = 1e6
) -> list[int]:
    """Places of the messages found lost, where those at `missing` are not in Kafka."""
    kept = {each.identity for place, each in enumerate(messages) if place not in missing}
    until_us = START + int(until * SECOND)
    found = lost_messages(messages, kept, gaps, since_us=since_us, until_us=until_us)
    places = {each.identity: place for place, each in enumerate(messages)}
    runs = [range(places[run.first.identity], places[run.last.identity] + 1) for run in found]
    assert [len(run) for run in runs] == [run.count for run in found]
    return [place for run in runs for place in run]


def test_nothing_missing_is_nothing_lost():
    assert lost(TRADES, set()) == []


@given(st.sets(st.integers(1, 19), max_size=8))
def test_what_is_missing_without_a_gap_is_lost(missing):
    assert lost(TRADES, missing) == sorted(missing)


@given(st.sets(st.integers(1, 18)), st.integers(0, 17), st.integers(1, 19))
def test_exactly_what_lies_between_the_bounds_is_on_record(missing, last, next_place):
    found = lost(TRADES, missing, gap(100 + last, 100 + next_place))
    assert found == [place for place in sorted(missing) if not last < place < next_place]


def test_bounds_that_are_one_short_leave_one_lost():
    assert lost(TRADES, {5, 6, 7}, gap(104, 108)) == []
    assert lost(TRADES, {5, 6, 7}, gap(105, 108)) == [5]
    assert lost(TRADES, {5, 6, 7}, gap(104, 107)) == [7]


def test_a_gap_without_an_end_reaches_to_the_next_record():
    assert lost(TRADES, {5, 6, 9}, gap(104, None)) == [9]


def test_a_gap_without_a_beginning_reaches_back_to_the_record_before():
    assert lost(TRADES, {5, 8, 9}, gap(None, 110)) == [5]


def test_what_came_just_before_a_coverage_was_confirmed_does_not_end_a_gap_without_a_beginning():
    messages = [ticker(each) for each in (0.0, 1.0, 2.0, 3.0, 4.0, 4.3, 4.6, 5.0)]
    assert lost(messages, {2, 3, 4}, gap(next_at=4.8)) == []
    assert lost(messages, {1, 2, 4}, gap(next_at=4.8)) == [1, 2], "the record before was long before that"


def test_before_the_start_of_a_stream_nothing_is_known():
    assert lost(TICKERS, {3, 5, 7, 9}, gap(next_at=8, reason="STREAM_START")) == [9]


@pytest.mark.parametrize(("last", "next_at", "expected"), [(4, 8, []), (6.5, 8, [5]), (4, 5.5, [7]), (4, None, [])])
def test_bounds_in_time_hold_with_a_second_of_slack(last, next_at, expected):
    assert lost(TICKERS, {5, 6, 7}, gap(last=last, next_at=next_at)) == expected


@pytest.mark.parametrize("step", [3600, -3600])
def test_a_bound_by_a_wrong_clock_means_the_record_that_was_received_then(step):
    received = {each.wall_us + step * SECOND: [each.identity] for each in TICKERS}
    kept = {each.identity for place, each in enumerate(TICKERS) if place not in (5, 6, 9)}
    record = gap(last=4 + step, next_at=7 + step)
    found = lost_messages(TICKERS, kept, [record], since_us=None, until_us=1 << 62, received=received)
    assert [each.first for each in found] == [TICKERS[9]]


@pytest.mark.parametrize("step", [-3600, 3600])
def test_a_bound_by_a_wrong_clock_between_two_records_means_the_one_received_next_by_that_clock(step):
    """The clock was set when the eleventh was received; coverage began anew 0.4 s before the sixteenth."""
    received = {
        each.wall_us + (step * SECOND if place > 10 else 0): [each.identity] for place, each in enumerate(TICKERS)
    }
    kept = {each.identity for place, each in enumerate(TICKERS) if place not in {3, 13, 14, 15}}
    record = gap(next_at=15.6 + step)
    found = lost_messages(TICKERS, kept, [record], since_us=None, until_us=1 << 62, received=received)
    assert [(each.first, each.last) for each in found] == [(TICKERS[3], TICKERS[3])]
    record = gap(next_at=11.0 + step)
    found = lost_messages(TICKERS, kept, [record], since_us=None, until_us=1 << 62, received=received)
    assert [(each.first, each.last) for each in found] == [(TICKERS[3], TICKERS[3]), (TICKERS[13], TICKERS[15])]


@pytest.mark.parametrize("step", [3600, -3600])
def test_a_bound_by_a_wrong_clock_counts_though_nothing_was_received_by_it(step):
    assert lost(TICKERS, {5, 6, 7}, gap(last=4 + step, next_at=8 + step)) == []
    assert lost(TICKERS, {5, 6, 11}, gap(last=4 + step, next_at=8 + step)) == [11]


def test_a_bound_minutes_after_a_market_fell_silent_is_by_a_right_clock():
    assert lost(TICKERS, {17, 18, 19}, gap(last=16, next_at=400)) == []


def test_open_bounds_in_time_reach_to_the_nearest_records():
    assert lost(TICKERS, {5, 6, 9}, gap(last=4.2)) == [9]
    assert lost(TICKERS, {3, 5, 6, 9}, gap(next_at=6.9)) == [3, 9]


def test_an_unbounded_gap_tells_nothing():
    assert lost(TICKERS, {5}, gap()) == [5]


def test_refills_that_were_claimed_must_be_there():
    assert lost(TRADES, {5, 6}, gap(104, 107), gap(104, 107, reason="REFILLED")) == [5, 6]
    assert lost(TRADES, {5, 6}, gap(104, 107), gap(104, 107, reason="REFILL_INCOMPLETE")) == []
    partly = [gap(104, 107, reason="REFILLED"), gap(104, 106, reason="REFILL_INCOMPLETE")]
    assert lost(TRADES, {5, 6}, gap(104, 107), *partly) == [6]


def test_an_audit_mismatch_excuses_nothing():
    assert lost(TRADES, {5}, gap(104, 106, reason="AUDIT_MISMATCH")) == [5]


def test_dead_letters_are_a_record():
    kept = {each.identity for each in TRADES[:5]}
    letters = {each.identity for each in TRADES[5:19]}
    (loss,) = lost_messages(TRADES, kept, [], letters, since_us=None, until_us=START + 60 * SECOND)
    assert loss == Loss(TRADES[19], TRADES[19], 1, "no gap on record")


def test_before_the_first_record_nothing_is_asked_for_but_what_the_plant_claims():
    assert lost(TRADES, {0, 1, 2}) == []
    assert lost(TRADES, {0, 1, 2}, since_us=TRADES[1].wall_us) == [1, 2]
    assert lost(TRADES, set(range(20))) == []
    assert lost(TRADES, set(range(20)), since_us=TRADES[18].wall_us) == [18, 19]


def test_after_the_end_nothing_is_asked_for():
    assert lost(TRADES, {17, 18, 19}, until=17.5) == [17]


def test_a_market_listed_anew_is_lost_by_its_own_ids():
    anew = [*TRADES, *(trade(1 + number, 30 + number) for number in range(10))]
    missing = {18, 19, 20, 21, 25}
    assert lost(anew, missing) == sorted(missing)
    assert lost(anew, missing, gap(117, 3)) == [25]
    assert lost(anew, missing, gap(None, 3)) == [25]
    assert lost(anew, missing, gap(5, 7)) == [18, 19, 20, 21]


def test_gaps_of_candles_are_bounded_by_their_starts():
    candles = [candle(number) for number in range(6)]
    bounds = [(candles[2].last_id or 0) * SECOND, (candles[4].last_id or 0) * SECOND]
    record = GapRecord("kline.1m", "SOL_USDC", "RESTART", None, None, bounds[0], bounds[1], "")
    kept = {each.identity for place, each in enumerate(candles) if place not in (2, 3)}
    assert lost_messages(candles, kept, [record], since_us=None, until_us=1 << 62) == []
    kept.discard(candles[5].identity)
    (loss,) = lost_messages(candles, kept, [record], since_us=None, until_us=1 << 62)
    assert loss.first == candles[5]


def test_what_a_topic_held_before_its_owner_made_it_again_is_not_asked_for():
    kept = {each.identity for each in TRADES[12:]} - {TRADES[15].identity}
    emptied_us = TRADES[12].wall_us
    claims = {"since_us": TRADES[0].wall_us, "until_us": 1 << 62}
    (loss,) = lost_messages(TRADES, kept, [], emptied_us=emptied_us, **claims)
    assert (loss.first, loss.count) == (TRADES[15], 1)
    found = lost_messages(TRADES, kept, [], **claims)
    assert [each.count for each in found] == [12, 1]


BIDS, ASKS = [["99", "1"], ["98", "2"]], [["101", "3"], ["102", "4"]]
LEVELS = json.dumps({"bids": BIDS, "asks": ASKS}).encode()


def depth(last_id: int, at: float) -> Message:
    wall_us = START + int(at * SECOND)
    return Message("depth", "SOL_USDC", wall_us, wall_us, last_id, last_id, (last_id, last_id))


def market(*listed: Listed) -> dict[str, BookTimes]:
    return {"SOL_USDC": BookTimes(listed or (Listed(START, None, 500),), [depth(501 + n, 1 + n) for n in range(10)])}


def sight(last_update_id: int | None, at: float, status: str = "LIVE", **changed: Any) -> Sight:
    values = {"levels": LEVELS, **changed}
    return Sight("library", START + int(at * SECOND), "SOL_USDC", status, last_update_id, **values)


def verdicts(*sights: Sight, times: dict[str, BookTimes] | None = None) -> list[str]:
    def book(_: str, __: int) -> dict[str, Any]:
        return {"bids": BIDS, "asks": ASKS}

    return [each.why for each in wrong_books(sights, times or market(), book, json.loads, 15)]


def test_a_right_book_is_right():
    assert verdicts(sight(505, 5), sight(500, 0.5), sight(510, 1000)) == []


def test_a_book_at_an_id_that_never_was():
    assert verdicts(sight(777, 5)) == ["the exchange's book was never at update 777"]
    assert verdicts(sight(None, 5)) == ["the exchange's book was never at update None"]


def test_a_book_with_another_level():
    other = json.dumps({"bids": [["99", "1.5"], ["98", "2"]], "asks": ASKS}).encode()
    (why,) = verdicts(sight(505, 5, levels=other))
    assert why.startswith("other bids")


def test_a_book_of_few_levels_is_compared_as_far_as_it_goes():
    top = json.dumps({"bids": BIDS[:1], "asks": ASKS[:1]}).encode()
    assert verdicts(sight(505, 5, levels=top, top=1)) == []
    assert verdicts(sight(505, 5, levels=top))


def test_a_book_that_stands_still_while_the_exchange_moves_on():
    assert verdicts(sight(505, 20.5)) == []
    (why,) = verdicts(sight(505, 21.5))
    assert why == "5 updates and 15.5 s behind the exchange"


def test_a_quiet_book_never_grows_old():
    assert verdicts(sight(510, 100_000)) == []


def test_what_is_not_live_claims_nothing():
    assert verdicts(sight(777, 5, "STALE"), sight(505, 999, "SYNCING")) == []


def test_a_closed_market_moves_no_more():
    closed = market(Listed(START, START + 20 * SECOND, 500))
    assert verdicts(sight(505, 30), times=closed) == []
    assert verdicts(sight(777, 30), times=closed) != []


def test_a_book_of_before_the_market_was_listed_anew_is_behind():
    anew = market(Listed(START, START + 12 * SECOND, 500), Listed(START + 20 * SECOND, None, 0))
    assert verdicts(sight(510, 30), times=anew) == []
    assert verdicts(sight(510, 36), times=anew) != []
    assert verdicts(sight(0, 36), times=anew) == []


@pytest.mark.parametrize(
    ("last_update_id", "as_of", "status", "seconds"),
    [
        (505, 5.5, "LIVE", None),
        (505, 7.9, "LIVE", None),
        (505, 8.5, "LIVE", 2.5),
        (505, 8.5, "STALE", None),
        (510, 900, "LIVE", None),
        (505, None, "LIVE", None),
        (777, 8.5, "LIVE", None),
        (None, 8.5, "LIVE", None),
    ],
)
def test_a_book_that_lacks_what_it_is_said_to_have(last_update_id, as_of, status, seconds):
    as_of_us = None if as_of is None else START + int(as_of * SECOND)
    found = overclaims([sight(last_update_id, 9, status, as_of_us=as_of_us)], market())
    assert [each.seconds for each in found] == ([] if seconds is None else [seconds])


def test_the_ledger_is_read_in_order():
    said = {"depth": [[1, 1, 5, 6, None], [2, 2, 7, 7, None]], "liquidation": [[3, 3, None, None, "Bid 1.50 2"]]}
    listing = {"begun": 0, "ended": None, "first_update_id": 4, "forgotten": {"depth": 0}, "streams": said}
    truth = read_ledger({"subscribed": {"depth.X": 1}, "markets": {"X": [listing]}})
    assert [each.identity for each in truth.messages["depth", "X"]] == [(5, 6), (7, 7)]
    assert truth.total() == 3
    frame = {"stream": "liquidation", "data": {"E": 3, "S": "Bid", "p": "1.5", "q": "2.0", "s": "X"}}
    assert message_in(json.dumps(frame).encode()) == (
        ("liquidation", "X"),
        truth.messages["liquidation", "X"][0].identity,
    )


def test_a_ledger_that_forgot_is_refused():
    listing = {"begun": 0, "ended": None, "first_update_id": 4, "forgotten": {"depth": 512}, "streams": {}}
    with pytest.raises(AssertionError, match="too small"):
        read_ledger({"subscribed": {}, "markets": {"X": [listing]}})


@pytest.mark.parametrize(
    ("stream", "expected"),
    [
        ("depth.AAPL.US_USDC_PERP", ("depth", "AAPL.US_USDC_PERP")),
        ("kline.1m.AAPL.US_USDC_PERP", ("kline.1m", "AAPL.US_USDC_PERP")),
        ("liquidation", ("liquidation", "")),
    ],
)
def test_streams_are_taken_apart(stream, expected):
    assert split_stream(stream) == expected


def test_frames_that_are_none_hold_no_message():
    assert message_in(b"<html>") is None
    assert message_in(b'{"id":null,"error":{"code":5000}}') is None
