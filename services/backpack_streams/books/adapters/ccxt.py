"""ccxt: an order book in the format of its unified API. Needs only this library."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from backpack_streams.books.market_book import Status
from backpack_streams.books.market_view import MarketView
from backpack_streams.errors import BookError

__all__ = ["order_book", "unified_symbol"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_PERPETUAL = ("_PERP", "_IPERP")
_PARTS = 2


def unified_symbol(symbol: str) -> str:
    """Return ccxt's name of a market: `SOL/USDC` for `SOL_USDC`, `BTC/USDC:USDC` for `BTC_USDC_PERP`.

    ccxt writes currencies in capitals. A market that is neither spot nor perpetual keeps the exchange's name.
    """
    for ending in _PERPETUAL:
        pair = symbol.removesuffix(ending).split("_")
        if symbol.endswith(ending) and len(pair) == _PARTS:
            return f"{pair[0]}/{pair[1]}:{pair[1]}".upper()
    pair = symbol.split("_")
    return "/".join(pair).upper() if len(pair) == _PARTS else symbol


def order_book(
    market: MarketView, limit: int | None = None, number: Callable[[Decimal], Any] = Decimal
) -> dict[str, Any]:
    """Return a live book as ccxt's `fetch_order_book` would: `symbol`, `bids`, `asks`, `timestamp` (ms), `datetime`, `nonce` (update id).

    Args:
        market: a book from `BookStream.books` or `BookUpdate.market`.
        limit: maximum number of levels per side; None for all known ones.
        number: converts an exact `Decimal` price or quantity; `float` gives ccxt's own type, which is not exact.

    Raises:
        BookError: the book is not `LIVE`, which this format cannot express.

    """
    if market.status is not Status.LIVE:
        raise BookError(
            f"the book of {market.symbol} is {market.status.value} ({market.reason}); wait until it is LIVE"
        )
    bids, asks = market.book.depth(limit)
    moment = market.engine_time
    return {
        "symbol": unified_symbol(market.symbol),
        "bids": [[number(price), number(quantity)] for price, quantity in bids],
        "asks": [[number(price), number(quantity)] for price, quantity in asks],
        "timestamp": None if moment is None else moment // 1000,
        "datetime": None if moment is None else _iso8601(moment),
        "nonce": market.last_update_id,
    }


def _iso8601(moment_us: int) -> str:
    """Return a time in ccxt's format, to the millisecond; truncated, not rounded."""
    moment = _EPOCH + timedelta(microseconds=moment_us)
    return moment.isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"
