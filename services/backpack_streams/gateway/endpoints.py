"""The endpoints of the read API: the answer of each, from the read model. No HTTP."""

from collections.abc import Mapping
from typing import Any, Final

from backpack_streams.books.status import Status
from backpack_streams.gateway import models
from backpack_streams.gateway.answers import Answer, Row
from backpack_streams.gateway.candles import INTERVAL_MICROS
from backpack_streams.gateway.endpoint import Endpoint
from backpack_streams.gateway.errors import UnavailableError, UnknownSymbolError
from backpack_streams.gateway.history import History
from backpack_streams.gateway.json_text import Levels
from backpack_streams.gateway.kept_answers import KeptAnswers
from backpack_streams.gateway.market_data import MarketData
from backpack_streams.gateway.parameters import choice, symbol_parameter, whole
from backpack_streams.gateway.plant_view import PlantView
from backpack_streams.gateway.rows import NO_OPEN_INTEREST
from backpack_streams.gateway.topic_names import MARK_PRICE_TOPIC, OPEN_INTEREST_TOPIC, TICKER_TOPIC, TRADE_TOPIC

__all__ = ["KLINE_INTERVALS", "Endpoints"]

SOURCE: Final = "Backpack"
SOURCE_WITH_REST: Final = "Backpack REST"
"""The source if some of the rows were not in Kafka."""
KLINE_INTERVALS: Final = tuple(INTERVAL_MICROS)
MARKET_TYPES: Final = ("SPOT", "PERP", "IPERP", "DATED", "PREDICTION", "RFQ")
_PERP: Final = "PERP"
_WITHOUT_FUNDING: Final = frozenset({"SPOT", "PREDICTION", "RFQ"})
_LATER_SECONDS: Final = 2
"""After this time, a client may ask again for what is not available yet."""


