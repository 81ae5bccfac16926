"""The order books that a Python user would pick instead of ours, each given what its own users give it."""

from collections.abc import Iterable, Sequence
from decimal import Decimal
from importlib import import_module
from typing import Any

from backpack_streams.exchange.rest_wire import DepthSnapshot
from benchmarks.contenders import Ready, Touch
from benchmarks.order_flow import Delta, Flow

__all__ = ["Ccxt", "HftBacktest", "HftBacktestArrays", "Nautilus", "NautilusObjects", "OrderBookC"]

_HUGE_NS = 1 << 60


class Nautilus(Ready):
    """NautilusTrader: its objects built from the texts, as its own adapters do."""

    def __init__(self, flow: Flow) -> None:
        book, data, enums, identifiers, objects = (
            import_module(f"nautilus_trader.model.{name}")
            for name in ("book", "data", "enums", "identifiers", "objects")
        )
        self._data, self._objects, self._enums = data, objects, enums
        self._ids = {each.symbol: identifiers.InstrumentId.from_str(f"{each.symbol}.BACKPACK") for each in flow.books}
        self._books = {symbol: book.OrderBook(each, enums.BookType.L2_MBP) for symbol, each in self._ids.items()}
        self._loop = flow.loop
        for each in flow.books:
            snapshot = Delta(each.symbol, 1, [list(level) for level in each.asks], [list(level) for level in each.bids])
            self._books[each.symbol].apply_deltas(self._deltas(snapshot))

    def _deltas(self, delta: Delta) -> Any:
        data, price_of, size_of = self._data, self._objects.Price.from_str, self._objects.Quantity.from_str
        update, delete = self._enums.BookAction.UPDATE, self._enums.BookAction.DELETE
        instrument = self._ids[delta.symbol]
        made = []
        for side, levels in ((self._enums.OrderSide.BUY, delta.bids), (self._enums.OrderSide.SELL, delta.asks)):
            for price, quantity in levels:
                size = size_of(quantity)
                order = data.BookOrder(side, price_of(price), size, 0)
                action = update if size > 0 else delete
                made.append(data.OrderBookDelta(instrument, action, order, 0, 1, delta.time_us, delta.time_us))
        return data.OrderBookDeltas(instrument, made) if made else None

    def play(self) -> None:
        books, make = self._books, self._deltas
        for delta in self._loop:
            book, deltas = books[delta.symbol], make(delta)
            if deltas is not None:
                book.apply_deltas(deltas)
            book.best_bid_price()
            book.best_ask_price()

    def touch(self, symbol: str) -> Touch:
        book = self._books[symbol]
        return float(book.best_bid_price()), float(book.best_ask_price())


class NautilusObjects(Nautilus):
    """NautilusTrader with objects built in advance."""

    def __init__(self, flow: Flow) -> None:
        super().__init__(flow)
        self._made = [(delta.symbol, self._deltas(delta)) for delta in flow.loop]

    def play(self) -> None:
        books = self._books
        for symbol, deltas in self._made:
            book = books[symbol]
            if deltas is not None:
                book.apply_deltas(deltas)
            book.best_bid_price()
            book.best_ask_price()


class OrderBookC(Ready):
    """The package `order_book`: sorted dicts in C, of `Decimal`s as in its documentation."""

    def __init__(self, flow: Flow) -> None:
        SortedBook = import_module("order_book").OrderBook  # noqa: N806  # a class
        self._loop = flow.loop
        self._books = {each.symbol: SortedBook() for each in flow.books}
        for each in flow.books:
            book = self._books[each.symbol]
            self._set(book.bids, each.bids)
            self._set(book.asks, each.asks)

    @staticmethod
    def _set(side: Any, levels: Iterable[Sequence[str]]) -> None:
        for price, quantity in levels:
            key, amount = Decimal(price), Decimal(quantity)
            if amount:
                side[key] = amount
            elif key in side:
                del side[key]

    def play(self) -> None:
        books, put = self._books, self._set
        for symbol, _, asks, bids in self._loop:
            book = books[symbol]
            put(book.bids, bids)
            put(book.asks, asks)
            book.bids.index(0)
            book.asks.index(0)

    def touch(self, symbol: str) -> Touch:
        book = self._books[symbol]
        return float(book.bids.index(0)[0]), float(book.asks.index(0)[0])


