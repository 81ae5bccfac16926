"""Candles: which state of one counts, how longer ones are built, how far back a series goes, and what their quote volume was."""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backpack_streams.gateway.candles import MINUTE_MICROS, Candle, CandleWindow, rolled, unbroken
from backpack_streams.gateway.quote_volumes import QuoteVolumes, of_first_trades
from backpack_streams.gateway.windows import Entry, TradeWindow

HOUR = 60 * MINUTE_MICROS
START = 1_781_103_600 * 1_000_000
"""A full hour."""


def kline(
    minute: int, *, closed: bool = True, event: int | None = None, price: str | None = "1", **changes: Any
) -> dict[str, Any]:
    start = START + minute * MINUTE_MICROS
    return {
        "symbol": "A",
        "source": "WEBSOCKET",
        "interval": "1m",
        "start_time": start,
        "end_time": start + MINUTE_MICROS,
        "event_time": start + MINUTE_MICROS if event is None else event,
        "engine_time": None,
        "received_time": start + MINUTE_MICROS,
        **dict.fromkeys(("open", "high", "low", "close"), None if price is None else Decimal(price)),
        "base_volume": Decimal(0 if price is None else 2),
        "quote_volume": None,
        "trades": 0 if price is None else 1,
        "is_closed": closed,
    } | changes


def rest(minute: int, **changes: Any) -> dict[str, Any]:
    return kline(minute, **{"source": "REST", "event_time": None, "quote_volume": Decimal(9)} | changes)


def window_of(*records: dict[str, Any], most: int = 100) -> CandleWindow:
    window = CandleWindow(most)
    for offset, record in enumerate(records):
        window.take(record, offset)
    return window


