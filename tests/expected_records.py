"""The expected record for a frame of a public stream, independent of the code that parses frames."""

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Context, Decimal
from typing import Any

from backpack_streams.exchange.streams import split_stream

_EXACT = Context(prec=100)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

DECIMALS = {
    "bookTicker": {"a": "ask_price", "A": "ask_quantity", "b": "bid_price", "B": "bid_quantity"},
    "trade": {"p": "price", "q": "quantity"},
    "ticker": {"o": "first_price", "c": "last_price", "h": "high", "l": "low", "v": "base_volume", "V": "quote_volume"},
    "kline": {"o": "open", "c": "close", "h": "high", "l": "low", "v": "base_volume"},
    "markPrice": {"p": "mark_price", "f": "funding_rate", "i": "index_price"},
    "openInterest": {"o": "open_interest"},
    "liquidation": {"p": "price", "q": "quantity"},
    "stockPrice": {"bid": "bid", "ask": "ask", "mid": "mid"},
}
DECIMALS["externalTicker"] = DECIMALS["ticker"]
PLAIN = {
    "depth": {"U": "first_update_id", "u": "last_update_id"},
    "bookTicker": {"u": "update_id"},
    "trade": {"t": "trade_id", "b": "buyer_order_id", "a": "seller_order_id", "m": "is_buyer_maker"},
    "ticker": {"n": "trades"},
    "kline": {"n": "trades", "X": "is_closed"},
    "liquidation": {"S": "side"},
    "externalTicker": {"n": "trades"},
    "stockPrice": {"session": "session"},
}


def expected(frame: Mapping[str, Any], received_us: int) -> dict[str, Any]:
    """Return the expected record; times in microseconds."""
    data = frame["data"]
    kind = split_stream(frame["stream"])[0]
    is_quote = kind.channel == "stockPrice"
    record = {
        "symbol": data["symbol" if is_quote else "s"],
        "source": "WEBSOCKET",
        "event_time": data["timestamp"] * 1000 if is_quote else data["E"],
        "engine_time": None if kind.channel == "kline" else data.get("T"),
        "received_time": received_us,
    }
    for letter, name in DECIMALS.get(kind.channel, {}).items():
        value = data.get(letter)
        record[name] = None if value is None else Decimal(str(value))
    record |= {name: data.get(letter) for letter, name in PLAIN.get(kind.channel, {}).items()}
    if kind.channel == "depth":
        for letter, side in (("b", "bids"), ("a", "asks")):
            levels = data.get(letter) or []
            record[side] = [{"price": Decimal(str(price)), "quantity": Decimal(str(size))} for price, size in levels]
    elif kind.channel == "kline":
        start, end = (datetime.fromisoformat(data[letter]).replace(tzinfo=UTC) for letter in "tT")
        record |= {"start_time": int(start.timestamp()) * 10**6, "end_time": int(end.timestamp()) * 10**6}
        record |= {"interval": kind.parameter, "quote_volume": None}
    elif kind.channel == "markPrice":
        record["next_funding_time"] = None if data.get("n") is None else data["n"] * 1000
    elif kind.channel == "trade":
        record["quote_quantity"] = None
    elif kind.channel == "ticker":
        record |= {"price_change": None, "price_change_percent": None}
    if kind.channel in ("markPrice", "openInterest", "ticker"):
        record["cache_age_seconds"] = None
    return record


def canonical(value: Any) -> Any:
    """Return a form in which equal values are equal, for any decoder: hashable, times in microseconds, decimals by value."""
    if isinstance(value, datetime):
        return (value - _EPOCH) // (datetime.resolution)
    if isinstance(value, Decimal):
        return "0" if not value else str(value.normalize(_EXACT))
    if isinstance(value, Mapping):
        return tuple(sorted((name, canonical(item)) for name, item in value.items()))
    if isinstance(value, list):
        return tuple(canonical(item) for item in value)
    return value
