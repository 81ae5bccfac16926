"""A client of the read API that keeps every digit, and the expected answers, computed from the exchange's own rows."""

import json
import urllib.error
import urllib.request
from decimal import Decimal
from typing import Any, NamedTuple

from plant import Plant, Service, free_port, wait_until

ENVELOPE = ["data", "meta", "status", "message", "success"]


class Answered(NamedTuple):
    """An answer: numbers with a fraction are `Decimal`s."""

    status: int
    body: dict[str, Any]
    headers: dict[str, str]

    @property
    def data(self) -> dict[str, Any]:
        assert self.status == 200, self.body
        data: dict[str, Any] = self.body["data"]
        return data


class ReadApi:
    """A gateway and how to query it."""

    def __init__(self, plant: Plant, *options: str) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.service: Service = plant.start("gateway", "--host", "127.0.0.1", "--port", str(self.port), *options)

    def wait_ready(self) -> None:
        wait_until("the gateway is ready", self.service.is_ready, 180)

    def ask(self, path: str, **headers: str) -> Answered:
        request = urllib.request.Request(self.url + path, headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return _answered(answer)
        except urllib.error.HTTPError as error:
            return _answered(error)

    def data(self, path: str) -> dict[str, Any]:
        return self.ask(path).data


def _answered(answer: Any) -> Answered:
    body = json.loads(answer.read(), parse_float=Decimal)
    return Answered(answer.status, body, {name.lower(): value for name, value in answer.headers.items()})


def text_of(value: Any) -> Any:
    """A number as plain text with every written digit, to compare with the exchange's text; everything else unchanged."""
    if isinstance(value, Decimal) or (isinstance(value, int) and not isinstance(value, bool)):
        return f"{value:f}" if isinstance(value, Decimal) else str(value)
    return value


def trimmed(number: str | None) -> str | None:
    """The exchange's number without trailing zeros, which only one of its two wires has."""
    if number is None or "." not in number:
        return number
    return number.rstrip("0").rstrip(".")


def texts(row: dict[str, Any]) -> dict[str, Any]:
    return {name: text_of(value) for name, value in row.items()}


def market(row: dict[str, Any]) -> dict[str, Any]:
    """The row of `/v1/markets` for the exchange's row."""
    return {
        "symbol": row["symbol"],
        "base": row["baseSymbol"],
        "quote": row["quoteSymbol"],
        "market_type": row["marketType"],
        "status": row["orderBookState"],
        "created_at": row["createdAt"],
    }


def ticker(row: dict[str, Any]) -> dict[str, Any]:
    """The ticker for the exchange's row, numbers as text."""
    percent = row["priceChangePercent"]
    return {
        "symbol": row["symbol"],
        "last_price": trimmed(row["lastPrice"]),
        "first_price": trimmed(row["firstPrice"]),
        "high": trimmed(row["high"]),
        "low": trimmed(row["low"]),
        "volume": trimmed(row["volume"]),
        "quote_volume": trimmed(row["quoteVolume"]),
        "price_change": trimmed(row["priceChange"]),
        "price_change_percent": None if percent == "N/A" else trimmed(percent),
        "trades": row["trades"],
    }


def trade(row: dict[str, Any]) -> dict[str, Any]:
    """The row of `/v1/trades` for the exchange's row, numbers as text."""
    return {
        "id": str(row["id"]),
        "side": "sell" if row["isBuyerMaker"] else "buy",
        "price": trimmed(row["price"]),
        "quantity": trimmed(row["quantity"]),
        "quote_quantity": trimmed(row["quoteQuantity"]),
        "timestamp": str(row["timestamp"]),
    }


def candle(row: dict[str, Any]) -> dict[str, Any]:
    """The row of `/v1/klines` for the exchange's row, numbers as text."""
    names = {"volume": "volume", "quoteVolume": "quote_volume"}
    prices = {name: trimmed(row[name]) for name in ("open", "high", "low", "close")}
    volumes = {ours: trimmed(row[name]) for name, ours in names.items()}
    return {"start": row["start"], "end": row["end"], **prices, **volumes, "trades": row["trades"]}


def levels(side: list[list[str]]) -> list[dict[str, Any]]:
    """The side of `/v1/orderbook` for the exchange's levels, best first, numbers as text."""
    return [{"price": trimmed(price), "size": trimmed(quantity)} for price, quantity in side]
