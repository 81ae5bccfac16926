"""A plant made of records, without Kafka: markets, producers, gaps and audits that a test writes."""

import time
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from backpack_streams.books.status import Status
from backpack_streams.gateway.market_data import MarketData
from backpack_streams.gateway.plant import Plant
from backpack_streams.gateway.plant_view import PlantView
from backpack_streams.screen.view import View, view_of
from served_gateway import HeldBook, now_us

SECOND = 1_000_000
SYMBOLS = ("BTC_USDC_PERP", "ETH_USDC_PERP", "SOL_USDC", "kSHIB_USDC_PERP", "AAPL.US_USDC_PERP")


class ShownPlant:
    """Books, figures and health; `view` reads them as `top` does."""

    def __init__(self, symbols: Sequence[str] = SYMBOLS) -> None:
        self.data = MarketData()
        self.plant = Plant()
        self.answered_seconds_ago: float | None = 0.2
        self.books = {symbol: HeldBook(symbol) for symbol in symbols}
        self.data.set_books(self.books)  # type: ignore[arg-type]
        self.list_markets({symbol: _kind(symbol) for symbol in symbols})
        for number, symbol in enumerate(symbols):
            self.take_figures(symbol, number + 1)

    def list_markets(self, kinds: Mapping[str, str], state: str = "Open") -> None:
        """List only these markets, with their kinds."""
        rows = {symbol: {"symbol": symbol, "market_type": kind, "status": state} for symbol, kind in kinds.items()}
        self.data.set_markets(rows)

    def take_figures(self, symbol: str, number: int) -> None:
        """Take figures that depend on `number`."""
        usual: dict[str, Any] = {
            "symbol": symbol,
            "source": "WEBSOCKET",
            "event_time": now_us(),
            "received_time": now_us(),
        }
        ticker: dict[str, Any] = {
            "first_price": Decimal(100),
            "last_price": Decimal(100 + number),
            "high": None,
            "low": None,
        }
        ticker |= {"base_volume": Decimal(number), "quote_volume": Decimal(1_000_000 * number)}
        ticker |= {"price_change": None, "price_change_percent": None, "trades": number}
        self.data.take("market.ticker", symbol, usual | ticker, number)
        if _kind(symbol) == "PERP":
            mark: dict[str, Any] = {"mark_price": Decimal(100), "index_price": None, "next_funding_time": None}
            mark |= {"funding_rate": Decimal(number).scaleb(-6)}
            self.data.take("perp.mark_price", symbol, usual | mark, number)
            interest = {"open_interest": Decimal(2 * number), "engine_time": now_us()}
            self.data.take("perp.open_interest", symbol, usual | interest, number)

    def break_book(self, symbol: str, reason: str = "update 15 does not follow 10") -> None:
        self.books[symbol].status, self.books[symbol].reason = Status.STALE, reason

    def take_watermark(self, instance: str = "0123456789", **changes: Any) -> None:
        """Take a watermark of a producer from a moment ago."""
        covered = {"since": now_us() - 60 * SECOND, "until": None, "streams": ["depth.SOL_USDC", "trade.SOL_USDC"]}
        record = {"service": "market-producer", "instance": instance, "published_time": now_us() - SECOND // 2}
        record |= {"complete_through": now_us() - SECOND, "is_final": False, "coverage": [covered]}
        self.plant.take_watermark(record | changes)

    def take_gap(self, **changes: Any) -> None:
        """Take a gap of trades, which REST can refill."""
        record = {
            "stream": "trade.SOL_USDC",
            "symbol": "SOL_USDC",
            "reason": "DISCONNECTED",
            "last_id": 4,
            "next_id": 9,
        }
        record |= {"last_time": None, "next_time": None, "lost_records": None, "service": "market-producer"}
        self.plant.take_gap(record | {"detected_time": now_us()} | changes)

    def take_rates(self, **rates: int) -> None:
        """Take records per second by topic, `market_depth` for `market.depth`."""
        names = {name.replace("_", ".", 1): rate for name, rate in rates.items()}
        self.plant.take_ends(dict.fromkeys(names, 0), 100.0)
        self.plant.take_ends({name: 10 * rate for name, rate in names.items()}, 110.0)

    def view(self) -> View:
        now = time.monotonic()
        answered_at = None if self.answered_seconds_ago is None else now - self.answered_seconds_ago
        return view_of(self.data, PlantView(self.data, self.plant, now_us), answered_at, now)


def _kind(symbol: str) -> str:
    return "PERP" if symbol.endswith("_PERP") else "SPOT"
