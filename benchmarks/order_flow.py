"""Nine levels per delta: the recorded order flow, played forwards and backwards without end, as DepthUpdate rows.

If it started again at its beginning, the books would cross. So each delta has an inverse, which restores the previous
quantities: forwards and backwards the books pass through the same, real states.
"""

import gzip
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from backpack_streams.exchange.rest_wire import DepthSnapshot
from backpack_streams.exchange.streams import split_stream
from backpack_streams.market_producer.depth import DEPTH
from backpack_streams.market_producer.depth import row as depth_row

RECORDING = Path(__file__).parents[1] / "tests" / "data" / "recorded-order-flow.jsonl.gz"
ZERO = "0"

Levels = list[list[str]]


class Delta(NamedTuple):
    """The changes of one frame."""

    symbol: str
    time_us: int
    asks: Levels
    bids: Levels


class Flow(NamedTuple):
    """The books at the start, and the deltas of one pass forwards and backwards."""

    books: list[DepthSnapshot]
    loop: list[Delta]

    @property
    def levels_a_delta(self) -> float:
        """Changed levels per delta, on average."""
        return sum(len(delta.asks) + len(delta.bids) for delta in self.loop) / len(self.loop)

    def rows(self, count: int) -> Iterator[dict[str, Any]]:
        """The first `count` deltas of the endless flow, with consecutive ids and times."""
        next_ids = {book.symbol: book.last_update_id + 1 for book in self.books}
        kind, _ = split_stream("depth.X")
        for number in range(count):
            delta = self.loop[number % len(self.loop)]
            update_id = next_ids[delta.symbol]
            next_ids[delta.symbol] += 1
            time_us = self.loop[0].time_us + number
            frame = {"e": "depth", "E": time_us, "T": time_us, "s": delta.symbol, "U": update_id, "u": update_id}
            reading = DEPTH.read(json.dumps(frame | {"a": delta.asks, "b": delta.bids}).encode(), kind)
            yield depth_row(reading.row, time_us)


def recorded_flow() -> Flow:
    """The recording, from each market's snapshot on."""
    books: dict[str, DepthSnapshot] = {}
    frames: list[Mapping[str, Any]] = []
    with gzip.open(RECORDING, "rt") as lines:
        for line in lines:
            event = json.loads(line)
            if "rest" in event and "/depth?" in event["rest"]:
                book = _snapshot(event["rest"], event["body"])
                books[book.symbol] = book
            elif "ws" in event and event["ws"]["stream"].startswith("depth."):
                frames.append(event["ws"]["data"])
    sides = {symbol: (dict(book.asks), dict(book.bids)) for symbol, book in books.items()}
    there: list[Delta] = []
    back: list[Delta] = []
    for frame in frames:
        symbol, time_us = frame["s"], int(frame["T"])
        if symbol in books and frame["U"] > books[symbol].last_update_id:
            asks, bids = sides[symbol]
            back.append(Delta(symbol, time_us, _swap(asks, frame["a"]), _swap(bids, frame["b"])))
            there.append(Delta(symbol, time_us, frame["a"], frame["b"]))
    return Flow(list(books.values()), there + back[::-1])


def _swap(side: dict[str, str], levels: Levels) -> Levels:
    """Set the levels; return what restores the old ones. One recording always writes a price the same way."""
    before = [[price, side.get(price, ZERO)] for price, _ in levels]
    side.update((price, quantity) for price, quantity in levels)
    return before


def _snapshot(path: str, body: Mapping[str, Any]) -> DepthSnapshot:
    symbol = path.partition("symbol=")[2].partition("&")[0]
    asks, bids = (tuple((price, quantity) for price, quantity in body[side]) for side in ("asks", "bids"))
    return DepthSnapshot(symbol, bids, asks, int(body["lastUpdateId"]), int(body["timestamp"]))
