"""Pages of history: everything the exchange still has is found, even if trading goes on meanwhile, and the rest is reported."""

from hypothesis import given
from hypothesis import strategies as st

from backpack_streams.exchange.rest_wire import Kline, Trade
from backpack_streams.exchange.streams import KLINE_INTERVALS
from backpack_streams.rest_poller.history_search import CandleSearch, TradeSearch, length_micros

DEEPEST, MOST = 10_000, 1_000
MINUTE = 60_000_000


class Market:
    """An exchange that keeps its trades from `oldest` on and goes on trading between requests."""

    def __init__(self, oldest: int, newest: int, lacking: frozenset[int] = frozenset()) -> None:
        self.ids = [each for each in range(oldest, newest + 1) if each not in lacking]
        self.requests = 0

    def answer(self, search: TradeSearch, more: int) -> bool:
        page = search.next_page()
        if page is None:
            return False
        self.requests += 1
        offset = page.offset or 0
        assert 1 <= page.limit <= MOST
        assert offset + page.limit <= DEEPEST
        newest_first = self.ids[::-1][offset : offset + page.limit]
        search.take([trade(each) for each in newest_first], len(newest_first))
        self.ids += range(self.ids[-1] + 1, self.ids[-1] + 1 + more)
        return True


def trade(trade_id: int) -> Trade:
    return Trade("X", trade_id, "1", "1", "1", trade_id * 1_000, True)


def ids(spans: list[tuple[int, int]]) -> set[int]:
    return {each for start, end in spans for each in range(start, end)}


@given(
    st.integers(1, 15_000), st.integers(1, 15_000), st.integers(1, 4_000), st.integers(0, 300), st.integers(0, 2_000)
)
def test_everything_available_is_found(kept: int, back: int, length: int, more: int, beyond: int) -> None:
    newest = 100_000
    market = Market(newest - kept + 1, newest)
    span = (newest - back, min(newest - back + length, newest + beyond + 1))
    search = TradeSearch(span)
    while market.answer(search, more):
        assert market.requests <= 20
    wanted, found = set(range(*span)), set(search.found)
    assert found <= wanted
    assert found | ids(search.late()) | ids(search.lost()) == wanted
    assert not found & (ids(search.late()) | ids(search.lost()))
    surely_there = {each for each in market.ids if each in wanted and each <= newest}
    reach = market.ids[-1] - DEEPEST + 1  # after everything that was traded meanwhile
    assert {each for each in surely_there if each >= reach} <= found
    assert all(each < search.floor for each in ids(search.lost()))
    assert all(each > newest or each in surely_there for each in ids(search.late()))


def test_an_open_end_extends_to_the_newest_trade() -> None:
    market = Market(1, 105)
    search = TradeSearch((101, 102), is_open=True)
    while market.answer(search, 1):
        pass
    assert (search.span, sorted(search.found)) == ((101, 106), [101, 102, 103, 104, 105])
    assert not search.lacks_nothing


@given(st.integers(90, 110), st.integers(95, 100))
def test_only_an_answer_that_ends_right_before_an_open_end_shows_that_nothing_was_missed(
    newest: int, start: int
) -> None:
    market = Market(1, newest)
    search = TradeSearch((start, 101), is_open=True)
    while market.answer(search, 0):
        pass
    assert search.lacks_nothing == (newest == 99)
    closed = TradeSearch((start, 101))
    while market.answer(closed, 0):
        pass
    assert not closed.lacks_nothing


def test_a_gap_among_the_newest_trades_costs_one_request_without_an_offset() -> None:
    market = Market(1, 50_000)
    search = TradeSearch((49_500, 49_600))
    page = search.next_page()
    assert page is not None
    assert page.offset is None
    assert market.answer(search, 0)
    assert not market.answer(search, 0)
    assert sorted(search.found) == list(range(49_500, 49_600))


def test_a_gap_further_back_is_requested_directly() -> None:
    market = Market(1, 50_000)
    search = TradeSearch((42_000, 42_500))
    while market.answer(search, 100):
        pass
    assert sorted(search.found) == list(range(42_000, 42_500))
    assert market.requests == 2


