"""Apply one update to a book, read best bid and ask: our book compared with the order books that a Python user would pick instead.

All contenders get the same updates of the recorded order flow as the exchange writes them: lists of price and quantity texts, which
each one converts to the numbers of its book. If a library also takes converted numbers, that is a separate row. The rounds of all
contenders alternate, and the best round of each counts, so that other load on the machine affects all of them. At the end of each
round all books must have the same best bid and ask.
"""

import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Protocol
from unittest.mock import patch

from backpack_streams.books import book_state
from backpack_streams.books.book_levels import compiled, units_of_text
from backpack_streams.books.book_side import PlainSide
from backpack_streams.books.market_book import MarketBook
from backpack_streams.books.order_book import OrderBook
from backpack_streams.bus.codec import Codec
from backpack_streams.bus.depth_reader import DepthReader
from backpack_streams.exchange.rest_wire import DepthSnapshot
from benchmarks.lab import BenchmarkError
from benchmarks.numbers import MICROS
from benchmarks.order_flow import Delta, Flow

NOT_READ = " (best bid and ask not read)"
_HUGE_NS = 1 << 60

Touch = tuple[float, float]


class Contender(Protocol):
    """Books of all markets of the recording."""

    def begin(self) -> None:
        """Prepare a round; not timed."""

    def play(self) -> None:
        """Apply every delta of the loop, which ends where it began; timed."""

    def touch(self, symbol: str) -> Touch:
        """Return best bid and ask."""


@dataclass(slots=True)
class Run:
    """The times of one contender."""

    name: str
    cpu_us: list[float] = field(default_factory=list)

    @property
    def best_cpu_us(self) -> float:
        """CPU µs per delta."""
        return min(self.cpu_us)


def measure(flow: Flow, rounds: int, say: Callable[[str], None]) -> list[Run]:
    """Return CPU µs per delta of all installed contenders, best first."""
    contenders: list[tuple[Run, Contender]] = []
    for name, module, make in CONTENDERS:
        if module is None or find_spec(module) is not None:
            say(f"books of {name}")
            contenders.append((Run(name), make(flow)))
    for _ in range(rounds):
        for run, contender in contenders:
            contender.begin()
            start = time.process_time()
            contender.play()
            run.cpu_us.append((time.process_time() - start) / len(flow.loop) * MICROS)
    for book in flow.books:
        _compare(book.symbol, [(run.name, contender.touch(book.symbol)) for run, contender in contenders])
    return sorted((run for run, _ in contenders), key=lambda run: run.best_cpu_us)


def missing() -> list[str]:
    """The contenders that are not installed."""
    return [name for name, module, _ in CONTENDERS if module is not None and find_spec(module) is None]


def _compare(symbol: str, touches: Sequence[tuple[str, Touch]]) -> None:
    (_, expected), *others = touches
    for name, touch in others:
        if any(abs(one - other) > 1e-9 * abs(other) for one, other in zip(touch, expected, strict=True)):
            raise BenchmarkError(f"{symbol}: {name} ends at {touch}, ours at {expected}")


# ---- ours


class _Ready:
    """Needs no preparation: the loop of deltas ends where it began."""

    def begin(self) -> None:
        """Do nothing."""


class _Text(_Ready):
    """Texts directly into `OrderBook`."""

    def __init__(self, flow: Flow) -> None:
        self._loop = flow.loop
        self._books = {book.symbol: _seeded(book) for book in flow.books}

    def play(self) -> None:
        books = self._books
        for symbol, _, asks, bids in self._loop:
            book = books[symbol]
            book.apply_text(bids, asks)
            book.best_bid_units  # noqa: B018  # reading it is what is measured
            book.best_ask_units  # noqa: B018  # as above

    def touch(self, symbol: str) -> Touch:
        return _touch(self._books[symbol])


class _PlainText(_Text):
    """The same without compiled code."""

    def __init__(self, flow: Flow) -> None:
        with patch.object(book_state, "BookSide", PlainSide):
            super().__init__(flow)


class _Units(_Text):
    """Integers, converted in advance, into `OrderBook`."""

    def __init__(self, flow: Flow) -> None:
        super().__init__(flow)
        self._made = [(d.symbol, units_of_text(d.bids, "bid"), units_of_text(d.asks, "ask")) for d in flow.loop]

    def play(self) -> None:
        books = self._books
        for symbol, bids, asks in self._made:
            book = books[symbol]
            book.apply(bids, asks)
            book.best_bid_units  # noqa: B018  # reading it is what is measured
            book.best_ask_units  # noqa: B018  # as above


