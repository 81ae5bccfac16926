"""Changes of the read model, as its listeners get them: each is about one market on one channel."""

from collections.abc import Callable
from typing import Final, NamedTuple

from backpack_streams.gateway.answers import Row

__all__ = [
    "BOOK",
    "CANDLES",
    "CHANNELS",
    "LIQUIDATIONS",
    "MARKETS",
    "MARK_PRICE",
    "MISSED",
    "TICKER",
    "TRADES",
    "Change",
    "Listener",
]

BOOK: Final = "book"
TRADES: Final = "trades"
TICKER: Final = "ticker"
MARK_PRICE: Final = "mark_price"
LIQUIDATIONS: Final = "liquidations"
CANDLES: Final = "klines."
"""Followed by the interval: `klines.1m`."""
MARKETS: Final = "markets"
"""Changes of the market list: the row in `/v1/markets` of a market that is new to it, or None for one that was delisted."""
MISSED: Final = "missed"
"""Not about one market: records are gone from Kafka that were not read, so the rows of trades, candles and liquidations begin anew."""
CHANNELS: Final = (BOOK, TRADES, TICKER, MARK_PRICE, LIQUIDATIONS)
"""The channels without a parameter."""


class Change(NamedTuple):
    """One change.

    Attributes:
        channel: one of `CHANNELS`, `klines.<interval>`, `MARKETS`, or `MISSED`.
        symbol: the market.
        sequence: the `last_update_id` of a book, -1 if there is none; it stays the same if only the status changed. Of other
            channels, the offset of the record in Kafka.
        row: the new row as in the REST answer; None for a delisted market, and for a book, whose levels the listener reads
            when it needs them.
    """

    channel: str
    symbol: str
    sequence: int
    row: Row | None


Listener = Callable[[Change], None]
"""Called synchronously, in the event loop; it must not block and must not raise."""
