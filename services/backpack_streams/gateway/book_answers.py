"""What the read model returns about a book: its levels, and whether it may be used."""

from typing import NamedTuple

__all__ = ["BookAnswer", "BookStatus"]


class BookAnswer(NamedTuple):
    """The best levels of a book with its status. Prices and sizes are integers in units of 10**-18.

    Attributes:
        symbol: the market.
        bids: price and size, best (highest) first.
        asks: price and size, best (lowest) first.
        last_update_id: id of the last update in the book; None before the first snapshot.
        book_status: LIVE, STALE, SYNCING or CLOSED.
        reason: why the book is not LIVE; empty if it is.
    """

    symbol: str
    bids: list[tuple[int, int]]
    asks: list[tuple[int, int]]
    last_update_id: int | None
    book_status: str
    reason: str
    as_of: int | None
    """Time up to which the book is known to be complete (µs since the Unix epoch, by its producer's clock); None if unknown."""
    age_ms: int | None
    """Age of that time (ms)."""


class BookStatus(NamedTuple):
    """Whether a book may be used, without its levels.

    Attributes:
        status: LIVE, STALE, SYNCING or CLOSED.
        reason: why the book is not LIVE; empty if it is.
        as_of: time up to which the book is known to be complete (µs since the Unix epoch); None if unknown.
        age_ms: age of that time (ms).
        version: changes whenever the levels may have changed.
    """

    status: str
    reason: str
    as_of: int | None
    age_ms: int | None
    version: tuple[int, int, int]
