"""The metrics of book-builder."""

import time
from collections.abc import Iterable, Iterator, Mapping

from prometheus_client.registry import Collector

from backpack_streams.book_builder.keeper import BookKeeper
from backpack_streams.book_builder.reading import Reading
from backpack_streams.book_builder.writer import BookWriter
from backpack_streams.books.market_book import MarketBook, Status
from backpack_streams.books.vouching import Vouching
from backpack_streams.bus.group import GroupMember
from backpack_streams.runtime.collectors import count, counts, value
from backpack_streams.runtime.metrics import Labels, ReadOnScrape


def builder_measures(
    keeper: BookKeeper, vouching: Vouching, reading: Reading, writer: BookWriter, group: GroupMember
) -> Iterable[Collector]:
    """Return the metrics of the books, of reading, of the group and of writing.

    Args:
        keeper: the books.
        vouching: the watermarks.
        reading: the reading loop.
        writer: writes tops and checkpoints.
        group: the membership.
    """
    return (
        *_book_measures(keeper),
        *_reading_measures(keeper, vouching, reading),
        *_group_measures(keeper, group),
        *_writing_measures(keeper, writer),
    )


def _book_measures(keeper: BookKeeper) -> Iterable[Collector]:
    def by_status() -> Iterator[tuple[Labels, float]]:
        return (((status,), float(books)) for status, books in keeper.by_status().items())

    return (
        ReadOnScrape("books", "Books that this builder keeps.", by_status, ("status",)),
        value(
            "books_unusable_oldest_seconds",
            "How long the longest SYNCING or STALE book has been so; 0 if there is none.",
            lambda: keeper.unusable_seconds(time.monotonic()),
        ),
        value(
            "books_as_of_oldest_seconds",
            "Maximum age of a watermark that vouches for a LIVE book; 0 without LIVE books.",
            keeper.vouched_seconds,
        ),
        count("builder_breaks", "How often a book left LIVE.", keeper.breaks),
        value(
            "books_buffered_bytes",
            "Memory of updates that wait for a snapshot, all books together; at most 96 MiB.",
            lambda: keeper.intake.buffers.held_bytes,
        ),
        count(
            "books_buffered_updates_dropped",
            "Updates that waited for a snapshot and were dropped, oldest first, because the buffer was full.",
            lambda: keeper.intake.buffers.dropped,
        ),
    )


def _reading_measures(keeper: BookKeeper, vouching: Vouching, reading: Reading) -> Iterable[Collector]:
    intake = keeper.intake

    def lag() -> Iterator[tuple[Labels, float]]:
        return (((str(partition),), float(records)) for partition, records in reading.lag().items())

    def lag_seconds() -> Iterator[tuple[Labels, float]]:
        return (((str(partition),), seconds) for partition, seconds in reading.lag_seconds().items())

    return (
        ReadOnScrape("builder_lag_records", "Updates in Kafka that are not in the books yet.", lag, ("partition",)),
        ReadOnScrape(
            "builder_lag_seconds",
            "Upper bound for the age of the oldest update in Kafka that is not in the books yet; 0 if all are.",
            lag_seconds,
            ("partition",),
        ),
        count("builder_updates", "Updates read.", lambda: intake.updates),
        count("builder_undecodable_records", "Unreadable records.", lambda: intake.undecodable_records),
        count(
            "builder_misplaced_updates",
            "Updates outside their market's partition: partitions were added after a producer had started.",
            lambda: intake.misplaced_updates,
        ),
        value(
            "clock_difference_seconds",
            "Largest difference between this clock and a producer's, by the watermarks; negative if this clock is behind. "
            "No book's status depends on it.",
            lambda: vouching.coverage.clock_difference_seconds,
        ),
        counts(
            "read_failures",
            "How often reading from Kafka failed and was retried.",
            "reader",
            lambda: {"keeper": reading.failures},
        ),
    )


def _group_measures(keeper: BookKeeper, group: GroupMember) -> Iterable[Collector]:
    def confirmation_age() -> Iterator[tuple[Labels, float]]:
        if group.assigned and group.confirmed_at is not None:
            yield (), time.monotonic() - group.confirmed_at

    return (
        value("builder_partitions", "Depth partitions assigned to this builder.", lambda: len(keeper.partitions)),
        count("builder_rebalances", "Rebalances of the consumer group.", lambda: group.rebalances),
        ReadOnScrape(
            "group_confirmation_age_seconds",
            "Time since Kafka confirmed the partition assignment; past the session timeout nothing is written. "
            "Absent without partitions.",
            confirmation_age,
        ),
    )


def _writing_measures(keeper: BookKeeper, writer: BookWriter) -> Iterable[Collector]:
    return (
        count("checkpoints", "Checkpoints handed to Kafka.", lambda: writer.checkpoints_written),
        value(
            "checkpoint_age_seconds",
            "Time since the last checkpoint, or since the start if there was none.",
            lambda: time.monotonic() - writer.last_checkpoint_at,
        ),
        value(
            "checkpoint_delay_seconds",
            "How long the oldest change of a live book has waited for its checkpoint.",
            lambda: keeper.checkpoint_delay(time.monotonic()),
        ),
        count("book_tops", "Tops of books handed to Kafka.", lambda: writer.tops_written),
    )


def symbol_measures(books: Mapping[str, MarketBook]) -> Iterable[Collector]:
    """Return the metrics of each market."""

    def statuses() -> Iterator[tuple[Labels, float]]:
        for symbol, market in books.items():
            for status in Status:
                yield (symbol, status.value), float(market.status is status)

    def engine_times() -> Iterator[tuple[Labels, float]]:
        for symbol, market in books.items():
            if market.engine_time is not None:
                yield (symbol,), market.engine_time / 1_000_000

    def as_of_times() -> Iterator[tuple[Labels, float]]:
        for symbol, market in books.items():
            if market.as_of is not None:
                yield (symbol,), market.as_of / 1_000_000

    return (
        ReadOnScrape(
            "book_status",
            "1 for the book's status, 0 for the others. Only with --metrics-per-symbol.",
            statuses,
            ("symbol", "status"),
        ),
        ReadOnScrape(
            "book_engine_timestamp_seconds",
            "Engine time of the last update in the book, seconds since the Unix epoch. Only with --metrics-per-symbol.",
            engine_times,
            ("symbol",),
        ),
        ReadOnScrape(
            "book_as_of_timestamp_seconds",
            "Time up to which the book is complete, by its producer's clock, seconds since the Unix epoch. "
            "Only with --metrics-per-symbol.",
            as_of_times,
            ("symbol",),
        ),
    )
