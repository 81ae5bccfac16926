"""Captured and documented frames, and the records they must become."""

import json
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st

from expected_records import expected as expected_record
from unit.feed.recorded_queues import Plant

LINES = (Path(__file__).parents[2] / "data" / "captured-frames.jsonl").read_bytes().splitlines()

fewer = settings(max_examples=40)

RECEIVED_US = 1_800_000_000_123_456


def numbers_exact(payload: bytes) -> dict[str, Any]:
    frame: dict[str, Any] = json.loads(payload, parse_float=Decimal)
    return frame


FRAMES = [numbers_exact(line) for line in LINES]

STREAMS = sorted({frame["stream"] for frame in FRAMES if "stream" in frame})

PUBLIC = [name for name in STREAMS if not name.startswith("account.")]

DATA_FRAMES = [frame for frame in FRAMES if frame.get("stream") in PUBLIC]

MUST_BE_THERE = {
    "depth": {"E", "s", "U", "u"},
    "bookTicker": {"E", "s", "u"},
    "trade": {"E", "s", "t", "p", "q", "m"},
    "ticker": {"E", "s"},
    "kline": {"E", "s", "t", "T", "X"},
    "markPrice": {"E", "s", "p"},
    "openInterest": {"E", "s"},
    "liquidation": {"E", "s", "S", "p", "q"},
    "externalTicker": {"E", "s"},
    "stockPrice": {"symbol", "timestamp"},
}


def expected(frame: Mapping[str, Any]) -> dict[str, Any]:
    """The expected content of the record."""
    return expected_record(frame, RECEIVED_US)


def record_of(payload: bytes, stream: str) -> tuple[Plant, dict[str, Any]]:
    plant = Plant([stream])
    plant.send(payload, 0, RECEIVED_US)
    assert plant.partition_queues.dead_letters == []
    [record] = plant.partition_queues.of(plant.feed(stream).topic)
    return plant, record


TOPICS = {
    "depth.BTC_USDC_PERP": "market.depth",
    "depth.AAPL.US_USDC_PERP": "market.depth",
    "depth.ETH_USDC": "market.depth",
    "depth.200ms.SOL_USDC": "market.depth_200ms",
    "bookTicker.BTC_USDC_PERP": "market.book_ticker",
    "markPrice.AAPL.US_USDC_PERP": "perp.mark_price",
    "ticker.BTC_USDC_PERP": "market.ticker",
    "trade.SOL_USDC": "market.trade",
    "kline.2h.ETH_USDC": "market.kline",
}

# Not captured, but documented in the same way.
WRITTEN = [
    {"stream": "openInterest.BTC_USDC_PERP", "data": {"e": "openInterest", "E": 1, "T": 2, "s": "BTC_USDC_PERP", "o": "1432.50"}},
    {"stream": "liquidation", "data": {"e": "liquidation", "E": 7, "T": 2, "s": "kSHIB_USDC_PERP", "S": "Ask", "p": "0.012", "q": "10"}},
    {"stream": "liquidation.BTC_USDC", "data": {"e": "liquidation", "E": 7, "T": 2, "s": "BTC_USDC", "S": "Bid", "p": "9", "q": "1"}},
    {"stream": "markPrice.BTC_USDC", "data": {"e": "markPrice", "E": 7, "T": 2, "s": "BTC_USDC", "p": "9", "n": 5, "i": "8.5",
                                              "f": "0.0002438565367033305404731178"}},
    {"stream": "depth.1000ms.SOL_USDC", "data": {"e": "depth", "E": 7, "T": 2, "s": "SOL_USDC", "U": 5, "u": 9,
                                                 "a": [["1.5", "0"], ["1e-7", "2"]], "b": [["0.00", "1"]]}},
    {"stream": "externalTicker.MSFT.US_USDC", "data": {"e": "externalTicker", "E": 7, "s": "MSFT.US_USDC", "o": "491.937", "c": "493.952",
                                                       "h": "500", "l": "490.1", "v": "12.5", "V": "6174.4", "n": 3}},
    {"stream": "stockPrice.BRK.B", "data": {"e": "stockPrice", "symbol": "BRK.B", "bid": "491.9", "ask": "492.10", "mid": "492",
                                            "timestamp": 1790134357267, "session": "US_EQUITIES_REGULAR"}},
    {"stream": "stockPrice.AAPL", "data": {"symbol": "AAPL", "bid": None, "ask": None, "mid": "207.2", "timestamp": 1790134357267,
                                           "session": None}},
]  # fmt: skip

ALL_FRAMES = [*DATA_FRAMES, *WRITTEN]

frames = st.sampled_from(ALL_FRAMES)
