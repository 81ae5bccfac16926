"""What book-builder shows on /metrics."""

import time
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from prometheus_client.registry import Collector

from backpack_streams.feed.measures import count, value
from backpack_streams.runtime.metrics import Labels, ReadOnScrape

if TYPE_CHECKING:  # the builder builds its measures, so it cannot be imported here
    from backpack_streams.book_builder.builder import Builder


def builder_measures(builder: "Builder") -> Iterable[Collector]:
    """How the books are, and what was written of them."""
    keeper = builder.keeper

    def by_status() -> Iterator[tuple[Labels, float]]:
        return (((status,), float(books)) for status, books in keeper.by_status().items())

    def lag() -> Iterator[tuple[Labels, float]]:
        return (((str(partition),), float(records)) for partition, records in builder.lag().items())

    return (
        ReadOnScrape("books", "Books that this builder keeps.", by_status, ("status",)),
        ReadOnScrape("builder_lag_records", "Updates in Kafka that are not in the books yet.", lag, ("partition",)),
        count("builder_updates", "Updates read.", lambda: keeper.updates),
        count("builder_undecodable_records", "Records that could not be read.", lambda: keeper.undecodable_records),
        count("builder_breaks", "Times that a book left LIVE.", keeper.breaks),
        value("builder_partitions", "Partitions of updates that are ours.", lambda: len(keeper.partitions)),
        count("builder_rebalances", "Times that the group shared out the partitions anew.", builder.rebalances),
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
