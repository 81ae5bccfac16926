"""The recorded order flow through sandbox, producer, Kafka and `book`, compared with a replay of the file with dict and Decimal."""

import gzip
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

from embedded_kafka import BlockingKafka
from plant import running_plant
from reading import decimals
from recorded_files import ORDER_FLOW, recording_of

Book = tuple[dict[Decimal, Decimal], dict[Decimal, Decimal]]


def replay() -> dict[str, tuple[int, Book]]:
    """Snapshot, then every later update: a dozen independent lines."""
    books: dict[str, Book] = {}
    last: dict[str, int] = {}
    for line in gzip.decompress(ORDER_FLOW.read_bytes()).splitlines():
        entry: dict[str, Any] = json.loads(line)
        if "rest" in entry:
            symbol = entry["rest"].split("symbol=")[1].split("&")[0]
            books[symbol] = decimals(entry["body"]["bids"]), decimals(entry["body"]["asks"])
            last[symbol] = int(entry["body"]["lastUpdateId"])
        elif entry["ws"]["stream"].startswith("depth."):
            update = entry["ws"]["data"]
            if update["s"] in books and update["u"] > last[update["s"]]:
                last[update["s"]] = update["u"]
                for side, levels in zip(books[update["s"]], (update["b"], update["a"]), strict=True):
                    side.update(decimals(levels))
                    for price in [price for price, quantity in side.items() if not quantity]:
                        del side[price]
    return {symbol: (last[symbol], book) for symbol, book in books.items()}


def test_recorded_order_flow_gives_the_replayed_books(kafka: BlockingKafka, tmp_path: Path) -> None:
    truth = replay()
    assert len(truth) == 10
    with running_plant(kafka.bootstrap_servers, tmp_path, "recorded.") as plant:
        exchange = plant.start_exchange("--recording", str(recording_of(ORDER_FLOW, tmp_path)), "--rate", "max")
        plant.start("rest-poller")
        # Tickers come every second: without any, a socket counts as silent soon after the recording has ended.
        plant.start("market-producer", "--streams", "depth,trade")
        exchange.wait_finished()
        # The last trade may be ahead of the last update when the recording ends: the stream is doubted, and proven again.
        books = plant.books(timeout=180.0)
    assert books.keys() == truth.keys()
    for symbol, (last_id, (bids, asks)) in truth.items():
        book = books[symbol]
        assert book["status"] == "LIVE"
        assert book["last_update_id"] == last_id
        assert decimals(book["bids"]) == bids, symbol
        assert decimals(book["asks"]) == asks, symbol
        prices = [Decimal(price) for price, _ in book["bids"]]
        assert prices == sorted(prices, reverse=True)
