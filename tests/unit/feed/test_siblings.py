"""Finds a stream that falls behind its siblings; not a quiet market, a late socket or a falling count."""

from typing import Any

from backpack_streams.exchange.session_actions import StreamsInactive
from backpack_streams.feed.siblings import GRACE_SECONDS, Siblings
from unit.feed.recorded_queues import Plant, depth_frame, ticker_frame, trade_frame

SECOND = 1_000_000
DEPTH, BOOK, TRADE, TICKER = "depth.X", "bookTicker.X", "trade.X", "ticker.X"


def statistics(trades: int, number: int) -> dict[str, Any]:
    data = {"e": "ticker", "E": number * SECOND, "T": number * SECOND, "s": "X", "n": trades}
    return {"stream": TICKER, "data": data}


class Market:
    """The streams of a market, checked once a second."""

    def __init__(self, *streams: str) -> None:
        self.plant = Plant(streams)
        self.siblings = Siblings()
        self.now = 0.0

    def send(self, frame: dict[str, Any]) -> None:
        self.plant.send(frame)

    def look(self, seconds: float = 1.0) -> list[str]:
        """The streams found in this many seconds."""
        found: list[str] = []
        for _ in range(round(seconds)):
            self.now += 1.0
            found += self.siblings.check(self.plant.router.feeds, self.plant.coverage.is_covered, self.now)
        return found


def test_a_book_ticker_past_the_last_depth_update_proves_that_depth_is_missing() -> None:
    market = Market(DEPTH, BOOK)
    market.send(depth_frame(1, 5, 1))
    market.send(ticker_frame(5, 1))
    assert market.look(60) == []
    market.send(ticker_frame(6, 2))
    assert market.look(GRACE_SECONDS) == []
    assert market.look(2) == [DEPTH]


def test_streams_that_are_no_longer_wanted_are_forgotten() -> None:
    market = Market(DEPTH, BOOK)
    market.send(ticker_frame(5, 1))
    market.look(1)
    assert set(market.siblings._watches) == {DEPTH}
    market.plant.want([BOOK])
    market.look(1)
    assert market.siblings._watches == {}


def test_the_evidence_names_both_streams() -> None:
    market = Market(DEPTH, BOOK)
    market.send(ticker_frame(5, 1))
    market.look(1)
    market.send(ticker_frame(6, 2))
    market.look(1)
    found = market.siblings.check(market.plant.router.feeds, lambda _: True, 100.0)
    assert BOOK in found[DEPTH]
    assert DEPTH in found[DEPTH]


def test_a_market_in_which_nothing_moves_is_quiet() -> None:
    market = Market(DEPTH, BOOK, TRADE, TICKER)
    market.send(depth_frame(1, 5, 1))
    market.send(ticker_frame(5, 1))
    market.send(trade_frame(1, 1))
    for second in range(1, 100):
        market.send(statistics(7, second))
        assert market.look() == []


def test_a_book_ticker_that_repeats_itself_or_is_behind_proves_nothing() -> None:
    market = Market(DEPTH, BOOK)
    market.send(ticker_frame(3, 1))
    market.send(depth_frame(1, 5, 1))
    for second in range(1, 40):
        market.send(ticker_frame(4 + second % 2, second))
        assert market.look() == []


def test_if_there_is_an_exact_witness_only_it_counts() -> None:
    market = Market(DEPTH, BOOK, TRADE)
    market.look(1)
    for trade_id in range(40):
        market.send(trade_frame(trade_id, trade_id))
        assert market.look() == []
    market = Market(DEPTH, TRADE)
    market.look(1)
    market.send(trade_frame(1, 1))
    assert market.look(GRACE_SECONDS + 2) == [DEPTH]


def test_a_growing_count_of_trades_proves_that_trades_are_missing() -> None:
    market = Market(TRADE, TICKER)
    market.send(statistics(7, 1))
    market.look(1)
    market.send(statistics(8, 2))
    assert market.look(GRACE_SECONDS + 2) == [TRADE]


def test_a_count_that_falls_as_old_trades_leave_its_window_proves_nothing_until_it_grows() -> None:
    market = Market(TRADE, TICKER)
    for second, trades in enumerate(range(40, 0, -1)):
        market.send(statistics(trades, second))
        assert market.look() == []
    market.send(statistics(2, 99))
    assert market.look(GRACE_SECONDS + 2) == [TRADE]


def test_a_stream_that_delivers_again_in_time_is_not_behind() -> None:
    market = Market(TRADE, TICKER)
    market.look(1)
    for number in range(1, 30):
        market.send(statistics(number, number))
        if number % 5 == 0:
            market.send(trade_frame(number, number))
        assert market.look() == []


def test_a_stream_that_was_found_is_found_again_only_after_new_movement() -> None:
    market = Market(TRADE, TICKER)
    market.look(1)
    market.send(statistics(1, 1))
    assert market.look(GRACE_SECONDS + 2) == [TRADE]
    assert market.look(100) == []
    market.send(statistics(2, 2))
    assert market.look(GRACE_SECONDS + 2) == [TRADE]


def test_after_a_stream_is_covered_again_only_new_movement_counts() -> None:
    market = Market(TRADE, TICKER)
    market.look(1)
    market.send(statistics(1, 1))
    assert market.look(GRACE_SECONDS) == []
    market.plant.uncover(0, TRADE, cause="SILENT")
    assert market.look(5) == []
    market.plant.cover(0, TRADE)
    assert market.look(60) == []
    market.send(statistics(2, 2))
    assert market.look(GRACE_SECONDS + 2) == [TRADE]


def test_window_streams_and_streams_without_siblings_are_ignored() -> None:
    market = Market("depth.200ms.X", BOOK, TICKER, "kline.1m.X")
    market.look(1)
    for number in range(1, 40):
        market.send(ticker_frame(number, number))
        market.send(statistics(number, number))
        assert market.look() == []


def test_trades_not_shown_by_a_book_ticker_prove_that_it_is_missing() -> None:
    market = Market(BOOK, TICKER)
    market.send(ticker_frame(5, 1))
    market.send(statistics(7, 1))
    market.look(1)
    market.send(statistics(8, 2))
    assert market.look(GRACE_SECONDS) == []
    assert market.look(2) == [BOOK]


def ended(market: Market, through: float) -> dict[str, float]:
    event = StreamsInactive((BOOK, TICKER), 1, through, "DISCONNECTED")
    parts = list(market.siblings.bounded(event, market.plant.router.feeds))
    return {name: part.through for part in parts for name in part.streams}


def test_a_socket_that_goes_while_a_stream_is_behind_covered_it_until_both_were_in_step() -> None:
    """The exchange had forgotten the subscription, and there was no time to notice."""
    market = Market(BOOK, TICKER)
    market.send(ticker_frame(5, 1))
    market.send(statistics(7, 1))
    market.look(3)
    market.send(ticker_frame(6, 4))
    market.look(2)
    assert ended(market, 5.0) == {BOOK: 5.0, TICKER: 5.0}, "the market is quiet"
    market.send(statistics(8, 6))
    market.look(1)
    assert ended(market, 7.0) == {BOOK: 3.0, TICKER: 7.0}
    market.send(ticker_frame(7, 7))
    assert ended(market, 7.0) == {BOOK: 7.0, TICKER: 7.0}, "it has followed meanwhile"