@given(st.integers(1, 9_000), st.integers(1, 9_000), st.integers(0, 600))
def test_everything_before_until_is_complete_at_every_step(back: int, length: int, more: int) -> None:
    newest = 100_000
    market = Market(1, newest)
    span = (newest - back, min(newest - back + length, newest))
    search, until = TradeSearch(span), span[0]
    while market.answer(search, more):
        assert search.until >= until
        until = search.until
        known = set(search.found) | ids(search.lost())
        assert set(range(span[0], until)) <= known
    assert until == span[1]


def test_the_oldest_trades_come_first() -> None:
    market = Market(1, 50_000)
    search, reached = TradeSearch((42_000, 46_000)), []
    while market.answer(search, 50):
        reached.append(search.until)
    assert reached == [42_000, 42_950, 43_900, 44_850, 45_800, 46_000]


def test_an_unreadable_row_is_neither_late_nor_lost() -> None:
    search = TradeSearch((90, 101))
    search.next_page()
    rows = [each for each in range(100, 0, -1) if each not in (100, 95)]
    search.take([trade(each) for each in rows], 100, [100, 95])
    assert (search.late(), search.lost(), search.until) == ([], [], 101)
    assert list(search.unreadable) == [(95, 96), (100, 101)]
    assert search.next_page() is None


def test_an_unanswered_page_is_requested_again() -> None:
    candles = CandleSearch((0, 1_500 * MINUTE), "1m")
    first = candles.next_page()
    assert candles.next_page() == first
    candles.take([candle(each) for each in range(1_000) if each != 7], 10_000 * MINUTE, [(7 * MINUTE, 8 * MINUTE)])
    assert candles.next_page() != first
    assert (candles.until, list(candles.unreadable)) == (1_000 * MINUTE, [(7 * MINUTE, 8 * MINUTE)])
    trades = TradeSearch((1, 5))
    assert trades.next_page() == trades.next_page()


def test_missing_ids_at_the_exchange_count_as_late_and_do_not_loop() -> None:
    market = Market(1, 5_000, frozenset({4_900, 4_901}))
    search = TradeSearch((4_890, 4_910))
    while market.answer(search, 0):
        assert market.requests < 5
    assert search.late() == [(4_900, 4_902)]
    assert search.lost() == []


def test_pages_older_than_wanted_are_not_requested() -> None:
    market = Market(1, 50_000)
    search = TradeSearch((0, 1 << 62), oldest_us=48_500 * MINUTE // 60)
    while market.answer(search, 0):
        pass
    assert market.requests == 2
    assert min(search.found) <= 48_500


def candle(minute: int) -> Kline:
    return Kline("X", "1m", minute * MINUTE, (minute + 1) * MINUTE, None, None, None, None, "0", "0", 0)


@given(st.integers(0, 50), st.integers(1, 3_000), st.sets(st.integers(0, 3_000), max_size=5), st.integers(0, 3_060))
def test_closed_candles_are_found_and_missing_ones_are_reported(
    start: int, length: int, lacking: set[int], now_minute: int
) -> None:
    span = (start * MINUTE, (start + length) * MINUTE)
    search, now_us = CandleSearch(span, "1m"), now_minute * MINUTE + 5_000_000
    while (page := search.next_page()) is not None:
        minutes = range(page.start_s // 60, page.end_s // 60 + 1)  # the end bound is included
        assert len(minutes) <= 1_002
        search.take([candle(each) for each in minutes if each not in lacking and each * MINUTE < now_us], now_us)
    there = {each for each in range(start, start + length) if each not in lacking and (each + 1) * MINUTE < now_us}
    assert {each // MINUTE for each in search.found} == there
    late = {each for first, end in search.late() for each in range(first // MINUTE, end // MINUTE)}
    assert late == set(range(start, start + length)) - there


def test_every_interval_has_a_length() -> None:
    assert [length_micros(each) for each in ("1s", "1m", "1month")] == [1_000_000, MINUTE, 31 * 1_440 * MINUTE]
    lengths = [length_micros(each) for each in KLINE_INTERVALS]
    assert lengths == sorted(lengths)
