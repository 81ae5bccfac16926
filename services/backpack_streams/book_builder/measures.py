"""What book-builder shows on /metrics."""

import time
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from prometheus_client.registry import Collector

from backpack_streams.books.market_book import Status
from backpack_streams.feed.measures import count, counts, value
from backpack_streams.runtime.metrics import Labels, ReadOnScrape

if TYPE_CHECKING:  # the builder builds its measures, so it cannot be imported here
    from backpack_streams.book_builder.builder import Builder


def builder_measures(builder: "Builder", per_symbol: bool) -> Iterable[Collector]:
    """How the books are, and what was written of them. `per_symbol` adds series for each market."""
    return (
        *_book_measures(builder),
        *_reading_measures(builder),
        *_writing_measures(builder),
        *(_symbol_measures(builder) if per_symbol else ()),
    )


def _book_measures(builder: "Builder") -> Iterable[Collector]:
    keeper = builder.keeper

    def by_status() -> Iterator[tuple[Labels, float]]:
        return (((status,), float(books)) for status, books in keeper.by_status().items())

    return (
        ReadOnScrape("books", "Books that this builder keeps.", by_status, ("status",)),
        value(
            "books_unusable_oldest_seconds",
            "How long the book that has been SYNCING or STALE for longest has been so; 0 while none is.",
            lambda: keeper.unusable_seconds(time.monotonic()),
        ),
        count("builder_breaks", "Times that a book left LIVE.", keeper.breaks),
    )


def _reading_measures(builder: "Builder") -> Iterable[Collector]:
    keeper = builder.keeper

    def lag() -> Iterator[tuple[Labels, float]]:
        return (((str(partition),), float(records)) for partition, records in builder.lag().items())

    def lag_seconds() -> Iterator[tuple[Labels, float]]:
        return (((str(partition),), seconds) for partition, seconds in builder.lag_seconds().items())

    def confirmation_age() -> Iterator[tuple[Labels, float]]:
        confirmed_at = builder.confirmed_at()
        if confirmed_at is not None:
            yield (), time.monotonic() - confirmed_at

    return (
        ReadOnScrape("builder_lag_records", "Updates in Kafka that are not in the books yet.", lag, ("partition",)),
        ReadOnScrape(
            "builder_lag_seconds",
            "At most how old the oldest update in Kafka is that is not in the books yet; 0 where all are.",
            lag_seconds,
            ("partition",),
        ),
        count("builder_updates", "Updates read.", lambda: keeper.updates),
        count("builder_undecodable_records", "Records that could not be read.", lambda: keeper.undecodable_records),
        value("builder_partitions", "Partitions of updates that are ours.", lambda: len(keeper.partitions)),
        count("builder_rebalances", "Times that the group shared out the partitions anew.", builder.rebalances),
        ReadOnScrape(
            "group_confirmation_age_seconds",
            "Time since Kafka confirmed that our partitions are ours; beyond the session timeout nothing is written. "
            "Not there without partitions.",
            confirmation_age,
        ),
        value(
            "clock_difference_seconds",
            "How far this clock is ahead of the producer's from which it differs most, by the watermarks; negative where it is behind. "
            "No status of a book rests on it.",
            lambda: builder.vouching.coverage.clock_difference_seconds,
        ),
        counts(
            "read_failures",
            "Times that reading from Kafka failed and began again.",
            "reader",
            lambda: {"keeper": builder.read_failures},
        ),
    )


def _writing_measures(builder: "Builder") -> Iterable[Collector]:
    keeper = builder.keeper
    return (
        count("checkpoints", "Checkpoints handed to Kafka.", lambda: builder.checkpoints_written),
        value(
            "checkpoint_age_seconds",
            "Time since the last checkpoint; since the start before the first.",
            lambda: time.monotonic() - builder.last_checkpoint_at,
        ),
        value(
            "checkpoint_delay_seconds",
            "How long the oldest change of a live book has waited for its checkpoint.",
            lambda: keeper.checkpoint_delay(time.monotonic()),
        ),
        count("book_tops", "Tops of books handed to Kafka.", lambda: builder.tops_written),
    )


def _symbol_measures(builder: "Builder") -> Iterable[Collector]:
    books = builder.keeper.books

    def statuses() -> Iterator[tuple[Labels, float]]:
        for symbol, market in books.items():
            for status in Status:
                yield (symbol, status.value), float(market.status is status)

    def engine_times() -> Iterator[tuple[Labels, float]]:
        for symbol, market in books.items():
            if market.engine_time is not None:
                yield (symbol,), market.engine_time / 1_000_000

    return (
        ReadOnScrape(
            "book_status",
            "1 for the status that the book has, 0 for the others. Only with --metrics-per-symbol.",
            statuses,
            ("symbol", "status"),
        ),
        ReadOnScrape(
            "book_engine_timestamp_seconds",
            "Engine time of the last update in the book, seconds since 1970. Only with --metrics-per-symbol.",
            engine_times,
            ("symbol",),
        ),
    )
