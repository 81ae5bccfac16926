"""The metrics of the gateway's data side."""

import time
from collections import Counter
from collections.abc import Iterable

from prometheus_client.registry import Collector

from backpack_streams.books.status import Status
from backpack_streams.gateway.book_feed import BookFeed
from backpack_streams.gateway.endpoints import Endpoints
from backpack_streams.gateway.market_data import MarketData
from backpack_streams.gateway.pulse import Pulse
from backpack_streams.gateway.read_back import ReadBack
from backpack_streams.gateway.record_feed import RecordFeed
from backpack_streams.runtime.collectors import count, value, values

__all__ = ["data_measures", "feed_measures"]

_NOT_KNOWN = float("nan")


def data_measures(data: MarketData, endpoints: Endpoints) -> Iterable[Collector]:
    """Return metrics of the read model.

    Args:
        data: read on each scrape.
        endpoints: counts the answers that were made.
    """

    def by_status() -> dict[str, float]:
        counted = Counter(view.status for view in data.books().values())
        return {status.value: counted[status] for status in Status}

    def oldest_seconds() -> float:
        moments = [view.as_of for view in data.books().values() if view.status is Status.LIVE]
        oldest = min((moment for moment in moments if moment is not None), default=None)
        return 0.0 if oldest is None else max(0.0, time.time() - oldest / 1_000_000)

    return (
        values("gateway_books", "Books that this gateway keeps.", "status", by_status),
        value(
            "gateway_books_as_of_oldest_seconds",
            "How old the watermark is that vouches for a LIVE book, of the book for which it is oldest; 0 while no book is LIVE.",
            oldest_seconds,
        ),
        value("gateway_markets", "Markets in the market list.", lambda: len(data.markets())),
        value(
            "gateway_kafka_available",
            "1 while Kafka can be read; while it is 0, every question about data is answered with 503.",
            lambda: 0 if data.unavailable() else 1,
        ),
        count(
            "gateway_answers_made",
            "Answers that were encoded; the others came from the cache.",
            lambda: endpoints.kept.made,
        ),
    )


def feed_measures(books: BookFeed, records: RecordFeed, pulse: Pulse, read_back: ReadBack) -> Iterable[Collector]:
    """Return metrics of the gateway's reading of Kafka.

    Args:
        books: reads the books.
        records: reads the other topics.
        pulse: asks Kafka every second.
        read_back: reads older records.
    """
    return (
        count("gateway_records", "Records read from topics other than those of books.", lambda: records.records),
        count(
            "gateway_undecodable_records",
            "Records that could not be read, those of books included.",
            lambda: records.undecodable_records + read_back.undecodable_records + books.undecodable_records,
        ),
        count(
            "gateway_read_back_records",
            "Older records that were read because a request needed them.",
            lambda: read_back.records,
        ),
        count("gateway_kafka_failures", "Questions to Kafka that had no answer.", lambda: pulse.failures),
        value(
            "gateway_lag_records",
            "Updates in Kafka that are not in the books yet.",
            lambda: _NOT_KNOWN if books.books is None else books.books.lag_records,
        ),
    )
