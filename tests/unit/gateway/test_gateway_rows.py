"""Records become rows of the read API with every digit, in its names and units."""

from decimal import Decimal
from typing import Any

import pytest

from backpack_streams.gateway.rows import (
    as_of_us,
    candle_row,
    liquidation_row,
    mark_price_row,
    market_row,
    open_interest_row,
    ticker_row,
    trade_row,
)

SECOND = 1_000_000
NOW = 1_796_000_000 * SECOND
BUS = Decimal(1).scaleb(-18)


def on_the_bus(text: str) -> Decimal:
    """As a record holds it: with 18 places."""
    return Decimal(text).quantize(BUS)


def times(**changes: Any) -> dict[str, Any]:
    return {"event_time": NOW, "engine_time": NOW - 600, "received_time": NOW + 5_000, "source": "WEBSOCKET"} | changes


def ticker_record(**changes: Any) -> dict[str, Any]:
    return (
        times(engine_time=None)
        | {
            "symbol": "AAPL.US_USDC_PERP",
            "first_price": on_the_bus("217.75"),
            "last_price": on_the_bus("218.45"),
            "high": on_the_bus("222.7300"),
            "low": on_the_bus("214.3"),
            "base_volume": on_the_bus("143673.22"),
            "quote_volume": on_the_bus("31394228.1584"),
            "trades": 28797,
            "price_change": None,
            "price_change_percent": None,
        }
        | changes
    )


def test_a_socket_ticker_gets_its_change_from_first_and_last_price() -> None:
    row = ticker_row(ticker_record())
    assert [str(row["price_change"]), str(row["price_change_percent"])] == ["0.7", "0.003214"]
    assert str(row["high"]) == "222.73"
    assert list(row)[:3] == ["symbol", "last_price", "first_price"]


def test_a_fall_is_rounded_as_the_exchange_does() -> None:
    row = ticker_row(ticker_record(first_price=on_the_bus("3"), last_price=on_the_bus("2")))
    assert [str(row["price_change"]), str(row["price_change_percent"])] == ["-1", "-0.333334"]


def test_a_change_given_by_rest_is_kept() -> None:
    row = ticker_row(ticker_record(price_change=on_the_bus("0.71"), price_change_percent=None))
    assert [str(row["price_change"]), row["price_change_percent"]] == ["0.71", None]


@pytest.mark.parametrize("changes", [{"trades": 0}, {"first_price": Decimal(0)}])
def test_without_trades_there_is_no_change_in_percent(changes: dict[str, Any]) -> None:
    assert ticker_row(ticker_record(**changes))["price_change_percent"] is None


def test_without_prices_there_is_no_change() -> None:
    row = ticker_row(ticker_record(first_price=None, last_price=None))
    assert [row["last_price"], row["price_change"]] == [None, None]


def trade_record(**changes: Any) -> dict[str, Any]:
    return (
        times()
        | {
            "symbol": "SOL_USDC",
            "trade_id": 7,
            "price": on_the_bus("218.45"),
            "quantity": on_the_bus("0.30"),
            "quote_quantity": None,
            "is_buyer_maker": False,
        }
        | changes
    )


def test_a_socket_trade_gets_its_quote_quantity_exactly() -> None:
    row = trade_row(trade_record(price=Decimal("1234567890123456789.5"), quantity=Decimal("0.000000000000000003")))
    assert str(row["quote_quantity"]) == "3.7037036703703703685"
    assert trade_row(trade_record(quote_quantity=on_the_bus("65.5"))) == {
        "id": 7,
        "side": "buy",
        "price": Decimal("218.45"),
        "quantity": Decimal("0.3"),
        "quote_quantity": Decimal("65.5"),
        "timestamp": (NOW - 600) // 1000,
    }


def test_if_the_buyer_was_the_maker_the_taker_sold() -> None:
    assert trade_row(trade_record(is_buyer_maker=True))["side"] == "sell"


def test_a_rest_trade_has_the_time_of_the_event() -> None:
    assert trade_row(trade_record(engine_time=None, event_time=NOW - 7000))["timestamp"] == (NOW - 7000) // 1000


def test_a_candle_has_the_exchanges_times() -> None:
    record = times() | {
        "start_time": 1_781_103_600 * SECOND,
        "end_time": 1_781_107_200 * SECOND,
        **dict.fromkeys(("open", "high", "low", "close", "quote_volume")),
        "base_volume": on_the_bus("0"),
        "trades": 0,
    }
    row = candle_row(record)
    assert [row["start"], row["end"]] == ["2026-06-10 15:00:00", "2026-06-10 16:00:00"]
    assert [row["open"], row["quote_volume"], f"{row['volume']:f}"] == [None, None, "0"]


def test_a_funding_rate_keeps_all_its_digits() -> None:
    rate = "0.0002438565367033305404731178"
    row = mark_price_row(
        times()
        | {
            "symbol": "BTC_USDC_PERP",
            "mark_price": on_the_bus("86658.917"),
            "index_price": None,
            "funding_rate": Decimal(rate).quantize(Decimal(1).scaleb(-30)),
            "next_funding_time": 1_796_029_200 * SECOND,
        }
    )
    assert [f"{row['funding_rate']:f}", row["index_price"]] == [rate, None]
    assert row["next_funding_timestamp"] == 1_796_029_200_000


def test_open_interest_and_liquidations_have_milliseconds() -> None:
    interest = open_interest_row(times(engine_time=None) | {"open_interest": on_the_bus("5052.3355")})
    assert interest == {"open_interest": Decimal("5052.3355"), "open_interest_timestamp": NOW // 1000}
    record = times() | {"symbol": "S", "side": "Ask", "price": on_the_bus("1"), "quantity": on_the_bus("2")}
    row = liquidation_row(record)
    assert [row["side"], row["timestamp"]] == ["sell", (NOW - 600) // 1000]
    assert liquidation_row(record | {"side": "Both"})["side"] == "Both"


def test_the_age_of_a_cached_answer_includes_its_time_in_the_cache() -> None:
    rest = {"event_time": None, "engine_time": None, "received_time": NOW, "cache_age_seconds": 900}
    assert as_of_us(rest) == NOW - 900 * SECOND
    assert as_of_us(times()) == NOW


def market_record(**changes: Any) -> dict[str, Any]:
    return {
        "symbol": "SOL_USDC",
        "base_symbol": "SOL",
        "quote_symbol": "USDC",
        "market_type": "SPOT",
        "order_book_state": "Open",
        "raw": '{"createdAt":"2025-01-21T06:34:54.691858","x":1e999}',
        "created_time": 1_737_441_294_691_858,
    } | changes


@pytest.mark.parametrize("raw", ['{"createdAt":"2025-01-21T06:34:54.691858","x":1e999}', "{}", "no json", "[]"])
def test_the_creation_time_of_a_market_comes_from_the_exchange(raw: str) -> None:
    row = market_row(market_record(raw=raw))
    assert row["created_at"] == "2025-01-21T06:34:54.691858"
    assert list(row) == ["symbol", "base", "quote", "market_type", "status", "created_at"]


def test_a_market_of_unknown_age_has_no_creation_time() -> None:
    assert market_row(market_record(raw="{}", created_time=None))["created_at"] is None
