"""The windows of the read model: what counts as news, in which order, and how much is kept."""

from decimal import Decimal
from typing import Any

import pytest

from backpack_streams.gateway.windows import LIQUIDATIONS_KEPT, LiquidationWindow, NewestValue, TradeWindow

SECOND = 1_000_000
NOW = 1_796_000_000 * SECOND


def trade(trade_id: int, time_us: int | None = None, **changes: Any) -> dict[str, Any]:
    time_us = NOW + trade_id if time_us is None else time_us
    return {
        "symbol": "A",
        "source": "WEBSOCKET",
        "trade_id": trade_id,
        "engine_time": time_us,
        "event_time": time_us + 5,
        "received_time": time_us + 100,
        "price": Decimal(2),
        "quantity": Decimal(1),
        "quote_quantity": None,
        "is_buyer_maker": False,
    } | changes


def rest_trade(trade_id: int, time_us: int | None = None) -> dict[str, Any]:
    time_us = NOW + trade_id if time_us is None else time_us
    return trade(trade_id, time_us, source="REST", engine_time=None, event_time=time_us // 1000 * 1000)


def ids(window: TradeWindow, limit: int = 100) -> list[int]:
    return [entry.row["id"] for entry in window.newest(limit)]


def test_trades_are_kept_by_id_and_copies_change_nothing() -> None:
    window = TradeWindow(3)
    for offset, trade_id in enumerate((5, 6, 6, 7)):
        window.take(trade(trade_id), offset)
    assert ids(window) == [7, 6, 5]
    assert (window.sequence, window.changes) == (3, 3)
    window.take(trade(8), 9)
    assert ids(window) == [8, 7, 6]
    assert ids(window, 2) == [8, 7]


def test_a_late_refill_is_inserted_in_order() -> None:
    window = TradeWindow(10)
    for offset, trade_id in enumerate((5, 8)):
        window.take(trade(trade_id), offset)
    assert window.whole(10) == 1
    for offset, trade_id in enumerate((7, 6), start=2):
        assert window.take(rest_trade(trade_id), offset) is not None
    assert ids(window) == [8, 7, 6, 5]
    assert window.whole(10) == 4
    assert window.whole(2) == 2


def test_a_trade_older_than_a_full_window_is_not_taken() -> None:
    window = TradeWindow(2)
    for offset, trade_id in enumerate((5, 6)):
        window.take(trade(trade_id), offset)
    assert window.take(rest_trade(4), -1) is None
    assert ids(window) == [6, 5]


def test_a_refill_older_than_a_full_window_is_told_once_and_not_kept() -> None:
    window = TradeWindow(2)
    for offset, trade_id in enumerate((3, 5, 6)):
        window.take(trade(trade_id), offset)
    refilled = window.take(rest_trade(4), 3)
    assert refilled is not None
    assert (refilled.entry.sequence, refilled.entry.row["id"], refilled.is_new) == (3, 4, False)
    assert window.take(rest_trade(4), 4) is None
    assert window.take(trade(3), 5) is None, "a copy of a trade that was here"
    assert (ids(window), window.sequence) == ([6, 5], 3)


def test_rows_after_an_offset_are_those_of_the_topic_or_unknown() -> None:
    window = TradeWindow(3)
    for offset, trade_id in ((10, 1), (11, 4), (12, 5), (13, 2)):
        window.take(trade(trade_id), offset)
    later = window.after(11)
    assert later is not None
    assert [entry.row["id"] for entry in later] == [5, 2]
    assert window.after(13) == []
    assert window.after(14) is None, "not reached yet"
    assert window.after(10) is not None, "the trade of offset 10 itself was dropped, but nothing after it"
    assert window.after(9) is None
    window.take(rest_trade(0), 14)
    assert window.after(13) is None, "the trade of offset 14 is not kept"
    assert window.after(14) == []


def test_restarted_ids_restart_the_window() -> None:
    window = TradeWindow(10)
    for offset, trade_id in enumerate((1_000, 1_001)):
        window.take(trade(trade_id), offset)
    window.take(trade(1, NOW + SECOND), 2)
    assert ids(window) == [1]


def test_a_refill_from_rest_with_another_clock_does_not_restart_the_window() -> None:
    window = TradeWindow(10)
    window.take(trade(5), 0)
    window.take(trade(7), 1)
    window.take(rest_trade(6, NOW + 3 * SECOND), 2)
    assert ids(window) == [7, 6, 5]


def value(received_us: int, event_us: int | None, source: str = "WEBSOCKET", **changes: Any) -> dict[str, Any]:
    return {
        "source": source,
        "event_time": event_us,
        "engine_time": None,
        "received_time": received_us,
        "cache_age_seconds": None,
    } | changes


@pytest.mark.parametrize(
    ("record", "is_news"),
    [
        (value(NOW + SECOND, NOW + SECOND), True),
        (value(NOW + SECOND, NOW - 1), False),
        (value(NOW + SECOND, None, "REST"), False),
        (value(NOW + 3 * SECOND, None, "REST"), True),
        (value(NOW + 3 * SECOND, None, "REST", cache_age_seconds=60), False),
    ],
    ids=["newer", "older copy", "rest at the same time", "rest after silence", "rest from an old cache"],
)
def test_the_newest_value_counts_whatever_its_source(record: dict[str, Any], is_news: bool) -> None:
    newest = NewestValue()
    assert newest.take(value(NOW, NOW), {"n": 1}, 1)
    assert newest.take(record, {"n": 2}, 2) is is_news
    assert newest.entry is not None
    assert newest.entry.row == {"n": 2 if is_news else 1}


def test_the_socket_counts_again_once_it_is_back_whatever_its_clock_says() -> None:
    newest = NewestValue()
    assert newest.take(value(NOW, None, "REST"), {"n": 1}, 1)
    assert newest.take(value(NOW + SECOND, NOW - 3600 * SECOND), {"n": 2}, 2)


def liquidation(time_us: int, side: str = "Bid") -> dict[str, Any]:
    return {
        "symbol": "A",
        "source": "WEBSOCKET",
        "event_time": time_us,
        "engine_time": time_us,
        "received_time": time_us,
        "side": side,
        "price": Decimal(1),
        "quantity": Decimal(1),
    }


def test_liquidations_of_two_producers_are_kept_once_and_bounded() -> None:
    window = LiquidationWindow()
    for offset in range(2 * LIQUIDATIONS_KEPT):
        assert window.take(liquidation(NOW + offset), 2 * offset) is not None
        assert window.take(liquidation(NOW + offset), 2 * offset + 1) is None
    assert window.take(liquidation(NOW + 2 * LIQUIDATIONS_KEPT - 1, "Ask"), 9_999) is not None
    newest = window.newest(1_000)
    assert len(newest) == LIQUIDATIONS_KEPT
    assert newest[0].sequence == 9_999


def test_a_trade_that_rest_brought_first_is_taken_again_from_kafka_and_clears_nothing() -> None:
    window = TradeWindow(10)
    for trade_id in (5, 6):
        window.take(rest_trade(trade_id, NOW), -1)
    taken = [window.take(trade(trade_id, NOW + 999), offset) for offset, trade_id in enumerate((5, 6, 6))]
    assert [each is not None and (each.entry.sequence, each.is_new) for each in taken] == [
        (0, False),
        (1, False),
        False,
    ]
    assert ids(window) == [6, 5]
    assert window.sequence == 1


def test_restarted_ids_restart_a_window_whose_newest_trade_is_of_rest() -> None:
    window = TradeWindow(10)
    window.take(rest_trade(1_000, NOW), -1)
    window.take(trade(1, NOW + 11 * SECOND), 2)
    assert ids(window) == [1]
