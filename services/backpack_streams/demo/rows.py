"""The rows of the demo's views: one per book, topic and service, and the totals. Sans I/O."""

from dataclasses import dataclass

from backpack_streams.books import MarketView, Status

__all__ = ["BookRow", "Lag", "ServiceRow", "TopicRow", "Totals", "book_row"]

_MICROSECONDS_A_SECOND = 1_000_000


@dataclass(frozen=True, slots=True)
class BookRow:
    """One book. Prices and quantities are exact, as plain text; a side is None if it is empty."""

    symbol: str
    status: Status
    reason: str
    bid: tuple[str, str] | None
    ask: tuple[str, str] | None
    last_update_id: int | None
    age_seconds: float | None
    """Seconds since the exchange made the last update in the book."""
    updates_per_second: float

    @property
    def is_live(self) -> bool:
        """Whether the book may be used."""
        return self.status is Status.LIVE


@dataclass(frozen=True, slots=True)
class TopicRow:
    """One topic: the number of records since the demo began, and their rate now."""

    topic: str
    records: int
    records_per_second: float


@dataclass(frozen=True, slots=True)
class ServiceRow:
    """One service; `note` says why it is not ready."""

    name: str
    is_ready: bool
    note: str


@dataclass(frozen=True, slots=True)
class Lag:
    """The age in milliseconds of the newest update when it is read from Kafka, over the last seconds."""

    median_millis: float
    worst_millis: float


@dataclass(frozen=True, slots=True)
class Totals:
    """The whole demo in a few numbers."""

    up_seconds: float
    live_books: int
    expected_books: int
    frames_per_second: float
    records_per_second: float
    gaps: int
    """Gaps on record, without those that mark the start of a stream."""
    streams_begun: int
    dead_letters: int
    seeds: int
    lag: Lag | None
    unread_records: int
    """Depth records in Kafka that this reader has not read yet."""
    waiting_bytes: int
    """Bytes in the services that wait for Kafka."""

    @property
    def is_all_live(self) -> bool:
        """Whether every open market's book is `LIVE`."""
        return 0 < self.expected_books == self.live_books


def book_row(symbol: str, market: MarketView | None, updates_per_second: float, now_us: int) -> BookRow:
    """Return the row of a market. `market` is None if no record of its book has come yet; `now_us` is the wall clock."""
    if market is None:
        return BookRow(symbol, Status.SYNCING, "nothing of it in Kafka yet", None, None, None, None, 0.0)
    bids, asks = market.book.to_lines(1)
    made_us = market.engine_time
    return BookRow(
        symbol=symbol,
        status=market.status,
        reason=market.reason,
        bid=bids[0] if bids else None,
        ask=asks[0] if asks else None,
        last_update_id=market.last_update_id,
        age_seconds=None if made_us is None else (now_us - made_us) / _MICROSECONDS_A_SECOND,
        updates_per_second=updates_per_second,
    )
