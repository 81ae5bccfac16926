"""NautilusTrader: `OrderBookDeltas` from books and `TradeTick`s from trades. Needs `nautilus_trader` (extra `nautilus`).

async with BookStream("127.0.0.1:19092", symbols=["BTC_USDC_PERP"]) as books:
    async for deltas in book_deltas(books):
        book.apply_deltas(deltas)
"""

import time
from collections.abc import AsyncIterable, AsyncIterator, Callable, Mapping
from decimal import Decimal
from typing import Any

from backpack_streams.books.adapters.live_changes import LiveChanges
from backpack_streams.books.changes import Changes
from backpack_streams.books.optional import library
from backpack_streams.books.record_stream import Gap, StreamedRecord
from backpack_streams.books.stream import BookUpdate
from backpack_streams.books.units import exact_decimal
from backpack_streams.errors import BookError

__all__ = ["VENUE", "Nautilus", "book_deltas", "trade_ticks"]

VENUE = "BACKPACK"
_NANOS_A_MICRO = 1000


class Nautilus:
    """Converts updates and records to NautilusTrader's objects; one converter serves all markets of a stream.

    Prices and sizes keep every digit: a value with more decimal places than NautilusTrader holds (16, or 9 in builds of standard
    precision) raises `BookError` instead of being rounded. `sequence` is the update id; `ts_event` the engine time; `ts_init` the time of
    `clock_ns` for books and the receive time for trades; all in ns.
    """

    def __init__(
        self,
        venue: str = VENUE,
        precisions: Mapping[str, tuple[int, int]] | None = None,
        clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        """Load the library.

        Args:
            venue: the venue of every instrument id.
            precisions: decimal places of price and size by symbol, as defined by the instruments; values are padded to them.
                Without an entry, each value has the places that it needs.
            clock_ns: clock that returns ns since the Unix epoch.

        Raises:
            UsageError: NautilusTrader is not installed.

        """
        self._data = library("nautilus_trader.model.data", "nautilus")
        self._enums = library("nautilus_trader.model.enums", "nautilus")
        self._ids = library("nautilus_trader.model.identifiers", "nautilus")
        self._numbers = library("nautilus_trader.model.objects", "nautilus")
        self._venue = self._ids.Venue(venue)
        self._precisions = precisions or {}
        self._clock_ns = clock_ns
        self._changes = LiveChanges()
        self._instruments: dict[str, Any] = {}

    def instrument_id(self, symbol: str) -> Any:
        """Return the `InstrumentId` of a market: its symbol at the venue."""
        found = self._instruments.get(symbol)
        if found is None:
            found = self._instruments[symbol] = self._ids.InstrumentId(self._ids.Symbol(symbol), self._venue)
        return found

    def deltas(self, update: BookUpdate) -> Any:
        """Return the `OrderBookDeltas` that bring a follower's book up to date; None if there are no changes.

        A snapshot is a CLEAR and every level, flagged F_SNAPSHOT; a book that left `LIVE` is a CLEAR alone. The last delta has F_LAST.

        Raises:
            BookError: a value has more places than NautilusTrader holds, or than the instrument's precision.

        """
        changes = self._changes.take(update.market)
        if changes is None:
            return None
        symbol, now = update.symbol, self._clock_ns()
        engine_time = update.market.engine_time
        event = now if engine_time is None else engine_time * _NANOS_A_MICRO
        return self._deltas(symbol, changes, update.last_update_id or 0, event, now)

    def trade(self, record: StreamedRecord[Any]) -> Any:
        """Return the `TradeTick` of a Trade record.

        Raises:
            BookError: the record is no trade, or has a value that NautilusTrader cannot hold.

        """
        if record.name != "Trade":
            raise BookError(f"a {record.name} record is no trade; read the topic market.trade")
        value, aggressor = record.value, self._enums.AggressorSide
        received = value["received_time"]
        event = next(t for t in (value["engine_time"], value["event_time"], received) if t is not None)
        price_places, size_places = self._precisions.get(record.symbol, (None, None))
        return self._data.TradeTick(
            self.instrument_id(record.symbol),
            self._number(self._numbers.Price, value["price"], price_places),
            self._number(self._numbers.Quantity, value["quantity"], size_places),
            aggressor.SELLER if value["is_buyer_maker"] else aggressor.BUYER,
            self._ids.TradeId(str(value["trade_id"])),
            event * _NANOS_A_MICRO,
            received * _NANOS_A_MICRO,
        )

    def _deltas(self, symbol: str, changes: Changes, sequence: int, event: int, now: int) -> Any:
        data, action, side, flag = self._data, self._enums.BookAction, self._enums.OrderSide, self._enums.RecordFlag
        instrument = self.instrument_id(symbol)
        price_places, size_places = self._precisions.get(symbol, (None, None))
        levels = [(side.BUY, *change) for change in changes.bid_units]
        levels += [(side.SELL, *change) for change in changes.ask_units]
        flags = int(flag.F_SNAPSHOT) if changes.is_reset else 0
        last = int(flag.F_LAST)
        rows: list[tuple[Any, Any]] = [(action.CLEAR, None)] if changes.is_reset else []
        for order_side, price, quantity, before in levels:
            order = data.BookOrder(
                order_side,
                self._number(self._numbers.Price, exact_decimal(price), price_places),
                self._number(self._numbers.Quantity, exact_decimal(quantity), size_places),
                0,
            )
            rows.append(((action.UPDATE if before else action.ADD) if quantity else action.DELETE, order))
        made = [
            data.OrderBookDelta(
                instrument, what, order, flags | (last if place == len(rows) else 0), sequence, event, now
            )
            for place, (what, order) in enumerate(rows, start=1)
        ]
        return data.OrderBookDeltas(instrument, made)

    def _number(self, kind: Any, value: Decimal, places: int | None) -> Any:
        text = f"{value:f}"
        if places is not None:
            has = len(text.partition(".")[2])
            if has > places:
                raise BookError(
                    f"{text} has more than the {places} decimal places of its instrument; correct `precisions`"
                )
            text += ("." if not has and places else "") + "0" * (places - has)
        try:
            return kind.from_str(text)
        except ValueError as error:
            raise BookError(f"NautilusTrader cannot hold {text} exactly: {error}") from error


async def book_deltas(updates: AsyncIterable[BookUpdate], nautilus: Nautilus | None = None) -> AsyncIterator[Any]:
    """Yield `OrderBookDeltas` for the updates of a `BookStream`."""
    convert = (nautilus or Nautilus()).deltas
    async for update in updates:
        deltas = convert(update)
        if deltas is not None:
            yield deltas


async def trade_ticks(
    records: AsyncIterable[StreamedRecord[Any] | Gap], nautilus: Nautilus | None = None
) -> AsyncIterator[Any]:
    """Yield `TradeTick`s for the trades of a `RecordStream`; ignores gaps and other records."""
    convert = (nautilus or Nautilus()).trade
    async for record in records:
        if isinstance(record, StreamedRecord) and record.name == "Trade":
            yield convert(record)
