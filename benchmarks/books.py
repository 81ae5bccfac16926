"""Apply one update to a book, read best bid and ask: our book compared with the order books that a Python user would pick instead.

All contenders get the same updates of the recorded order flow as the exchange writes them: lists of price and quantity texts, which
each one converts to the numbers of its book. If a library also takes converted numbers, that is a separate row. The rounds of all
contenders alternate, and the best round of each counts, so that other load on the machine affects all of them. At the end of each
round all books must have the same best bid and ask.
"""

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from unittest.mock import patch

from backpack_streams.books import book_state
from backpack_streams.books.book_levels import compiled, units_of_text
from backpack_streams.books.book_side import PlainSide
from backpack_streams.books.market_book import MarketBook
from backpack_streams.books.order_book import OrderBook
from backpack_streams.bus.codec import Codec
from backpack_streams.bus.depth_reader import DepthReader
from backpack_streams.exchange.rest_wire import DepthSnapshot
from benchmarks.contenders import Contender, Ready, Touch
from benchmarks.lab import BenchmarkError
from benchmarks.numbers import MICROS
from benchmarks.order_flow import Flow
from benchmarks.other_books import Ccxt, HftBacktest, HftBacktestArrays, Nautilus, NautilusObjects, OrderBookC

NOT_READ = " (best bid and ask not read)"


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


class _Text(Ready):
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


Make = Callable[[Flow], Contender]
_OURS = "backpack-streams, texts -> OrderBook"
CONTENDERS: tuple[tuple[str, str | None, Make], ...] = (
    (_OURS if compiled else f"{_OURS}, pure Python", None, _Text),
    *(((f"{_OURS}, pure Python", None, _PlainText),) if compiled else ()),
    ("backpack-streams, integers made before", None, _Units),
    ("backpack-streams, Kafka values -> MarketBook, sequence kept", None, _KafkaValues),
    ("NautilusTrader, texts -> OrderBook", "nautilus_trader", Nautilus),
    ("NautilusTrader, objects made before", "nautilus_trader", NautilusObjects),
    ("order_book (C), texts -> Decimals", "order_book", OrderBookC),
    ("ccxt.pro, texts -> floats", "ccxt", Ccxt),
    (f"hftbacktest, texts -> array -> backtest{NOT_READ}", "hftbacktest", HftBacktest),
    (f"hftbacktest, array made before{NOT_READ}", "hftbacktest", HftBacktestArrays),
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