def minutes_of(candles: list[Candle]) -> list[int]:
    return [(candle.start_us - START) // MINUTE_MICROS for candle in candles]


def test_an_open_candle_is_updated_and_a_closed_one_is_final() -> None:
    window = window_of(kline(0, closed=False, event=START + 1, price="1"))
    assert window.take(kline(0, closed=False, event=START + 1, price="5"), 1) is None, "a copy"
    assert window.take(kline(0, closed=False, event=START + 2, price="2"), 2) is not None
    assert window.take(kline(0, price="3"), 3) is not None
    assert window.take(kline(0, closed=False, event=START + 2 * MINUTE_MICROS, price="4"), 4) is None
    [candle] = window.newest(10)
    assert (candle.row["close"], candle.is_closed, window.sequence) == (Decimal(3), True, 3)


def test_a_candle_from_rest_replaces_one_without_a_quote_volume_and_not_vice_versa() -> None:
    window = window_of(kline(0), rest(0))
    assert window.newest(1)[0].row["quote_volume"] == 9
    assert window.take(kline(0), 3) is None
    assert window.newest(1)[0].is_rest


@pytest.mark.parametrize("is_rest_first", [True, False])
def test_the_figures_of_a_closed_candle_are_those_of_the_socket(is_rest_first: bool) -> None:
    early, final = rest(0, base_volume=Decimal(1)), kline(0)
    window = window_of(*((early, final) if is_rest_first else (final, early)))
    [candle] = window.newest(10)
    assert (candle.row["volume"], candle.row["quote_volume"], candle.is_rest) == (2, None, False)
    assert window.take(rest(0), 2) is not None
    [candle] = window.newest(10)
    assert (candle.row["volume"], candle.row["quote_volume"], candle.entry.sequence) == (2, 9, 2)


def test_a_closed_candle_that_rest_completes_keeps_its_sequence() -> None:
    window = window_of(kline(0))
    completed = window.take(rest(0), -1)
    assert completed is not None
    assert (completed.row["quote_volume"], completed.entry.sequence) == (9, 0)


def test_an_open_candle_from_rest_is_replaced_by_any_from_a_socket_and_not_vice_versa() -> None:
    window = CandleWindow(10)
    window.take(
        rest(0, is_closed=False, received_time=START + 30), -1
    )  # by our clock, which may be ahead of the exchange's
    assert window.take(rest(0, is_closed=False, received_time=START + 29), -1) is None
    assert window.take(kline(0, closed=False, event=START + 9), 1) is not None
    assert window.take(kline(0, closed=False, event=START + 8), 2) is None
    assert window.take(rest(0, is_closed=False, received_time=START + 31), -1) is None
    [candle] = window.newest(10)
    assert (candle.entry.sequence, candle.entry.as_of, candle.is_rest) == (1, START + 9, False)


def test_the_oldest_candle_is_dropped() -> None:
    window = window_of(*(kline(minute) for minute in (3, 1, 2, 4)), most=3)
    assert minutes_of(window.newest(10)) == [4, 3, 2]
    assert window.take(kline(0, closed=False), 9) is None


def test_a_closed_refill_older_than_a_full_window_is_told_and_not_kept() -> None:
    window = window_of(*(kline(minute) for minute in (3, 4, 5)), most=3)
    assert window.take(kline(2, closed=False), 3) is None, "an old state of an open candle"
    assert window.take(rest(2), -1) is None, "asked for by the gateway itself"
    refill = window.take(rest(2), 4)
    assert refill is not None
    assert window.amend(refill, quote_volume=Decimal(1)).row["quote_volume"] == 1
    assert minutes_of(window.newest(10)) == [5, 4, 3]
    assert window.after(2) is None, "the refill is not in the window"
    assert window.after(4) == []


def test_a_series_ends_at_a_missing_candle() -> None:
    candles = window_of(*(kline(minute) for minute in (0, 1, 3, 4, 5))).since(0)
    assert minutes_of(unbroken(candles, 10)) == [3, 4, 5]
    assert minutes_of(unbroken(candles, 2)) == [4, 5]
    assert unbroken([], 2) == []


def test_an_hour_is_built_from_its_minutes() -> None:
    prices = {minute: None if minute % 7 == 3 else str(100 + (minute * 37) % 50) for minute in range(61)}
    window = window_of(*(kline(minute, price=price, closed=minute < 60) for minute, price in prices.items()))
    hour, opened = rolled(window.since(0), HOUR)
    traded = [Decimal(price) for minute, price in prices.items() if price is not None and minute < 60]
    assert [hour.row[name] for name in ("open", "high", "low", "close")] == [
        traded[0],
        max(traded),
        min(traded),
        traded[-1],
    ]
    assert (hour.row["volume"], hour.row["trades"], hour.is_closed) == (2 * len(traded), len(traded), True)
    assert (hour.row["start"], hour.row["end"]) == ("2026-06-10 15:00:00", "2026-06-10 16:00:00")
    assert (opened.start_us, opened.end_us, opened.is_closed) == (START + HOUR, START + 2 * HOUR, False)


def test_an_hour_without_its_first_minute_or_with_a_gap_is_not_built() -> None:
    late = window_of(*(kline(minute) for minute in range(1, 62))).since(0)
    assert [candle.start_us for candle in rolled(late, HOUR)] == [START + HOUR]
    holed = window_of(*(kline(minute) for minute in range(60) if minute != 30)).since(0)
    assert rolled(holed, HOUR) == []


def test_an_hour_of_minutes_without_trades_has_no_prices() -> None:
    [hour] = rolled(window_of(*(kline(minute, price=None) for minute in range(60))).since(0), HOUR)
    assert [hour.row[name] for name in ("open", "high", "low", "close")] == [None] * 4
    assert (hour.row["volume"], hour.row["trades"]) == (0, 0)


def test_minutes_and_weeks_are_not_built() -> None:
    minutes = window_of(*(kline(minute) for minute in range(3))).since(0)
    assert rolled(minutes, MINUTE_MICROS) == []
    assert rolled(minutes, 7 * 24 * HOUR) == []


def trades_of(*moments: int) -> TradeWindow:
    window = TradeWindow(1_000)
    for number, moment in enumerate(moments, start=1):
        window.take(
            {
                "source": "WEBSOCKET",
                "trade_id": number,
                "engine_time": START + moment,
                "event_time": None,
                "received_time": START + moment,
                "price": Decimal(number),
                "quantity": Decimal(2),
                "quote_quantity": None,
                "is_buyer_maker": False,
            },
            number,
        )
    return window


def volumes_of(window: TradeWindow, most: int = 10) -> QuoteVolumes:
    volumes = QuoteVolumes(most)
    for entry in reversed(window.newest(1_000)):
        volumes.add(entry)
    return volumes


def counted(trades: int, volume: int) -> dict[str, Any]:
    return {"trades": trades, "volume": Decimal(volume)}


def test_the_quote_volume_of_a_minute_is_the_sum_of_its_trades() -> None:
    volumes = volumes_of(trades_of(0, 1, MINUTE_MICROS - 1, MINUTE_MICROS))
    assert volumes.within(START, START + MINUTE_MICROS, counted(3, 6)) == (1 + 2 + 3) * 2
    assert volumes.within(START, START + 2 * MINUTE_MICROS, counted(4, 8)) == (1 + 2 + 3 + 4) * 2


def test_without_all_trades_of_a_candle_its_quote_volume_is_unknown() -> None:
    volumes = volumes_of(trades_of(0, 1))
    assert volumes.within(START, START + MINUTE_MICROS, counted(3, 6)) is None
    assert volumes.within(START, START + MINUTE_MICROS, counted(2, 5)) is None
    assert volumes.within(START, START + MINUTE_MICROS, counted(1, 2)) is None


def test_minutes_of_trades_are_bounded() -> None:
    volumes = volumes_of(trades_of(0, MINUTE_MICROS, 2 * MINUTE_MICROS), most=2)
    assert volumes.within(START, START + MINUTE_MICROS, counted(1, 2)) is None
    assert volumes.within(START + MINUTE_MICROS, START + 2 * MINUTE_MICROS, counted(1, 2)) == 4


def test_an_open_candle_counts_only_its_first_trades() -> None:
    newest = trades_of(-5, 0, 10, 20, MINUTE_MICROS).newest(10)
    assert of_first_trades(newest, START, START + MINUTE_MICROS, counted(2, 4)) == (2 + 3) * 2
    assert of_first_trades(newest, START, START + MINUTE_MICROS, counted(4, 8)) is None
    assert of_first_trades(newest, START, START + MINUTE_MICROS, counted(2, 5)) is None


@given(st.lists(st.integers(0, 5 * MINUTE_MICROS), min_size=1, max_size=60).map(sorted))
def test_both_computations_of_a_quote_volume_agree(moments: list[int]) -> None:
    window = trades_of(*moments)
    newest, volumes = window.newest(1_000), volumes_of(window)
    for minute in range(5):
        start, end = START + minute * MINUTE_MICROS, START + (minute + 1) * MINUTE_MICROS
        inside: list[Entry] = [entry for entry in newest if start <= entry.as_of < end]
        candle = counted(len(inside), 2 * len(inside))
        expected = sum(entry.row["quote_quantity"] for entry in inside)
        assert volumes.within(start, end, candle) == expected
        assert of_first_trades(newest, start, end, candle) == expected


@pytest.mark.parametrize("is_closed", [True, False])
def test_a_closed_candle_that_rest_brought_first_is_returned_once_more_from_kafka(is_closed: bool) -> None:
    window = CandleWindow(10)
    window.take(rest(0, received_time=START + 10), -1)
    late = kline(0, closed=is_closed, event=START + 9)
    again = window.take(late, 7)
    assert again is not None
    assert (again.entry.sequence, again.is_rest, window.sequence) == (7, True, 7)
    assert window.take(late, 8) is None
