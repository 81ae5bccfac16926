"""The recorded order flow as Kafka records, and a book that follows it."""

import gzip
import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from backpack_streams.books.market_book import MarketBook, Outcome
from backpack_streams.books.record_levels import levels_of_record
from backpack_streams.books.record_stream import StreamedRecord
from backpack_streams.books.stream import BookUpdate

RECORDING = Path(__file__).parents[3] / "data" / "recorded-order-flow.jsonl.gz"
LATENCY_US = 60_000


def levels(side: list[list[str]]) -> list[dict[str, Decimal]]:
    return [{"price": Decimal(price), "quantity": Decimal(quantity)} for price, quantity in side]


def recorded_records(symbol: str) -> Iterator[StreamedRecord]:
    """The depth updates and the snapshot of one market, in order of arrival."""
    with gzip.open(RECORDING, "rt") as lines:
        for event in map(json.loads, lines):
            record = _snapshot(event) if "rest" in event else _update(event["ws"])
            if record is not None and record.symbol == symbol:
                yield record


def trade(symbol: str, trade_id: int, time_us: int, **changed: Any) -> StreamedRecord:
    value = {
        "symbol": symbol,
        "event_time": time_us + 5,
        "engine_time": time_us,
        "received_time": time_us + LATENCY_US,
        "trade_id": trade_id,
        "price": Decimal("86700.10"),
        "quantity": Decimal("0.00123"),
        "is_buyer_maker": True,
    }
    return StreamedRecord("market.trade", "Trade", symbol, value | changed, 0, trade_id)


class Follower:
    """Feeds records to a book, as BookStream does."""

    def __init__(self, symbol: str) -> None:
        self.market = MarketBook(symbol)

    def take(self, record: StreamedRecord) -> BookUpdate:
        value = record.value
        sides = levels_of_record(value, "bids"), levels_of_record(value, "asks")
        if record.name == "DepthUpdate":
            ids = value["first_update_id"], value["last_update_id"]
            outcome = self.market.on_update(*ids, value["engine_time"], *sides)
        else:
            complete = {name: value[name] for name in ("bids_complete", "asks_complete")}
            outcome = self.market.on_snapshot(value["last_update_id"], value["engine_time"], *sides, **complete)
        return BookUpdate(self.market, outcome)

    def break_chain(self) -> BookUpdate:
        outcome = self.market.on_unreadable("a record cannot be read")
        assert outcome is Outcome.BROKE
        return BookUpdate(self.market, outcome)


def _update(frame: dict[str, Any]) -> StreamedRecord | None:
    if not frame["stream"].startswith("depth."):
        return None
    data = frame["data"]
    value = {"symbol": data["s"], "first_update_id": data["U"], "last_update_id": data["u"]}
    value |= _times(int(data["T"])) | {"bids": levels(data["b"]), "asks": levels(data["a"])}
    return StreamedRecord("market.depth", "DepthUpdate", data["s"], value, 0, 0)


def _snapshot(event: dict[str, Any]) -> StreamedRecord:
    query, body = parse_qs(urlsplit(event["rest"]).query), event["body"]
    symbol, limit = query["symbol"][0], int(query["limit"][0])
    value = {"symbol": symbol, "last_update_id": int(body["lastUpdateId"]), **_times(int(body["timestamp"]))}
    for side in ("bids", "asks"):
        value |= {side: levels(body[side]), f"{side}_complete": len(body[side]) < limit}
    return StreamedRecord("market.book_snapshot", "BookSnapshot", symbol, value, 0, 0)


def _times(time_us: int) -> dict[str, int | None]:
    return {"event_time": None, "engine_time": time_us, "received_time": time_us + LATENCY_US}
