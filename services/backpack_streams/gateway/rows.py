"""Converts records to rows of the read API, with its names and units. Numbers keep every digit. Sans I/O."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import ROUND_FLOOR, Context, Decimal, Inexact, InvalidOperation
from typing import Any, Final

from backpack_streams.gateway.answers import Row

__all__ = [
    "NO_OPEN_INTEREST",
    "as_of_us",
    "candle_row",
    "candle_time",
    "liquidation_row",
    "mark_price_row",
    "market_row",
    "open_interest_row",
    "ticker_row",
    "trade_row",
]

_EXACT: Final = Context(prec=120, traps=[Inexact, InvalidOperation])
"""A product of two numbers of records has at most 76 digits. Rounding would be an error, so it raises."""
_QUOTIENT: Final = Context(prec=60, rounding=ROUND_FLOOR)
_PERCENT_PLACES: Final = Decimal("0.000001")
"""The exchange gives the change of a day as a fraction with six places."""
_MICROS: Final = 1_000_000


def _trimmed(number: Decimal | None) -> Decimal | None:
    """Return the same value without the trailing zeros of the record's fixed scale."""
    return None if number is None else number.normalize(_EXACT)


def as_of_us(record: Mapping[str, Any]) -> int:
    """Return the time that a record describes (µs since the Unix epoch).

    It is the exchange's time if the record has one, otherwise when we received it, minus the age of a cached answer.
    """
    stated = record.get("event_time") or record.get("engine_time")
    if stated is not None:
        return int(stated)
    return int(record["received_time"]) - int(record.get("cache_age_seconds") or 0) * _MICROS


def market_row(record: Mapping[str, Any]) -> Row:
    """Return a row of `/v1/markets` from a Market record. `created_at` is the exchange's text, unchanged."""
    return {
        "symbol": record["symbol"],
        "base": record["base_symbol"],
        "quote": record["quote_symbol"],
        "market_type": record["market_type"],
        "status": record["order_book_state"],
        "created_at": _created_at(record),
    }


def ticker_row(record: Mapping[str, Any]) -> Row:
    """Return a row of `/v1/ticker` from a Ticker record. WebSocket tickers lack the change; it is computed from the prices."""
    first, last = record["first_price"], record["last_price"]
    change, percent = record["price_change"], record["price_change_percent"]
    if change is None and first is not None and last is not None:
        change = _EXACT.subtract(last, first)
        percent = _fraction(change, first) if record["trades"] else None
    return {
        "symbol": record["symbol"],
        "last_price": _trimmed(last),
        "first_price": _trimmed(first),
        "high": _trimmed(record["high"]),
        "low": _trimmed(record["low"]),
        "volume": _trimmed(record["base_volume"]),
        "quote_volume": _trimmed(record["quote_volume"]),
        "price_change": _trimmed(change),
        "price_change_percent": _trimmed(percent),
        "trades": record["trades"],
    }


def trade_row(record: Mapping[str, Any]) -> Row:
    """Return a row of `/v1/trades` from a Trade record; the timestamp is in ms since the Unix epoch."""
    price, quantity, quote = record["price"], record["quantity"], record["quote_quantity"]
    time_us = record["engine_time"] or record["event_time"] or record["received_time"]
    return {
        "id": record["trade_id"],
        "side": "sell" if record["is_buyer_maker"] else "buy",
        "price": _trimmed(price),
        "quantity": _trimmed(quantity),
        "quote_quantity": _trimmed(_EXACT.multiply(price, quantity) if quote is None else quote),
        "timestamp": time_us // 1000,
    }


def candle_row(record: Mapping[str, Any]) -> Row:
    """Return a row of `/v1/klines` from a Kline record; `quote_volume` is None if the exchange did not send it."""
    return {
        "start": candle_time(record["start_time"]),
        "end": candle_time(record["end_time"]),
        "open": _trimmed(record["open"]),
        "high": _trimmed(record["high"]),
        "low": _trimmed(record["low"]),
        "close": _trimmed(record["close"]),
        "volume": _trimmed(record["base_volume"]),
        "quote_volume": _trimmed(record["quote_volume"]),
        "trades": record["trades"],
    }


def mark_price_row(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row of `/v1/funding` without open interest, from a MarkPrice record; times are in ms since the Unix epoch."""
    next_us = record["next_funding_time"]
    return {
        "symbol": record["symbol"],
        "mark_price": _trimmed(record["mark_price"]),
        "index_price": _trimmed(record["index_price"]),
        "funding_rate": _trimmed(record["funding_rate"]),
        "next_funding_timestamp": None if next_us is None else next_us // 1000,
    }


NO_OPEN_INTEREST: Final[Row] = {"open_interest": None, "open_interest_timestamp": None}


def open_interest_row(record: Mapping[str, Any]) -> Row:
    """Return the open interest of an OpenInterest record; the timestamp is in ms since the Unix epoch."""
    time_us = record["engine_time"] or as_of_us(record)
    return {"open_interest": _trimmed(record["open_interest"]), "open_interest_timestamp": time_us // 1000}


def liquidation_row(record: Mapping[str, Any]) -> Row:
    """Return a row of the channel `liquidations` from a Liquidation record.

    `side` is the side of the liquidated order, `buy` or `sell`; the timestamp is in ms since the Unix epoch.
    """
    return {
        "symbol": record["symbol"],
        "side": {"Bid": "buy", "Ask": "sell"}.get(record["side"], record["side"]),
        "price": _trimmed(record["price"]),
        "quantity": _trimmed(record["quantity"]),
        "timestamp": (record["engine_time"] or as_of_us(record)) // 1000,
    }


def candle_time(time_us: int) -> str:
    """Return a time (µs since the Unix epoch) as the exchange's REST API writes it: `2026-06-10 15:00:00`, UTC."""
    return f"{datetime.fromtimestamp(time_us // _MICROS, UTC):%Y-%m-%d %H:%M:%S}"


def _fraction(change: Decimal, first: Decimal) -> Decimal | None:
    if not first:
        return None
    return _QUOTIENT.divide(change, first).quantize(_PERCENT_PLACES, ROUND_FLOOR, _QUOTIENT)


def _created_at(record: Mapping[str, Any]) -> str | None:
    try:
        stated = json.loads(record["raw"], parse_float=str, parse_int=str).get("createdAt")
    except (ValueError, AttributeError):  # the raw row is for people, so a missing field is no error
        stated = None
    if isinstance(stated, str):
        return stated
    created_us = record["created_time"]
    if created_us is None:
        return None
    seconds, micros = divmod(created_us, _MICROS)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{micros:06d}"
