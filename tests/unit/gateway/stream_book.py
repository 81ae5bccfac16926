"""A client's book, kept as documented, and a source of books for tests of the streams."""

import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from backpack_streams.books.units import exact_decimal
from backpack_streams.gateway.answers import Row
from backpack_streams.gateway.errors import UnknownSymbolError
from backpack_streams.gateway.market_data import BookAnswer, BookStatus
from backpack_streams.gateway.stream.messages import Message
from backpack_streams.gateway.windows import Entry, rows_after

ONE = 10**18
Side = dict[Decimal, Decimal]


def read(message: Message) -> dict[str, Any]:
    """The message as a client reads it, without floats."""
    found: dict[str, Any] = json.loads(message.text, parse_float=Decimal)
    return found


class ClientBook:
    """Applies snapshots and updates as documented; asserts that the messages keep the documented rules."""

    def __init__(self) -> None:
        self.sides: dict[str, Side] = {"bids": {}, "asks": {}}
        self.sequence: int | None = None
        self.status = ""

    def apply(self, message: dict[str, Any]) -> None:
        data = message["data"]
        if message["type"] == "snapshot":
            self.sides = {
                name: {Decimal(level["price"]): Decimal(level["size"]) for level in data[name]} for name in self.sides
            }
        else:
            assert message["previous"] == self.sequence
            for name, side in self.sides.items():
                for price, size in data[name]:
                    if Decimal(size):
                        side[Decimal(price)] = Decimal(size)
                    else:
                        side.pop(Decimal(price), None)
        self.sequence, self.status = message["sequence"], data["book_status"]

    def matches(self, book: BookAnswer) -> bool:
        """Whether it equals the server's book, level for level, with sequence and status."""
        expected = {
            name: {exact_decimal(price): exact_decimal(size) for price, size in levels}
            for name, levels in (("bids", book.bids), ("asks", book.asks))
        }
        return (self.sides, self.sequence, self.status) == (expected, book.last_update_id, book.book_status)


class Books:
    """Markets with complete books whose levels a test sets: the source that the read model is for a stream."""

    def __init__(self, *symbols: str) -> None:
        self.levels: dict[str, tuple[dict[int, int], dict[int, int]]] = {symbol: ({}, {}) for symbol in symbols}
        self.ids: dict[str, int | None] = dict.fromkeys(symbols, 1)
        self.statuses: dict[str, str] = dict.fromkeys(symbols, "LIVE")
        self.rows: dict[tuple[str, str], list[Entry]] = {}
        self.outage = ""
        self.through: dict[str, int | None] = {"market.depth": 1}

    def markets(self) -> Mapping[str, Row]:
        return {symbol: {"symbol": symbol} for symbol in self.levels}

    def check_symbol(self, symbol: str) -> None:
        if symbol not in self.levels:
            raise UnknownSymbolError(f"there is no market {symbol!r}")

    def orderbook(self, symbol: str, depth: int) -> BookAnswer:
        self.check_symbol(symbol)
        bids, asks = self.levels[symbol]
        return BookAnswer(
            symbol,
            sorted(bids.items(), reverse=True)[:depth],
            sorted(asks.items())[:depth],
            self.ids[symbol],
            self.statuses[symbol],
            "",
            1_000_000,
            5,
        )

    def unavailable(self) -> str:
        return self.outage

    def book_status(self, symbol: str) -> BookStatus:
        return BookStatus(self.statuses[symbol], "", 1_000_000, 5, (0, 0, 0))

    def newest(self, channel: str, symbol: str, limit: int = 1) -> list[Entry]:
        return self.rows.get((channel, symbol), [])[::-1][:limit]

    def sequence(self, channel: str, symbol: str) -> int:
        return max((entry.sequence for entry in self.rows.get((channel, symbol), [])), default=-1)

    def after(self, channel: str, symbol: str, sequence: int) -> list[Entry] | None:
        return rows_after(self.rows.get((channel, symbol), []), sequence)

    def watermark_age_ms(self, as_of: int) -> int:
        return 5

    def complete_through(self) -> dict[str, int | None]:
        return self.through

    # Called by tests

    def set_level(self, symbol: str, side: int, price: int, size: int) -> None:
        """Set a level of side 0 (bids) or 1 (asks), in whole numbers; a size of 0 removes it."""
        levels = self.levels[symbol][side]
        if size:
            levels[price * ONE] = size * ONE
        else:
            levels.pop(price * ONE, None)

    def add_row(self, channel: str, symbol: str, sequence: int, row: Row) -> None:
        self.rows.setdefault((channel, symbol), []).append(Entry(sequence, row, 0))