class Ccxt(Ready):
    """ccxt.pro's book: floats, as its exchanges' `handle_delta` feeds them."""

    def __init__(self, flow: Flow) -> None:
        CcxtBook = import_module("ccxt.async_support.base.ws.order_book").OrderBook  # noqa: N806  # a class
        self._loop = flow.loop
        self._books = {}
        for each in flow.books:
            sides = {"bids": each.bids, "asks": each.asks}
            snapshot = {name: [[float(p), float(q)] for p, q in levels] for name, levels in sides.items()}
            self._books[each.symbol] = CcxtBook(snapshot)

    def play(self) -> None:
        books = self._books
        for symbol, _, asks, bids in self._loop:
            book = books[symbol]
            put = book["bids"].store
            for price, quantity in bids:
                put(float(price), float(quantity))
            put = book["asks"].store
            for price, quantity in asks:
                put(float(price), float(quantity))
            book["bids"][0]
            book["asks"][0]

    def touch(self, symbol: str) -> Touch:
        book = self._books[symbol]
        return book["bids"][0][0], book["asks"][0][0]


class HftBacktest(Ready):
    """hftbacktest: arrays of events built from the texts, then all of them in one call of its backtester."""

    def __init__(self, flow: Flow) -> None:
        self._numpy, self._hft = import_module("numpy"), import_module("hftbacktest")
        self._types = import_module("hftbacktest.types")
        self._snapshots, self._loop = flow.books, flow.loop
        self._places = {each.symbol: place for place, each in enumerate(flow.books)}
        self._ticks = [_tick(flow, each) for each in flow.books]
        self._backtest: Any = None
        self._arrays = self._made()
        self._run()  # compiles

    def _made(self) -> list[Any]:
        types = self._types
        rows: list[list[Any]] = [[] for _ in self._snapshots]
        buy, sell = (types.DEPTH_EVENT | types.LOCAL_EVENT | side for side in (types.BUY_EVENT, types.SELL_EVENT))
        for place, snapshot in enumerate(self._snapshots):
            for kind, levels in ((buy, snapshot.bids), (sell, snapshot.asks)):
                rows[place] += [(kind, 1, 1, float(p), float(q), 0, 0, 0.0) for p, q in levels]
        places = self._places
        for number, (symbol, _, asks, bids) in enumerate(self._loop, start=2):
            add = rows[places[symbol]].append
            for price, quantity in bids:
                add((buy, number, number, float(price), float(quantity), 0, 0, 0.0))
            for price, quantity in asks:
                add((sell, number, number, float(price), float(quantity), 0, 0, 0.0))
        return [self._numpy.array(each, dtype=types.event_dtype) for each in rows]

    def _run(self) -> None:
        assets = [
            self._hft.BacktestAsset()
            .data([data])
            .linear_asset(1.0)
            .constant_order_latency(0, 0)
            .risk_adverse_queue_model()
            .no_partial_fill_exchange()
            .trading_value_fee_model(0, 0)
            .tick_size(tick)
            .lot_size(1e-9)
            for data, tick in zip(self._arrays, self._ticks, strict=True)
        ]
        if self._backtest is not None:
            self._backtest.close()
        self._backtest = self._hft.HashMapMarketDepthBacktest(assets)
        self._backtest.elapse(_HUGE_NS)

    def play(self) -> None:
        self._arrays = self._made()
        self._run()

    def touch(self, symbol: str) -> Touch:
        depth = self._backtest.depth(self._places[symbol])
        return depth.best_bid, depth.best_ask


class HftBacktestArrays(HftBacktest):
    """hftbacktest with arrays built in advance."""

    def play(self) -> None:
        self._run()


def _tick(flow: Flow, snapshot: DepthSnapshot) -> float:
    prices = [price for price, _ in (*snapshot.bids, *snapshot.asks)]
    for delta in flow.loop:
        if delta.symbol == snapshot.symbol:
            prices += [price for price, _ in (*delta.bids, *delta.asks)]
    return float(10.0 ** -max(len(price.partition(".")[2]) for price in prices))