class _KafkaValues:
    """The work of a Kafka reader: the bytes of a record into a book that checks the sequence."""

    def __init__(self, flow: Flow) -> None:
        codec = Codec()
        encode = codec.encoder("DepthUpdate", "books.market.depth")
        self._values = [(row["symbol"], encode(row)) for row in flow.rows(len(flow.loop))]
        self._read = DepthReader(codec).read
        self._snapshots = [(book.symbol, book.last_update_id, *_units(book)) for book in flow.books]
        self._books: dict[str, MarketBook] = {}

    def begin(self) -> None:
        """Start from the snapshots again, because the updates have ids."""
        for symbol, last_id, bids, asks in self._snapshots:
            self._books[symbol] = MarketBook(symbol)
            self._books[symbol].on_snapshot(last_id, None, bids, asks)

    def play(self) -> None:
        books, read = self._books, self._read
        for symbol, value in self._values:
            market = books[symbol]
            market.on_update(*read(value))
            market.book.best_bid_units  # noqa: B018  # reading it is what is measured
            market.book.best_ask_units  # noqa: B018  # as above

    def touch(self, symbol: str) -> Touch:
        if self._books[symbol].breaks:
            raise BenchmarkError(f"the book of {symbol} broke")
        return _touch(self._books[symbol].book)


def _units(book: DepthSnapshot) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    return units_of_text(book.bids, "bid"), units_of_text(book.asks, "ask")


def _seeded(snapshot: DepthSnapshot) -> OrderBook:
    book = OrderBook()
    book.load(*_units(snapshot))
    return book


def _touch(book: OrderBook) -> Touch:
    bid, ask = book.best_bid(), book.best_ask()
    if bid is None or ask is None:
        raise BenchmarkError("a book has lost a side")
    return float(bid.price), float(ask.price)


# ---- others


class _Nautilus(_Ready):
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


class _NautilusObjects(_Nautilus):
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


class _OrderBookC(_Ready):
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


class _Ccxt(_Ready):
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


class _HftBacktest(_Ready):
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


class _HftBacktestArrays(_HftBacktest):
    """hftbacktest with arrays built in advance."""

    def play(self) -> None:
        self._run()


def _tick(flow: Flow, snapshot: DepthSnapshot) -> float:
    prices = [price for price, _ in (*snapshot.bids, *snapshot.asks)]
    for delta in flow.loop:
        if delta.symbol == snapshot.symbol:
            prices += [price for price, _ in (*delta.bids, *delta.asks)]
    return float(10.0 ** -max(len(price.partition(".")[2]) for price in prices))


Make = Callable[[Flow], Contender]
_OURS = "backpack-streams, texts -> OrderBook"
CONTENDERS: tuple[tuple[str, str | None, Make], ...] = (
    (_OURS if compiled else f"{_OURS}, pure Python", None, _Text),
    *(((f"{_OURS}, pure Python", None, _PlainText),) if compiled else ()),
    ("backpack-streams, integers made before", None, _Units),
    ("backpack-streams, Kafka values -> MarketBook, sequence kept", None, _KafkaValues),
    ("NautilusTrader, texts -> OrderBook", "nautilus_trader", _Nautilus),
    ("NautilusTrader, objects made before", "nautilus_trader", _NautilusObjects),
    ("order_book (C), texts -> Decimals", "order_book", _OrderBookC),
    ("ccxt.pro, texts -> floats", "ccxt", _Ccxt),
    (f"hftbacktest, texts -> array -> backtest{NOT_READ}", "hftbacktest", _HftBacktest),
    (f"hftbacktest, array made before{NOT_READ}", "hftbacktest", _HftBacktestArrays),
)


def main() -> None:
    """Measure and print, without the rest of the benchmarks."""
    from benchmarks.order_flow import recorded_flow

    for run in measure(recorded_flow(), 5, lambda text: print(text, file=sys.stderr)):
        print(f"{run.best_cpu_us:8.2f} us  {run.name}")
    for name in missing():
        print(f"       - us  {name}: not installed")


if __name__ == "__main__":
    main()
