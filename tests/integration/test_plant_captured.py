"""Each frame captured from the live exchange reaches its topic with every value equal, or its error is reported."""

import json
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

from account_key import Key
from embedded_kafka import BlockingKafka
from plant import Service, running_plant, wait_until
from reading import read_topic
from recorded_files import CAPTURED, recording_of

STREAMS = "depth,depth.200ms,bookTicker,trade,ticker,kline.2h"
TOPICS = {
    "depth": ("market.depth", "DepthUpdate"),
    "depth.200ms": ("market.depth_200ms", "DepthUpdate"),
    "bookTicker": ("market.book_ticker", "BookTicker"),
    "trade": ("market.trade", "Trade"),
    "ticker": ("market.ticker", "Ticker"),
    "kline.2h": ("market.kline", "Kline"),
    "markPrice": ("perp.mark_price", "MarkPrice"),
    "account.orderUpdate": ("account.order", "OrderUpdate"),
    "account.positionUpdate": ("account.position", "PositionUpdate"),
}
NAMES = {
    "DepthUpdate": {"s": "symbol", "E": "event_time", "T": "engine_time", "U": "first_update_id", "u": "last_update_id"},
    "BookTicker": {
        "s": "symbol", "E": "event_time", "T": "engine_time", "u": "update_id",
        "a": "ask_price", "A": "ask_quantity", "b": "bid_price", "B": "bid_quantity",
    },
    "Trade": {
        "s": "symbol", "E": "event_time", "T": "engine_time", "t": "trade_id", "p": "price", "q": "quantity",
        "a": "seller_order_id", "b": "buyer_order_id", "m": "is_buyer_maker",
    },
    "Ticker": {
        "s": "symbol", "E": "event_time", "o": "first_price", "c": "last_price", "h": "high", "l": "low",
        "v": "base_volume", "V": "quote_volume", "n": "trades",
    },
    "Kline": {
        "s": "symbol", "E": "event_time", "t": "start_time", "T": "end_time", "o": "open", "h": "high", "l": "low",
        "c": "close", "v": "base_volume", "n": "trades", "X": "is_closed",
    },
    "MarkPrice": {
        "s": "symbol", "E": "event_time", "T": "engine_time", "p": "mark_price", "i": "index_price",
        "f": "funding_rate", "n": "next_funding_time",
    },
    "OrderUpdate": {
        "e": "event_type", "s": "symbol", "E": "event_time", "T": "engine_time", "S": "side", "V": "self_trade_prevention",
        "X": "status", "Z": "executed_quote_quantity", "f": "time_in_force", "i": "order_id", "o": "order_type", "p": "price",
        "q": "quantity", "t": "trade_id", "z": "executed_quantity",
    },
    "PositionUpdate": {
        "e": "event_type", "s": "symbol", "E": "event_time", "T": "engine_time", "B": "entry_price", "M": "mark_price",
        "P": "unrealized_pnl", "Q": "exposure_quantity", "b": "break_even_price", "f": "initial_margin_fraction",
        "i": "position_id", "l": "estimated_liquidation_price", "m": "maintenance_margin_fraction", "n": "exposure_notional",
        "p": "realized_pnl", "q": "net_quantity",
    },
}  # fmt: skip


def as_wire(value: Any, letter: str, wire: Any) -> Any:
    """A record's value in the form of the wire, for the comparison."""
    if isinstance(value, datetime):
        if isinstance(wire, str):
            return value.strftime("%Y-%m-%dT%H:%M:%S")
        micros = int((value - datetime(1970, 1, 1, tzinfo=UTC)) / (datetime.resolution))
        return micros // 1000 if letter == "n" else micros
    return value


def equals(row: dict[str, Any], record: str, data: dict[str, Any]) -> bool:
    for letter, wire in data.items():
        if letter == "e" and "event_type" not in row:
            continue
        if letter == "i" and "position_id" in row:  # a number on the wire, contrary to its documentation
            wire = str(wire)
        if record == "DepthUpdate" and letter in ("a", "b"):
            levels = row["asks" if letter == "a" else "bids"]
            if [(each["price"], each["quantity"]) for each in levels] != [(Decimal(p), Decimal(q)) for p, q in wire]:
                return False
            continue
        ours = as_wire(row[NAMES[record][letter]], letter, wire)
        if ours != (Decimal(wire) if isinstance(ours, Decimal) else wire):
            return False
    return row["source"] == "WEBSOCKET"


def has_errors(service: Service, errors: int) -> bool:
    return service.metric("error_frames_total") == errors


def test_every_captured_frame_arrives_or_is_reported(kafka: BlockingKafka, tmp_path: Path) -> None:
    lines = [json.loads(line) for line in CAPTURED.read_text().splitlines()]
    frames = [line for line in lines if "stream" in line]
    errors = [line for line in lines if "error" in line]
    assert (len(lines), len(frames), len(errors)) == (13, 11, 2)
    key = Key(tmp_path)
    with running_plant(kafka.bootstrap_servers, tmp_path, "captured.") as plant:
        exchange = plant.start_exchange(
            *(
                "--recording",
                str(recording_of(CAPTURED, tmp_path)),
                "--rate",
                "max",
                "--start",
                "control",
                "--account-key",
                key.public,
            )
        )
        plant.start("rest-poller")
        market = plant.start("market-producer", "--streams", STREAMS)
        perp = plant.start("perp-producer")
        account = plant.start("account-producer", "--private-key-file", str(key.file))
        wait_until("all is subscribed", lambda: plant.has_all_subscriptions_of(market, perp, account))
        exchange.play()
        exchange.wait_finished()
        for service in (market, perp, account):  # frames that the exchange sends by the clock are in the recording
            wait_until("the producers are ready", service.is_ready)
        for service in (market, account):
            wait_until("all were taken", partial(has_errors, service, len(errors)))
        assert market.stop() == 0
        assert perp.stop() == 0
        assert account.stop() == 0
        for line in frames:
            channel, _, rest = line["stream"].partition(".")
            kind = f"{channel}.{rest.partition('.')[0]}"
            topic, record = TOPICS[kind if kind in TOPICS else channel]
            rows = [each for each in read_topic(plant.bootstrap_servers, "captured." + topic, record) if each.value]
            found = [each for each in rows if each.value and equals(each.value, record, line["data"])]
            assert len(found) == 1, (line, rows)
            assert found[0].key == line["data"]["s"]
            engine_us = line["data"].get("T", line["data"]["E"])
            event_us = line["data"]["E"]
            assert found[0].timestamp_ms == (engine_us if isinstance(engine_us, int) else event_us) // 1000
        letters = [
            each.value
            for each in read_topic(plant.bootstrap_servers, "captured.ops.dead_letter", "DeadLetter")
            if each.value
        ]
        reported = {letter["detail"] for letter in letters if letter["reason"] == "ERROR_FRAME"}
        assert reported == {f"the exchange says {each['error']['code']} {each['error']['message']}" for each in errors}
