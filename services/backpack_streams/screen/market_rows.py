"""The markets as rows: the newest figures of each and the status of its book; search and order. Sans I/O."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from decimal import Context, Decimal, Inexact
from typing import Any, Final, Literal

from backpack_streams.books.market_view import MarketView
from backpack_streams.books.status import Status
from backpack_streams.gateway.answers import Row
from backpack_streams.gateway.market_data import MarketData
from backpack_streams.gateway.topic_names import MARK_PRICE_TOPIC, OPEN_INTEREST_TOPIC, TICKER_TOPIC
from backpack_streams.markets.market_streams import has_channel
from backpack_streams.markets.selection import CLOSED

__all__ = ["BOOK_CHANNEL", "ORDERS", "MarketRow", "Order", "arranged", "market_rows", "matching"]

_EXACT: Final = Context(prec=120, traps=[Inexact])
BOOK_CHANNEL: Final = "depth"

Order = Literal["symbol", "price", "change", "volume", "funding", "interest", "book"]
"""What markets are sorted by."""


@dataclass(frozen=True, slots=True)
class MarketRow:
    """The figures of one market. They are exact, and None if unknown."""

    symbol: str
    market_type: str
    price: Decimal | None
    """Of the last trade."""
    change: Decimal | None
    """Over 24 hours, as a fraction of the first price."""
    volume: Decimal | None
    """Over 24 hours, in the base asset."""
    quote_volume: Decimal | None
    """The same in the quote asset."""
    mark_price: Decimal | None
    funding_rate: Decimal | None
    """Estimate of the interval in progress, a fraction."""
    open_interest: Decimal | None
    """In the base asset."""
    bid: tuple[str, str] | None
    """Best price and quantity, as plain text; None if the side is empty."""
    ask: tuple[str, str] | None
    status: str
    """Status of the book; empty for a market without one."""
    reason: str
    """Why the book is not LIVE."""
    as_of: int | None
    """Time up to which the book is known to be complete (µs since the Unix epoch, by its producer's clock)."""
    age_ms: int | None
    """Age of that time (ms)."""

    @property
    def is_live(self) -> bool:
        """Whether the book may be used: its status is LIVE."""
        return self.status == Status.LIVE.value

    @property
    def interest_value(self) -> Decimal | None:
        """Open interest at the mark price, in the quote asset, so that markets can be compared; None if either is unknown."""
        if self.open_interest is None or self.mark_price is None:
            return None
        return _EXACT.multiply(self.open_interest, self.mark_price)


def market_rows(data: MarketData) -> list[MarketRow]:
    """Return a row for each market of the market list, by symbol.

    Args:
        data: the read model.
    """
    views = data.books()
    return [_row(data, listed, views.get(symbol)) for symbol, listed in data.markets().items()]


def _row(data: MarketData, listed: Row, view: MarketView | None) -> MarketRow:
    symbol = listed["symbol"]
    ticker, mark = _newest(data, TICKER_TOPIC, symbol), _newest(data, MARK_PRICE_TOPIC, symbol)
    bids, asks = ([], []) if view is None else view.book.to_lines(1)
    status = data.book_status(symbol)
    book = status.status, status.reason
    if view is None and listed["status"] == CLOSED:  # no service publishes snapshots of it
        book = Status.CLOSED.value, f"the market list says {CLOSED}"
    elif view is None and not has_channel(listed["market_type"], BOOK_CHANNEL):
        book = "", ""
    return MarketRow(
        symbol=symbol,
        market_type=listed["market_type"],
        price=ticker.get("last_price"),
        change=ticker.get("price_change_percent"),
        volume=ticker.get("volume"),
        quote_volume=ticker.get("quote_volume"),
        mark_price=mark.get("mark_price"),
        funding_rate=mark.get("funding_rate"),
        open_interest=_newest(data, OPEN_INTEREST_TOPIC, symbol).get("open_interest"),
        bid=bids[0] if bids else None,
        ask=asks[0] if asks else None,
        status=book[0],
        reason=book[1],
        as_of=status.as_of,
        age_ms=status.age_ms,
    )


def _newest(data: MarketData, topic: str, symbol: str) -> Any:
    entry = data.value(topic, symbol)
    return {} if entry is None else entry.row


_NEED: Final = {"STALE": 0, "SYNCING": 1, "LIVE": 2, "CLOSED": 3}
_READ: Final[dict[Order, tuple[Callable[[MarketRow], Any], bool]]] = {
    "symbol": (lambda row: row.symbol.casefold(), True),
    "price": (lambda row: row.price, False),
    "change": (lambda row: row.change, False),
    "volume": (lambda row: row.quote_volume, False),
    "funding": (lambda row: row.funding_rate, False),
    "interest": (lambda row: row.interest_value, False),
    "book": (lambda row: _NEED.get(row.status), True),
}
"""For each order, the value to compare and whether the lowest comes first."""
ORDERS: Final[tuple[Order, ...]] = tuple(_READ)


def arranged(rows: Iterable[MarketRow], order: Order, *, is_reversed: bool = False) -> list[MarketRow]:
    """Return the rows in order: symbols from A on, books in need of attention first, other figures from the highest down.

    Equal rows are in order of their symbols. Rows without the figure come last, even if the order is reversed.

    Args:
        rows: the markets.
        order: what to sort by.
        is_reversed: whether to reverse the order.
    """
    read, is_ascending = _READ[order]
    by_symbol = sorted(rows, key=lambda row: (row.symbol.casefold(), row.symbol))
    known = [row for row in by_symbol if read(row) is not None]
    known.sort(key=read, reverse=is_ascending == is_reversed)
    return [*known, *(row for row in by_symbol if read(row) is None)]


def matching(rows: Iterable[MarketRow], words: str) -> list[MarketRow]:
    """Return the rows whose symbol contains every word, in their order.

    Args:
        rows: the markets.
        words: the search text. Case does not matter; `_`, `-`, `/` and blanks separate words.
    """
    wanted = words.casefold().replace("_", " ").replace("-", " ").replace("/", " ").split()
    return [row for row in rows if all(word in row.symbol.casefold() for word in wanted)]