class Endpoints:
    """Answers from the read model.

    Answers to equal questions share their encoded data until the data changes, except for candles and the plant.
    """

    def __init__(self, data: MarketData, history: History, plant: PlantView) -> None:
        """Prepare.

        Args:
            data: the read model.
            history: finds candles and trades that are not in memory.
            plant: the state of the plant.
        """
        self._data = data
        self._history = history
        self._plant = plant
        self.kept = KeptAnswers()

    def table(self) -> tuple[Endpoint, ...]:
        """Return all endpoints, in the order of the documents."""
        symbol = symbol_parameter()
        kind = choice("type", MARKET_TYPES, default=None, description="kind of market; all if left out")
        one_or_all = symbol_parameter(is_required=False, description="market; all if left out")
        depth = whole("depth", 1, 100, default=25, description="levels a side, at most")
        allow_stale = choice(
            "allow_stale",
            ("false", "true"),
            default="false",
            description="true answers with a book that is not LIVE, too, with its status, reason and age, instead of 503",
        )
        interval = choice("interval", KLINE_INTERVALS, default="1h", description="length of a candle")
        candles = whole("limit", 1, 500, default=100, description="candles, at most")
        trades = whole("limit", 1, 200, default=50, description="trades, at most")
        perp = symbol_parameter(description="perpetual; _PERP is added where it is left out", example="SOL_USDC_PERP")
        return (
            Endpoint("/v1/markets", "The markets", (kind,), models.MarketsData, self.markets, 5),
            Endpoint("/v1/ticker", "Figures of the last 24 hours", (one_or_all,), models.TickerData, self.ticker),
            Endpoint(
                "/v1/orderbook", "One order book", (symbol, depth, allow_stale), models.OrderBookData, self.orderbook
            ),
            Endpoint("/v1/klines", "Candles", (symbol, interval, candles), models.KlinesData, self.klines),
            Endpoint("/v1/trades", "The newest trades", (symbol, trades), models.TradesData, self.trades),
            Endpoint("/v1/funding", "Mark price, funding, open interest", (perp,), models.FundingData, self.funding),
            Endpoint("/v1/meta", "What this service is", (), models.MetaData, self.meta, 60),
            Endpoint("/v1/plant", "How the data gets here", (), models.PlantData, self.plant),
        )

    def markets(self, parameters: Mapping[str, Any]) -> Answer:
        """Answer with the market list, by symbol.

        Args:
            parameters: `type`, a kind of market or None for all.

        Raises:
            UnavailableError: Kafka does not answer, or there is no market list yet.
        """
        kind = parameters["type"]
        self._check_filled(len(self._data.markets()), "market list")

        def make() -> Row:
            rows = [row for row in self._data.markets().values() if kind is None or row["market_type"] == kind]
            return _noted("Markets of Backpack Exchange.", {"type": kind, "count": len(rows), "markets": rows})

        return self.kept.get(("markets", kind), self._data.markets_version, "Markets retrieved successfully", make)

    def ticker(self, parameters: Mapping[str, Any]) -> Answer:
        """Answer with one ticker, or with all by symbol; the age is that of the oldest then.

        Args:
            parameters: `symbol`, None for all.

        Raises:
            UnknownSymbolError: there is no such market.
            UnavailableError: Kafka does not answer, or has no ticker yet.
        """
        symbol = parameters["symbol"]
        note = "Figures of the last 24 hours."
        if symbol is None:
            listed = self._data.markets()
            entries = {
                name: entry for name, entry in self._data.values(TICKER_TOPIC).items() if name in listed or not listed
            }
            self._check_filled(len(entries), "ticker")
            rows = [entries[name].row for name in sorted(entries)]
            state = self._data.values_version(TICKER_TOPIC), self._data.markets_version
            answer = self.kept.get(
                "tickers",
                state,
                "Tickers retrieved successfully",
                lambda: _noted(note, {"count": len(rows), "tickers": rows}),
            )
            return answer.with_fresh(self._age(min(entry.as_of for entry in entries.values())))
        self._check(symbol)
        entry = self._data.value(TICKER_TOPIC, symbol)
        if entry is None:
            raise _not_there(f"Kafka holds no ticker of {symbol}")
        answer = self.kept.get(
            ("ticker", symbol),
            entry.sequence,
            "Ticker retrieved successfully",
            lambda: _noted(note, {"symbol": symbol, "ticker": entry.row}),
        )
        return answer.with_fresh(self._age(entry.as_of))

    def orderbook(self, parameters: Mapping[str, Any]) -> Answer:
        """Answer with the best levels of a book.

        Args:
            parameters: `symbol`; `depth`, levels per side; `allow_stale`, `true` for a book that is not LIVE too.

        Raises:
            UnknownSymbolError: there is no such market.
            UnavailableError: Kafka does not answer, or the book is not LIVE; `meta` then has its status, reason and age.
        """
        symbol, depth = parameters["symbol"], parameters["depth"]
        self._check(symbol)
        status = self._data.book_status(symbol)
        fresh = {
            "book_status": status.status,
            "reason": status.reason,
            "as_of": status.as_of,
            "age_ms": status.age_ms,
        }
        if status.status != Status.LIVE.value and parameters["allow_stale"] != "true":
            raise UnavailableError(
                f"the book of {symbol} is {status.status}: {status.reason}; ask again, or add allow_stale=true",
                meta={"symbol": symbol, **fresh},
                retry_after_seconds=_LATER_SECONDS,
            )

        def make() -> Row:
            book = self._data.orderbook(symbol, depth)
            levels = {"asks": Levels(book.asks), "bids": Levels(book.bids)}
            note = "Order book rebuilt from Kafka: exact at last_update_id, complete up to as_of."
            return _noted(note, {"symbol": symbol, **levels, "last_update_id": book.last_update_id})

        answer = self.kept.get(("book", symbol, depth), status.version, "Order book retrieved successfully", make)
        return answer.with_fresh(fresh)

    async def klines(self, parameters: Mapping[str, Any]) -> Answer:
        """Answer with candles, oldest first; the last one is open.

        Args:
            parameters: `symbol`; `interval`, such as `1h`; `limit`, the maximum number of candles.

        Raises:
            UnknownSymbolError: there is no such market.
            UnavailableError: Kafka does not answer, or neither Kafka nor REST has candles.
        """
        symbol, interval, limit = parameters["symbol"], parameters["interval"], parameters["limit"]
        self._check(symbol)
        found = await self._history.candles(symbol, interval, limit)
        rows = [candle.row for candle in found.candles]
        if not rows:
            raise UnavailableError(
                f"Kafka holds no candles of {symbol} with the interval {interval}, and the exchange's REST API gave none within this "
                "gateway's share of the rate limits; ask again",
                retry_after_seconds=_LATER_SECONDS,
            )
        newest = found.candles[-1]
        data = {"symbol": symbol, "interval": interval, "count": len(rows), "candles": rows}
        note = "Candles, oldest first; the last one is still open."
        return Answer(
            _noted(note, data, is_rest=found.is_rest),
            "Klines retrieved successfully",
            self._age(newest.entry.as_of),
        )

    async def trades(self, parameters: Mapping[str, Any]) -> Answer:
        """Answer with trades, newest first.

        `as_of` is the time up to which no trade is missing, or the time of the newest trade if that is later or the stream is
        not covered.

        Args:
            parameters: `symbol`; `limit`, the maximum number of trades.

        Raises:
            UnknownSymbolError: there is no such market.
            UnavailableError: Kafka does not answer, or there is no market list yet.
        """
        symbol, limit = parameters["symbol"], parameters["limit"]
        self._check(symbol)
        found = await self._history.trades(symbol, limit)
        window = self._data.trade_window(symbol)

        def make() -> Row:
            rows = [entry.row for entry in found.entries]
            note = "Trades, newest first; ids of a market are consecutive."
            return _noted(note, {"symbol": symbol, "count": len(rows), "trades": rows}, is_rest=found.is_rest)

        state = window.sequence, window.changes
        answer = self.kept.get(("trades", symbol, limit), state, "Trades retrieved successfully", make)
        as_of = self._data.stream_complete_through(TRADE_TOPIC, f"trade.{symbol}")
        newest = found.entries[0].as_of if found.entries else None
        if as_of is None or (newest is not None and newest > as_of):
            return answer.with_fresh(self._age(newest))
        return answer.with_fresh({"as_of": as_of, "age_ms": self._data.watermark_age_ms(as_of)})

    def funding(self, parameters: Mapping[str, Any]) -> Answer:
        """Answer with mark price, funding rate and open interest.

        Args:
            parameters: `symbol`, a market of futures; `_PERP` is added if there is such a market.

        Raises:
            UnknownSymbolError: there is no such market, or it has no funding.
            UnavailableError: Kafka does not answer, or has no mark price yet.
        """
        symbol = parameters["symbol"]
        if not symbol.endswith(_PERP) and f"{symbol}_{_PERP}" in self._data.markets():
            symbol = f"{symbol}_{_PERP}"
        self._check(symbol)
        mark, interest = self._data.value(MARK_PRICE_TOPIC, symbol), self._data.value(OPEN_INTEREST_TOPIC, symbol)
        if mark is None and self._data.market_type(symbol) in _WITHOUT_FUNDING:
            raise UnknownSymbolError(f"there is no perpetual of {symbol}; /v1/markets?type=PERP lists them")
        if mark is None:
            raise _not_there(f"Kafka holds no mark price of {symbol}")

        def make() -> Row:
            row = {**mark.row, **(NO_OPEN_INTEREST if interest is None else interest.row)}
            return _noted("Mark price, funding rate of the interval in progress, and open interest.", row)

        state = mark.sequence, -1 if interest is None else interest.sequence
        answer = self.kept.get(("funding", symbol), state, "Funding retrieved successfully", make)
        return answer.with_fresh(self._age(mark.as_of))

    def meta(self, _: Mapping[str, Any]) -> Answer:
        """Answer with what this service offers, even if Kafka does not answer."""
        return self.kept.get("meta", 0, "Meta retrieved successfully", self._describe)

    def _describe(self) -> Row:
        endpoints = {endpoint.path: endpoint.summary for endpoint in self.table()}
        return _noted(
            "What this service offers.",
            {
                "service": "backpack-streams gateway",
                "description": "Market data of Backpack Exchange from Kafka: exact, with its own age.",
                "endpoints": {**endpoints, "/v1/stream": "The same records live, over WebSocket or server-sent events"},
                "kline_intervals": list(KLINE_INTERVALS),
                "sample": "/v1/orderbook?symbol=SOL_USDC&depth=25",
            },
        )

    def plant(self, _: Mapping[str, Any]) -> Answer:
        """Answer with the state of the plant; while Kafka does not answer, with the last one that is known."""
        now_us = self._plant.now_us()
        row = self._plant.row(now_us)
        return Answer(_noted("How the data gets here, as Kafka tells it.", row), "Plant retrieved successfully")

    def _check(self, symbol: str) -> None:
        """Check that Kafka can be read and the market is listed."""
        self._data.check_available()
        self._data.check_symbol(symbol)

    def _check_filled(self, count: int, what: str) -> None:
        self._data.check_available()
        if not count:
            raise _not_there(f"Kafka holds no {what}")

    def _age(self, as_of: int | None) -> Row:
        return {"as_of": as_of, "age_ms": None if as_of is None else self._data.age_ms(as_of)}


def _not_there(what: str) -> UnavailableError:
    why = f"{what} yet; check that the producers and rest-poller run, then ask again"
    return UnavailableError(why, retry_after_seconds=_LATER_SECONDS)


def _noted(note: str, data: Row, *, is_rest: bool = False) -> Row:
    return {"note": note, "source": SOURCE_WITH_REST if is_rest else SOURCE, **data}
